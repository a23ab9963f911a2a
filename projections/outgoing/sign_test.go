package outgoing_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// pen is a Signer whose signatures are numbered, so that none is like another.
type pen struct {
	mu   sync.Mutex
	n    int
	seen []string
	err  error
}

func (p *pen) Sign(_ context.Context, domains []string, open func() (io.ReadCloser, error)) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := open()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	if err != nil || p.err != nil {
		return "", p.err
	}
	p.n++
	p.seen = append(p.seen, fmt.Sprint(domains, string(text)))
	return fmt.Sprintf("Signature: %d\r\n", p.n), nil
}

// TestSignedOnce: a message is signed when it is accepted, for all its domains and attempts; the sizes tell of what is sent.
func TestSignedOnce(t *testing.T) {
	p := &pen{}
	s := newSite(t, func(c *outgoing.Config) { c.Signer = p })
	s.remote.answer("bob@example.net", queue.Deferred, "4.2.1")
	s.accept(outgoing.Mail{Sign: true, Login: "alice@login.example", Sender: delivery.Address{Local: "a", Domain: "example.org"}}, "bob@example.net", "carol@example.com")
	s.until("one is sent and the other tried", func(st *queue.State) bool { return idle(1)(st) && st.Oldest().Attempts == 1 })
	var ids []queue.ID
	s.queue.View(func(st *queue.State) { ids = st.Select(&queue.Filter{}) })
	all, err := s.queue.Entries(t.Context(), ids)
	if want := int64(len("Signature: 1\r\n" + header + "\r\nHello.\r\n")); err != nil || all[0].Size() != want {
		t.Errorf("%+v, %v, want %d octets", all, err, want)
	}
	s.remote.answer("bob@example.net", queue.Gone, "2.0.0")
	s.clock.pass(time.Hour)
	s.worker.Wake()
	s.until("all is sent", empty)
	got := s.remote.got()
	slices.Sort(got)
	for n, to := range []string{"bob@example.net", "carol@example.com"} {
		if want := "a@example.org -> " + to + ": Signature: 1\r\n" + header + "\r\nHello.\r\n"; len(got) != 2 || got[n] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if want := "[example.org login.example]" + header + "\r\nHello.\r\n"; len(p.seen) != 1 || p.seen[0] != want {
		t.Errorf("the signer saw %q, want %q", p.seen, want)
	}
}

// TestWhatIsNotVouchedFor is not signed; what cannot be signed now is not accepted; a report is signed, and leaves in any case.
func TestWhatIsNotVouchedFor(t *testing.T) {
	p := &pen{}
	s := newSite(t, func(c *outgoing.Config) { c.Signer = p })
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("it is sent", empty)
	if len(p.seen) > 0 {
		t.Errorf("%q", p.seen)
	}
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("a report is sent", empty)
	if r := s.bounce(); !strings.HasPrefix(r, " -> alice@example.org: Signature: 1\r\nFrom: Mail Delivery System") || !strings.HasPrefix(p.seen[0], "[mail.example.org]") {
		t.Errorf("%s, %q", r, p.seen)
	}
	p.mu.Lock()
	p.err = domain.Errorf(domain.Unavailable, "the keys are away")
	p.mu.Unlock()
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("another is", empty)
	if got := s.local.got(); len(got) != 2 || !strings.HasPrefix(got[1], " -> alice@example.org: From: Mail Delivery System") {
		t.Errorf("%q", got)
	}
	to := []outgoing.Recipient{{Address: delivery.Address{Local: "bob", Domain: "example.net"}}}
	if err := s.worker.Accept(t.Context(), &outgoing.Mail{Sign: true, Recipients: to, Blob: domain.BlobRef{ID: domain.BlobID{1, 7}, Size: 10}}); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
	if asked := s.remote.asks(); asked != 3 {
		t.Errorf("%d attempts", asked)
	}
}
