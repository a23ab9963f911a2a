package smtp

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// fakeQueue remembers what it was given.
type fakeQueue struct {
	mu    sync.Mutex
	mails []*outgoing.Mail
	err   error
}

func (q *fakeQueue) Accept(_ context.Context, m *outgoing.Mail) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.mails = append(q.mails, m)
	}
	return q.err
}

func (q *fakeQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
}

// last is the newest of them.
func (q *fakeQueue) last() *outgoing.Mail {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mails[len(q.mails)-1]
}

// told writes what the queue got, in short.
func (q *fakeQueue) told() (all []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.mails {
		var b strings.Builder
		b.WriteString(m.Sender.String() + " ->")
		for _, r := range m.Recipients {
			b.WriteString(" " + r.Address.String())
		}
		all = append(all, b.String())
	}
	return all
}

func startQueue(t *testing.T, kind Kind, change ...func(*Config)) (*site, *fakeQueue) {
	t.Helper()
	q := &fakeQueue{}
	s := start(t, kind, append([]func(*Config){func(c *Config) { c.Queue = q }}, change...)...)
	return s, q
}

// login begins a session as alice.
func (s *site) login() *client {
	s.t.Helper()
	c := s.hello()
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	return c
}

func TestMailForOthersIsQueued(t *testing.T) {
	s, q := startQueue(t, Submission)
	c := s.login()
	c.envelope("alice@example.org", "x@example.net", "bob@example.org", "Y@example.com")
	c.send(dots("Subject: hi\r\nBcc: secret@example.net,\r\n other@example.net\r\nFrom: alice@example.org\r\n\r\nBcc: this is text\r\n"))
	c.expect("250 2.0.0 Accepted as ")
	if got := q.told(); !slices.Equal(got, []string{"alice@example.org -> x@example.net Y@example.com"}) {
		t.Fatalf("%q", got)
	}
	m := q.last()
	r, err := s.Accounts.Open(t.Context(), m.Blob, m.Skip, -1)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := io.ReadAll(r)
	_ = r.Close()
	if err != nil || !strings.HasPrefix(string(leaves), "Received: from ") || strings.Contains(string(leaves), "secret") || strings.Contains(string(leaves), "other@") ||
		!strings.HasSuffix(string(leaves), "\r\n\r\nBcc: this is text\r\n") {
		t.Errorf("%v\n%s", err, leaves)
	}
	if m.Login != "alice@example.org" || !strings.HasSuffix(m.MessageID, "@mx.example.org>") || m.Transfer == "" {
		t.Errorf("%+v", m)
	}
	if got := s.only(s.bob, "INBOX"); got != "Return-Path: <alice@example.org>\r\n"+string(leaves) {
		t.Errorf("%s", got)
	}
	c.envelope("alice@example.org", "x@example.net")
	c.send(dots("Subject: alone\r\n\r\n"))
	c.expect("250 ")
	if got := q.told(); len(got) != 2 {
		t.Errorf("%q", got)
	}
}

// TestNoOpenRelay: only who logged in sends to others, and nobody to a mailbox here that is not there.
func TestNoOpenRelay(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP} {
		s, q := startQueue(t, kind)
		c := s.hello()
		c.do("MAIL FROM:<alice@example.org>", "250 ")
		c.do("RCPT TO:<x@example.net>", "550 5.7.1")
		c.do("RCPT TO:<bob@example.org>", "250 ")
		if kind == MX {
			c.do("RSET", "250 ")
			c.do("MAIL FROM:<x@example.net> RET=HDRS", "504 5.5.4")
		}
		if got := q.told(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	}
	s, _ := startQueue(t, Submission)
	s.hello().do("MAIL FROM:<alice@example.org>", "530 5.7.0")
	c := s.login()
	c.do("MAIL FROM:<alice@example.org>", "250 ")
	c.do("RCPT TO:<nobody@example.org>", "550 5.1.1")
	c.do("RCPT TO:<x@mx.example.org>", "550 5.4.4") // This server itself, which no DNS need be asked about.
}

