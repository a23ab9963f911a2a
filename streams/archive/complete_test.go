package archive_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/archive"
	"github.com/streampost/streampost/streams/blob"
)

// A restore begins a generation, which is hardly archived when the log is lost again: the one before is restored, and is kept until the newer is complete.
func TestTheNewestCompleteGeneration(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.writer(), w.writer()
	alice.append("1", "2")
	bob.append("1")
	w.round()
	generations := func(complete ...bool) {
		t.Helper()
		store, root, err := archive.OpenLost(w.ctx, w.buckets(), w.master(), archive.Latest)
		if err != nil {
			t.Fatal(err)
		}
		all, err := store.Generations(w.ctx, root)
		if err != nil || len(all) != len(complete) {
			t.Fatalf("the generations are %+v, %v", all, err)
		}
		for i, g := range all {
			if g.Complete.IsZero() == complete[i] {
				t.Errorf("generation %d is complete since %v", i, g.Complete)
			}
		}
	}
	generations(true)
	w.lose()
	w.restore(nil)
	w.dieAt("archive.segments")
	generations(true, false)
	if sum, err := w.archiver.Collect(w.ctx, -time.Second); err != nil || sum.Old != 0 {
		t.Errorf("collected %+v, %v", sum, err)
	}
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "1 2 ")
	w.wantNotes(bob.id, "1 ")
	w.round()
	generations(true, false, true)
	if sum, err := w.archiver.Collect(w.ctx, time.Hour); err != nil || sum.Old != 0 {
		t.Errorf("collected %+v, %v, though the newest has been complete for less than an hour", sum, err)
	}
	if sum, err := w.archiver.Collect(w.ctx, -time.Second); err != nil || sum.Old == 0 {
		t.Errorf("collected %+v, %v", sum, err)
	}
	generations(true)
	w.lose()
	w.restore(nil)
	w.wantNotes(alice.id, "1 2 ")
}

// What an archiver does not remember, it measures: segments are not merged into one of more than Limits.Segment octets.
func TestMergeCountsOctets(t *testing.T) {
	w := newWorld(t, func(w *world) { w.limits.Segment = 8 << 10 })
	alice := w.writer()
	for range 6 { // of which three would be 9 KiB
		alice.append(strings.Repeat("x", 3<<10))
		w.archiver = w.another(nil)
		w.round()
	}
	ranges, err := w.store.Chain(w.ctx, alice.id)
	if err != nil || len(ranges) != 6 {
		t.Errorf("the segments are %v, %v", ranges, err)
	}
	w.verify()
}

// busy is a bucket that does something whenever it is listed.
type busy struct {
	blob.Bucket
	meanwhile func()
}

func (b busy) List(ctx context.Context, f func(domain.BlobID, int64, time.Time) error) error {
	b.meanwhile()
	return b.Bucket.List(ctx, f)
}

// While an archive is collected, which may take long, the log is archived.
func TestCollectHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	alice := w.writer()
	alice.append("1")
	w.round()
	rounds := 0
	far := w.buckets()
	far.Segments = busy{far.Segments, func() {
		rounds++
		alice.append(fmt.Sprint(rounds))
		ended := make(chan error, 1)
		go func() { ended <- w.archiver.Round(w.ctx) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the log is not archived while the archive is collected")
		}
	}}
	w.far = &far
	store, err := archive.Open(w.ctx, far, w.log)
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	w.archiver = w.another(nil)
	if _, err := w.archiver.Collect(w.ctx, time.Hour); err != nil || rounds == 0 {
		t.Errorf("%d rounds, %v", rounds, err)
	}
}
