package pop3

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

func TestLinesAreBounded(t *testing.T) {
	s := start(t)
	c := s.dial()
	c.says("USER "+strings.Repeat("x", 600), "-ERR the line is too long")
	c.says("NOOP"+strings.Repeat(" ", 30_000), "-ERR the line is too long")
	c.says("AUTH PLAIN "+b64("\x00"+alice+"\x00"+strings.Repeat("p", 5_000)), "-ERR [AUTH] ...") // RFC 5034 section 4 has no place for it, and clients send it.
	c.says("USER "+alice+"\x00", "-ERR a line cannot have such characters")
	c.says("USER "+alice, "+OK ...")
	c.send("PASS " + password + "\n") // a bare LF will do
	c.expect("+OK maildrop has ...")
	c.send(strings.Repeat("x", maxDiscard+10_000))
	c.expect("-ERR the line is too long")
	c.ended()
}

func TestNonsenseEndsTheConnection(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.BadCommands = 8 })
	c := s.dial()
	c.send(strings.Repeat("GET / HTTP/1.1\r\n", 100))
	c.expect("-ERR unknown command", "-ERR unknown command", "-ERR unknown command", "-ERR unknown command", "-ERR unknown command")
	c.expect("-ERR too many commands that make no sense")
	c.ended()

	c = s.login()
	for range 7 {
		c.says("", "-ERR unknown command")
	}
	c.says("NOOP", "+OK ...")
	for range 8 {
		c.says("RETR x", "-ERR ...")
	}
	c.expect("-ERR too many commands that make no sense")
	c.ended()
}

func TestConnectionsAreCounted(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Line.PerAddress = 1 })
	_ = s.dial()
	c := s.connect()
	c.expect("-ERR [SYS/TEMP] too many connections")
	c.ended()
}

func TestLoginComesInTime(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Login = time.Nanosecond })
	c := s.connect()
	c.expect("+OK Streampost ready")
	c.expect("-ERR [SYS/TEMP] no login came in time")
	c.ended()
}

// FuzzSession sends anything to a session that has logged in or not. Each complete line gets one answer that begins as answers do, and the server lives on.
func FuzzSession(f *testing.F) {
	for _, text := range []string{
		"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 1 1\r\nDELE 1\r\nRSET\r\nNOOP\r\nCAPA\r\nQUIT\r\n", "UTF8\r\nLANG\r\nSTLS\r\n", "AUTH PLAIN\r\n*\r\nAUTH\r\n",
		"AUTH SCRAM-SHA-256 " + b64("n,,n=x,r=y") + "\r\n=\r\n", "LIST 1 2\r\nTOP 1\r\nRETR 18446744073709551617\r\n", "\r\n\n\x00\r\r\n", "USER \xff\r\nPASS\r\n",
		"USER " + alice + "\r\nPASS " + password + "\r\n",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	node := doortest.Start(f, func(c *door.Config) { c.Guessing = door.Guessing{Delay: 1, Max: 1} }) // nanoseconds
	account := node.AddAccount(f, alice, password)
	doortest.Deliver(f, node.Accounts, account, "INBOX", mail(1))
	server, err := New(Config{
		Accounts: node.Accounts, Directory: node.Directory, AllowInsecureAuth: true, Logger: nil,
		Limits: Limits{FailureDelay: time.Nanosecond, Line: netline.Limits{Idle: time.Minute}},
	})
	if err != nil {
		f.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	go func() { _ = server.Serve(context.Background(), l, false) }()
	f.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	f.Fuzz(func(t *testing.T, text string, in bool) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK ") {
			t.Fatalf("%q, %v", line, err)
		}
		if in {
			fmt.Fprintf(conn, "AUTH PLAIN %s\r\n", b64("\x00"+alice+"\x00"+password))
			if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK ") && !strings.HasPrefix(line, "-ERR [IN-USE]") {
				t.Fatalf("%q, %v", line, err)
			}
		}
		go func() {
			_, _ = io.WriteString(conn, text)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		all, err := io.ReadAll(r)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatal(err)
		}
		answers := string(all)
		if answers != "" && !strings.HasPrefix(answers, "+") && !strings.HasPrefix(answers, "-ERR ") || answers != "" && !strings.HasSuffix(answers, "\r\n") {
			t.Errorf("answers are %q", answers)
		}
	})
}
