package netline

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// listen starts a listener on a free port whose connections serve handles.
func listen(t *testing.T, cfg Config, serve func(*Conn)) *Listener {
	t.Helper()
	inner, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = quiet()
	l := New(inner, cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*Conn))
			}()
		}
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = l.Drain(ctx)
		<-l.empty
		<-done
	})
	return l
}

// echo answers every line with itself, and says bye when it is drained.
func echo(c *Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, ErrDraining) {
			_, _ = io.WriteString(c, "bye\n")
		}
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, line)
	}
}

func dial(t *testing.T, l *Listener) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, bufio.NewReader(c)
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func expectEnd(t *testing.T, r *bufio.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Fatalf("got %q (%v), want the end", rest, err)
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, limits := range map[string]Limits{"total": {Connections: 2}, "per address": {PerAddress: 2}} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, Config{Limits: limits, Refusal: "421 too many\n"}, echo)
			a, ra := dial(t, l)
			b, rb := dial(t, l)
			for _, x := range []struct {
				net.Conn
				r *bufio.Reader
			}{{a, ra}, {b, rb}} {
				_, _ = io.WriteString(x, "hello\n")
				expect(t, x.r, "hello\n")
			}
			_, rc := dial(t, l)
			expect(t, rc, "421 too many\n")
			expectEnd(t, rc)

			// A place that becomes free is given away again. The server sees the close a moment later, so ask until it has.
			_ = a.Close()
			for {
				d, rd := dial(t, l)
				_, _ = io.WriteString(d, "hello\n")
				if line, _ := rd.ReadString('\n'); line == "hello\n" {
					break
				}
			}
		})
	}
}

func TestIPv6CountsBySixtyFour(t *testing.T) {
	key := func(s string) string {
		a, _ := net.ResolveTCPAddr("tcp", s)
		return (&Conn{address: addressOf(a)}).limitKey().String()
	}
	if a, b := key("[2001:db8::1]:1"), key("[2001:db8::ffff:0:0:2]:2"); a != b {
		t.Errorf("%s and %s should share a limit", a, b)
	}
	if a, b := key("[2001:db8:0:1::1]:1"), key("[2001:db8:0:2::1]:2"); a == b {
		t.Errorf("%s and %s should not share a limit", a, b)
	}
	if a := key("[::ffff:192.0.2.1]:1"); a != "192.0.2.1" {
		t.Errorf("a mapped IPv4 address counts as %s", a)
	}
}

// pipe gives a Conn over a net.Pipe, which synctest can follow.
func pipe(limits Limits) (*Conn, net.Conn) {
	server, client := net.Pipe()
	l := New(nil, Config{Limits: limits, Logger: quiet()})
	c := &Conn{Conn: server, owner: l, id: newID(), idle: l.cfg.Limits.Idle}
	l.admit(c)
	return c, client
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestSilenceIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Idle: time.Minute})
		defer c.Close()
		defer client.Close()
		begun := time.Now()
		if _, err := c.Read(make([]byte, 1)); !isTimeout(err) || time.Since(begun) != time.Minute {
			t.Fatalf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestSlowRequestIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Idle: 5 * time.Minute, Grace: time.Minute, MinRate: 10})
		defer c.Close()
		defer client.Close()
		go func() {
			for { // One octet every 30 seconds would keep an idle deadline alive for ever.
				time.Sleep(30 * time.Second)
				if _, err := client.Write([]byte{'x'}); err != nil {
					return
				}
			}
		}()
		total := 0
		for {
			n, err := c.Read(make([]byte, 10))
			total += n
			if err != nil {
				if !isTimeout(err) {
					t.Fatal(err)
				}
				break
			}
		}
		_ = client.Close()
		time.Sleep(time.Minute) // The bubble's clock: lets the writer see the close.
		if total != 3 {         // At 30 s, 60 s and 90 s: the grace of a minute begins with the first octet.
			t.Errorf("read %d octets before the cut", total)
		}
	})
}

func TestDisregardedOctetsBeginNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Idle: 5 * time.Minute, Grace: time.Minute, MinRate: 10})
		defer c.Close()
		defer client.Close()
		go func() { _, _ = io.WriteString(client, "pad") }()
		if n, err := c.Read(make([]byte, 10)); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		c.Disregard(3)
		begun := time.Now()
		if _, err := c.Read(make([]byte, 1)); !isTimeout(err) || time.Since(begun) != 5*time.Minute {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		c.drain()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrDraining) {
			t.Error(err)
		}
	})
}

func TestSteadyRequestMayTakeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Idle: time.Minute, Grace: 10 * time.Second, MinRate: 10})
		defer c.Close()
		go func() {
			defer client.Close()
			for range 1000 {
				time.Sleep(9 * time.Second)
				_, _ = client.Write(make([]byte, 100))
			}
		}()
		n, err := io.Copy(io.Discard, readerOnly{c})
		if n != 100_000 || err != nil {
			t.Fatalf("%d octets, %v", n, err)
		}
	})
}

type readerOnly struct{ io.Reader }

func TestServerPausesAreNotTheClientsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Idle: time.Minute, Grace: 10 * time.Second, MinRate: 10})
		defer c.Close()
		go func() {
			defer client.Close()
			_, _ = client.Write(make([]byte, 10))
		}()
		for range 10 {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
	})
}

func TestUnreadAnswerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Write: time.Minute})
		defer c.Close()
		defer client.Close()
		begun := time.Now()
		if n, err := c.Write(make([]byte, 1<<20)); !isTimeout(err) || n != 0 || time.Since(begun) != time.Minute {
			t.Fatalf("%d, %v after %v", n, err, time.Since(begun))
		}
	})
}

func TestSlowReaderOfLongAnswerIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(Limits{Write: time.Minute})
		defer c.Close()
		defer client.Close()
		go func() {
			buf := make([]byte, writePiece)
			for {
				time.Sleep(30 * time.Second)
				if _, err := io.ReadFull(client, buf); err != nil {
					return
				}
			}
		}()
		if n, err := c.Write(make([]byte, 32*writePiece)); n != 32*writePiece || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		_ = c.Close()
		time.Sleep(time.Minute) // The bubble's clock: lets the reader see the close.
		if _, out := c.Bytes(); out != 32*writePiece {
			t.Errorf("counted %d", out)
		}
	})
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	l := listen(t, Config{}, echo)
	_, idle := dial(t, l)
	busy, rb := dial(t, l)
	// The request has begun once its first octets were read.
	_, _ = io.WriteString(busy, "hel")
	for l.Open() < 2 || l.Busy() < 1 {
		runtime.Gosched()
	}
	drained := make(chan error, 1)
	go func() { drained <- l.Drain(context.Background()) }()
	expect(t, idle, "bye\n")
	expectEnd(t, idle)
	_, _ = io.WriteString(busy, "lo\n")
	expect(t, rb, "hello\n")
	expect(t, rb, "bye\n")
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if l.Open() != 0 {
		t.Errorf("%d connections are left", l.Open())
	}
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	entered := make(chan struct{})
	l := listen(t, Config{}, func(c *Conn) {
		close(entered)
		b := make([]byte, 1)
		for {
			if _, err := c.Read(b); err != nil && !errors.Is(err, ErrDraining) {
				return
			}
		}
	})
	_, r := dial(t, l)
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	expectEnd(t, r)
}

func TestPortInUse(t *testing.T) {
	l := listen(t, Config{}, echo)
	_, err := Listen(t.Context(), l.Addr().String())
	var e *domain.Error
	if !errors.As(err, &e) || e.Kind != domain.Unavailable || !strings.Contains(e.Error(), l.Addr().String()) || !strings.Contains(e.Hint, "another") {
		t.Fatalf("%#v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := Listen(t.Context(), "unix:"+path); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a socket in use: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // As after a crash.
	_ = first.Close()
	second, err := Listen(t.Context(), "unix:"+path)
	if err != nil {
		t.Fatalf("a socket that was left behind: %v", err)
	}
	_ = second.Close()
}

func TestSelfSignedCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	made, err := SelfSigned(dir, "mail.example.org", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := SelfSigned(dir, "mail.example.org")
	if err != nil || again.Fingerprint() != made.Fingerprint() {
		t.Fatalf("not reused: %v", err)
	}
	for _, f := range []string{"cert.pem", "key.pem"} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}

	handshakes := make(chan *tls.Conn, 1)
	l := listen(t, Config{}, func(c *Conn) {
		s, err := Handshake(context.Background(), c, made.Config(0), time.Minute)
		if err == nil {
			if Of(s) != c {
				t.Error("Of does not find the Conn below TLS")
			}
			_, _ = io.WriteString(s, "hello\n")
			handshakes <- s
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(made.Leaf())
	client, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "mail.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	expect(t, bufio.NewReader(client), "hello\n")
	<-handshakes

	if _, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "mail.example.org"}); err == nil {
		t.Error("a client that does not know the certificate accepted it")
	}
}

// TestResumedSessionsKnowTheCertificate: a client that resumes a session is shown no certificate, and may bind to the one it knows.
func TestResumedSessionsKnowTheCertificate(t *testing.T) {
	certificate, err := SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	config := certificate.Config(0)
	l := listen(t, Config{}, func(c *Conn) {
		secure, err := Handshake(t.Context(), c, config, time.Minute)
		if err != nil {
			t.Error(err)
			return
		}
		defer secure.Close()
		_, _ = fmt.Fprintf(secure, "%x\n", Of(secure).Certificate().Raw)
	})
	client := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, resumed := range []bool{false, true} {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, bufio.NewReader(c), fmt.Sprintf("%x\n", certificate.Leaf().Raw)) // and on the way there the client is given a ticket
		if got := c.ConnectionState().DidResume; got != resumed {
			t.Errorf("resumed: %v", got)
		}
		_ = c.Close()
	}
}

func TestReloadKeepsWhatWorks(t *testing.T) {
	dir := t.TempDir()
	c, err := SelfSigned(dir, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	old := c.Fingerprint()
	if err := os.WriteFile(c.certFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); !domain.Is(err, domain.Invalid) || c.Fingerprint() != old {
		t.Fatalf("%v, fingerprint %s", err, c.Fingerprint())
	}
	other, err := SelfSigned(t.TempDir(), "b.example")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{other.certFile: c.certFile, other.keyFile: c.keyFile} {
		data, _ := os.ReadFile(from)
		if err := os.WriteFile(to, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Reload(); err != nil || c.Fingerprint() != other.Fingerprint() {
		t.Fatalf("not reloaded: %v", err)
	}
}
