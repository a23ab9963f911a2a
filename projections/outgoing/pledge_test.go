package outgoing_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/filing"
	"github.com/streampost/streampost/projections/outgoing"
)

func (s *site) pledge(mark string, to string) []queue.ID {
	s.t.Helper()
	blob, err := s.store.Put(s.t.Context(), strings.NewReader(header+"\r\n"+mark+"\r\n"))
	if err != nil {
		s.t.Fatal(err)
	}
	address, err := delivery.ParseAddress(to)
	if err != nil {
		s.t.Fatal(err)
	}
	ids, err := s.worker.Pledge(s.t.Context(), "alice", mark, []filing.Letter{{To: []delivery.Address{address}, Blob: blob, MessageID: "<" + mark + ">"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return ids
}

// TestPledges: what is pledged leaves when it is kept, or when its mark is found; what nobody keeps is dropped in the end.
func TestPledges(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) {
		c.Kept = func(_ context.Context, p *queue.Pledge) (bool, error) {
			if p.Mark == "unknown" {
				return false, domain.Errorf(domain.Unavailable, "no view")
			}
			return p.Mark == "found", nil
		}
	})
	kept, refused := s.pledge("kept", "a@example.net"), s.pledge("refused", "b@example.net")
	s.pledge("found", "c@example.net")
	s.pledge("lost", "d@example.net")
	s.pledge("unknown", "e@example.net")
	if err := s.worker.Settle(t.Context(), kept, true); err != nil {
		t.Fatal(err)
	}
	if err := s.worker.Settle(t.Context(), refused, false); err != nil {
		t.Fatal(err)
	}
	s.until("what is kept has left", func(st *queue.State) bool { return idle(3)(st) && len(s.remote.got()) == 1 })
	s.clock.pass(2 * time.Minute)
	s.worker.Wake()
	s.until("what has its mark has left", func(st *queue.State) bool { return idle(2)(st) && len(s.remote.got()) == 2 })
	s.clock.pass(2 * time.Hour)
	s.worker.Wake()
	s.until("what has none is dropped", idle(1))
	if got := strings.Join(s.remote.got(), "|"); strings.Contains(got, "lost") || strings.Contains(got, "refused") || !strings.Contains(got, "found") {
		t.Errorf("%s", got)
	}
	s.queue.View(func(st *queue.State) {
		if i := st.Oldest(); !i.Pledged || i.Attempts != 0 {
			t.Errorf("%+v", i)
		}
	})
}

// TestAMarkIsAskedForOnce: what counts goes on counting when its attempt fails and its mark is gone by the next one.
func TestAMarkIsAskedForOnce(t *testing.T) {
	there := make(chan bool, 1)
	there <- true
	s := newSite(t, func(c *outgoing.Config) {
		c.Kept = func(context.Context, *queue.Pledge) (bool, error) {
			select {
			case kept := <-there:
				return kept, nil
			default:
				return false, nil
			}
		}
	})
	s.remote.answer("c@example.net", queue.Deferred, "4.7.1")
	s.pledge("found", "c@example.net")
	s.clock.pass(2 * time.Minute)
	s.worker.Wake()
	s.until("it is put off", func(st *queue.State) bool { return idle(1)(st) && st.Oldest().Attempts == 1 })
	s.remote.answer("c@example.net", queue.Gone, "2.0.0")
	s.clock.pass(5 * time.Hour)
	s.worker.Wake()
	s.until("it has left", idle(0))
	if got := s.remote.got(); len(got) != 1 {
		t.Errorf("sent: %v", got)
	}
}
