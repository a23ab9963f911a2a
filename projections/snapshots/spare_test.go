package snapshots_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/streams"
)

// returns are limits with which a node takes even short logs for long ones.
var returns = projections.Limits{FarBehind: 5, Spared: 10, BatchEntries: 7}

// join starts a node on the world's log that takes from the world's snapshots what it lacks, and waits until it has all.
func (w *world) join(place string, limits projections.Limits) *node {
	w.Helper()
	n := startFrom(w, place, w.store, projectiontest.Sparing{Log: w.log}, rules(), limits)
	w.Cleanup(n.end)
	n.wait(w, w.log)
	return n
}

func (n *node) hydrated(t tb, hydrated, refused uint64) {
	t.Helper()
	if stats := n.runner.Stats(); stats.Hydrated != hydrated || stats.Refused != refused {
		t.Fatalf("%d accounts came from snapshots and %d snapshots were refused, not %d and %d", stats.Hydrated, stats.Refused, hydrated, refused)
	}
}

// reach waits until the projectors have come to a position.
func (n *node) reach(t tb, at domain.Seq) {
	t.Helper()
	for n.runner.Status(n.ctx)[0].Cursor < at {
		if n.ctx.Err() != nil {
			t.Fatalf("it does not come to position %d", at)
		}
		time.Sleep(time.Millisecond)
	}
}

// same fails unless the digests of all rows of a node are those of the world's node, which folded everything.
func (w *world) same(n *node) {
	w.Helper()
	w.node.wait(w, w.log)
	here, err := n.runner.Digests(w.ctx, projections.Selection{Stream: stream})
	if err != nil {
		w.Fatal(err)
	}
	there, err := w.node.runner.Digests(w.ctx, projections.Selection{Stream: stream})
	if err != nil {
		w.Fatal(err)
	}
	for i := range here {
		if fmt.Sprint(here[i].Projection, here[i].Seq, here[i].Digests) != fmt.Sprint(there[i].Projection, there[i].Seq, there[i].Digests) {
			w.Errorf("%+v, and where all was folded %+v", here[i], there[i])
		}
	}
}

// forget makes the content of entries unreadable in the log, so that whoever needs one fails.
func (w *world) forget(id domain.AccountID, upTo domain.Seq) {
	for seq := domain.Seq(1); seq <= upTo; seq++ {
		w.log.Spoil(stream, seq, func(e *streams.Entry) {
			if e.Account == id {
				e.Transaction = nil
			}
		})
	}
}

func TestANodeThatIsNewTakesSnapshotsAndFoldsWhatCameAfter(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 60)
	w.deliver(bob, 4, 20)
	w.make(alice)
	w.log.Add(alice, 5, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDSet{{Lo: 10, Hi: 20}}, Delta: event.Delta{Messages: -11}})
	w.deliver(alice, 61, 70)
	n := w.join(t.TempDir(), projections.Limits{BatchEntries: 7})
	n.hydrated(t, 1, 0)
	n.verify(t)
	w.deliver(alice, 71, 72)
	w.deliver(bob, 21, 22)
	n.wait(t, w.log)
	n.verify(t)
}

// Neither are the entries that a snapshot shows folded, nor are they opened.
func TestWhatASnapshotShowsIsNotOpened(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 60)
	h := w.make(alice)
	w.deliver(alice, 61, 70)
	w.deliver(bob, 4, 5)
	w.forget(alice, h.Seq)
	n := w.join(t.TempDir(), projections.Limits{BatchEntries: 7})
	n.hydrated(t, 1, 0)
	w.same(n)
}

func TestANodeThatIsNewFoldsWhatHasNoUsableSnapshot(t *testing.T) {
	for name, spoil := range map[string]func(*world){
		"damaged in its rows": func(w *world) {
			w.bucket.Damage(w.store.Name(alice), func(b []byte) []byte { b[len(b)-30] ^= 1; return b })
		},
		"of another account": func(w *world) {
			var others []byte
			w.bucket.Damage(w.store.Name(bob), func(b []byte) []byte { others = b; return b })
			w.bucket.Damage(w.store.Name(alice), func([]byte) []byte { return append([]byte(nil), others...) })
		},
		"removed": func(w *world) {
			if err := w.maker.Remove(w.ctx, alice); err != nil {
				w.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, snapshots.Limits{})
			w.deliver(alice, 4, 60)
			w.make(alice)
			w.make(bob)
			spoil(w)
			w.deliver(alice, 61, 62)
			n := w.join(t.TempDir(), projections.Limits{BatchEntries: 7})
			if stats := n.runner.Stats(); stats.Hydrated != 1 { // bob's
				t.Errorf("got %+v", stats)
			}
			n.verify(t)
		})
	}
}

// stuck is a log that gives its projectors entries up to a position only.
type stuck struct {
	projectiontest.Sparing
	upTo domain.Seq
}

func (l stuck) Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error {
	return l.FollowPast(ctx, stream, after, nil, f)
}

func (l stuck) FollowPast(ctx context.Context, stream string, after domain.Seq, known streams.Known, f func([]streams.Entry) error) error {
	return l.Sparing.FollowPast(ctx, stream, after, known, func(entries []streams.Entry) error {
		for i, e := range entries {
			if e.Seq > l.upTo {
				entries = entries[:i]
				break
			}
		}
		if len(entries) == 0 {
			<-ctx.Done()
			return ctx.Err()
		}
		return f(entries)
	})
}

