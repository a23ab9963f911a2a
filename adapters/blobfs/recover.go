package blobfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	packsDir  = "packs"
	indexFile = "index"
)

// openPacks makes the segments of a directory ready: the index learns of the records that its file does not have yet, and what a crash left
// half written is cut off.
func openPacks(dir string, o Options) (*packs, error) {
	p := &packs{
		dir: dir, limits: o.Limits, reached: o.Failpoint, log: o.Logger, stuck: map[uint32]bool{},
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	p.segments = segments{dir: dir, max: o.Limits.Files, open: map[uint32]*segment{}}
	p.dirty.segments = map[uint32]bool{}
	p.tail = tail{segments: &p.segments, limit: o.Limits.Segment, ahead: o.Limits.Ahead, wake: make(chan struct{}, 1), quit: p.quit}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if err := p.recover(); err != nil {
		p.segments.close()
		if p.index != nil {
			err = errors.Join(err, p.index.close())
		}
		return nil, err
	}
	p.workers.Go(p.work)
	p.workers.Go(p.tail.zero)
	p.kick()
	return p, nil
}

func (p *packs) recover() error {
	numbers, err := segmentNumbers(p.dir)
	if err != nil {
		return err
	}
	path := filepath.Join(p.dir, indexFile)
	x, fresh, err := openIndex(path)
	if err != nil {
		return err
	}
	p.index = x
	if !fresh && p.ahead(numbers) {
		// The segments come from a backup that is older than the index.
		if err := x.close(); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		if p.index, fresh, err = openIndex(path); err != nil {
			return err
		}
		x = p.index
	}
	if fresh && len(numbers) > 0 {
		p.log.Warn("the index of the blobs is made anew", "segments", len(numbers))
	}
	p.next = max(1, x.indexed.segment)
	for i, n := range numbers {
		p.next = max(p.next, n+1)
		if n >= x.indexed.segment {
			if err := p.read(n, i == len(numbers)-1); err != nil {
				return err
			}
		}
	}
	return p.flush()
}

// ahead tells whether the index's file knows of more than there is.
func (p *packs) ahead(numbers []uint32) bool {
	at := p.index.indexed
	if at.offset == 0 {
		return false
	}
	info, err := os.Stat(segmentName(p.dir, at.segment))
	return err != nil || info.Size() < at.offset
}

// read enters a segment's records, from the position on that the index's file has. Only the newest segment can end in something half written,
// because a segment is synced before the next one begins.
func (p *packs) read(n uint32, newest bool) error {
	g, err := p.segments.acquire(n)
	if err != nil {
		return err
	}
	defer func() { p.segments.release(g) }()
	info, err := g.Stat()
	if err != nil {
		return err
	}
	from := int64(0)
	if n == p.index.indexed.segment {
		from = min(p.index.indexed.offset, info.Size())
	}
	end, gaps, torn := from, int64(0), 0
	_, err = scan(g, n, from, info.Size(), newest, func(s scanned) error {
		if !s.whole {
			// Nobody was told that it is stored. Marked as dead, it stays out when the index is made anew.
			torn++
			if s.header.dead {
				return nil
			}
			return p.segments.kill(s.place)
		}
		gaps += s.gap
		end = int64(s.place.offset) + span(s.place.size)
		return p.recovered(s, end)
	})
	if err != nil {
		return err
	}
	if gaps > 0 || torn > 0 {
		p.log.Warn("a segment of blobs has octets that are no record", "file", g.Name(), "octets", gaps, "torn", torn)
	}
	if !newest {
		return nil
	}
	if end < info.Size() {
		if err := cut(g.File, end); err != nil {
			return err
		}
	}
	if end >= p.limits.Segment {
		return nil
	}
	again, err := p.segments.acquire(n) // The tail's own use.
	if err != nil {
		return err
	}
	p.tail.open(again, end)
	return nil
}

// recovered enters one record.
func (p *packs) recovered(s scanned, end int64) error {
	x := p.index
	if s.header.dead {
		x.mu.Lock()
		x.buried(s.place)
		x.mu.Unlock()
	} else {
		p.enter([]*record{{id: s.header.id, at: s.place}}, position{s.place.segment, end})
	}
	if x.size() >= p.limits.Recent {
		return p.flush()
	}
	return nil
}
