package blob_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// breaking is a bucket that fails from some upload on, or spoils what it stores.
type breaking struct {
	*blobtest.Memory
	left  atomic.Int64 // uploads until it fails; negative for never
	spoil map[domain.BlobID]bool
}

var errFull = domain.Errorf(domain.Unavailable, "the bucket is full")

func (b *breaking) Create(ctx context.Context) (blob.Upload, error) {
	if b.left.Add(-1) == -1 {
		return nil, errFull
	}
	u, err := b.Memory.Create(ctx)
	return &spoiling{u, b}, err
}

type spoiling struct {
	blob.Upload
	b *breaking
}

func (u *spoiling) Commit(ctx context.Context, id domain.BlobID) error {
	err := u.Upload.Commit(ctx, id)
	if u.b.spoil[id] {
		u.b.Damage(id, func(p []byte) []byte { p[0] ^= 1; return p })
	}
	return err
}

func TestCopying(t *testing.T) {
	from, there := newStore()
	var refs []domain.BlobRef
	for i := range 50 {
		refs = append(refs, put(t, from, text(1000*i)))
	}
	to := &breaking{Memory: new(blobtest.Memory)}
	to.left.Store(20)
	copying := blob.Copying{From: there, To: to}
	sum, err := copying.Run(ctx)
	if !errors.Is(err, errFull) || sum.Copied != 20 {
		t.Fatalf("into a bucket that is full: %+v, %v", sum, err)
	}
	to.left.Store(-1)
	copying.Parallel = 4
	var progress int64
	copying.Progress = func(done, all int64) { progress = max(progress, done) }
	if sum, err = copying.Run(ctx); err != nil || sum.Present != 20 || sum.Copied != 30 || sum.Stored != 50 {
		t.Fatalf("it does not go on: %+v, %v", sum, err)
	}
	more := put(t, from, text(77))
	if sum, err = copying.Run(ctx); err != nil || sum.Copied != 1 || sum.Present != 50 {
		t.Fatalf("what came since: %+v, %v", sum, err)
	}
	moved := blob.New(to, secret)
	for _, ref := range append(refs, more) {
		if err := moved.Verify(ctx, ref); err != nil {
			t.Error(err)
		}
	}
	// What differs in its octets only is found by reading both.
	to.Damage(more.ID, func(p []byte) []byte { p[5] ^= 1; return p })
	if sum, err = copying.Run(ctx); err != nil || sum.Copied != 0 {
		t.Fatalf("%+v, %v", sum, err)
	}
	copying.Deep = true
	if sum, err = copying.Run(ctx); err != nil || sum.Copied != 1 || sum.Present != 50 {
		t.Fatalf("compared: %+v, %v", sum, err)
	}
	if err := moved.Verify(ctx, more); err != nil {
		t.Error(err)
	}
}

// TestACopyIsReadBack: a bucket that stores something else is not believed.
func TestACopyIsReadBack(t *testing.T) {
	from, there := newStore()
	ref := put(t, from, text(5000))
	to := &breaking{Memory: new(blobtest.Memory), spoil: map[domain.BlobID]bool{ref.ID: true}}
	to.left.Store(-1)
	if sum, err := (blob.Copying{From: there, To: to}).Run(ctx); !domain.Is(err, domain.Unavailable) || sum.Copied != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// corrupt is a bucket one of whose blobs cannot be read, and another of which is deleted once it was listed.
type corrupt struct {
	*blobtest.Memory
	broken, gone domain.BlobID
}

func (c corrupt) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	switch id {
	case c.broken:
		return nil, domain.Errorf(domain.Corrupt, "a record is damaged")
	case c.gone:
		if _, err := c.Memory.Delete(ctx, id, time.Time{}); err != nil {
			return nil, err
		}
	}
	return c.Memory.Open(ctx, id)
}

func TestCopyingTellsWhatItCannotCopy(t *testing.T) {
	from, there := newStore()
	broken, gone, whole := put(t, from, text(10)), put(t, from, text(20)), put(t, from, text(30))
	var failed []domain.BlobID
	to := new(blobtest.Memory)
	sum, err := blob.Copying{
		From: corrupt{there, broken.ID, gone.ID}, To: to, Failed: func(id domain.BlobID, _ error) { failed = append(failed, id) },
	}.Run(ctx)
	if err != nil || sum != (blob.Copied{Stored: 3, Copied: 1, Octets: sum.Octets, Gone: 1, Failed: 1}) || len(failed) != 1 || failed[0] != broken.ID {
		t.Errorf("%+v, %v, %v", sum, failed, err)
	}
	if err := blob.New(to, secret).Verify(ctx, whole); err != nil {
		t.Error(err)
	}
}

func TestCopyingIsCancelled(t *testing.T) {
	from, there := newStore()
	put(t, from, text(10))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := (blob.Copying{From: there, To: new(blobtest.Memory)}).Run(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// replacing is a bucket that stores a blob anew after each reading of some octets, and whose objects notice.
type replacing struct {
	*blobtest.Memory
	replace func()
	times   int
}

func (r *replacing) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	o, err := r.Memory.Open(ctx, id)
	return &replaced{Object: o, r: r}, err
}

type replaced struct {
	blob.Object
	r     *replacing
	reads int
}

func (o *replaced) ReadAt(p []byte, off int64) (int, error) {
	if o.reads++; o.reads > 4 && o.r.times > 0 { // the trailer, and some packages
		o.r.times--
		o.r.replace()
		return 0, domain.Wrap(domain.Unavailable, blob.ErrReplaced, "read")
	}
	return o.Object.ReadAt(p, off)
}

// TestReadingGoesOnWhenTheBlobIsReplaced: it is the same message, sealed with another key.
func TestReadingGoesOnWhenTheBlobIsReplaced(t *testing.T) {
	for times, good := range map[int]bool{1: true, 4: true, 100: false} {
		bucket := &replacing{Memory: new(blobtest.Memory), times: times}
		s := blob.New(bucket, secret)
		want := text(4 << 20)
		ref := put(t, s, want)
		bucket.replace = func() { put(t, s, want) }
		got, err := read(s, ref, 1000, -1)
		if good && (err != nil || string(got) != string(want[1000:])) {
			t.Errorf("replaced %d times: %d octets, %v", times, len(got), err)
		}
		if !good && !domain.Is(err, domain.Unavailable) && !errors.Is(err, blob.ErrReplaced) {
			t.Errorf("replaced again and again: %v", err)
		}
	}
}
