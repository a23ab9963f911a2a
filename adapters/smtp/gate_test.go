package smtp

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
)

// porter is a Gate that says what it is told to, and notes whom it was asked about.
type porter struct {
	opinion           admission.Opinion
	sender, recipient *admission.Refusal

	ended chan struct{} // for each thing that was counted in vain

	mu   sync.Mutex
	seen []string
}

func (p *porter) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, fmt.Sprintf(format, args...))
}

// asked gives what was noted since the last call.
func (p *porter) asked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := strings.Join(p.seen, "; ")
	p.seen = nil
	return all
}

func (p *porter) Client(_ context.Context, c *admission.Client) *admission.Opinion {
	p.note("client %v %s", c.Address, c.Helo)
	return &p.opinion
}

func (p *porter) Sender(_ context.Context, e *admission.Envelope) *admission.Refusal {
	p.note("sender %s %s", e.Account, e.Sender)
	return p.sender
}

func (p *porter) Recipient(_ context.Context, e *admission.Envelope) *admission.Refusal {
	p.note("recipient %s %s", e.Sender, e.Recipient)
	return p.recipient
}

func (p *porter) Unsent(e *admission.Envelope) {
	p.note("unsent %s%s", e.Sender, e.Recipient)
	if p.ended != nil {
		p.ended <- struct{}{}
	}
}

var listed = admission.Opinion{Refusal: &admission.Refusal{Code: 550, Enhanced: [3]int{5, 7, 1}, Text: "Refused: your address [127.0.0.1] is listed by bl.example", Why: "list"}}

// TestRefusedClients learn of it at RCPT, all but those who write to postmasters, and nothing is stored.
func TestRefusedClients(t *testing.T) {
	p := &porter{opinion: listed}
	var why []string
	s := start(t, MX, func(c *Config) { c.Gate, c.Metrics.Gated = p, func(w string) { why = append(why, w) } })
	c := s.hello()
	c.do("NOOP", "250 ")
	if got := p.asked(); got != "" {
		t.Errorf("somebody who brings nothing was looked at: %s", got)
	}
	c.do("MAIL FROM:<sender@example.net>", "250 ")
	c.do("RCPT TO:<alice@example.org>", "550 5.7.1 Refused: your address [127.0.0.1] is listed by bl.example")
	c.do("RCPT TO:<nobody@example.org>", "550 5.7.1 Refused")
	c.do("DATA", "503 ")
	c.do("RCPT TO:<Postmaster@example.org>", "250 ")
	c.do("RSET", "250 ")
	c.do("MAIL FROM:<sender@example.net>", "250 ")
	if got := p.asked(); got != "client [127 0 0 1] client.example.net" { // Nothing is counted, not even what it brings to a postmaster.
		t.Errorf("asked: %s", got)
	}
	if fmt.Sprint(why) != "[list list]" || len(s.messages(s.alice, "INBOX")) > 0 {
		t.Errorf("%v", why)
	}
}

