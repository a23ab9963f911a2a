package natsd

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/streampost/streampost/domain"
)

// prepare makes the log directory, durably, and proves that it can be written to.
func prepare(dir string) error {
	if dir == "" {
		return domain.Errorf(domain.Invalid, "the log needs a directory")
	}
	if err := makeDir(dir); err != nil {
		return storageError(err, "create the log directory")
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return storageError(err, "write to the log directory")
	}
	defer func() { _ = os.Remove(probe.Name()) }()
	_, err = probe.Write(make([]byte, 4096))
	if err = errors.Join(err, probe.Sync(), probe.Close()); err != nil {
		return storageError(err, "write to the log directory")
	}
	return nil
}

// makeDir is os.MkdirAll that makes each new name durable in its parent.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &os.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// storageError says in the operator's words why the log's directory cannot be used.
func storageError(err error, doing string) *domain.Error {
	e := domain.Wrap(domain.Unavailable, err, doing)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Msg, e.Hint = doing+": the disk is full", "free some space; nothing that was acknowledged is lost"
	case errors.Is(err, syscall.EROFS):
		e.Msg, e.Hint = doing+": the file system is read-only", "give the server's user write access to the data directory"
	case errors.Is(err, os.ErrPermission):
		e.Msg, e.Hint = doing+": this user may not use it", "run the server as the owner of its data directory, and give that user the log directory and what is in it"
	case errors.Is(err, syscall.ENOTDIR):
		e.Msg, e.Hint = doing+": a file is in the way", "choose another data directory"
	case errors.Is(err, syscall.EIO):
		e.Msg, e.Hint = doing+": the disk reports an error", "check the disk before the server is started again"
	}
	return e
}

// acquire takes the lock that keeps a second process away. The lock ends with the file or the process.
func acquire(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, storageError(err, "lock the log directory")
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, &domain.Error{
			Kind: domain.Unavailable,
			Msg:  "another process uses the log in " + filepath.Dir(name),
			Hint: "stop it, or choose another data directory",
			Err:  err,
		}
	}
	return f, nil
}
