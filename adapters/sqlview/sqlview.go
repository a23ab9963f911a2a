// Package sqlview keeps views in SQLite (modernc.org/sqlite, no cgo): one file for each generation of a projection's rows in a stream, named
// <stream>.<projection>.<number>.db.
//
// Views follow from the log, so a file may be deleted at any time: it is made anew by replay. Nothing here repairs a file that cannot be read.
// Nothing is synced before an answer; write-ahead logging with synchronous=NORMAL keeps a file consistent over a crash, and the head inside tells
// where to go on.
//
// Locking: one connection writes, under a mutex; a bounded pool of connections reads. SQLite's write-ahead log lets both go on at once.
// Connections that nobody uses are closed, so that a file at rest takes no memory. What a large transaction wrote to that log is moved to the file by a
// connection of its own.
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
	"regexp"
	"strconv"
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
	Idle        time.Duration // after which an unused connection is closed; 30 s
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
		o.Idle = 30 * time.Second
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
	files map[projections.Generation]*file
}

var _ projections.Views = (*Views)(nil)

// The names of files. A file is known by its last part: that of a generation, one that serves a comparison, one that is being copied, a damaged
// one; each may have a write-ahead log and its index beside it.
const (
	ending  = ".db"
	scratch = ".scratch"
	copying = ".copying"
	aside   = ".damaged"
)

// suffixes are those of the files that make a database, the file itself last.
var suffixes = []string{"-wal", "-shm", ""}

// older are the files of builds that kept all projections of a stream in one file.
var older = regexp.MustCompile(`^[^.]+\.db(\.damaged|)(-wal|-shm|)$`)

// Open opens a directory for views, and makes it if need be. It removes what nobody can need any more: leftovers of comparisons and copies, and
// files of builds that kept several projections in one. Errors: domain.Unavailable when it cannot be written.
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
	v := &Views{dir: dir, opt: opt.withDefaults(), files: map[projections.Generation]*file{}}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, unwritable(err, dir)
	}
	removed := 0
	for _, entry := range names {
		name := entry.Name()
		old := older.MatchString(name)
		if !old && !strings.Contains(name, scratch) && !strings.Contains(name, copying) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return nil, unwritable(err, dir)
		}
		if old && strings.HasSuffix(name, ending) {
			removed++
		}
	}
	if removed > 0 {
		v.opt.Logger.Info("view files of an earlier build are removed: the views are made anew from the log", "files", removed, "directory", dir)
	}
	return v, nil
}

func unwritable(err error, dir string) error {
	e := domain.Wrap(domain.Unavailable, err, "the directory of views cannot be written")
	e.Hint = fmt.Sprintf("make %s writable for this user, or free space on its disk", dir)
	return e
}

// Generations lists the files.
func (v *Views) Generations(context.Context) ([]projections.Generation, error) {
	names, err := os.ReadDir(v.dir)
	if err != nil {
		return nil, unwritable(err, v.dir)
	}
	var all []projections.Generation
	for _, entry := range names {
		if g, ok := parse(entry.Name()); ok {
			all = append(all, g)
		}
	}
	return all, nil
}

func parse(name string) (projections.Generation, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 || parts[3] != ending[1:] {
		return projections.Generation{}, false
	}
	n, err := strconv.Atoi(parts[2])
	return projections.Generation{Stream: parts[0], Projection: parts[1], Number: n}, err == nil && n > 0 && strconv.Itoa(n) == parts[2]
}

func (v *Views) path(g projections.Generation) (string, error) {
	for _, part := range []string{g.Stream, g.Projection} {
		if part == "" || strings.ContainsAny(part, `/\.`) {
			return "", domain.Errorf(domain.Invalid, "%q cannot be part of the name of a view", part)
		}
	}
	if g.Number < 1 {
		return "", domain.Errorf(domain.Invalid, "%d cannot be the number of a generation", g.Number)
	}
	return filepath.Join(v.dir, g.String()+ending), nil
}

// Open gives a generation's file, which is made when it is not there.
func (v *Views) Open(ctx context.Context, g projections.Generation) (projections.View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	path, err := v.path(g)
	if err != nil {
		return nil, err
	}
	f := v.files[g]
	if f == nil {
		if f, err = openFile(ctx, path, g.Projection, v.opt, false); err == nil {
			v.files[g] = f
		}
	} else {
		err = f.whole()
	}
	if errors.Is(err, projections.ErrDamaged) {
		return nil, domain.Wrap(domain.Corrupt, err, fmt.Sprintf("view %s cannot be read", g))
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Copy writes a compact copy of the committed rows.
func (v *Views) Copy(ctx context.Context, from, to projections.Generation) error {
	view, err := v.Open(ctx, from)
	if err != nil {
		return err
	}
	path, err := v.path(to)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return domain.Errorf(domain.Exists, "there is a view %s already", to)
	}
	unfinished := path + copying
	if err := removeFiles(unfinished); err != nil {
		return err
	}
	err = view.(*file).copy(ctx, unfinished)
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	return errors.Join(err, removeFiles(unfinished))
}

// Drop deletes a generation's file.
func (v *Views) Drop(_ context.Context, g projections.Generation) error {
	return v.take(g, removeFiles)
}

// Aside keeps the damaged file under another name, until Scrub.
func (v *Views) Aside(_ context.Context, g projections.Generation) error {
	return v.take(g, func(path string) error {
		kept := ""
		for _, suffix := range suffixes {
			err := os.Rename(path+suffix, path+aside+suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return unwritable(err, v.dir)
			}
			if err == nil {
				kept = path + aside + suffix
			}
		}
		if kept != "" {
			v.opt.Logger.Warn("a damaged view file is kept for inspection; it may be deleted", "file", kept)
		}
		return nil
	})
}

// take closes a generation's file and does away with it.
func (v *Views) take(g projections.Generation, away func(path string) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	path, err := v.path(g)
	if err != nil {
		return err
	}
	if f := v.files[g]; f != nil {
		delete(v.files, g)
		f.close()
	}
	return away(path)
}

func removeFiles(path string) error {
	for _, suffix := range suffixes {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(err, filepath.Dir(path))
		}
	}
	return nil
}

// Scratch makes empty tables in a file that release deletes.
func (v *Views) Scratch(ctx context.Context, projection string) (projections.View, func(), error) {
	tmp, err := os.CreateTemp(v.dir, projection+scratch+"-*")
	if err != nil {
		return nil, nil, unwritable(err, v.dir)
	}
	path := tmp.Name()
	_ = tmp.Close() // nothing was written
	f, err := openFile(ctx, path, projection, v.opt, true)
	if err != nil {
		_ = removeFiles(path)
		return nil, nil, err
	}
	return f, func() {
		f.close()
		_ = removeFiles(path) // a leftover is removed at the next start
	}, nil
}

func undefined(projection string) error {
	return domain.Errorf(domain.Internal, "projection %s has no definition", projection)
}

// Size adds up the files of a generation.
func (v *Views) Size(_ context.Context, g projections.Generation) (octets int64, err error) {
	path, err := v.path(g)
	if err != nil {
		return 0, err
	}
	for _, suffix := range suffixes {
		info, err := os.Stat(path + suffix)
		switch {
		case err == nil:
			octets += info.Size()
		case !errors.Is(err, fs.ErrNotExist):
			return 0, unwritable(err, v.dir)
		}
	}
	return octets, nil
}

// Close closes all files.
func (v *Views) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for g, f := range v.files {
		delete(v.files, g)
		f.close()
	}
	return nil
}