// TestNotifications (RFC 3461) reach the queue as they were given, and a mailbox here whose sender wants to hear of success is served by the queue.
func TestNotifications(t *testing.T) {
	s, q := startQueue(t, Submission)
	c := s.login()
	if caps := c.do("EHLO x", "250 "); !strings.Contains(caps, "DSN\r\n") {
		t.Errorf("%s", caps)
	}
	c.do("MAIL FROM:<alice@example.org> RET=HDRS ENVID=a+2Bb", "250 ")
	c.do("RCPT TO:<x@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;y+2B@example.net", "250 ")
	c.do("RCPT TO:<z@example.net> NOTIFY=NEVER", "250 ")
	c.do("RCPT TO:<bob@example.org> NOTIFY=SUCCESS", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	c.do("DATA", "354 ")
	c.send(dots("Subject: hi\r\n\r\n"))
	c.expect("250 ")
	if got := q.told(); !slices.Equal(got, []string{"alice@example.org -> x@example.net z@example.net bob@example.org"}) {
		t.Fatalf("%q", got)
	}
	m := q.last()
	if m.Return != "HDRS" || m.EnvelopeID != "a+b" || m.Recipients[0].Notify != queue.OnSuccess|queue.OnDelay || m.Recipients[0].Original != "rfc822;y+@example.net" || m.Recipients[1].Notify != queue.Never {
		t.Errorf("%+v", m)
	}
	if got := s.messages(s.bob, "INBOX"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	s.only(s.alice, "INBOX")
}

// TestSMTPUTF8IsKeptWhereItIsNeeded, whatever the client says of its mail.
func TestSMTPUTF8IsKeptWhereItIsNeeded(t *testing.T) {
	s, q := startQueue(t, Submission)
	c := s.login()
	for _, m := range []struct {
		to, subject string
		want        bool
	}{{"x@example.net", "a", false}, {"x@example.net", "ü", true}, {"ü@example.net", "a", true}} {
		c.do("MAIL FROM:<alice@example.org> SMTPUTF8", "250 ")
		c.do("RCPT TO:<"+m.to+">", "250 ")
		c.do("DATA", "354 ")
		c.send(dots("Subject: " + m.subject + "\r\n\r\nü\r\n"))
		c.expect("250 ")
		if got := q.last().UTF8; got != m.want {
			t.Errorf("%+v: %v", m, got)
		}
	}
}

// TestAQueueThatIsAway puts the client off, and gives nobody a second copy.
func TestAQueueThatIsAway(t *testing.T) {
	s, q := startQueue(t, Submission)
	q.fail(domain.Errorf(domain.Unavailable, "down"))
	c := s.login()
	send := func(want string, to ...string) {
		t.Helper()
		c.do("MAIL FROM:<alice@example.org>", "250 ")
		for _, r := range to {
			c.send("RCPT TO:<" + r + ">\r\n")
			if got, _ := c.reply(); !strings.HasPrefix(got, "250 ") && !strings.HasPrefix(got, "452 4.5.3") {
				t.Fatalf("%s", got)
			}
		}
		c.do("DATA", "354 ")
		c.send(dots("Subject: hi\r\nMessage-ID: <1@laptop>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"))
		c.expect(want)
	}
	send("451 4.3.0", "x@example.net")
	send("451 4.3.0", "x@example.net", "bob@example.org")
	q.fail(nil)
	send("250 ", "x@example.net", "bob@example.org")
	send("250 ", "x@example.net")
	s.only(s.bob, "INBOX")
	if got := q.told(); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// TestHalfOfAMessageForOthers: what some remote recipients have is not taken for what others have.
func TestHalfOfAMessageForOthers(t *testing.T) {
	s, q := startQueue(t, Submission)
	s.limit(s.bob, account.Limits{Bytes: 1000})
	c := s.login()
	for _, m := range []struct{ want, to string }{{"451 4.3.0", "x@example.net bob@example.org"}, {"250 ", "x@example.net"}, {"451 4.3.0", "x@example.net bob@example.org"}, {"250 ", "y@example.net"}} {
		c.do("MAIL FROM:<alice@example.org>", "250 ")
		for _, r := range strings.Fields(m.to) {
			c.do("RCPT TO:<"+r+">", "250 ")
		}
		c.do("DATA", "354 ")
		c.send(dots(hi + strings.Repeat("Hello.\r\n", 200)))
		c.expect(m.want)
	}
	const from = "alice@example.org -> "
	if got := q.told(); !slices.Equal(got, []string{from + "x@example.net", from + "x@example.net", from + "y@example.net"}) {
		t.Errorf("%q", got)
	}
}

// TestFromBelongsToTheUser, where that is configured.
func TestFromBelongsToTheUser(t *testing.T) {
	s, _ := startQueue(t, Submission, func(c *Config) { c.CheckFrom = true })
	if err := s.Directory.AddAddress(t.Context(), "test", s.alice, "sales@example.org"); err != nil {
		t.Fatal(err)
	}
	c := s.login()
	for from, want := range map[string]string{
		"From: Alice <alice@example.org>": "250 ", "From: sales@example.org": "250 ", "From: alice+x@example.org": "250 ", "Subject: no From": "250 ",
		"From: bob@example.org": "550 5.7.1", "From: x@example.net": "550 5.7.1", "From: alice@example.org, bob@example.org": "550 5.7.1", "From: alice@example.org\r\nSender: x@example.net": "550 5.7.1",
		"From: alice@example.org\r\nFrom: bob@example.org": "550 5.6.0", "From: bob@example.org\r\nFrom: alice@example.org": "550 5.6.0",
		"From: alice@example.org\r\nSender: alice@example.org\r\nSender: bob@example.org": "550 5.6.0", "From: <bob@": "550 5.", "From: alice@example.org\r\nSender: bob": "550 5.",
	} {
		c.envelope("alice@example.org", "x@example.net")
		c.send(dots(from + "\r\n\r\n"))
		c.expect(want)
	}
}