// TestWhoIsLookedAt: strangers by MX, and nobody else.
func TestWhoIsLookedAt(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP, Submission} {
		s := start(t, kind, func(c *Config) {
			c.Gate = &porter{opinion: listed}
			if kind == MX {
				c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		c := s.hello()
		if kind == Submission {
			c.do(plainAuth("alice@example.org", "secret"), "235 ")
		}
		c.envelope("alice@example.org", "bob@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		s.only(s.bob, "INBOX")
	}
}

// TestSendersAndRecipientsAreAskedAbout, and what is refused of them is refused alone.
func TestSendersAndRecipientsAreAskedAbout(t *testing.T) {
	for _, kind := range []Kind{MX, Submission} {
		p := &porter{}
		s := start(t, kind, func(c *Config) { c.Gate = p })
		c := s.hello()
		if kind == Submission {
			c.do(plainAuth("alice@example.org", "secret"), "235 ")
		}
		c.do("MAIL FROM:<alice@example.org>", "250 ")
		c.do("RCPT TO:<bob@example.org>", "250 ")
		c.do("RCPT TO:<nobody@example.org>", "550 5.1.1")
		p.recipient = &admission.Refusal{Code: 452, Enhanced: [3]int{4, 7, 1}, Text: "Enough for now"}
		c.do("RCPT TO:<alice@example.org>", "452 4.7.1 Enough for now")
		c.do("DATA", "354 ")
		c.send(dots(hi))
		c.expect("250 ")
		s.only(s.bob, "INBOX")
		p.sender = &admission.Refusal{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: "Come again"}
		c.do("MAIL FROM:<>", "451 4.7.1 Come again")
		c.do("RCPT TO:<bob@example.org>", "503 ")
		want := "client [127 0 0 1] client.example.net; sender  alice@example.org; "
		if kind == Submission {
			want = "sender " + string(s.alice) + " alice@example.org; "
		}
		if got := p.asked(); !strings.HasPrefix(got, want+"recipient alice@example.org bob@example.org; recipient alice@example.org alice@example.org; sender ") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// TestWhatDoesNotComeIsNotCounted: a transaction that ends without a message, however it ends, and one whose message is refused.
func TestWhatDoesNotComeIsNotCounted(t *testing.T) {
	p := &porter{}
	over := make(chan struct{}, 10)
	s := start(t, MX, func(c *Config) {
		c.Gate = p
		c.Verifier = told(func(a *authres.Arrival) *authres.Verdict {
			if strings.Contains(string(a.Header), "evil") {
				return &authres.Verdict{Action: authres.Refuse}
			}
			return &authres.Verdict{Header: a.Header}
		})
	})
	p.ended = over
	const counted, back = "sender  a@example.net; recipient a@example.net alice@example.org", "; unsent a@example.net; unsent alice@example.org"
	begin := func(c *client) {
		c.do("MAIL FROM:<a@example.net>", "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
	}
	for name, end := range map[string]func(c *client){
		"RSET": func(c *client) { c.do("RSET", "250 ") }, "EHLO": func(c *client) { c.do("EHLO client.example.net", "250 ") }, "QUIT": func(c *client) { c.do("QUIT", "221 ") }, "lost": func(c *client) { _ = c.Close() },
		"lost later": func(c *client) {
			c.do("DATA", "354 ")
			c.send("Subject: x\r\n")
			_ = c.Close()
		},
		"refused": func(c *client) {
			c.do("DATA", "354 ")
			c.send(dots("Subject: evil\r\n\r\n"))
			c.expect("550 ")
		},
	} {
		c := s.hello()
		begin(c)
		end(c)
		for range 2 {
			<-over
		}
		if got := p.asked(); got != "client [127 0 0 1] client.example.net; "+counted+back {
			t.Errorf("%s: %s", name, got)
		}
	}
	c := s.hello()
	begin(c)
	c.do("DATA", "354 ")
	c.send(dots(hi))
	c.expect("250 ")
	c.do("MAIL FROM:<b@example.net>", "250 ")
	c.do("RCPT TO:<Postmaster@example.org>", "250 ")
	c.do("RSET", "250 ")
	if got := p.asked(); got != "client [127 0 0 1] client.example.net; "+counted+"; sender  b@example.net; unsent b@example.net" { // what goes to postmasters is not bounded
		t.Errorf("a message that comes: %s", got)
	}
}

// TestAnotherNameIsAnotherClient, of whom the gate is asked anew.
func TestAnotherNameIsAnotherClient(t *testing.T) {
	p := &porter{}
	c := start(t, MX, func(c *Config) { c.Gate = p }).hello()
	for _, name := range []string{"client.example.net", "client.example.net", "mail.example.org"} {
		c.do("EHLO "+name, "250 ")
		c.do("MAIL FROM:<>", "250 ")
	}
	if got := p.asked(); strings.Count(got, "client ") != 2 || !strings.Contains(got, "client [127 0 0 1] mail.example.org") {
		t.Errorf("%s", got)
	}
}

// TestWhatWasFoundOutIsTold: in fields, to whoever verifies the message, and by where it is filed.
func TestWhatWasFoundOutIsTold(t *testing.T) {
	p := &porter{opinion: admission.Opinion{Junk: true, Fields: "X-DNS-Lists: mx.example.org;\r\n\tbl.example=127.0.0.2\r\n", Methods: []authres.Method{{Name: "dnswl", Result: authres.Pass}}}}
	known := make(chan []authres.Method, 1)
	for _, verified := range []bool{false, true} {
		s := start(t, MX, func(c *Config) {
			c.Gate = p
			if verified {
				c.Verifier = told(func(a *authres.Arrival) *authres.Verdict {
					known <- a.Known
					return &authres.Verdict{Top: "Authentication-Results: mx.example.org; none\r\n", Header: a.Header}
				})
			}
		})
		c := s.hello()
		c.envelope("sender@example.net", "alice@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		want := "Return-Path: <sender@example.net>\r\nX-DNS-Lists: mx.example.org;\r\n\tbl.example=127.0.0.2\r\nReceived: "
		if verified {
			want = strings.Replace(want, "X-DNS", "Authentication-Results: mx.example.org; none\r\nX-DNS", 1)
			if all := <-known; len(all) != 1 || all[0].Name != "dnswl" {
				t.Errorf("%v", all)
			}
		}
		if got := s.only(s.alice, "Junk"); !strings.HasPrefix(got, want) {
			t.Errorf("%s", got)
		}
	}
}

// told is a Verifier made of a function.
type told func(*authres.Arrival) *authres.Verdict

func (f told) Verify(_ context.Context, a *authres.Arrival) *authres.Verdict { return f(a) }
