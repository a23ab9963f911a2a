package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// lateBucket is a bucket of the archive that cannot be opened when the server starts, such as a directory on a disk that is not mounted. It is opened when
// somebody wants it and it is there; until then nothing can be archived, and mail goes on.
type lateBucket struct {
	open func(context.Context) (bucket, error)

	mu     sync.Mutex
	bucket bucket // nil until it is opened
	tried  time.Time
	failed error
}

var _ bucket = (*lateBucket)(nil)

// lateEvery is how long a bucket that could not be opened is not tried again.
const lateEvery = time.Second

// openLate opens a bucket, now or later. Errors: what waiting does not mend.
func (c *core) openLate(ctx context.Context, what string, open func(context.Context) (bucket, error)) (bucket, error) {
	b, err := open(ctx)
	if !domain.Is(err, domain.Unavailable) || ctx.Err() != nil || c.restoring {
		return b, err
	}
	c.log.Error("mail goes on without the archive, which is tried again: it cannot be opened", "what", what, "error", err)
	return &lateBucket{open: open, tried: time.Now(), failed: err}, nil
}

// get opens the bucket, if it is not.
func (b *lateBucket) get(ctx context.Context) (bucket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bucket == nil && time.Since(b.tried) >= lateEvery {
		opened, err := b.open(ctx)
		if b.tried, b.failed = time.Now(), err; err == nil {
			b.bucket = opened
		}
	}
	if b.bucket == nil {
		return nil, b.failed
	}
	return b.bucket, nil
}

func (b *lateBucket) Create(ctx context.Context) (blob.Upload, error) {
	opened, err := b.get(ctx)
	if err != nil {
		return nil, err
	}
	return opened.Create(ctx)
}

func (b *lateBucket) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	opened, err := b.get(ctx)
	if err != nil {
		return nil, err
	}
	return opened.Open(ctx, id)
}

func (b *lateBucket) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	opened, err := b.get(ctx)
	if err != nil {
		return false, err
	}
	return opened.Delete(ctx, id, before)
}

func (b *lateBucket) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	opened, err := b.get(ctx)
	if err != nil {
		return err
	}
	return opened.List(ctx, f)
}

// Check tells whether something can be stored.
func (b *lateBucket) Check(ctx context.Context) error {
	opened, err := b.get(ctx)
	if err != nil {
		return err
	}
	return opened.Check(ctx)
}

// Sweep removes what was cut off, where the kind of bucket has such things.
func (b *lateBucket) Sweep(ctx context.Context) error {
	opened, err := b.get(ctx)
	if s, leaves := opened.(sweeper); err == nil && leaves {
		return s.Sweep(ctx)
	}
	return nil
}

// Close ends the use of the bucket.
func (b *lateBucket) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bucket == nil {
		b.open = func(context.Context) (bucket, error) {
			return nil, domain.Wrap(domain.Unavailable, io.ErrClosedPipe, "use the archive")
		}
		return nil
	}
	return b.bucket.Close()
}
