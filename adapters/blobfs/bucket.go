// Package blobfs keeps blobs in a directory: the blob.Bucket of a single node.
//
// Most messages are small, and a file for each costs two syncs, three directory operations and an inode. So small blobs are records in segment
// files (packs/<number>.pack), where one sync serves all that are stored at the same time; larger ones are files of their own.
//
// Invariants:
//   - Commit returns when the octets are durable, and the newest blob of a name wins.
//   - The segments alone say what is stored. Their index (packs/index) is a fold of them: it may be lost and is made anew.
//   - A record that a crash cut short is cut off and never served. Damage is domain.Corrupt.
//   - Memory does not grow with the number of blobs.
package blobfs

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// Options of a Bucket. The zero value serves.
type Options struct {
	Limits Limits
	Logger *slog.Logger // nil for slog.Default
	// Failpoint is called at "blob.written" (all octets are in a file) and "blob.committed" (the blob is durable). Crash tests end the process
	// there; nil in production.
	Failpoint func(name string)
}

// Limits of a Bucket; zero fields get the default.
type Limits struct {
	Packed  int   // octets of the largest blob that goes into a segment: 256 KiB
	Segment int64 // octets at which a segment ends: 64 MiB; at most 4 GiB
	Ahead   int64 // octets of zeros that are kept ready behind the newest record: 8 MiB
	Round   int   // octets that one sync covers, more or less: 1 MiB
	Recent  int   // blobs whose places are kept in memory before they go to the index's file, and at most eight times that when it cannot be written: 8,192
	Files   int   // segment files kept open: 64
}

func (l *Limits) setDefaults() {
	l.Packed = cmp.Or(l.Packed, 256<<10)
	l.Segment = cmp.Or(l.Segment, 64<<20)
	l.Ahead = cmp.Or(l.Ahead, 8<<20)
	l.Round = cmp.Or(l.Round, 1<<20)
	l.Recent = cmp.Or(l.Recent, 8192)
	l.Files = cmp.Or(l.Files, 64)
}

// Bucket is a directory of blobs.
type Bucket struct {
	limits    Limits
	failpoint func(string)
	files     files
	packs     *packs
	closed    atomic.Bool
}

var _ blob.Bucket = (*Bucket)(nil)

// Open makes the directory ready: it is created when missing, must be writable, and is cleared of what a crash left half done. One process at
// a time may use it; Close it. Errors: domain.Unavailable with a hint.
func Open(dir string, o Options) (*Bucket, error) {
	o.Limits.setDefaults()
	if o.Failpoint == nil {
		o.Failpoint = func(string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b := &Bucket{limits: o.Limits, failpoint: o.Failpoint, files: files{dir: dir}}
	if err := b.files.prepare(); err != nil {
		return nil, failed(err, "open the blob directory "+dir)
	}
	var err error
	if b.packs, err = openPacks(filepath.Join(dir, packsDir), o); err != nil {
		return nil, failed(err, "open the blob directory "+dir)
	}
	return b, nil
}

// Close ends the use of the directory. What was committed is durable without it; it only makes the next Open quick.
//
// Closing again does nothing.
func (b *Bucket) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if err := b.packs.close(); err != nil {
		return failed(err, "close the blob directory")
	}
	return nil
}

// Check tells whether blobs can be stored. Error: domain.Unavailable.
func (b *Bucket) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.packs.check(); err != nil {
		return err
	}
	if err := b.files.writable(); err != nil {
		return failed(err, "store a message")
	}
	return nil
}

// Stats tells what the bucket did and has.
func (b *Bucket) Stats() Stats { return b.packs.stats() }

// Create begins an upload.
func (b *Bucket) Create(ctx context.Context) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return newUpload(b), nil
}

// Open gives a blob. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (b *Bucket) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o, err := b.packs.open(id)
	if domain.Is(err, domain.NotFound) {
		return b.files.open(id)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Delete removes a blob durably unless it was stored anew since before; the zero time stands for whenever it was stored. deleted is false
// when it was, and when there is no such blob. A Commit of the same blob comes either before, and counts, or after, and stores it again.
func (b *Bucket) Delete(ctx context.Context, id domain.BlobID, before time.Time) (deleted bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	place, err := b.packs.index.find(id)
	if err != nil {
		return false, failed(err, "delete a stored message")
	}
	if !place.gone() {
		if deleted, err = b.packs.delete(id, before); err != nil {
			return false, failed(err, "delete a stored message")
		}
		if !deleted {
			return false, nil
		}
	}
	file, kept, err := b.files.delete(id, before)
	if err != nil {
		return false, failed(err, "delete a stored message")
	}
	return (deleted || file) && !kept, nil
}

// unpack removes a packed blob, if there is one.
func (b *Bucket) unpack(id domain.BlobID) error {
	place, err := b.packs.index.find(id)
	if err != nil || place.gone() {
		return err
	}
	_, err = b.packs.delete(id, time.Time{})
	return err
}

// List calls f for every blob. A blob that is stored or deleted meanwhile may be listed or not.
func (b *Bucket) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	if err := b.packs.list(ctx, f); err != nil {
		return err
	}
	return b.files.list(ctx, func(id domain.BlobID, size int64, modified time.Time) error {
		if place, err := b.packs.index.find(id); err != nil || !place.gone() {
			return err // It is packed as well, and was listed.
		}
		return f(id, size, modified)
	})
}

// failed gives an operating system's error its kind and tells the operator what to do. An error that has a kind stays as it is.
func failed(err error, doing string) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return err
	}
	e := domain.Wrap(domain.Unavailable, err, doing)
	switch {
	case full(err):
		e.Hint = "the disk that holds the blobs is full: free space or enlarge it; nothing that was accepted is lost"
	case errors.Is(err, syscall.EROFS):
		e.Hint = "the blobs lie on a read-only file system: mount it read-write"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "the user that runs the server must own the blob directory and may write to it"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		e.Hint = "too many open files: raise the limit (ulimit -n, LimitNOFILE)"
	case errors.Is(err, syscall.EIO):
		e.Hint = "the disk that holds the blobs fails: look into the kernel's log"
	case errors.Is(err, syscall.ENOTDIR):
		e.Hint = "a file stands where the blob directory should be"
	case errors.Is(err, bbolterrors.ErrTimeout):
		e.Hint = "another process uses the blob directory: stop it first"
	}
	return e
}
