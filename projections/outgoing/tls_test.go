package outgoing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// TestReportsKeepWhatWasDemanded: who wants verified TLS on the whole way wants it for the report, too, and gets the header only (RFC 8689 section 5).
func TestReportsKeepWhatWasDemanded(t *testing.T) {
	s := newSite(t)
	s.remote.answer("bob@example.net", queue.Failed, "5.7.30")
	s.accept(outgoing.Mail{Return: "FULL", TLS: queue.TLSRequired}, "bob@example.net", "carol@example.net")
	s.until("all is done", empty)
	if report := s.bounce(); strings.Contains(report, "Hello") || !strings.Contains(report, "Status: 5.7.30") {
		t.Errorf("%s", report)
	}
	s.remote.set(func() {
		s.local.set(func() {
			if want := []string{queue.TLSRequired}; !slices.Equal(s.remote.demands, want) || !slices.Equal(s.local.demands, want) {
				t.Errorf("the message went with %q, the report with %q", s.remote.demands, s.local.demands)
			}
		})
	})
}

// TestWhoDoesNotMindIsNotKeptBack by what keeps others from the same destination: it is tried on its own.
func TestWhoDoesNotMindIsNotKeptBack(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Limits.PerDestination = 1 })
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.away, s.remote.gate = true, gate })
	s.accept(outgoing.Mail{}, "ann@example.net")
	s.until("one is attempted", func(st *queue.State) bool { return st.Claimed() == 1 })
	for _, m := range []struct{ to, tls string }{{"bea@example.net", ""}, {"bob@example.net", queue.TLSOptional}, {"bud@example.net", ""}} {
		s.accept(outgoing.Mail{TLS: m.tls}, m.to)
	}
	close(gate)
	s.until("the first was tried", func(st *queue.State) bool { return idle(4)(st) && s.remote.asks() == 1 })
	s.clock.pass(10 * time.Minute) // the destination has rested, and all are due in one batch
	s.worker.Wake()
	s.until("all were tried", func(st *queue.State) bool {
		items, _ := st.List(&queue.Filter{}, 0, 10)
		return idle(4)(st) && !slices.ContainsFunc(items, func(i *queue.Item) bool { return i.Attempts == 0 })
	})
	if asks := s.remote.asks(); asks != 3 {
		t.Errorf("%d attempts: one found out for all, and the one that does not mind was to be tried", asks)
	}
}
