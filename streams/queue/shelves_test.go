package queue_test

import (
	"fmt"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// TestWhatIsParkedOutlivesCuts: who reads the stream from its new beginning sees every entry on the shelf where it is, with its history.
func TestWhatIsParkedOutlivesCuts(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	failed, _ := queue.Repository("error")
	custom, _ := queue.Repository("custom")
	for id := range queue.ID(6) {
		r := spooled(id + 1)
		r.Put.Blob.ID = domain.BlobID{byte(id + 1)}
		appendTo(t, q, r)
		appendTo(t, q, queue.Record{Claim: &queue.Claim{IDs: []queue.ID{id + 1}, Node: "mail1", Boot: "a", Until: 1 << 60}},
			queue.Record{Result: &queue.Result{ID: id + 1, Node: "mail1", Boot: "a", At: 7, Move: &queue.Move{Shelf: failed, Cause: "timeout", Error: "too slow", Processor: "root", Step: 3}}})
	}
	appendTo(t, q, queue.Record{Change: &queue.Change{IDs: []queue.ID{1, 2}, On: failed, At: 8, Move: &queue.Move{Shelf: custom, Shift: true}}})
	appendTo(t, q, queue.Record{Change: &queue.Change{IDs: []queue.ID{3}, On: failed, At: 9, Move: &queue.Move{Shelf: queue.Spool, Processor: "relay", Due: 1 << 60}}})
	appendTo(t, q, queue.Record{Change: &queue.Change{IDs: []queue.ID{4}, On: failed, Remove: true}})
	before, err := q.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	after, err := q.Stats(t.Context())
	if err != nil || after.First <= before.Last {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	told := func() string {
		text := ""
		q.View(func(st *queue.State) {
			for _, shelf := range []queue.Shelf{queue.Outgoing, queue.Spool, custom, failed} {
				items, _ := st.On(shelf).List(&queue.Filter{}, 0, 10)
				for _, i := range items {
					text += fmt.Sprintf("%s %s %+v %s %d\n", shelf.Name(), i.ID, i.Parking(), i.Error, i.Due)
				}
			}
		})
		return text
	}
	want := told()
	q = s.restart(q)
	if got := told(); got != want {
		t.Errorf("it was\n%s\nand is\n%s", want, got)
	}
	needed, err := q.Claims(t.Context(), []domain.BlobID{{1}, {3}, {4}, {6}})
	if err != nil || fmt.Sprint(needed) != "[true true false true]" {
		t.Errorf("%v, %v", needed, err)
	}
}
