package smtp

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/netline"
)

// listening gives the server's listeners.
func (s *site) listening() []*netline.Listener {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return slices.Clone(s.server.listeners)
}

func TestLimitsOnConnections(t *testing.T) {
	s := start(t, MX, func(c *Config) {
		c.Limits.BadRecipients = 3
		c.Limits.Replies = 50
		c.Limits.Line = netline.Limits{Connections: 3}
	})
	c := s.hello()
	c.do("MAIL FROM:<x@example.net>", "250 ")
	c.do("RCPT TO:<a1@example.org>", "550 5.1.1")
	c.do("RCPT TO:<a2@example.org>", "550 5.1.1")
	c.do("RCPT TO:<a3@example.org>", "421 4.7.0")
	c.expectEnd()

	c = s.hello()
	var got string
	for range 60 {
		c.send("NOOP\r\n")
		if got, _ = c.reply(); !strings.HasPrefix(got, "250") {
			break
		}
	}
	if !strings.HasPrefix(got, "421 4.7.0 mx.example.org Too many commands") {
		t.Errorf("%q", got)
	}

	for open := true; open; { // The server has counted out the connections that it ended.
		open = false
		for _, l := range s.listening() {
			open = open || l.Open() > 0
		}
	}
	for range 3 {
		s.hello()
	}
	c = s.dial()
	c.expect("421 4.7.0 mx.example.org Too many connections")
	c.expectEnd()
}

// reads waits until the server has read the beginning of a message.
func (s *site) reads() {
	for begun := false; !begun; {
		for _, l := range s.listening() {
			begun = begun || l.Busy() > 0
		}
	}
}

func TestShutdown(t *testing.T) {
	s := start(t, MX)
	idle, busy, secure := s.hello(), s.hello(), s.dialTLS()
	secure.expect("220 ")
	secure.do("EHLO x", "250 ")
	busy.envelope("x@example.net", "alice@example.org")
	busy.send("Subject: begun\r\n")
	s.reads()
	done := make(chan error, 1)
	go func() { done <- s.server.Shutdown(context.Background()) }()
	for _, c := range []*client{idle, secure} {
		c.expect("421 4.3.2 mx.example.org Service shutting down")
		c.expectEnd()
	}
	busy.send("\r\nbody\r\n.\r\n")
	busy.expect("250 ")
	busy.expect("421 4.3.2")
	busy.expectEnd()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.only(s.alice, "INBOX")
	if c, err := net.Dial("tcp", s.plain.String()); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}

func TestShutdownGivesUpInTime(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org")
	c.send("Subject: never ends\r\n")
	s.reads()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.server.Shutdown(ctx); err == nil {
		t.Error("no error although a client was cut off")
	}
	if n := len(s.messages(s.alice, "INBOX")); n != 0 {
		t.Errorf("%d messages", n)
	}
}
