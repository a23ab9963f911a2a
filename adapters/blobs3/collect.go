package blobs3

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/streampost/streampost/domain"
)

// S3 cannot delete an object on the condition that it is old: between looking and deleting, another node may store the same message anew, and would lose it.
// So each side leaves a sign before it looks for the other's, and at least one sees the other's, as in Dekker's algorithm:
//
//	deleting   1. ring the bell: write <space>.bell, if it was not rung lately
//	           2. write the mark <space>.deleting/<id>/<random>, empty
//	           3. look at the object; if it is young, take the mark away
//	           4. delete the object
//	           5. write one octet into the mark: done
//	storing    1. write the object
//	           2. look at the bell; if it was not rung within Lull, that is all
//	           3. list the marks of this id; none: that is all
//	           4. wait while one is empty, then write the object anew, until the marks are the same before and after
//
// So storing costs one small request more, and the marks are listed while a collection runs, and for a while after it, only. A mark whose maker died is taken
// for done after a time that exceeds any deletion. Marks stay for Lull, which exceeds the time between writing and looking.
const (
	collectTimeout = 90 * time.Second // of steps 2 to 5
	staleMark      = 2 * time.Minute
	markPause      = 50 * time.Millisecond
)

func (b *Bucket) bell() string  { return b.name() + ".bell" }
func (b *Bucket) marks() string { return b.name() + ".deleting/" }

// collect removes a blob that was stored before a time.
func (b *Bucket) collect(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	old, err := b.old(ctx, id, before)
	if err != nil || !old {
		return false, err
	}
	if before.IsZero() {
		return true, b.remove(ctx, b.key(id))
	}
	if err := b.ring(ctx); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, collectTimeout, errSlow)
	defer cancel()
	mark := b.marks() + id.String() + "/" + rand.Text()
	if err := b.put(ctx, mark, nil); err != nil {
		return false, err
	}
	if old, err = b.old(ctx, id, before); err != nil || !old {
		return false, errors.Join(err, b.remove(context.WithoutCancel(ctx), mark))
	}
	if err := b.remove(ctx, b.key(id)); err != nil {
		return false, err // It may be gone: the mark stays, and who stores the message waits until it is stale.
	}
	return true, b.put(ctx, mark, []byte{1})
}

// old tells whether a blob is there and was stored before a time, or at any time if it is zero.
func (b *Bucket) old(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	info, err := b.stat(ctx, b.key(id))
	if missing(err) {
		return false, nil
	}
	return err == nil && (before.IsZero() || b.stored(info.LastModified).Before(before)), err
}

func (b *Bucket) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	ctx, cancel := b.bounded(ctx, 0)
	defer cancel()
	info, err := b.core.StatObject(ctx, b.cfg.Bucket, key, minio.StatObjectOptions{})
	if missing(err) {
		return info, err
	}
	return info, b.failed(slow(ctx, err), "look at a stored message in the S3 bucket")
}

func (b *Bucket) remove(ctx context.Context, key string) error {
	ctx, cancel := b.bounded(ctx, 0)
	defer cancel()
	err := b.core.RemoveObject(ctx, b.cfg.Bucket, key, minio.RemoveObjectOptions{})
	if missing(err) {
		return nil
	}
	return b.failed(slow(ctx, err), "delete a stored message in the S3 bucket")
}

// ring writes the bell unless this process did so lately.
func (b *Bucket) ring(ctx context.Context) error {
	now := time.Now()
	if now.Sub(time.Unix(0, b.rung.Load())) < b.limits.Lull/6 {
		return nil
	}
	if err := b.put(ctx, b.bell(), nil); err != nil {
		return err
	}
	b.rung.Store(now.UnixNano())
	return nil
}

// settle makes sure that a blob which was just stored is not deleted as the old one. send stores it anew.
func (b *Bucket) settle(ctx context.Context, id domain.BlobID, send func() error) error {
	switch info, err := b.stat(ctx, b.bell()); {
	case missing(err):
		return nil
	case err != nil:
		return err
	case b.age(info.LastModified) > b.limits.Lull:
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.limits.Timeout+staleMark, errSlow)
	defer cancel()
	var seen []string
	for {
		marks, busy, err := b.marked(ctx, id)
		switch {
		case err != nil:
			return err
		case len(marks) == 0 || !busy && slices.Equal(marks, seen):
			return nil
		case busy:
			select {
			case <-time.After(markPause):
			case <-ctx.Done():
				return slow(ctx, ctx.Err())
			}
			continue
		}
		seen = marks
		if err := send(); err != nil {
			return err
		}
	}
}

// age is how long ago an object was written, at most, by the server's clock.
func (b *Bucket) age(modified time.Time) time.Duration {
	return time.Since(modified.Truncate(time.Second)) + b.clock.ahead()
}

// marked lists the marks of a blob. busy is true while a deletion is under way.
func (b *Bucket) marked(ctx context.Context, id domain.BlobID) (marks []string, busy bool, err error) {
	ctx, cancel := b.bounded(ctx, 0)
	defer cancel()
	for o := range b.objects(ctx, b.marks()+id.String()+"/", b.limits.Page) {
		if o.Err != nil {
			return nil, false, b.failed(slow(ctx, o.Err), "look for deletions in the S3 bucket")
		}
		busy = busy || o.Size == 0 && b.age(o.LastModified) < staleMark
		marks = append(marks, o.Key)
	}
	if err := ctx.Err(); err != nil {
		return nil, false, b.failed(slow(ctx, err), "look for deletions in the S3 bucket")
	}
	return marks, busy, nil
}

// Sweep removes what collections and uploads that were cut off have left: old marks, many with one request, and parts of uploads that never ended.
func (b *Bucket) Sweep(ctx context.Context) error {
	old := func(yield func(minio.ObjectInfo) bool) {
		for o := range b.objects(ctx, b.marks(), b.limits.Page) {
			if o.Err != nil || b.age(o.LastModified) < b.limits.Lull {
				continue
			}
			if !yield(minio.ObjectInfo{Key: o.Key}) {
				return
			}
		}
	}
	results, err := b.core.RemoveObjectsWithIter(ctx, b.cfg.Bucket, old, minio.RemoveObjectsOptions{})
	if err != nil {
		return b.failed(err, "remove old marks from the S3 bucket")
	}
	for r := range results {
		if r.Err != nil {
			return b.failed(r.Err, "remove old marks from the S3 bucket")
		}
	}
	for u := range b.core.ListIncompleteUploads(ctx, b.cfg.Bucket, b.name()+"/", true) {
		if u.Err != nil {
			return b.failed(u.Err, "list uploads that did not end in the S3 bucket")
		}
		if b.age(u.Initiated) < b.limits.Abandoned || !strings.HasPrefix(u.Key, b.name()+"/") {
			continue
		}
		if err := b.core.AbortMultipartUpload(ctx, b.cfg.Bucket, u.Key, u.UploadID); err != nil {
			return b.failed(err, "give up an upload that did not end in the S3 bucket")
		}
	}
	return ctx.Err()
}
