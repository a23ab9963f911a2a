package blobfs

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
)

// work writes the index to its file and compacts segments, whenever it is woken.
func (p *packs) work() {
	for {
		select {
		case <-p.wake:
		case <-p.quit:
			return
		}
		if p.index.due(p.limits) {
			if err := p.checkpoint(); err != nil {
				p.log.Error("the index of the blobs cannot be written; it is tried again", "error", err)
				continue
			}
		}
		if err := p.compact(); err != nil {
			p.log.Warn("room of deleted blobs could not be given back; it is tried again", "error", err)
		}
	}
}

// due tells whether enough has gathered for a flush.
func (x *index) due(l Limits) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.recent) >= l.Recent || x.flushing != nil || len(x.recent) > 0 && x.indexed.offset == 0
}

// checkpoint writes the index to its file.
func (p *packs) checkpoint() error {
	p.sweep.Lock()
	defer p.sweep.Unlock()
	return p.flush()
}

// flush is checkpoint for those that hold the sweep.
func (p *packs) flush() error {
	return p.index.flush(func(old []place) error {
		p.kill(old)
		p.index.mu.Lock()
		for _, at := range old {
			p.index.buried(at)
		}
		p.index.mu.Unlock()
		return p.syncMarks()
	})
}

// syncMarks makes the marks of dead records durable.
func (p *packs) syncMarks() error {
	p.dirty.Lock()
	numbers := p.dirty.segments
	p.dirty.segments = map[uint32]bool{}
	p.dirty.Unlock()
	for n := range numbers {
		if err := p.segments.sync(n); err != nil && !os.IsNotExist(err) {
			p.dirty.Lock()
			maps.Copy(p.dirty.segments, numbers)
			p.dirty.Unlock()
			return err
		}
	}
	return nil
}

// delete removes a blob durably, unless it was stored since before; the zero time means whenever it was stored.
func (p *packs) delete(id domain.BlobID, before time.Time) (bool, error) {
	p.sweep.Lock()
	defer p.sweep.Unlock()
	x := p.index
	filed, err := x.filed(id)
	if err != nil {
		return false, err
	}
	x.mu.Lock()
	recent, known := x.newest(id) // Nothing is flushing now, unless a flush failed.
	newest := recent
	if !known {
		newest = filed
	}
	if newest.gone() || !before.IsZero() && !newest.time().Before(before) {
		x.mu.Unlock()
		return false, nil
	}
	x.recent[id] = place{} // From here on nobody finds it.
	x.mu.Unlock()

	versions := slices.DeleteFunc(slices.Compact([]place{newest, filed}), place.gone)
	if err := p.bury(id, versions); err != nil {
		x.mu.Lock()
		if x.recent[id].gone() {
			x.recent[id] = newest
		}
		x.mu.Unlock()
		return false, err
	}
	x.mu.Lock()
	for _, at := range versions {
		x.buried(at)
	}
	x.mu.Unlock()
	if err := x.remove(id); err != nil {
		p.log.Warn("the index of the blobs cannot be written; it is tried again", "error", err)
	} else {
		x.mu.Lock()
		if at, ok := x.recent[id]; ok && at.gone() {
			delete(x.recent, id)
			delete(x.flushing, id)
		}
		x.mu.Unlock()
	}
	return true, p.shrink(versions)
}

// bury marks the records of a blob durably as dead. One that is damaged cannot be marked and need not be.
func (p *packs) bury(id domain.BlobID, versions []place) error {
	for _, at := range versions {
		g, err := p.segments.acquire(at.segment)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		h, err := readHeader(g, at)
		p.segments.release(g)
		if err != nil || h.id != id {
			continue
		}
		if err := p.segments.kill(at); err != nil {
			return err
		}
		p.dirty.Lock()
		p.dirty.segments[at.segment] = true
		p.dirty.Unlock()
	}
	return p.syncMarks()
}

