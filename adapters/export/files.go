package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/feed"
)

// key is where an event stands in the log.
type key struct {
	stream string
	seq    domain.Seq
	index  int
}

func keyOf(item *feed.Item) key { return key{item.Stream, item.Seq, item.Index} }

// The names of files: events-, the time at which it was begun, and whether it is whole.
const (
	prefix   = "events-"
	whole    = ".ndjson"
	growing  = ".ndjson.part"
	nameTime = "20060102T150405.000Z"
)

// files is the directory. Only Run uses it.
type files struct {
	directory string
	now       func() time.Time

	open  *os.File // nil before the first line, between files, and after an error
	begun time.Time
	size  int64

	looked bool // known is filled
	known  map[key]bool
	order  []key // of known, as a ring
	oldest int
}

// write appends the lines that are not there yet, and syncs. After an error nothing of them counts: the next write looks at what is there.
func (f *files) write(rounds []*round, full int64) (lines int, err error) {
	defer func() {
		if err != nil {
			f.close()
			f.looked = false
			err = domain.Wrap(domain.Unavailable, err, "export events")
		}
	}()
	if !f.looked {
		if err := f.look(); err != nil {
			return 0, err
		}
	}
	var text bytes.Buffer
	var fresh []key
	seen := map[key]bool{}
	for _, r := range rounds {
		for _, l := range r.lines {
			if !f.known[l.key] && !seen[l.key] {
				seen[l.key] = true
				fresh = append(fresh, l.key)
				text.Write(l.text)
			}
		}
	}
	if len(fresh) == 0 {
		return 0, nil
	}
	if f.open != nil && f.size > 0 && f.size+int64(text.Len()) > full {
		if err := f.finish(); err != nil {
			return 0, err
		}
	}
	if f.open == nil {
		if err := f.begin(); err != nil {
			return 0, err
		}
	}
	if _, err := f.open.Write(text.Bytes()); err != nil {
		return 0, err
	}
	if err := f.open.Sync(); err != nil {
		return 0, err
	}
	f.size += int64(text.Len())
	for _, k := range fresh {
		f.remember(k)
	}
	return len(fresh), nil
}

func (f *files) remember(k key) {
	if f.known[k] {
		return
	}
	if len(f.order) < Remembered {
		f.order = append(f.order, k)
	} else {
		delete(f.known, f.order[f.oldest])
		f.order[f.oldest] = k
		f.oldest = (f.oldest + 1) % Remembered
	}
	f.known[k] = true
}

// left is how long the file that is being written has until it is full by age; negative without one.
func (f *files) left(age time.Duration) time.Duration {
	if f.open == nil || f.size == 0 {
		return -1
	}
	return max(f.begun.Add(age).Sub(f.now()), 0)
}

func (f *files) close() {
	if f.open != nil {
		_ = f.open.Close() // what counts is synced
	}
	f.open = nil
}

// begin makes the next file.
func (f *files) begin() error {
	f.begun = f.now().UTC().Truncate(time.Millisecond)
	for {
		name := filepath.Join(f.directory, prefix+f.begun.Format(nameTime))
		_, err := os.Lstat(name + whole)
		if errors.Is(err, fs.ErrNotExist) {
			if f.open, err = os.OpenFile(name+growing, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
				f.size = 0
				return f.sync()
			}
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		f.begun = f.begun.Add(time.Millisecond)
	}
}

// finish gives the file that is being written its last name.
func (f *files) finish() error {
	name := f.open.Name()
	f.close()
	f.size = 0
	if err := os.Rename(name, strings.TrimSuffix(name, growing)+whole); err != nil {
		f.looked = false
		return err
	}
	return f.sync()
}

// sync makes names durable.
func (f *files) sync() error {
	d, err := os.Open(f.directory)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// look finds out what is there: it takes away what was cut off, and reads the last lines.
func (f *files) look() error {
	if err := os.MkdirAll(f.directory, 0o700); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(f.directory, prefix+"*"+whole+"*"))
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, whole) && !strings.HasSuffix(n, growing) })
	slices.Sort(names) // and so by time
	if last := len(names) - 1; last >= 0 && strings.HasSuffix(names[last], growing) {
		if err := f.resume(names[last]); err != nil {
			return err
		}
	}
	f.known, f.order, f.oldest = map[key]bool{}, nil, 0
	var parts [][]key
	for n, i := 0, len(names)-1; i >= 0 && n < Remembered; i-- {
		keys, err := read(names[i])
		if err != nil {
			return err
		}
		n += len(keys)
		parts = append(parts, keys)
	}
	for _, keys := range slices.Backward(parts) {
		for _, k := range keys {
			f.remember(k)
		}
	}
	f.looked = true
	return nil
}

// resume goes on with a file that is not full.
func (f *files) resume(name string) error {
	begun, err := time.Parse(nameTime, strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), prefix), growing))
	if err != nil {
		return domain.Errorf(domain.Invalid, "%s is no file of this export: move it away", name)
	}
	open, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	size, err := trim(open)
	if err == nil {
		err = open.Sync() // what is there counts as written from now on
	}
	if err == nil {
		err = f.sync()
	}
	if err != nil {
		_ = open.Close()
		return err
	}
	f.open, f.begun, f.size = open, begun, size
	return nil
}

// trim cuts off what follows the last line that is whole. A power failure may leave anything there, since it was not synced.
func trim(open *os.File) (size int64, err error) {
	info, err := open.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(open, 0, info.Size()), 1<<20)
	at := int64(0)
	for {
		text, err := r.ReadBytes('\n')
		at += int64(len(text))
		if err == nil && json.Valid(text) {
			size = at
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	if size == info.Size() {
		return size, nil
	}
	return size, open.Truncate(size)
}

// read gives the events of a file. Lines that are not of this package are passed over.
func read(name string) (keys []key, err error) {
	open, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	streams := map[string]string{}
	r := bufio.NewReaderSize(open, 1<<20)
	for {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		var item struct {
			Stream string
			Seq    domain.Seq
			Index  int
		}
		if json.Unmarshal(text, &item) != nil || item.Stream == "" {
			continue
		}
		stream, ok := streams[item.Stream]
		if !ok {
			stream = strings.Clone(item.Stream)
			streams[stream] = stream
		}
		keys = append(keys, key{stream, item.Seq, item.Index})
	}
}
