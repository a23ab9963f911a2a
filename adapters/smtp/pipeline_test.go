package smtp

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/queue"
)

// fakePipeline takes what has "taken" in the address of a recipient.
type fakePipeline struct {
	mu    sync.Mutex
	seen  []*queue.Entry
	local []string
	err   error
}

func (p *fakePipeline) Accept(_ context.Context, e *queue.Entry, local map[string]bool) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, e)
	p.local = nil
	for address, is := range local {
		if is {
			p.local = append(p.local, address)
		}
	}
	slices.Sort(p.local)
	return slices.ContainsFunc(e.Recipients, func(r queue.Recipient) bool { return strings.Contains(r.Address, "taken") }), p.err
}

func (p *fakePipeline) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// last is the newest message that it saw.
func (p *fakePipeline) last() (*queue.Entry, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[len(p.seen)-1], p.local
}

func startPipeline(t *testing.T, kind Kind) (*site, *fakePipeline) {
	t.Helper()
	p := &fakePipeline{}
	s, _ := startQueue(t, kind, func(c *Config) { c.Pipeline = p })
	return s, p
}

// TestThePipelineIsAsked before 250, and what it takes is not delivered here.
func TestThePipelineIsAsked(t *testing.T) {
	s, p := startPipeline(t, Submission)
	c := s.login()
	c.envelope("alice@example.org", "bob@example.org", "x@example.net")
	c.send(dots(hi))
	c.expect("250 2.0.0 Accepted as ")
	e, local := p.last()
	if e.Sender != "alice@example.org" || e.Login != "alice@example.org" || len(e.Recipients) != 2 || e.Parking.RemoteHost != "client.example.net" || e.Parking.RemoteAddress != "127.0.0.1" || e.Transfer == "" ||
		!slices.Equal(local, []string{"bob@example.org"}) || e.Skip == 0 || e.Blob.Size <= e.Skip {
		t.Errorf("%+v, %v", e, local)
	}
	s.only(s.bob, "INBOX")
	c.envelope("alice@example.org", "bob+taken@example.org")
	c.send(dots(hi))
	c.expect("250 2.0.0 Accepted as ")
	if n := len(s.messages(s.bob, "INBOX")); n != 1 {
		t.Errorf("bob has %d messages", n)
	}
	p.fail(domain.Errorf(domain.Unavailable, "the queue is away"))
	c.envelope("alice@example.org", "bob@example.org")
	c.send(dots(hi))
	c.expect("451 4.3.0")
	p.fail(nil)
	c.envelope("alice@example.org", "bob@example.org")
	c.send(dots(hi))
	c.expect("250 ")
}

// TestThePipelineHearsOfQuarantine, so that what it takes still goes to the mailbox for junk.
func TestThePipelineHearsOfQuarantine(t *testing.T) {
	p := &fakePipeline{}
	s, _ := startQueue(t, MX, func(c *Config) {
		c.Pipeline, c.Verifier = p, &judge{verdict: authres.Verdict{Action: authres.Junk, Because: "dmarc"}}
	})
	c := s.hello()
	c.envelope("sender@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	if e, _ := p.last(); !e.Junk {
		t.Errorf("%+v", e)
	}
}

// TestThePipelineOfLMTP answers for each recipient.
func TestThePipelineOfLMTP(t *testing.T) {
	s, p := startPipeline(t, LMTP)
	c := s.hello()
	send := func() {
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.do("RCPT TO:<alice+taken@example.org>", "250 ")
		c.do("RCPT TO:<bob@example.org>", "250 ")
		c.do("DATA", "354 ")
		c.send(dots(hi))
	}
	send()
	c.expect("250 2.0.0 <alice+taken@example.org> Accepted")
	c.expect("250 2.0.0 <bob@example.org> Accepted")
	if n := len(s.messages(s.bob, "INBOX")); n != 0 {
		t.Errorf("bob has %d messages", n)
	}
	p.fail(domain.Errorf(domain.Unavailable, "the queue is away"))
	send()
	c.expect("451 4.3.0 <alice+taken@example.org>")
	c.expect("451 4.3.0 <bob@example.org>")
	c.do("QUIT", "221 ")
}
