package outgoing_test

import (
	"slices"
	"testing"

	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/outgoing"
)

// on reads the entries of a shelf.
func (s *site) on(shelf queue.Shelf) []*queue.Entry {
	s.t.Helper()
	var ids []queue.ID
	s.queue.View(func(st *queue.State) { ids = st.On(shelf).Select(&queue.Filter{}) })
	all, err := s.queue.Entries(s.t.Context(), ids)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestWhatCannotBeReturnedIsParked with what was said of it, in the moment in which it leaves the queue.
func TestWhatCannotBeReturnedIsParked(t *testing.T) {
	s := newSite(t)
	dead, _ := queue.Repository(queue.RepositoryDead)
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{Login: "alice"}, "bob@example.net", "carol@example.net")
	s.until("it is parked", func(st *queue.State) bool { return empty(st) && st.On(dead).Len() == 1 })
	e := s.on(dead)[0]
	if len(e.Recipients) != 1 || e.Recipients[0].Address != "bob@example.net" || e.Parking.Cause != "undeliverable" || e.Parking.Times != 1 || e.Parking.First != s.clock.now().UnixMilli() || e.Error == "" || e.MessageID != "<1@laptop>" {
		t.Errorf("%+v", e)
	}
}

// TestFailuresGoToTheirProcessor where there is one, instead of a report; a delay does not.
func TestFailuresGoToTheirProcessor(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) {
		c.Bounces = func(e *queue.Entry, o *queue.Outcome, id queue.ID, now int64) *queue.Entry {
			b := *e
			b.ID, b.Shelf, b.Domain, b.Recipients, b.Error, b.Due = id, queue.Spool, "", []queue.Recipient{o.Recipient}, o.Status, now
			return &b
		}
	})
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.remote.answer("dave@example.net", queue.Failed, "5.7.1")
	s.accept(outgoing.Mail{}, "bob@example.net", "carol@example.net", "dave@example.net")
	s.until("both are on the spool", func(st *queue.State) bool { return empty(st) && st.On(queue.Spool).Len() == 2 })
	var told []string
	for _, e := range s.on(queue.Spool) {
		told = append(told, e.Recipients[0].Address+" "+e.Error)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"bob@example.net 5.1.1", "dave@example.net 5.7.1"}) || s.local.asks() != 0 {
		t.Errorf("%q, and %d reports", told, s.local.asks())
	}
}

// TestWithoutTheWorld: mailboxes here are served although nothing leaves.
func TestWithoutTheWorld(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Remote = nil })
	s.accept(outgoing.Mail{}, "bob@example.net", "alice@example.org")
	s.until("the mailbox has it", func(st *queue.State) bool { return idle(1)(st) && s.local.asks() == 1 })
	if left := s.on(queue.Outgoing); left[0].Recipients[0].Address != "bob@example.net" || left[0].Attempts != 0 {
		t.Errorf("%+v", left[0])
	}
}

// TestRequeuedMail of users is signed once, and what nobody logged in for is not.
func TestRequeuedMail(t *testing.T) {
	p := &pen{}
	s := newSite(t, func(c *outgoing.Config) { c.Signer = p })
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("it is sent", empty)
	to := []queue.Recipient{{Address: "bob@example.net"}, {Address: "carol@example.com"}}
	for _, c := range []struct{ login, head, want string }{{"alice@example.org", "", "Signature: 1\r\n"}, {"alice@example.org", "Old: x\r\n", "Old: x\r\n"}, {"", "", ""}} {
		e := &queue.Entry{Login: c.login, Head: c.head, Sender: "alice@example.org", Priority: 2}
		e.Blob.ID[0], e.Blob.ID[1], e.Blob.BlobRef.Size, e.Skip = 1, 7, int64(len("Return-Path: <>\r\n"+header+"\r\nHello.\r\n")), int64(len("Return-Path: <>\r\n"))
		records, err := s.worker.Requeue(t.Context(), e, to)
		if err != nil || len(records) != 2 || records[1].Put.Head != c.want || records[0].Put.Priority != 2 || records[1].Put.Domain != "example.com" {
			t.Errorf("%+v: %d entries, %v", c, len(records), err)
		}
	}
}
