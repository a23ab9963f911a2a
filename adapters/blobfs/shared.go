package blobfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Shared is a directory of blobs that several processes use, on several machines: a file for each blob, and no segments, since nobody could append to those
// together.
//
// It is as good as its file system. Renaming a file has to replace another in one step, a sync has to reach the disks, and flock has to hold between machines,
// as it does with NFS 4, and with NFS 3 where locks are not turned off (nolock, local_lock).
type Shared struct {
	files     files
	failpoint func(string)
}

var _ blob.Bucket = (*Shared)(nil)

// lockFile keeps deletions apart from commits.
const lockFile = "lock"

// abandoned is the age of an upload after which whoever began it is taken for dead.
const abandoned = 24 * time.Hour

// OpenShared makes the directory ready. Segments that a Bucket of one process left are dissolved into files. Errors: domain.Unavailable with a hint.
func OpenShared(ctx context.Context, dir string, o Options) (*Shared, error) {
	if o.Failpoint == nil {
		o.Failpoint = func(string) {}
	}
	s := &Shared{files: files{dir: dir, lock: filepath.Join(dir, lockFile)}, failpoint: o.Failpoint}
	err := s.files.prepareShared()
	if err == nil {
		err = s.dissolve(ctx, o)
	}
	if err != nil {
		return nil, failed(err, "open the shared blob directory "+dir)
	}
	return s, nil
}

// prepareShared makes the directories and removes uploads whose processes are long dead.
func (s *files) prepareShared() error {
	if err := os.MkdirAll(filepath.Join(s.dir, uploads), 0o700); err != nil {
		return err
	}
	left, err := os.ReadDir(filepath.Join(s.dir, uploads))
	if err != nil {
		return err
	}
	for _, f := range left {
		info, err := f.Info()
		if err == nil && time.Since(info.ModTime()) > abandoned {
			err = os.Remove(filepath.Join(s.dir, uploads, f.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(s.dir)
}

// dissolve makes files of what lies in segments, if there are any, and removes these. It may be cut short: what is in both is the same.
func (s *Shared) dissolve(ctx context.Context, o Options) error {
	dir := filepath.Join(s.files.dir, packsDir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.files.locked(syscall.LOCK_EX) // one process does it
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p, err := openPacks(dir, o)
	if err != nil {
		return err
	}
	err = p.list(ctx, func(id domain.BlobID, _ int64, modified time.Time) error {
		packed, err := p.open(id)
		if domain.Is(err, domain.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		defer packed.Close()
		f, err := s.files.create()
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.Copy(f, io.NewSectionReader(packed, 0, packed.Size())); err != nil {
			return errors.Join(err, os.Remove(f.Name()))
		}
		return s.files.name(f, id, modified)
	})
	if err := errors.Join(err, p.close()); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// locked holds the lock of a shared directory until unlock. A directory of one process has none.
func (s *files) locked(how int) (unlock func(), err error) {
	if s.lock == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(s.lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // and with it the lock
}

// Close does nothing: what was committed is durable.
func (s *Shared) Close() error { return nil }

// Check tells whether blobs can be stored. Error: domain.Unavailable.
func (s *Shared) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	unlock, err := s.files.locked(syscall.LOCK_SH)
	if err == nil {
		unlock()
		err = s.files.writable()
	}
	if err != nil {
		return failed(err, "store a message")
	}
	return nil
}

// Create begins an upload.
func (s *Shared) Create(ctx context.Context) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := s.files.create()
	if err != nil {
		return nil, failed(err, "store a message")
	}
	return &sharedUpload{shared: s, file: f}, nil
}

// Open gives a blob. Errors: domain.NotFound, domain.Unavailable.
func (s *Shared) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.files.open(id)
}

// Delete removes a blob durably unless it was stored anew since before.
func (s *Shared) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	deleted, _, err := s.files.delete(id, before)
	if err != nil {
		return false, failed(err, "delete a stored message")
	}
	return deleted, nil
}

// List calls f for every blob.
func (s *Shared) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	return s.files.list(ctx, f)
}

// sharedUpload is a file on its way in.
type sharedUpload struct {
	shared *Shared
	file   *os.File // nil once it is over
}

func (u *sharedUpload) Write(p []byte) (int, error) {
	if u.file == nil {
		return 0, errOver
	}
	n, err := u.file.Write(p)
	if err != nil {
		err = failed(err, "store a message")
	}
	return n, err
}

// Commit implements blob.Upload.
func (u *sharedUpload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.file == nil {
		return errOver
	}
	defer u.Abort()
	u.shared.failpoint("blob.written")
	if err := u.shared.files.commit(u.file, id); err != nil {
		return failed(err, "store a message")
	}
	u.shared.failpoint("blob.committed")
	return nil
}

// Abort implements blob.Upload.
func (u *sharedUpload) Abort() {
	if u.file != nil {
		_ = u.file.Close()
		_ = os.Remove(u.file.Name())
		u.file = nil
	}
}
