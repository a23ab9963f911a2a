package imap

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streampost/streampost/projections/door/doortest"
)

// Sessions that live long. More of them: TestSelectedMailboxIsRenamedOrDeleted, TestIdleEndsInTheMiddleOfAPacket, TestIdleEndsAfterSilence,
// TestAClientThatNeverReads, TestSlowOctets; and in package netline TestKeepAlive, TestSlowReaderOfLongAnswerIsServed.

// pipes is a listener whose connections are in memory, where synctest can follow them.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// asleep is a session of alice in a bubble where time passes only while everybody waits, so that a limit ends none who is busy.
func asleep(t *testing.T, dialogue func(s *testServer, c *client), options ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) {
		s := &testServer{Node: doortest.Start(t), t: t}
		s.account = s.AddAccount(t, alice, password)
		cfg := Config{Accounts: s.Accounts, Directory: s.Directory, AllowInsecureAuth: true}
		for _, option := range options {
			option(&cfg)
		}
		var err error
		if s.server, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		l := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- s.server.Serve(context.Background(), l, false) }()
		far, near := net.Pipe()
		l.accept <- far
		c := newClient(t, near)
		_ = near.SetDeadline(time.Time{})
		c.expect("* OK ...")
		c.cmd("LOGIN %s %s", alice, password).ok()
		c.cmd("SELECT INBOX").ok()
		dialogue(s, c)
		_ = near.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

// TestIdleForHours is a client behind a NAT that begins IDLE anew every 29 minutes, as RFC 2177 asks, for a working day, and then vanishes without a word.
func TestIdleForHours(t *testing.T) {
	asleep(t, func(s *testServer, c *client) {
		for hour := 1; hour <= 8; hour++ {
			for range 2 {
				tag := c.begin("IDLE")
				c.expect("+ idling")
				time.Sleep(29 * time.Minute)
				c.send("DONE\r\n")
				c.finish(tag).ok()
			}
			s.deliver("INBOX", mail(hour))
			c.cmd("NOOP").has("* " + string(rune('0'+hour)) + " EXISTS").ok()
		}
		c.begin("IDLE")
		c.expect("+ idling")
		begun := time.Now()
		c.expect("* BYE too slow or idle for too long")
		c.ended()
		if took := time.Since(begun); took != 30*time.Minute {
			t.Errorf("a silent client was there for %v", took)
		}
	})
}

// TestAThousandSessionsOfOneAccount lets them all wait for what one of them does, while some never read. Nobody waits for those, and what they are owed takes
// no memory: there are no queues.
func TestAThousandSessionsOfOneAccount(t *testing.T) {
	const sessions, deaf = 1000, 50
	s := start(t)
	s.deliver("INBOX", mail(0))
	waiting := make([]*client, sessions)
	for i := range waiting {
		waiting[i] = s.selected("INBOX")
		waiting[i].begin("IDLE")
		waiting[i].expect("+ idling")
	}
	busy := s.selected("INBOX")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const rounds = 20
	for n := range rounds {
		busy.cmd("STORE 1 FLAGS (\\Flagged)").ok()
		busy.cmd("STORE 1 FLAGS (\\Seen)").ok()
		s.deliver("INBOX", mail(n+1))
	}
	for _, c := range waiting[deaf:] {
		for line := c.line(); line != "* 21 EXISTS"; line = c.line() {
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > sessions*32<<10 {
		t.Errorf("%d sessions grew by %d octets", sessions, grown)
	}
	// Those who did not read find all of it when they do.
	for _, c := range waiting[:deaf] {
		c.send("DONE\r\nlast FETCH 21 (UID)\r\n")
		c.finish("a3").ok()
		c.finish("last").has("* 21 FETCH (UID 21)").ok()
	}
}

// TestExpungeUnderAReader takes messages away from a session that is in the middle of reading them, slowly. What it has begun to get it gets whole.
func TestExpungeUnderAReader(t *testing.T) {
	s := start(t)
	large := "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 4<<20/78)
	for range 3 {
		s.deliver("INBOX", large)
	}
	reader, other := s.selected("INBOX"), s.selected("INBOX")
	tag := reader.begin("FETCH 1:3 BODY.PEEK[]") // more than the network keeps, so the server waits in the middle of it
	if _, err := reader.r.Peek(100); err != nil {
		t.Fatal(err)
	}
	other.cmd(`STORE 1:3 +FLAGS.SILENT (\Deleted)`).ok()
	other.cmd("EXPUNGE").has("* 1 EXPUNGE").ok()
	got := reader.finish(tag)
	if got.tagged[:2] != "OK" && got.tagged[:2] != "NO" || len(got.untagged) == 0 {
		t.Errorf("%d responses, then %s", len(got.untagged), got.tagged)
	}
	for _, line := range got.untagged {
		if strings.HasSuffix(line, " EXPUNGE") { // RFC 9051 section 7.5.1
			t.Errorf("%s while FETCH runs", line)
		} else if strings.Contains(line, "BODY[] {") && !strings.HasSuffix(line, large+")") {
			t.Error("a message is not whole")
		}
	}
	reader.cmd("NOOP").has("* 1 EXPUNGE").ok()
	reader.cmd("FETCH 1:* UID").ok()
}

// TestDONEAndCommandsInOnePacket has a client that does not wait for the end of IDLE, and cuts its packets where no command ends.
func TestDONEAndCommandsInOnePacket(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	c.send("a IDLE\r\nDONE\r\nb FETCH 1 (UID)\r\nc IDLE\r\nDO")
	c.expect("+ idling")
	c.finish("a").ok()
	c.finish("b").has("* 1 FETCH (UID 1)").ok()
	c.expect("+ idling")
	s.deliver("INBOX", mail(2))
	c.expect("* 2 EXISTS", "* 2 RECENT")
	c.send("NE\r\nd APPEND INBOX {3+}\r\nx\r")
	c.finish("c").ok()
	c.send("\n\r\ne LOGOUT\r\n")
	c.finish("d").has("* 3 EXISTS").ok("[APPENDUID ...] ...")
	c.finish("e").ok()
}
