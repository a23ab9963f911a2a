package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
)

// dataDir is the directory that holds everything, locked for this process.
//
//	log/        the embedded NATS server's files      keys/   master keys
//	views/      rows, safe to remove                  tls/    the self-signed certificate
//	blobs/      sealed messages                       archive/   a copy of the log
//	admin.json, demo.json, node.json, rows.json, lock
type dataDir struct {
	path string
	lock *os.File
}

// openData makes the directory when there is none and locks it. The lock is the kernel's, so a crash leaves none behind.
func openData(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, &domain.Error{Kind: domain.Unavailable, Msg: "the data directory cannot be made", Err: err, Hint: "choose another one with --data"}
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &domain.Error{Kind: domain.Unavailable, Msg: "the data directory cannot be written", Err: err, Hint: "make " + path + " writable for this user"}
	}
	if err := takeLock(lock); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(lock, 32)) // it only helps the message
		err = errors.Join(err, lock.Close())
		return nil, &domain.Error{
			Kind: domain.Unavailable, Msg: fmt.Sprintf("the data directory %s is in use by another process (%s)", path, strings.TrimSpace(string(owner))),
			Err: err, Hint: "stop that process first, or choose another directory with --data; two instances need two directories and a --port-offset",
		}
	}
	if err = lock.Truncate(0); err == nil {
		_, err = fmt.Fprintf(lock, "pid %d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(domain.Wrap(domain.Unavailable, err, "the data directory cannot be written"), lock.Close())
	}
	return &dataDir{path, lock}, nil
}

// takeLock tries a few times, because idle holds the lock for a moment.
func takeLock(lock *os.File) (err error) {
	for range 10 {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// idle reports whether surely no process has the data directory.
func idle(path string) bool {
	lock, err := os.Open(filepath.Join(path, "lock"))
	if err != nil {
		return false
	}
	defer lock.Close() // and with it what was locked
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
}

func (d *dataDir) join(name string) string { return filepath.Join(d.path, name) }

func (d *dataDir) close() error { return d.lock.Close() }

// writeJSON replaces a file that only this user may read. It is whole or not there, whatever happens meanwhile.
func (d *dataDir) writeJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(d.path, "."+name+"-*") // mode 0600
	if err != nil {
		return &domain.Error{Kind: domain.Unavailable, Msg: "write " + d.join(name), Err: err, Hint: "make " + d.path + " writable for this user, or free space on its disk"}
	}
	_, err = temp.Write(append(text, '\n'))
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), d.join(name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", d.join(name), err), os.Remove(temp.Name()))
	}
	return nil
}
