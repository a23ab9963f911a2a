package natsd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
)

// streamFiles is what Sync knows of one stream's files.
type streamFiles struct {
	name string
	dir  string // of the stream
	msgs string // its directory of blocks

	mu     sync.Mutex
	broken error              // the sync that failed; final
	synced map[string]bool    // names of the blocks that are durable, size included, but for open ones
	open   map[string]*opened // blocks that may still grow: one, but for a moment at rollover
	listed time.Time          // when the directory was last listed; zero before the first Sync
	mtime  time.Time          // the directory's, just before that listing
}

// opened is a block that is kept open, so that an error of its writeback cannot be reported to nobody.
type opened struct {
	file *os.File
	size int64 // durable up to here
}

// racy is how fresh a directory's time may be before it says nothing: file systems stamp with a coarse clock, and two changes within one
// tick look like one.
const racy = time.Second

// Sync makes durable all that the stream has acknowledged when it is called. Blocks are taken to grow only: see SyncAll.
// Errors: domain.Unavailable, which is final for the stream until a new start.
func (s *Server) Sync(ctx context.Context, stream string) error {
	return s.sync(stream, (*streamFiles).sync)
}

// SyncAll is Sync for a stream in which messages were also overwritten or removed: every file of it is made durable.
func (s *Server) SyncAll(ctx context.Context, stream string) error {
	return s.sync(stream, (*streamFiles).syncTree)
}

func (s *Server) sync(stream string, do func(*streamFiles) error) error {
	f := s.filesOf(stream)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil {
		f.broken = do(f)
	}
	if f.broken != nil {
		return storageError(f.broken, "make "+stream+" durable")
	}
	return nil
}

func (s *Server) filesOf(stream string) *streamFiles {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, known := s.files[stream]
	if !known {
		dir := filepath.Join(s.streamsDir(), stream)
		f = &streamFiles{name: stream, dir: dir, msgs: filepath.Join(dir, "msgs")}
		s.files[stream] = f
	}
	return f
}

func (f *streamFiles) sync() error {
	if f.listed.IsZero() {
		return f.syncTree()
	}
	// The directory is looked at after the blocks are synced, and again after new ones are: one that appeared with what has to be synced is found, and
	// so is one that was replaced before its sync.
	for {
		for _, block := range f.open {
			if err := block.sync(); err != nil {
				return err
			}
		}
		fresh, err := f.discover()
		if err != nil {
			return err
		}
		if !fresh {
			f.settle()
			return nil
		}
		if err := syncDir(f.msgs); err != nil {
			return err
		}
	}
}

// sync makes a block durable if it grew.
func (b *opened) sync() error {
	// The size is read before the sync: what is written meanwhile belongs to the next one.
	info, err := b.file.Stat()
	if err != nil || info.Size() == b.size {
		return err
	}
	if err := datasync(b.file); err != nil {
		return err
	}
	b.size = info.Size()
	return nil
}

// discover opens the blocks that appeared since the last listing and reports whether there are any.
func (f *streamFiles) discover() (fresh bool, err error) {
	info, err := os.Stat(f.msgs)
	if err != nil {
		return false, err
	}
	if info.ModTime().Equal(f.mtime) && f.listed.Sub(f.mtime) > racy {
		return false, nil
	}
	now := time.Now()
	names, err := blockNames(f.msgs)
	if err != nil {
		return false, err
	}
	for name, block := range f.open {
		if err := f.unchanged(name, block); err != nil {
			return false, err
		}
	}
	for _, name := range names {
		if f.synced[name] || f.open[name] != nil {
			continue
		}
		file, err := os.Open(filepath.Join(f.msgs, name))
		if err != nil {
			return false, err
		}
		f.open[name] = &opened{file: file, size: -1}
		fresh = true
	}
	f.listed, f.mtime = now, info.ModTime()
	return fresh, nil
}

// unchanged makes sure that a block that is open is still the one of that name.
func (f *streamFiles) unchanged(name string, block *opened) error {
	named, err := os.Stat(filepath.Join(f.msgs, name))
	if err != nil {
		return err
	}
	info, err := block.file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, named) {
		return errors.New("block " + name + " was replaced in a stream that only grows")
	}
	return nil
}

// settle closes all open blocks but the one that the server writes to: the last.
func (f *streamFiles) settle() {
	last := ""
	for name := range f.open {
		if later(name, last) {
			last = name
		}
	}
	for name, block := range f.open {
		if name != last {
			_ = block.file.Close()
			delete(f.open, name)
			f.synced[name] = true
		}
	}
}

// syncTree makes the whole stream durable: every file in it, its directories, and their names up to the log directory's.
func (f *streamFiles) syncTree() error {
	f.closeBlocks()
	info, err := os.Stat(f.msgs)
	if err != nil {
		return err
	}
	now := time.Now()
	var consumers []string // their directories, and the one above them first
	err = filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return passing(err)
		}
		if d.IsDir() {
			if path != f.dir && path != f.msgs {
				consumers = append(consumers, path)
			}
			return nil
		}
		return f.syncFile(path)
	})
	if err != nil {
		return err
	}
	// Directories after the files in them, children before parents; streams/, the account's and JetStream's own lie above.
	for _, dir := range slices.Backward(consumers) {
		if err := passing(syncDir(dir)); err != nil {
			return err
		}
	}
	for _, dir := range []string{f.msgs, f.dir, up(f.dir, 1), up(f.dir, 2), up(f.dir, 3), up(f.dir, 4)} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	f.listed, f.mtime = now, info.ModTime()
	f.settle()
	return nil
}

// syncFile makes one file durable and keeps it open if it is a block.
func (f *streamFiles) syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return passing(err)
	}
	info, err := file.Stat()
	if err == nil {
		err = file.Sync()
	}
	if name := filepath.Base(path); err == nil && filepath.Dir(path) == f.msgs && isBlock(name) {
		f.open[name] = &opened{file: file, size: info.Size()}
		return nil
	}
	return errors.Join(err, file.Close())
}

func (f *streamFiles) closeBlocks() {
	for _, block := range f.open {
		_ = block.file.Close()
	}
	f.open, f.synced = map[string]*opened{}, map[string]bool{}
}

func (f *streamFiles) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closeBlocks()
	if f.broken == nil {
		f.broken = domain.Errorf(domain.Unavailable, "the log server has stopped")
	}
}

// passing forgives a temporary file or a consumer's that went away between listing and opening.
func passing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func up(dir string, levels int) string {
	for range levels {
		dir = filepath.Dir(dir)
	}
	return dir
}

func isBlock(name string) bool { return strings.HasSuffix(name, ".blk") }

// later orders block names by their number: "10.blk" is later than "9.blk".
func later(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a > b }

func blockNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	blocks := names[:0]
	for _, name := range names {
		if isBlock(name) {
			blocks = append(blocks, name)
		}
	}
	return blocks, nil
}