// A node that dies before it has come to where its snapshots are goes on there, whatever became of them.
func TestAHalfHydratedNodeGoesOn(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 60)
	h := w.make(alice)
	w.deliver(alice, 61, 70)
	place := t.TempDir()
	n := startFrom(t, place, w.store, stuck{projectiontest.Sparing{Log: w.log}, 20}, rules(), projections.Limits{BatchEntries: 7})
	n.reach(t, 20)
	n.end()
	n.hydrated(t, 1, 0)
	if err := w.maker.Remove(w.ctx, alice); err != nil {
		t.Fatal(err)
	}
	first := domain.Seq(20)
	for seq := first; seq <= h.Seq; seq++ {
		w.log.Spoil(stream, seq, func(e *streams.Entry) { e.Transaction = nil })
	}
	n = w.join(place, projections.Limits{BatchEntries: 7})
	n.hydrated(t, 0, 0)
	w.same(n)
}

func TestANodeThatReturnsTakesTheSnapshotsOfWhatItMissed(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	place := t.TempDir()
	n := w.join(place, returns)
	n.hydrated(t, 0, 0)
	n.end()
	w.deliver(alice, 4, 60)
	w.deliver(bob, 4, 8) // five transactions are not worth a snapshot
	h := w.make(alice)
	w.make(bob)
	w.deliver(alice, 61, 65)
	w.forget(alice, h.Seq)
	n = w.join(place, returns)
	n.hydrated(t, 1, 0)
	w.same(n)
}

// A node that is far behind and read meanwhile shows of an account more than of the others, which neither a comparison nor a snapshot takes for something else.
func TestAnAccountAheadIsNoDifference(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	place := t.TempDir()
	n := w.join(place, returns)
	n.end()
	w.deliver(alice, 4, 60)
	h := w.make(alice)
	n = startFrom(t, place, w.store, stuck{projectiontest.Sparing{Log: w.log}, 20}, rules(), returns)
	defer n.end()
	n.reach(t, 20)
	n.hydrated(t, 1, 0)
	r, err := n.runner.ReaderOf(mailboxes.Name, alice)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := mailboxes.Position(w.ctx, r, alice); err != nil || at.At != h.At {
		t.Errorf("her rows show %+v, %v", at, err)
	}
	if err := n.runner.Freeze(w.ctx, alice, func(domain.Seq, []projections.Frozen) error { return nil }); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a snapshot that names the position of others is made: %v", err)
	}
	if err := n.runner.Freeze(w.ctx, bob, func(domain.Seq, []projections.Frozen) error { return nil }); err != nil {
		t.Error(err)
	}
	brief, cancel := context.WithCancel(w.ctx)
	cancel()
	if _, err := n.runner.Digests(brief, projections.Selection{Stream: stream}); !domain.Is(err, domain.Unavailable) {
		t.Errorf("digests of several positions are told: %v", err)
	}
	if _, err := n.runner.Rebuild(w.ctx, projections.Selection{Projection: changes.Name, Accounts: []domain.AccountID{alice}}, projections.RebuildOptions{}, nil); err != nil {
		t.Error(err)
	}
	n.end()
	n = w.join(place, projections.Limits{})
	n.hydrated(t, 0, 0)
	n.verify(t)
}

// A view file that is gone is made anew from snapshots, too, beside the others.
func TestALostFileTakesSnapshots(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 60)
	h := w.make(alice)
	place := t.TempDir()
	n := w.join(place, returns)
	n.end()
	w.deliver(alice, 61, 62)
	lost, err := filepath.Glob(filepath.Join(place, stream+"."+quota.Name+".*"))
	if err != nil || len(lost) == 0 {
		t.Fatal(lost, err)
	}
	for _, file := range lost {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	n = w.join(place, returns)
	n.hydrated(t, 1, 0)
	n.verify(t)
	if h.At.Tx == 0 {
		t.Error("there was no snapshot")
	}
}

// Whoever asks for an account while the rows of all are being made gets them first, with a snapshot and without, and those of what came meanwhile.
func TestAnAccountThatIsWantedGoesFirst(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 60)
	w.make(alice)
	w.deliver(alice, 61, 70)
	n := startFrom(t, t.TempDir(), w.store, stuck{projectiontest.Sparing{Log: w.log}, 3}, rules(), projections.Limits{BatchEntries: 7})
	defer n.end()
	asks := func(id domain.AccountID) {
		t.Helper()
		last, err := w.log.Last(w.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, projection := range rules() {
			if err := n.runner.WaitOf(n.ctx, projection.Name(), id, last.Seq); err != nil {
				t.Fatal(err)
			}
		}
		r, err := n.runner.ReaderOf(mailboxes.Name, id)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := mailboxes.Position(w.ctx, r, id); err != nil || at.At != last {
			t.Errorf("the rows of %s show %+v of %+v, %v", id, at.At, last, err)
		}
	}
	asks(alice)
	n.hydrated(t, 1, 0)
	asks(bob)
	w.deliver(alice, 71, 72)
	w.deliver(bob, 4, 20)
	asks(bob)
	asks(alice)
	if _, err := n.runner.Reader(stream, mailboxes.Name); !domain.Is(err, domain.Unavailable) {
		t.Errorf("rows of all accounts can be read: %v", err)
	}
	if _, err := n.runner.ReaderOf(mailboxes.Name, domain.NewAccountID([10]byte{9})); !domain.Is(err, domain.Unavailable) {
		t.Errorf("rows of an account that nobody asked for can be read: %v", err)
	}
	place := n.place
	n.end()
	n = w.join(place, projections.Limits{BatchEntries: 7})
	n.verify(t)
	w.same(n)
}
