package smtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// site is a server with the local domain example.org and the users alice, whose password is "secret", and bob, who cannot log in.
type site struct {
	*doortest.Node
	t          testing.TB
	server     *Server
	plain      net.Addr
	implicit   net.Addr
	alice, bob domain.AccountID
}

func testTLS(t testing.TB) *tls.Config {
	c, err := netline.SelfSigned(t.TempDir(), "mx.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return c.Config(0)
}

// start serves a kind on two loopback ports; change may alter the configuration.
func start(t testing.TB, kind Kind, change ...func(*Config)) *site {
	t.Helper()
	return startOn(t, doortest.Start(t), kind, change...)
}

func startOn(t testing.TB, node *doortest.Node, kind Kind, change ...func(*Config)) *site {
	t.Helper()
	s := &site{t: t, Node: node}
	s.alice = s.AddAccount(t, "alice@example.org", "secret")
	s.bob = s.AddAccount(t, "bob@example.org", "") // Without a password, since hashing takes time.
	cfg := Config{
		Accounts: s.Accounts, Directory: s.Directory, Hostname: "mx.example.org", TLS: testTLS(t), PlaintextOnLoopback: true,
		Limits: Limits{AuthDelay: time.Microsecond}, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if s.server, err = New(kind, cfg); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	for _, implicit := range []bool{false, true} {
		l, err := netline.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if implicit {
			s.implicit = l.Addr()
		} else {
			s.plain = l.Addr()
		}
		go func() { served <- s.server.Serve(context.Background(), l, implicit) }()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // What a test has left open is cut off.
		_ = s.server.Shutdown(ctx)
		for range 2 {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// client speaks one dialogue. Every step fails the test if it goes otherwise than written.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (s *site) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.plain.String())
	if err != nil {
		s.t.Fatal(err)
	}
	return newClient(s.t, c)
}

func (s *site) dialTLS() *client {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.implicit.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return newClient(s.t, c)
}

func newClient(t testing.TB, c net.Conn) *client {
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute)) // So that a test that waits in vain ends.
	return &client{t, c, bufio.NewReader(c)}
}

// hello dials, takes the greeting and says EHLO (LHLO).
func (s *site) hello() *client {
	s.t.Helper()
	c := s.dial()
	c.expect("220 ")
	c.do(s.verb()+" client.example.net", "250 ")
	return c
}

func (s *site) verb() string {
	if s.server.kind == LMTP {
		return "LHLO"
	}
	return "EHLO"
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// reply reads one reply, of several lines perhaps.
func (c *client) reply() (string, error) {
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		all.WriteString(line)
		if err != nil || len(line) < 4 || line[3] != '-' {
			return all.String(), err
		}
	}
}

// expect reads a reply whose last line begins with want.
func (c *client) expect(want string) string {
	c.t.Helper()
	got, err := c.reply()
	last := strings.TrimSuffix(got, "\r\n")
	if i := strings.LastIndex(last, "\n"); i >= 0 {
		last = last[i+1:]
	}
	if err != nil || !strings.HasPrefix(last, want) {
		c.t.Fatalf("S: %q (%v), want %q", got, err, want)
	}
	return got
}

// do sends a line and expects a reply.
func (c *client) do(line, want string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	got, err := c.reply()
	last := strings.TrimSuffix(got, "\r\n")
	if i := strings.LastIndex(last, "\n"); i >= 0 {
		last = last[i+1:]
	}
	if err != nil || !strings.HasPrefix(last, want) {
		c.t.Fatalf("C: %s\nS: %q (%v), want %q", line, got, err, want)
	}
	return got
}

func (c *client) expectEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Fatalf("S: %q (%v), want the end", rest, err)
	}
}

func (c *client) starttls() *client {
	c.t.Helper()
	c.do("STARTTLS", "220 ")
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	return &client{c.t, t, bufio.NewReader(t)}
}

// message sends MAIL, RCPT and DATA up to the 354.
func (c *client) envelope(from string, to ...string) {
	c.t.Helper()
	c.do("MAIL FROM:<"+from+">", "250 ")
	for _, r := range to {
		c.do("RCPT TO:<"+r+">", "250 ")
	}
	c.do("DATA", "354 ")
}

// dots makes text fit for DATA.
func dots(text string) string {
	text = strings.ReplaceAll(text, "\r\n.", "\r\n..")
	if strings.HasPrefix(text, ".") {
		text = "." + text
	}
	if !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	return text + ".\r\n"
}

// messages gives the raw texts in a mailbox in order of UID.
func (s *site) messages(id domain.AccountID, mailbox string) []string {
	s.t.Helper()
	var box domain.MailboxID
	var all domain.UIDSet
	err := s.Accounts.View(s.t.Context(), id, func(state *account.State) error {
		m, ok := state.Mailbox(mailbox)
		if !ok {
			return fmt.Errorf("no mailbox %s", mailbox)
		}
		box, all = m.ID, nil
		for _, uid := range m.UID {
			all = all.Add(uid)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	var texts []string
	for e, err := range s.Accounts.Emails(s.t.Context(), id, box, all, door.WantBlob) {
		if err != nil {
			s.t.Fatal(err)
		}
		r, err := s.Accounts.Open(s.t.Context(), e.Blob, 0, -1)
		if err != nil {
			s.t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			s.t.Fatal(err)
		}
		_ = r.Close()
		texts = append(texts, b.String())
	}
	return texts
}

// only gives the one message in a mailbox.
func (s *site) only(id domain.AccountID, mailbox string) string {
	s.t.Helper()
	all := s.messages(id, mailbox)
	if len(all) != 1 {
		s.t.Fatalf("%d messages in %s: %q", len(all), mailbox, all)
	}
	return all[0]
}

// body cuts the added fields off: everything up to the end of the first Received.
func (s *site) body(text string) string {
	s.t.Helper()
	rest, ok := strings.CutPrefix(text, "Return-Path: ")
	if !ok {
		s.t.Fatalf("no Return-Path on top: %q", text)
	}
	_, rest, _ = strings.Cut(rest, "\r\n")
	if !strings.HasPrefix(rest, "Received: from ") {
		s.t.Fatalf("no Received second: %q", text)
	}
	for {
		_, rest, _ = strings.Cut(rest, "\r\n")
		if !strings.HasPrefix(rest, "\t") {
			return rest
		}
	}
}

const hi = "Subject: hi\r\n\r\nHello.\r\n"
