package imap

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
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections/door/doortest"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

const (
	alice    = "alice@example.org"
	password = "secret"
)

// testServer is a server with one account, in memory, on loopback.
type testServer struct {
	*doortest.Node
	t       testing.TB
	server  *Server
	account domain.AccountID
	plain   string                                // address
	fault   atomic.Pointer[func() doortest.Fault] // what happens to the next append
}

// start starts a server that lets clients log in without TLS and answers failed logins at once.
func start(t testing.TB, options ...func(*Config)) *testServer {
	t.Helper()
	return startOn(t, doortest.Start(t), options...)
}

// startOn does so at doors that are there.
func startOn(t testing.TB, node *doortest.Node, options ...func(*Config)) *testServer {
	t.Helper()
	s := &testServer{Node: node, t: t}
	node.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault {
		if fault := s.fault.Load(); fault != nil {
			return (*fault)()
		}
		return doortest.None
	}
	s.account = node.AddAccount(t, alice, password)
	s.serve(options...)
	return s
}

// serve puts an IMAP server before the doors.
func (s *testServer) serve(options ...func(*Config)) {
	s.t.Helper()
	cfg := Config{
		Accounts: s.Accounts, Directory: s.Directory, AllowInsecureAuth: true,
		Limits: Limits{FailureDelay: time.Nanosecond}, Logger: slog.New(&faults{t: s.t}),
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

// failing makes appends to the log fail while f runs.
func (s *testServer) failing(fault func() doortest.Fault, f func()) {
	s.fault.Store(&fault)
	defer s.fault.Store(nil)
	f()
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

// withTLS gives the server a certificate.
func withTLS(t testing.TB) func(*Config) {
	cert, err := netline.SelfSigned(t.TempDir(), "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.TLS = cert.Config(0) }
}

// deliver puts a message into a mailbox behind the back of every session.
func (s *testServer) deliver(mailbox, text string, flags ...string) domain.UID {
	s.t.Helper()
	return doortest.Deliver(s.t, s.Accounts, s.account, mailbox, text, flags...)
}

// mail is a small message that differs from others by its number.
func mail(n int) string {
	return fmt.Sprintf("From: bob@example.org\r\nTo: alice@example.org\r\nSubject: number %d\r\nMessage-ID: <%d@example.org>\r\n\r\ntext %d\r\n", n, n, n)
}

// client is one connection, seen from the other side.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tags int
}

// dial connects and reads the greeting.
func (s *testServer) dial() *client {
	s.t.Helper()
	c := s.connect()
	if line := c.line(); !strings.HasPrefix(line, "* OK [CAPABILITY IMAP4rev1 ") {
		s.t.Fatalf("the greeting is %q", line)
	}
	return c
}

// connect connects only.
func (s *testServer) connect() *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.plain)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return newClient(s.t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // a test that hangs fails.
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// login connects and logs in.
func (s *testServer) login() *client {
	s.t.Helper()
	c := s.dial()
	c.cmd("LOGIN %s %s", alice, password).want("OK [CAPABILITY ...")
	return c
}

// selected connects, logs in and selects a mailbox.
func (s *testServer) selected(mailbox string) *client {
	s.t.Helper()
	c := s.login()
	c.cmd("SELECT %s", mailbox).ok()
	return c
}

// startTLS begins TLS on the connection.
func (c *client) startTLS() {
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	c.conn, c.r = secure, bufio.NewReader(secure)
}

// send writes text as it stands.
func (c *client) send(format string, args ...any) {
	c.t.Helper()
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	if _, err := io.WriteString(c.conn, format); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

// line reads one line of a response, its literals included as they stand; "" at the end of the connection.
func (c *client) line() string {
	c.t.Helper()
	var all strings.Builder
	for {
		text, err := c.r.ReadString('\n')
		if err == io.EOF && text == "" && all.Len() == 0 {
			return ""
		}
		if err != nil {
			c.t.Fatalf("after %q: %v", all.String()+text, err)
		}
		all.WriteString(text)
		m := literalEnd.FindStringSubmatch(strings.TrimSuffix(text, "\r\n"))
		if m == nil {
			break
		}
		n, _ := strconv.Atoi(m[1])
		literal := make([]byte, n)
		if _, err := io.ReadFull(c.r, literal); err != nil {
			c.t.Fatal(err)
		}
		all.Write(literal)
	}
	line, ok := strings.CutSuffix(all.String(), "\r\n")
	if !ok {
		c.t.Fatalf("the line %q does not end in CRLF", all.String())
	}
	return line
}

// expect reads the given lines.
func (c *client) expect(patterns ...string) {
	c.t.Helper()
	for _, p := range patterns {
		if got := c.line(); !matches(p, got) {
			c.t.Fatalf("want %q\n got %q", p, got)
		}
	}
}

// ended expects the end of the connection.
func (c *client) ended() {
	c.t.Helper()
	if _, err := c.r.ReadByte(); err == nil {
		c.t.Fatal("the connection goes on")
	} else if os.IsTimeout(err) {
		c.t.Fatal("the connection stays open")
	}
}

// answer is what a command led to.
type answer struct {
	t        testing.TB
	command  string
	untagged []string
	tagged   string // without the tag
}

// cmd sends a command and reads its answer.
func (c *client) cmd(format string, args ...any) *answer {
	c.t.Helper()
	return c.finish(c.begin(format, args...))
}

// begin sends a command and gives its tag.
func (c *client) begin(format string, args ...any) string {
	c.t.Helper()
	c.tags++
	tag := "a" + strconv.Itoa(c.tags)
	c.send("%s", tag+" "+fmt.Sprintf(format, args...)+"\r\n")
	return tag
}

// finish reads to the end of a command's answer.
func (c *client) finish(tag string) *answer {
	c.t.Helper()
	a := &answer{t: c.t, command: tag}
	for {
		line := c.line()
		if line == "" {
			c.t.Fatalf("the connection ended before the answer to %s; it said %q", tag, a.untagged)
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			a.tagged = rest
			return a
		}
		a.untagged = append(a.untagged, line)
	}
}

// matches compares a line with a pattern, in which "..." stands for anything.
func matches(pattern, line string) bool {
	expr := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\.\.\.`, `.*`)
	return regexp.MustCompile(`(?s)^` + expr + `$`).MatchString(line)
}

// want compares the whole answer: all untagged responses in their order, then the tagged one without its tag.
func (a *answer) want(patterns ...string) *answer {
	a.t.Helper()
	got := append(a.untagged[:len(a.untagged):len(a.untagged)], a.tagged)
	same := len(got) == len(patterns)
	for i := range got {
		same = same && matches(patterns[i], got[i])
	}
	if !same {
		a.t.Fatalf("want\n\t%s\ngot\n\t%s", strings.Join(patterns, "\n\t"), strings.Join(got, "\n\t"))
	}
	return a
}

// has demands untagged responses, wherever they are.
func (a *answer) has(patterns ...string) *answer {
	a.t.Helper()
	for _, p := range patterns {
		found := false
		for _, line := range a.untagged {
			found = found || matches(p, line)
		}
		if !found {
			a.t.Fatalf("no %q in\n\t%s", p, strings.Join(a.untagged, "\n\t"))
		}
	}
	return a
}

// hasNot forbids untagged responses.
func (a *answer) hasNot(pattern string) *answer {
	a.t.Helper()
	for _, line := range a.untagged {
		if matches(pattern, line) {
			a.t.Fatalf("unwanted %q in\n\t%s", line, strings.Join(a.untagged, "\n\t"))
		}
	}
	return a
}

// ok, no and bad demand a tagged answer, with a text or code if one is given.
func (a *answer) ok(text ...string) *answer  { a.t.Helper(); return a.status("OK", text) }
func (a *answer) no(text ...string) *answer  { a.t.Helper(); return a.status("NO", text) }
func (a *answer) bad(text ...string) *answer { a.t.Helper(); return a.status("BAD", text) }

func (a *answer) status(status string, text []string) *answer {
	a.t.Helper()
	if !strings.HasPrefix(a.tagged, status+" ") || len(text) > 0 && !matches(status+" "+text[0], a.tagged) {
		a.t.Fatalf("want %s %v, got %q after\n\t%s", status, text, a.tagged, strings.Join(a.untagged, "\n\t"))
	}
	return a
}

// append uploads a message.
func (c *client) append(mailbox, text string) *answer {
	c.t.Helper()
	return c.cmd("APPEND %s {%d+}\r\n%s", mailbox, len(text), text)
}
