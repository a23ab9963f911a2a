package blobfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// files keeps large blobs, each in a file of its own: <first two hexadecimal digits of the id>/<id>.
//
// A file is written under a temporary name, given its own, synced, and its directory is synced. Naming comes before syncing because one
// commit of the file system's journal then covers both; a crash in between can leave a file that is not whole, which nothing refers to yet. A name
// that is taken is treated the other way round: there the file is synced first and then replaces the old one, so that what others refer to is
// whole at every moment.
type files struct {
	dir    string
	lock   string       // file whose lock is held as naming is, where other processes use the directory; empty where none does
	naming sync.RWMutex // held for writing by deletions, which must not see a file between two names

	mu   sync.Mutex
	made map[string]bool // directories that are durable
}

const uploads = "uploads"

// prepare makes the directories and removes uploads that a crash left.
func (s *files) prepare() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, uploads)); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, uploads), 0o700); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.dir))
}

// path gives the file of a blob.
func (s *files) path(id domain.BlobID) string {
	name := id.String()
	return filepath.Join(s.dir, name[:2], name)
}

// create makes a temporary file.
func (s *files) create() (*os.File, error) {
	return os.CreateTemp(filepath.Join(s.dir, uploads), "")
}

// commit gives a temporary file its name, durably. When it fails, the name may hold octets that are not durable; they count for nothing until a
// later commit.
func (s *files) commit(f *os.File, id domain.BlobID) error {
	s.naming.RLock()
	defer s.naming.RUnlock()
	unlock, err := s.locked(syscall.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	return s.name(f, id, time.Now()) // It is stored now, however long it took to arrive.
}

// name is commit for those that keep deletions away, at a given time.
func (s *files) name(f *os.File, id domain.BlobID, stored time.Time) error {
	if err := os.Chtimes(f.Name(), stored, stored); err != nil {
		return err
	}
	path := s.path(id)
	if err := s.makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces: what has the name already may be referred to.
	switch err := os.Link(f.Name(), path); {
	case err == nil:
		if err := datasync(f); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrExist), unsupported(err):
		if err := datasync(f); err != nil {
			return err
		}
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
	default:
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writable tells whether a file can be made.
func (s *files) writable() error {
	f, err := s.create()
	if err != nil {
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// makeDir makes the directory of a file durable when it is used for the first time. One that is there already may be the work of a process that
// died before it was durable.
func (s *files) makeDir(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[dir] {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	if s.made == nil {
		s.made = map[string]bool{}
	}
	s.made[dir] = true
	return nil
}

// open gives a blob. Errors: domain.NotFound, domain.Unavailable.
func (s *files) open(id domain.BlobID) (blob.Object, error) {
	f, err := os.Open(s.path(id))
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

// delete removes a blob durably, unless it was stored since before. kept is true for one that was.
func (s *files) delete(id domain.BlobID, before time.Time) (deleted, kept bool, err error) {
	s.naming.Lock()
	defer s.naming.Unlock()
	unlock, err := s.locked(syscall.LOCK_EX)
	if err != nil {
		return false, false, err
	}
	defer unlock()
	path := s.path(id)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	if !before.IsZero() && !info.ModTime().Before(before) {
		return false, true, nil
	}
	if err := os.Remove(path); err != nil {
		return false, false, err
	}
	return true, false, syncDir(filepath.Dir(path))
}

// list calls f for every blob. One that is deleted meanwhile is left out.
func (s *files) list(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	for i := range 256 {
		if err := s.listDir(ctx, filepath.Join(s.dir, fmt.Sprintf("%02x", i)), f); err != nil {
			return err
		}
	}
	return nil
}

func (s *files) listDir(ctx context.Context, dir string, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
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
