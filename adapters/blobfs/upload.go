package blobfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/streampost/streampost/domain"
)

// upload is a temporary file; file is nil once it is over.
type upload struct {
	bucket *Bucket
	file   *os.File
}

func (u *upload) Write(p []byte) (int, error) {
	n, err := u.file.Write(p)
	if err != nil {
		err = failed(err, "store a message")
	}
	return n, err
}

// Commit implements blob.Upload. When it fails, the name may hold octets that are not durable; they count for nothing until a later Commit.
func (u *upload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	u.bucket.failpoint("blob.written")
	path := u.bucket.path(id)
	if err := u.commit(path); err != nil {
		return failed(err, "store a message")
	}
	u.Abort()
	u.bucket.failpoint("blob.committed")
	return nil
}

func (u *upload) commit(path string) error {
	// A link, unlike a rename, never replaces: what has the name already may be referred to.
	switch err := os.Link(u.file.Name(), path); {
	case err == nil:
		if err := datasync(u.file); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrExist), unsupported(err):
		if err := datasync(u.file); err != nil {
			return err
		}
		if err := os.Rename(u.file.Name(), path); err != nil {
			return err
		}
	default:
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Abort implements blob.Upload.
func (u *upload) Abort() {
	if u.file == nil {
		return
	}
	_ = u.file.Close()
	_ = os.Remove(u.file.Name())
	u.file = nil
}

// syncDir makes a directory's entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func listEnd(err error) error {
	if err == nil || ended(err) {
		return nil
	}
	return failed(err, "list stored messages")
}

func ended(err error) bool { return errors.Is(err, io.EOF) }

// unsupported tells that a file system has no hard links.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)
}
