// Package blobfs keeps blobs as files in a directory: the blob.Bucket of a single node.
//
// A blob lies at <first two hexadecimal digits of its id>/<id>; uploads lie in uploads/ and are removed when the directory is opened.
//
// Durability: a file is written under a temporary name, given its own, synced, and its directory is synced; only then does Commit return.
// Naming comes before syncing because one file system journal commit then covers both; a crash in between can leave a file that is not whole,
// which nothing refers to yet. A name that is taken is treated the other way round: there the file is synced first and then replaces the old one, so
// that what others refer to is whole at every moment. Syncs of concurrent uploads are left to the kernel, which joins them: measured with 8 and 32
// writers, that is faster than queueing them for a common sync here.
package blobfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

const uploads = "uploads"

// Options of a Bucket. The zero value serves.
type Options struct {
	// Failpoint is called at "blob.written" (all octets are in the temporary file) and "blob.committed" (the blob is durable). Crash tests end
	// the process there; nil in production.
	Failpoint func(name string)
}

// Bucket is a directory of blobs.
type Bucket struct {
	dir       string
	failpoint func(string)
}

var _ blob.Bucket = (*Bucket)(nil)

// Open makes the directory ready: it is created when missing, must be writable, and is cleared of uploads that a crash left. One process at
// a time may use it. Errors: domain.Unavailable with a hint.
func Open(dir string, o Options) (*Bucket, error) {
	b := &Bucket{dir: dir, failpoint: o.Failpoint}
	if b.failpoint == nil {
		b.failpoint = func(string) {}
	}
	if err := b.prepare(); err != nil {
		return nil, failed(err, "open the blob directory "+dir)
	}
	return b, nil
}

func (b *Bucket) prepare() error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(b.dir, uploads)); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(b.dir, uploads), 0o700); err != nil {
		return err
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(b.dir, fmt.Sprintf("%02x", i)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := syncDir(b.dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(b.dir))
}

// path gives the file of a blob.
func (b *Bucket) path(id domain.BlobID) string {
	name := id.String()
	return filepath.Join(b.dir, name[:2], name)
}

// Create begins an upload. Error: domain.Unavailable.
func (b *Bucket) Create(ctx context.Context) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Join(b.dir, uploads), "")
	if err != nil {
		return nil, failed(err, "begin to store a message")
	}
	return &upload{bucket: b, file: f}, nil
}

// Open gives a blob. Errors: domain.NotFound, domain.Unavailable.
func (b *Bucket) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(b.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, domain.Wrap(domain.NotFound, err, "the stored message is missing")
	}
	if err != nil {
		return nil, failed(err, "open a stored message")
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, failed(err, "open a stored message")
	}
	return object{f, info.Size()}, nil
}

// Delete removes a blob durably.
func (b *Bucket) Delete(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := b.path(id)
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return failed(err, "delete a stored message")
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return failed(err, "delete a stored message")
	}
	return nil
}

// List calls f for every blob. A blob that is deleted meanwhile is left out.
func (b *Bucket) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	for i := range 256 {
		if err := b.listDir(ctx, filepath.Join(b.dir, fmt.Sprintf("%02x", i)), f); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) listDir(ctx context.Context, dir string, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return failed(err, "list stored messages")
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1000) // A directory may be large: never all at once.
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			id, err := domain.ParseBlobID(e.Name())
			if err != nil {
				continue // Not ours.
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return failed(err, "list stored messages")
			}
			if err := f(id, info.Size(), info.ModTime()); err != nil {
				return err
			}
		}
		if len(entries) == 0 || err != nil {
			return listEnd(err)
		}
	}
}

type object struct {
	*os.File
	size int64
}

func (o object) Size() int64 { return o.size }

// ReadAt reads like os.File's; a disk that cannot read is domain.Unavailable, since only its operator knows whether the octets are lost.
func (o object) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.File.ReadAt(p, off)
	if err != nil && !ended(err) {
		err = failed(err, "read a stored message")
	}
	return n, err
}

// failed gives an operating system's error its kind and tells the operator what to do.
func failed(err error, doing string) error {
	e := domain.Wrap(domain.Unavailable, err, doing)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
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
	}
	return e
}
