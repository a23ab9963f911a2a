package outgoing_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// TestSilentDestinationsLeaveSeats: who answers is served, however many others say nothing.
func TestSilentDestinationsLeaveSeats(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Limits.Connections, c.Limits.Unproven, c.Limits.Batch = 4, 3, 1 })
	s.accept(outgoing.Mail{}, "bob@good.example")
	s.until("it has answered", empty)
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.gate = gate })
	for n := range 6 {
		s.accept(outgoing.Mail{}, fmt.Sprintf("bob@silent%d.example", n))
	}
	s.until("the silent ones have their share", func(st *queue.State) bool { return st.Claimed() == 3 && s.remote.asks() == 4 })
	s.accept(outgoing.Mail{}, "carol@good.example")
	s.until("the last seat is for who answers", func(st *queue.State) bool { return st.Claimed() == 4 && s.remote.asks() == 5 })
	close(gate)
	s.until("all is sent", empty)
}

// TestSeatsOfOneOrganisation are bounded, however many domains it has.
func TestSeatsOfOneOrganisation(t *testing.T) {
	var asked atomic.Int32 // once for each domain, however many rounds there are
	s := newSite(t, func(c *outgoing.Config) {
		c.Limits.PerOrganisation, c.Limits.Unproven, c.Limits.Batch = 2, 10, 1
		c.Organisation = func(name string) string {
			asked.Add(1)
			return name[max(strings.LastIndexByte(strings.TrimSuffix(name, ".example"), '.')+1, 0):]
		}
	})
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.gate = gate })
	for n := range 6 {
		s.accept(outgoing.Mail{}, fmt.Sprintf("bob@d%d.many.example", n))
	}
	s.accept(outgoing.Mail{}, "bob@one.example")
	s.until("two of them and the other", func(st *queue.State) bool { return st.Claimed() == 3 && s.remote.asks() == 3 })
	close(gate)
	s.until("all is sent", empty)
	if n := asked.Load(); n > 7 {
		t.Errorf("organisations were asked for %d times", n)
	}
	s.remote.set(func() {
		if s.remote.most > 3 {
			t.Errorf("%d at a time", s.remote.most)
		}
	})
}

// TestASenderThatIsNoAddress cannot be told, ever: the recipient is dropped, and counted.
func TestASenderThatIsNoAddress(t *testing.T) {
	dropped := make(chan struct{}, 1)
	s := newSite(t, func(c *outgoing.Config) { c.Metrics.Dropped = func() { dropped <- struct{}{} } })
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{Sender: delivery.Address{Local: "alice", Domain: "not a domain"}}, "bob@example.net")
	s.until("it is dropped", empty)
	<-dropped
}
