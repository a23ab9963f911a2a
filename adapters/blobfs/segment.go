package blobfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

const segmentSuffix = ".pack"

func segmentName(dir string, n uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08x%s", n, segmentSuffix))
}

// segmentNumbers lists the segments of a directory in rising order.
func segmentNumbers(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []uint32
	for _, e := range entries { // ReadDir sorts by name, and names have eight digits.
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok || len(digits) != 8 {
			continue
		}
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil && n > 0 {
			list = append(list, uint32(n))
		}
	}
	return list, nil
}

// segments keeps segment files open, some of those that nobody uses included.
type segments struct {
	dir  string
	max  int // files that stay open
	mu   sync.Mutex
	open map[uint32]*segment
}

// segment is an open segment file.
type segment struct {
	*os.File
	number uint32
	users  int  // under segments.mu
	closed bool // when the last user leaves; under segments.mu
}

// acquire opens a segment. Give it back with release.
func (s *segments) acquire(n uint32) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.open[n]; ok {
		g.users++
		return g, nil
	}
	f, err := os.OpenFile(segmentName(s.dir, n), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return s.add(n, f), nil
}

// add takes an open file under the lock, with one user.
func (s *segments) add(n uint32, f *os.File) *segment {
	for other, g := range s.open {
		if len(s.open) < s.max {
			break
		}
		if g.users == 0 {
			delete(s.open, other)
			_ = g.Close()
		}
	}
	g := &segment{File: f, number: n, users: 1}
	s.open[n] = g
	return g
}

// create makes an empty segment durable and opens it.
func (s *segments) create(n uint32) (*segment, error) {
	f, err := os.OpenFile(segmentName(s.dir, n), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncDir(s.dir); err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(n, f), nil
}

func (s *segments) release(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.users--; g.users == 0 && g.closed {
		_ = g.Close()
	}
}

// remove deletes a segment's file durably. Who has it open can go on reading.
func (s *segments) remove(n uint32) error {
	s.forget(n)
	if err := os.Remove(segmentName(s.dir, n)); err != nil {
		return err
	}
	return syncDir(s.dir)
}

func (s *segments) forget(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.open[n]
	if !ok {
		return
	}
	delete(s.open, n)
	if g.closed = true; g.users == 0 {
		_ = g.Close()
	}
}

// close forgets all.
func (s *segments) close() {
	for n := range s.open {
		s.forget(n)
	}
}

// kill marks the record at a place as dead. It is durable after the next sync of the segment.
func (s *segments) kill(p place) error {
	g, err := s.acquire(p.segment)
	if err != nil {
		return err
	}
	defer s.release(g)
	_, err = g.WriteAt([]byte{dead}, int64(p.offset)+stateAt)
	return err
}

// sync makes durable what was written to a segment besides records. It has a descriptor of its own: the kernel tells of octets that it could not write
// once for each, and the tail, whose records may be among them, must hear of it by its own sync (https://lwn.net/Articles/724307/).
func (s *segments) sync(n uint32) error {
	f, err := os.OpenFile(segmentName(s.dir, n), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return datasync(f)
}
