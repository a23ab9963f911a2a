package blob

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
)

// Copying is the way of all blobs from one bucket to another, as they are sealed. Mail may come and go meanwhile: what is stored in From after its
// listing began is copied by the next run, which copies nothing twice. What a run needs in memory is 16 octets for each blob of To.
type Copying struct {
	From, To Bucket
	Deep     bool // also read and compare what To has already, and copy anew what differs
	Parallel int  // blobs on their way at a time; 1 if less
	// Failed is told of each blob that From cannot give; it may be nil.
	Failed func(domain.BlobID, error)
	// Progress is called now and then, of all blobs that there are; it may be nil.
	Progress func(done, all int64)
}

// Copied is what a run did. Octets are of the sealed form.
type Copied struct {
	Stored  int64 `json:"stored"`  // blobs in From
	Present int64 `json:"present"` // of them, those that To had already
	Copied  int64 `json:"copied"`  // and those that were copied, and read back from To octet by octet
	Octets  int64 `json:"octets"`  // of the copied
	Gone    int64 `json:"gone"`    // deleted since they were listed
	Failed  int64 `json:"failed"`  // damaged in From
}

// Run copies. It may be cut short and repeated at any time. Errors: those of the buckets; a blob that is damaged in From is none, see Failed.
func (c Copying) Run(ctx context.Context) (sum Copied, err error) {
	there, err := c.present(ctx)
	if err != nil {
		return sum, err
	}
	var all int64
	if err := c.From.List(ctx, func(domain.BlobID, int64, time.Time) error { all++; return nil }); err != nil {
		return sum, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // guards sum
	work := make(chan known)
	var workers sync.WaitGroup
	for range max(c.Parallel, 1) {
		workers.Go(func() {
			for k := range work {
				done, err := c.one(ctx, k, there)
				mu.Lock()
				if failed := sum.add(done, err); failed != nil {
					cancel(failed)
				} else if err != nil && c.Failed != nil && domain.Is(err, domain.Corrupt) {
					c.Failed(k.id, err)
				}
				if c.Progress != nil && sum.Stored%64 == 0 {
					c.Progress(sum.Stored, max(all, sum.Stored))
				}
				mu.Unlock()
			}
		})
	}
	err = c.From.List(ctx, func(id domain.BlobID, size int64, _ time.Time) error {
		select {
		case work <- known{id, size}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(work)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return sum, err
}

// known is a blob that a bucket listed.
type known struct {
	id   domain.BlobID
	size int64
}

// add counts a blob and gives the error that ends the run, if it is one.
func (c *Copied) add(one Copied, err error) error {
	switch {
	case domain.Is(err, domain.NotFound):
		one = Copied{Gone: 1}
	case domain.Is(err, domain.Corrupt):
		one = Copied{Failed: 1}
	case err != nil:
		return err
	}
	c.Stored++
	c.Present += one.Present
	c.Copied += one.Copied
	c.Octets += one.Octets
	c.Gone += one.Gone
	c.Failed += one.Failed
	return nil
}

// held is a blob in short. Names are keyed hashes, so that their first eight octets are as good as all of them in any set that fits on a disk.
type held struct{ name, size uint64 }

func (k known) held() held { return held{binary.BigEndian.Uint64(k.id[:8]), uint64(k.size)} }

func compareHeld(a, b held) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.size, b.size))
}

// present lists what To has, in order.
func (c Copying) present(ctx context.Context) (there []held, err error) {
	err = c.To.List(ctx, func(id domain.BlobID, size int64, _ time.Time) error {
		there = append(there, known{id, size}.held())
		return nil
	})
	slices.SortFunc(there, compareHeld)
	return there, err
}

// one brings a blob over.
func (c Copying) one(ctx context.Context, k known, there []held) (Copied, error) {
	if _, found := slices.BinarySearchFunc(there, k.held(), compareHeld); found {
		if !c.Deep {
			return Copied{Present: 1}, nil
		}
		if same, err := c.same(ctx, k.id); same || err != nil {
			return Copied{Present: 1}, err
		}
	}
	size, sum, err := c.send(ctx, k.id)
	if err != nil {
		return Copied{}, err
	}
	switch arrived, err := digest(ctx, c.To, k.id); {
	case domain.Is(err, domain.NotFound):
		return Copied{}, domain.Wrap(domain.Unavailable, err, "the copy of blob "+k.id.String()+" is not there")
	case err != nil:
		return Copied{}, unreadable(err)
	case arrived != sum:
		return Copied{}, domain.Errorf(domain.Unavailable, "the copy of blob %s is not what was sent: look at the bucket and the way to it, and repeat", k.id)
	}
	return Copied{Copied: 1, Octets: size}, nil
}

// unreadable is an error of reading a copy: a damaged one ends the run, since it says nothing about what was copied.
func unreadable(err error) error {
	if domain.Is(err, domain.Corrupt) {
		return domain.Wrap(domain.Unavailable, err, "a copy cannot be read back")
	}
	return err
}

// same compares a blob of both buckets. One that To cannot give is not the same.
func (c Copying) same(ctx context.Context, id domain.BlobID) (bool, error) {
	from, err := digest(ctx, c.From, id)
	if err != nil {
		return false, err
	}
	to, err := digest(ctx, c.To, id)
	if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) {
		return false, nil
	}
	return from == to, err
}

// send copies a blob and gives its size and digest.
func (c Copying) send(ctx context.Context, id domain.BlobID) (size int64, sum [32]byte, err error) {
	object, err := c.From.Open(ctx, id)
	if err != nil {
		return 0, sum, err
	}
	defer object.Close()
	upload, err := c.To.Create(ctx)
	if err != nil {
		return 0, sum, err
	}
	defer upload.Abort()
	h := sha256.New()
	if size, err = io.Copy(io.MultiWriter(upload, h), contextReader{ctx, io.NewSectionReader(object, 0, object.Size())}); err != nil {
		return 0, sum, fmt.Errorf("copy blob %s: %w", id, err)
	}
	h.Sum(sum[:0])
	return size, sum, upload.Commit(ctx, id)
}

// digest reads a blob.
func digest(ctx context.Context, b Bucket, id domain.BlobID) (sum [32]byte, err error) {
	object, err := b.Open(ctx, id)
	if err != nil {
		return sum, err
	}
	defer object.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, io.NewSectionReader(object, 0, object.Size())}); err != nil {
		return sum, fmt.Errorf("read blob %s: %w", id, err)
	}
	h.Sum(sum[:0])
	return sum, nil
}
