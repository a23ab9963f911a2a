// Package sqlview keeps views in SQLite (modernc.org/sqlite, no cgo): one file for each stream of the log.
//
// Views follow from the log, so a file may be deleted at any time while the server is down: the next start makes it anew by replay. A file
// that cannot be read is moved aside, never repaired. Nothing here is synced before an answer; write-ahead logging with synchronous=NORMAL
// keeps a file consistent over a crash, and the cursor inside tells where to go on.
//
// Locking: one connection writes, under a mutex; a bounded pool of connections reads. SQLite's write-ahead log lets both go on at once.
//
// Files hold envelopes and blob keys in the clear. They are made readable by the owner only, and deleted content is overwritten.
package sqlview

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// Options are the store's limits. The zero value means the defaults.
type Options struct {
	Readers     int           // read connections for each file; 4
	BusyTimeout time.Duration // how long a statement waits for a lock; 5 s
	WriteCache  int           // KiB of pages that a writer keeps in memory; 4096
	ReadCache   int           // KiB of pages that each reader keeps in memory; 1024
	Idle        time.Duration // after which an unused read connection is closed and a writer's cache given back; 1 min
	Logger      *slog.Logger  // hears of files moved aside; slog.Default
}

func (o Options) withDefaults() Options {
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.WriteCache <= 0 {
		o.WriteCache = 4096
	}
	if o.ReadCache <= 0 {
		o.ReadCache = 1024
	}
	if o.Idle <= 0 {
		o.Idle = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Views is a directory of view files. It implements projections.Views.
type Views struct {
	dir string
	opt Options

	mu    sync.Mutex
	files map[string]*file
}

var _ projections.Views = (*Views)(nil)

// shadowMark is part of the name of a file that serves one comparison.
const shadowMark = ".shadow-"

// Open opens a directory for views, and makes it if need be. Errors: domain.Unavailable when it cannot be written.
func Open(dir string, opt Options) (*Views, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(err, dir)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return nil, unwritable(err, dir)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return nil, unwritable(err, dir)
	}
	v := &Views{dir: dir, opt: opt.withDefaults(), files: map[string]*file{}}
	leftover, _ := filepath.Glob(filepath.Join(dir, "*"+shadowMark+"*")) // the pattern is well formed
	for _, name := range leftover {
		_ = os.Remove(name)
	}
	return v, nil
}

func unwritable(err error, dir string) error {
	e := domain.Wrap(domain.Unavailable, err, "the directory of views cannot be written")
	e.Hint = fmt.Sprintf("make %s writable for this user, or free space on its disk", dir)
	return e
}

// Open gives a stream's view. A file that is not there is made; one that cannot be read is moved aside and made anew.
func (v *Views) Open(ctx context.Context, stream string) (projections.View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f := v.files[stream]; f != nil && !f.damaged.Load() {
		return f, nil
	}
	path, err := v.path(stream)
	if err != nil {
		return nil, err
	}
	if f := v.files[stream]; f != nil {
		delete(v.files, stream)
		f.close()
		if err := v.moveAside(path, errDamaged); err != nil {
			return nil, err
		}
	}
	f, err := openFile(ctx, path, v.opt, false)
	if errors.Is(err, errDamaged) {
		if err := v.moveAside(path, err); err != nil {
			return nil, err
		}
		f, err = openFile(ctx, path, v.opt, false)
	}
	if err != nil {
		return nil, err
	}
	v.files[stream] = f
	return f, nil
}

func (v *Views) path(stream string) (string, error) {
	if stream == "" || strings.ContainsAny(stream, `/\.`) {
		return "", domain.Errorf(domain.Invalid, "%q cannot be the name of a view", stream)
	}
	return filepath.Join(v.dir, stream+".db"), nil
}

// moveAside keeps the last damaged file of a stream for inspection.
func (v *Views) moveAside(path string, why error) error {
	v.opt.Logger.Error("a view file cannot be read: it is moved aside and made anew from the log", "file", path, "error", why)
	for _, suffix := range suffixes {
		err := os.Rename(path+suffix, path+aside+suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(err, v.dir)
		}
	}
	return nil
}

// Reset deletes a stream's view.
func (v *Views) Reset(_ context.Context, stream string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	path, err := v.path(stream)
	if err != nil {
		return err
	}
	if f := v.files[stream]; f != nil {
		delete(v.files, stream)
		f.close()
	}
	return removeFiles(path)
}

// suffixes are those of the files that make a database, the file itself last.
var suffixes = []string{"-wal", "-shm", ""}

// aside is what a damaged file's name ends in.
const aside = ".damaged"

func removeFiles(path string) error {
	for _, suffix := range suffixes {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(err, filepath.Dir(path))
		}
	}
	return nil
}

// Shadow makes an empty view in a file that release deletes.
func (v *Views) Shadow(ctx context.Context, stream string) (projections.View, func(), error) {
	if _, err := v.path(stream); err != nil {
		return nil, nil, err
	}
	tmp, err := os.CreateTemp(v.dir, stream+shadowMark+"*.db")
	if err != nil {
		return nil, nil, unwritable(err, v.dir)
	}
	path := tmp.Name()
	_ = tmp.Close() // nothing was written
	f, err := openFile(ctx, path, v.opt, true)
	if err != nil {
		_ = removeFiles(path)
		return nil, nil, err
	}
	return f, func() {
		f.close()
		_ = removeFiles(path) // a leftover is removed at the next start
	}, nil
}

// Close closes all files.
func (v *Views) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for stream, f := range v.files {
		delete(v.files, stream)
		f.close()
	}
	return nil
}