// shrink removes segments at once that have nothing but dead records, so that deleting helps a full disk, and leaves the others to the worker.
func (p *packs) shrink(places []place) error {
	for _, at := range places {
		size, octets := p.occupancy(at.segment)
		switch {
		case octets == 0:
		case octets >= size:
			if err := p.compactSegment(at.segment); err != nil {
				p.log.Warn("room of deleted blobs could not be given back; it is tried again", "error", err)
			}
		case p.wasteful(size, octets):
			p.kick()
		}
	}
	return nil
}

// wasteful tells whether a segment is worth a compaction.
func (p *packs) wasteful(size, octets int64) bool { return octets > 0 && 2*octets >= size }

// occupancy gives a segment's octets and those of its dead records.
func (p *packs) occupancy(n uint32) (size, octets int64) {
	p.tail.mu.Lock()
	if g := p.tail.file; g != nil && g.number == n {
		size = p.tail.end
	}
	p.tail.mu.Unlock()
	if size == 0 {
		info, err := os.Stat(segmentName(p.dir, n))
		if err != nil {
			return 0, 0
		}
		size = info.Size()
	}
	p.index.mu.RLock()
	defer p.index.mu.RUnlock()
	return size, p.index.dead[n]
}

// compact gives back the room of dead records, the emptiest segments first. What lives in a segment at least half of which is dead is
// appended anew and the segment is removed.
func (p *packs) compact() error {
	p.sweep.Lock()
	defer p.sweep.Unlock()
	p.index.mu.RLock()
	numbers := slices.Collect(maps.Keys(p.index.dead))
	p.index.mu.RUnlock()
	type candidate struct {
		number uint32
		left   int64
	}
	var list []candidate
	for _, n := range numbers {
		if size, octets := p.occupancy(n); !p.stuck[n] && p.wasteful(size, octets) {
			list = append(list, candidate{n, size - octets})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Compare(a.left, b.left) })
	for _, c := range list {
		if err := p.compactSegment(c.number); err != nil {
			return err
		}
	}
	return nil
}

// compactSegment moves what lives in a segment and removes the segment. The caller holds the sweep.
func (p *packs) compactSegment(n uint32) error {
	if p.stuck[n] {
		return nil
	}
	p.tail.mu.Lock()
	newest, used := p.tail.file != nil && p.tail.file.number == n, p.tail.end
	small := newest && used < p.tail.limit/64
	p.tail.mu.Unlock()
	if newest {
		if _, octets := p.occupancy(n); small && octets < used {
			return nil // It goes on growing.
		}
		if err := p.commit(&batch{seal: true}); err != nil {
			return err
		}
	}
	g, err := p.segments.acquire(n)
	if err != nil {
		return err
	}
	defer p.segments.release(g)
	info, err := g.Stat()
	if err != nil {
		return err
	}
	var b batch
	var octets, gaps int64
	end, err := scan(g, n, 0, info.Size(), false, func(s scanned) error {
		gaps += s.gap
		if s.header.dead {
			return nil
		}
		if at, err := p.index.find(s.header.id); err != nil || at != s.place {
			return err
		}
		r := &record{id: s.header.id, from: s.place, buf: make([]byte, headerSize+int(s.place.size))}
		if err := readFull(g, r.buf, int64(s.place.offset)); err != nil {
			return err
		}
		r.finish()
		b.records = append(b.records, r)
		if octets += int64(len(r.buf)); octets < int64(p.limits.Round) {
			return nil
		}
		err := p.commit(&b)
		b, octets = batch{}, 0
		return err
	})
	if err == nil && len(b.records) > 0 {
		err = p.commit(&b)
	}
	if err != nil {
		return err
	}
	if gaps > 0 || end < info.Size() {
		// What cannot be read may be a blob that somebody has in a backup of this segment.
		p.stuck[n] = true
		p.log.Warn("a damaged segment of blobs is kept", "file", g.Name(), "octets", gaps+info.Size()-end)
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	if err := p.segments.remove(n); err != nil {
		return err
	}
	p.index.mu.Lock()
	delete(p.index.dead, n)
	p.index.stale[n] = true
	p.index.mu.Unlock()
	p.counts.compacted.Add(1)
	return nil
}
