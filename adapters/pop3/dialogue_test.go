package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections/door/doortest"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

const (
	alice    = "alice@example.org"
	password = "secret words"
)

// testServer is a server with one account, in memory, on loopback.
type testServer struct {
	*doortest.Node
	t       testing.TB
	server  *Server
	account domain.AccountID
	plain   string      // address
	refuse  atomic.Bool // appends to the log fail
}

// start starts a server that lets clients log in without TLS and answers failed logins at once.
func start(t testing.TB, options ...func(*Config)) *testServer {
	t.Helper()
	s := &testServer{Node: doortest.Start(t), t: t}
	s.account = s.AddAccount(t, alice, password)
	s.serve(options...)
	return s
}

// join starts one more node with a server of its own on the same log.
func (s *testServer) join(options ...func(*Config)) *testServer {
	s.t.Helper()
	other := &testServer{Node: doortest.Join(s.t, s.Log, s.Blobs), t: s.t, account: s.account}
	other.serve(options...)
	return other
}

func (s *testServer) serve(options ...func(*Config)) {
	s.t.Helper()
	s.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault {
		if s.refuse.Load() {
			return doortest.LostKept
		}
		return doortest.None
	}
	cfg := Config{
		Accounts: s.Accounts, Directory: s.Directory, AllowInsecureAuth: true,
		Limits: Limits{FailureDelay: time.Nanosecond}, Logger: slog.New(&faults{t: s.t}), Version: "1.2",
	}
	for _, option := range options {
		option(&cfg)
	}
	var err error
	if s.server, err = New(cfg); err != nil {
		s.t.Fatal(err)
	}
	s.plain = s.listen(false)
}

// faults makes a test fail when the server logs an error, such as a panic in a session.
type faults struct {
	t testing.TB
	slog.Handler
}

func (*faults) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (f *faults) WithAttrs([]slog.Attr) slog.Handler             { return f }
func (f *faults) WithGroup(string) slog.Handler                  { return f }
func (f *faults) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	f.t.Errorf("the server logged: %s", text)
	return nil
}

// quiet takes a server's errors for granted.
func quiet(c *Config) { c.Logger = nil }

// withTLS gives the server a certificate.
func withTLS(t testing.TB) func(*Config) {
	cert, err := netline.SelfSigned(t.TempDir(), "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.TLS = cert.Config(0) }
}

// listen opens one more listener and gives its address.
func (s *testServer) listen(implicitTLS bool) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.server.Serve(context.Background(), l, implicitTLS) }()
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			s.t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil {
			s.t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// deliver puts a message into INBOX.
func (s *testServer) deliver(text string) domain.UID {
	s.t.Helper()
	return doortest.Deliver(s.t, s.Accounts, s.account, account.Inbox, text)
}

// inbox gives the UIDs of INBOX.
func (s *testServer) inbox() (uids []domain.UID) {
	s.t.Helper()
	err := s.Accounts.View(s.t.Context(), s.account, func(state *account.State) error {
		m, _ := state.Mailbox(account.Inbox)
		uids = append(uids[:0], m.UID...)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return uids
}

// mail is a small message that differs from others by its number.
func mail(n int) string {
	return fmt.Sprintf("From: bob@example.org\r\nSubject: number %d\r\n\r\ntext %d\r\n", n, n)
}

// client is one connection, seen from the other side.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// connect connects only.
func (s *testServer) connect() *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.plain)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // a test that hangs fails.
	return &client{t: s.t, conn: conn, r: bufio.NewReader(conn)}
}

// dial connects and reads the greeting.
func (s *testServer) dial() *client {
	s.t.Helper()
	c := s.connect()
	c.expect("+OK Streampost ready")
	return c
}

// login connects and logs in.
func (s *testServer) login() *client {
	s.t.Helper()
	c := s.dial()
	c.says("USER "+alice, "+OK send PASS")
	c.says("PASS "+password, "+OK maildrop has ...")
	return c
}

// startTLS begins TLS on the connection.
func (c *client) startTLS() {
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	c.conn, c.r = secure, bufio.NewReader(secure)
}

// send writes text as it stands.
func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// line reads one line; "" at the end of the connection.
func (c *client) line() string {
	c.t.Helper()
	text, err := c.r.ReadString('\n')
	if err == io.EOF && text == "" {
		return ""
	}
	line, ok := strings.CutSuffix(text, "\r\n")
	if err != nil || !ok {
		c.t.Fatalf("got %q, %v", text, err)
	}
	return line
}

// expect reads the given lines, in which "..." stands for anything.
func (c *client) expect(patterns ...string) {
	c.t.Helper()
	for _, p := range patterns {
		expr := strings.ReplaceAll(regexp.QuoteMeta(p), `\.\.\.`, `.*`)
		if got := c.line(); !regexp.MustCompile(`^` + expr + `$`).MatchString(got) {
			c.t.Fatalf("want %q\n got %q", p, got)
		}
	}
}

// says sends a command and reads the lines of its answer.
func (c *client) says(command string, answer ...string) {
	c.t.Helper()
	c.send(command + "\r\n")
	c.expect(answer...)
}

// fetches sends a command and gives the octets of its multi-line answer, as a client sees them that trusts in CR LF.
func (c *client) fetches(command string) string {
	c.t.Helper()
	c.says(command, "+OK ...")
	var all strings.Builder
	for {
		text, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %q: %v", all.String(), err)
		}
		if text == ".\r\n" {
			return all.String()
		}
		all.WriteString(strings.TrimPrefix(text, "."))
	}
}

// ended expects the end of the connection.
func (c *client) ended() {
	c.t.Helper()
	if rest, err := c.r.ReadString('\n'); err == nil || rest != "" {
		c.t.Fatalf("the connection goes on with %q", rest)
	} else if os.IsTimeout(err) {
		c.t.Fatal("the connection stays open")
	}
}
