package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain/queue"
	store "github.com/streampost/streampost/streams/queue"
)

// shown is all that a node shows of its entries.
func shown(t *testing.T, q *store.Queue) string {
	t.Helper()
	if err := q.Shown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lines []string
	q.View(func(s *queue.State) {
		for _, id := range s.Select(&queue.Filter{}) {
			i := s.Find(id)
			c, _ := s.Claim(id)
			lines = append(lines, fmt.Sprintf("%s to %v due %d, %d attempts, %q, held %v, claimed by %q", id, i.Recipients(), i.Due, i.Attempts, i.Error, i.Held, c.Node))
		}
		lines = append(lines, fmt.Sprintf("%d entries, %d held, %d claimed", s.Len(), s.Held(), s.Claimed()))
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// rivals are two nodes on one stream, the first of which does something when it has noted for the first time how the entries are that it carries.
func rivals(t *testing.T, between func(b *store.Queue)) (s *site, a, b *store.Queue) {
	s = newSite(t)
	replicated := func(c *store.Config) { c.Syncer = nil }
	b = s.open("mail2", replicated)
	a = s.open("mail1", replicated, func(c *store.Config) {
		c.Failpoint = func(point string) {
			if point == "queue.overlaid" {
				between(b)
			}
		}
	})
	return s, a, b
}

// TestWhatComesBetweenIsNotCarriedAway: a record that lands after a node has noted how entries are, and before it has written them anew, counts for all nodes, and for one that
// reads the stream from its new beginning.
func TestWhatComesBetweenIsNotCarriedAway(t *testing.T) {
	yes := true
	claim := queue.Record{Claim: &queue.Claim{IDs: []queue.ID{1}, Node: "mail2", Boot: "b", At: 1, Until: 1 << 50}}
	result := func(done ...string) queue.Record {
		return queue.Record{Result: &queue.Result{ID: 1, Node: "mail2", Boot: "b", Done: done, Due: 77, Error: "451 later", Tried: true}}
	}
	const other = "0000000000000002 to [z@example.net] due 2, 0 attempts, \"\", held false, claimed by \"\"\n"
	for _, c := range []struct {
		name    string
		between []queue.Record
		want    string
	}{
		{"its last result", []queue.Record{claim, result("x@example.net", "y@example.net")}, other + "1 entries, 0 held, 0 claimed"},
		{"a result for some", []queue.Record{claim, result("x@example.net")},
			"0000000000000001 to [y@example.net] due 77, 1 attempts, \"451 later\", held false, claimed by \"\"\n" + other + "2 entries, 0 held, 0 claimed"},
		{"a claim", []queue.Record{claim},
			"0000000000000001 to [x@example.net y@example.net] due 1, 0 attempts, \"\", held false, claimed by \"mail2\"\n" + other + "2 entries, 0 held, 1 claimed"},
		{"a hold", []queue.Record{{Change: &queue.Change{IDs: []queue.ID{1}, Held: &yes}}},
			"0000000000000001 to [x@example.net y@example.net] due 1, 0 attempts, \"\", held true, claimed by \"\"\n" + other + "2 entries, 1 held, 0 claimed"},
		{"a removal", []queue.Record{{Change: &queue.Change{IDs: []queue.ID{1}, Remove: true}}}, other + "1 entries, 0 held, 0 claimed"},
		{"a clearing", []queue.Record{{Clear: &queue.Clear{}}}, "0 entries, 0 held, 0 claimed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var once sync.Once
			s, a, b := rivals(t, func(b *store.Queue) {
				once.Do(func() {
					if err := b.Append(t.Context(), c.between...); err != nil {
						t.Error(err)
					}
				})
			})
			appendTo(t, a, put(9, "gone@example.net"))
			appendTo(t, a, queue.Record{Change: &queue.Change{IDs: []queue.ID{9}, Remove: true}})
			first := put(1, "x@example.net")
			first.Put.Recipients = append(first.Put.Recipients, queue.Recipient{Address: "y@example.net"})
			appendTo(t, a, first)
			appendTo(t, a, put(2, "z@example.net"))
			if err := a.Cut(t.Context(), true); err != nil {
				t.Fatal(err)
			}
			if stats, err := a.Stats(t.Context()); err != nil || stats.First < 3 {
				t.Errorf("nothing was cut: %+v, %v", stats, err)
			}
			anew := s.open("mail3", func(c *store.Config) { c.Syncer = nil })
			for name, q := range map[string]*store.Queue{"who cut": a, "who wrote": b, "who reads from the new beginning": anew} {
				if got := shown(t, q); got != c.want {
					t.Errorf("%s shows\n%s\nnot\n%s", name, got, c.want)
				}
				if d := q.Damage(); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// TestWhoeverWritesTooMuchPutsTheCutOff, and what was carried by then is not needed where it was.
func TestWhoeverWritesTooMuchPutsTheCutOff(t *testing.T) {
	n := 0
	s, a, b := rivals(t, func(b *store.Queue) {
		if n++; n > 1 { // the first message is carried
			if err := b.Append(context.Background(), put(queue.ID(1000+n), "new@example.net")); err != nil {
				t.Error(err)
			}
		}
	})
	for id := range queue.ID(60) {
		appendTo(t, a, put(id+1, "x@example.net"))
	}
	if err := a.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if stats, err := a.Stats(t.Context()); err != nil || stats.First != 51 || n != 11 {
		t.Errorf("%+v after %d tries, %v", stats, n-1, err)
	}
	appendTo(t, a, put(100, "x@example.net"))
	want := shown(t, a)
	if !strings.Contains(want, "71 entries") {
		t.Error(want)
	}
	anew := s.open("mail3", func(c *store.Config) { c.Syncer = nil })
	if got := shown(t, b); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	if got := shown(t, anew); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

// TestLargeEntriesAreCarriedInMessagesOfTheirSize, and one at a time if they are larger.
func TestLargeEntriesAreCarriedInMessagesOfTheirSize(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1", func(c *store.Config) { c.Limits.Round = 300 })
	for id := range queue.ID(5) {
		appendTo(t, q, put(id+1, strings.Repeat("x", 200)+"@example.net"))
	}
	want := shown(t, q)
	if err := q.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if stats, err := q.Stats(t.Context()); err != nil || stats.First != 6 || stats.Last != 10 {
		t.Errorf("%+v, %v", stats, err)
	}
	if got := shown(t, s.restart(q)); got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

// TestADamagedQueueIsNotCut: who cannot read it does not know what it needs.
func TestADamagedQueueIsNotCut(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	appendTo(t, q, put(1, "x@example.net"))
	other := s.open("mail2", func(c *store.Config) { c.Secret = [32]byte{2} })
	if err := other.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if entries, err := q.Entries(t.Context(), []queue.ID{1}); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}
