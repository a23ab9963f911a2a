package streams_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// modes runs a test with our own sync and with the server's.
func modes(t *testing.T, f func(t *testing.T, n *node)) {
	t.Run("group", func(t *testing.T) { f(t, startNode(t)) })
	t.Run("always", func(t *testing.T) { f(t, startNode(t, always)) })
}

func TestAppendAndRead(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice := n.writer()
		if last, err := n.log.Last(ctx, alice.id); err != nil || last != (streams.Position{}) {
			t.Fatalf("an empty account stands at %+v, %v", last, err)
		}
		for i := range 3 {
			alice.append("note %d", i)
			if alice.at.Tx != domain.Tx(i+1) {
				t.Errorf("append %d is transaction %d", i, alice.at.Tx)
			}
		}
		if last, err := n.log.Last(ctx, alice.id); err != nil || last != alice.at {
			t.Errorf("Last gives %+v, %v; the append gave %+v", last, err, alice.at)
		}
		n.restart()
		got, err := n.notes(alice.id)
		if want := []string{"note 0", "note 1", "note 2"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
		alice.append("after the restart")
	})
}

func TestAppendRefuses(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice := n.writer()
		alice.append("first")
		old := alice.at
		alice.append("second")

		_, err := n.log.Append(ctx, alice.id, old, note("stale"))
		wantKind(t, err, domain.Conflict)
		_, err = n.log.Append(ctx, alice.id, streams.Position{}, note("blind"))
		wantKind(t, err, domain.Conflict)
		_, err = n.log.Append(ctx, alice.id, streams.Position{Seq: alice.at.Seq + 10, Tx: 12}, note("ahead"))
		wantKind(t, err, domain.Conflict)
		_, err = n.log.Append(ctx, "0000000000000000", streams.Position{}, note("nobody"))
		wantKind(t, err, domain.NotFound)
		_, err = n.log.Append(ctx, "a.>", streams.Position{}, note("wildcard"))
		wantKind(t, err, domain.Invalid)
		_, err = n.log.Append(ctx, alice.id, alice.at, note("%s", strings.Repeat("x", 5<<20)))
		wantKind(t, err, domain.TooLarge)
		wantKind(t, n.log.Create(ctx, alice.id), domain.Exists)

		alice.append("third")
	})
}

func TestAppendOfTheSameTransactionIsStoredOnce(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice := n.writer()
		tr := note("once")
		first, err := n.log.Append(ctx, alice.id, streams.Position{}, tr)
		if err != nil {
			t.Fatal(err)
		}
		// The caller did not hear the answer and repeats, sealed anew.
		again, err := n.log.Append(ctx, alice.id, streams.Position{}, tr)
		if err != nil || again != first {
			t.Fatalf("the repetition gives %+v, %v; want %+v", again, err, first)
		}
		if got, err := n.notes(alice.id); err != nil || len(got) != 1 {
			t.Errorf("the log has %q, %v", got, err)
		}
	})
}

func TestConflictingWritersOneWins(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		ctx := deadline(t)
		alice := n.writer()
		const rounds, rivals = 20, 8
		for range rounds {
			won := make(chan streams.Position, rivals)
			var wg sync.WaitGroup
			for rival := range rivals {
				wg.Go(func() {
					at, err := n.log.Append(ctx, alice.id, alice.at, note("rival %d", rival))
					if err == nil {
						won <- at
					} else if !domain.Is(err, domain.Conflict) {
						t.Errorf("rival %d: %v", rival, err)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d rivals won", len(won))
			}
			alice.at = <-won
		}
		if got, err := n.notes(alice.id); err != nil || len(got) != rounds {
			t.Errorf("the log has %d entries, %v", len(got), err)
		}
	})
}

func TestManyAccountsAndFollow(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		const accounts, each = 40, 25
		ctx, cancel := context.WithCancel(deadline(t))
		defer cancel()
		var mu sync.Mutex
		seen := map[domain.AccountID]domain.Tx{}
		total := 0
		done := errors.New("all seen")
		var followers, writers sync.WaitGroup
		for _, stream := range n.log.Streams() {
			followers.Go(func() {
				err := n.log.Follow(ctx, stream, 0, func(batch []streams.Entry) error {
					mu.Lock()
					defer mu.Unlock()
					for _, e := range batch {
						if e.Stream != stream || e.Tx != seen[e.Account]+1 || e.Transaction == nil {
							t.Errorf("stream %s gave %+v after transaction %d", stream, e, seen[e.Account])
						}
						seen[e.Account] = e.Tx
						total++
					}
					if total == accounts*each {
						cancel()
						return done
					}
					return nil
				})
				if !errors.Is(err, done) && !errors.Is(err, context.Canceled) {
					t.Errorf("follow %s: %v", stream, err)
				}
			})
		}
		for range accounts {
			w := n.writer()
			writers.Go(func() {
				for i := range each {
					w.append("%d", i)
				}
			})
		}
		writers.Wait()
		followers.Wait()
		if total != accounts*each {
			t.Errorf("followers saw %d entries, want %d", total, accounts*each)
		}
	})
}

func TestReadARange(t *testing.T) {
	n := startNode(t, shards(1))
	ctx := deadline(t)
	w := n.writer()
	for i := range 60 {
		if i%3 == 0 {
			w.append("%d", i)
			continue
		}
		other := n.writer()
		other.append("%d", i)
	}
	stream := n.log.StreamOf(w.id)
	head, err := n.log.Head(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	var got []domain.Seq
	for e, err := range n.log.Read(ctx, stream, 3, head-2) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Seq)
	}
	if len(got) != int(head-2-3) || got[0] != 4 || got[len(got)-1] != head-2 {
		t.Errorf("read %v of %d", got, head)
	}
	for e, err := range n.log.Read(ctx, stream, 0, head+100) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq == 5 {
			break // a reader may stop
		}
	}
}
