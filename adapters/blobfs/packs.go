package blobfs

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
)

// packs keeps small blobs in segment files, which only grow at the end of the newest.
//
// Commits gather: the first that comes writes and syncs for all that wait, then the next round begins with what came meanwhile. So a lone
// writer meets no other goroutine, and many share a sync.
//
// Invariants:
//   - A record is durable before the index knows it and before commit returns.
//   - A record is marked as dead only after the one that replaces it is durable.
//   - A segment is removed only when every blob that the index has there lies durably in another one and the index's file says so.
type packs struct {
	dir      string
	limits   Limits
	reached  func(string)
	log      *slog.Logger
	segments segments
	index    *index
	tail     tail

	queue   sync.Mutex
	waiting []*batch
	leading bool

	// What only the leader touches.
	next    uint32 // number of the next segment
	scratch []byte
	closed  bool

	// sweep keeps deletions, checkpoints and compactions apart from each other, but not from commits.
	sweep sync.Mutex
	dirty struct {
		sync.Mutex
		segments map[uint32]bool // with marks of dead records that are not durable
	}
	stuck map[uint32]bool // segments that cannot be compacted, under sweep

	quit    chan struct{}
	wake    chan struct{} // to checkpoint and compact
	workers sync.WaitGroup
	counts  counts
}

type counts struct{ records, syncs, compacted atomic.Int64 }

// batch is one or more records that are committed together.
type batch struct {
	records []*record
	seal    bool // end the segment first
	last    bool // nothing is committed after it
	err     error
	turn    chan bool // true: lead the next round; false: it is done
}

// record is a blob on its way into a segment.
type record struct {
	id   domain.BlobID
	buf  []byte // room for the header, then the octets; padded once size is known
	size uint32
	from place // of which this is a copy, for compaction
	at   place // where it went
}

// finish completes a record's octets but for its header.
func (r *record) finish() {
	r.size = uint32(len(r.buf) - headerSize)
	r.buf = append(r.buf, zeros[:span(r.size)-int64(len(r.buf))]...)
}

// commit stores records and returns when they are durable.
func (p *packs) commit(b *batch) error {
	p.queue.Lock()
	p.waiting = append(p.waiting, b)
	if p.leading {
		b.turn = make(chan bool, 1)
		p.queue.Unlock()
		if !<-b.turn {
			return b.err
		}
	} else {
		p.leading = true
		p.queue.Unlock()
	}
	runtime.Gosched() // On a busy machine others are about to commit: a sync is dearer than their turn.
	round := p.gather()
	err := p.store(round)
	p.handOver()
	for _, other := range round {
		other.err = err
		if other != b {
			other.turn <- false
		}
	}
	return err
}

// gather takes what waits, the leader's own batch first.
func (p *packs) gather() []*batch {
	p.queue.Lock()
	defer p.queue.Unlock()
	octets, n := 0, 0
	for n < len(p.waiting) && (n == 0 || octets < p.limits.Round && !p.waiting[n-1].last) {
		for _, r := range p.waiting[n].records {
			octets += len(r.buf)
		}
		n++
	}
	round := p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	if len(p.waiting) == 0 {
		p.waiting = nil
	}
	return round
}

// handOver makes the first of those that wait the next leader.
func (p *packs) handOver() {
	p.queue.Lock()
	defer p.queue.Unlock()
	if len(p.waiting) > 0 {
		p.waiting[0].turn <- true
	} else {
		p.leading = false
	}
}

var errClosed = domain.Errorf(domain.Unavailable, "the blobs are closed")

// store appends the records of a round and syncs them.
func (p *packs) store(round []*batch) error {
	if err := p.check(); err != nil {
		return err
	}
	var records []*record
	for _, b := range round {
		if p.closed {
			return errClosed
		}
		p.closed = b.last
		if b.seal {
			if err := p.seal(); err != nil {
				return err
			}
		}
		records = append(records, b.records...)
	}
	for len(records) > 0 {
		n, err := p.append(records)
		if err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// check tells why nothing can be stored.
func (p *packs) check() error {
	p.tail.mu.Lock()
	broken := p.tail.broken
	p.tail.mu.Unlock()
	if broken != nil {
		e := domain.Wrap(domain.Unavailable, broken, "the blobs cannot be written to disk; nothing is stored until the server is restarted")
		e.Hint = "check the disk, then restart: what was acknowledged is safe"
		return e
	}
	return nil
}

// room waits until the index's file is not so far behind that its entries fill the memory. It ends with the error of a file that cannot be written. Compactions,
// during which the file is not written, do not ask.
func (p *packs) room(ctx context.Context) error {
	for {
		behind, flushed, err := p.index.behind()
		switch {
		case behind <= 8*p.limits.Recent:
			return nil
		case err != nil:
			p.kick() // Once it can be written again, messages are accepted again.
			return failed(err, "write the index of the stored messages")
		}
		p.kick()
		select {
		case <-flushed:
		case <-p.quit:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// append stores as many of the records as fit into the segment, at least one.
func (p *packs) append(records []*record) (int, error) {
	if p.tail.file != nil && p.tail.end+span(records[0].size) > p.tail.limit {
		if err := p.seal(); err != nil {
			return 0, err
		}
	}
	if p.tail.file == nil {
		g, err := p.segments.create(p.next)
		if err != nil {
			return 0, err
		}
		p.next++
		p.tail.open(g, 0)
	}
	g, end, n := p.tail.file, p.tail.end, 0
	now := time.Now().UnixNano()
	for _, r := range records {
		if n > 0 && end+span(r.size) > p.tail.limit {
			break
		}
		h := header{segment: g.number, size: r.size, stored: now, id: r.id}
		if !r.from.gone() {
			h.stored = r.from.stored
		}
		h.sum = crc32.Checksum(r.buf[headerSize:headerSize+int(r.size)], castagnoli)
		h.encode(r.buf)
		r.at = place{g.number, uint32(end), h.size, h.stored}
		end += span(h.size)
		n++
	}
	if err := p.write(records[:n], end); err != nil {
		p.tail.undo(err)
		return 0, err
	}
	p.enter(records[:n], position{g.number, end})
	return n, nil
}

// write brings records to the disk.
func (p *packs) write(records []*record, end int64) error {
	at := int64(records[0].at.offset)
	for len(records) > 0 {
		n, octets := 1, records[0].buf
		if len(records) > 1 {
			n, octets = p.join(records)
		}
		if err := p.tail.write(octets, at); err != nil {
			return err
		}
		at += int64(len(octets))
		for range n {
			p.reached("blob.written")
		}
		p.counts.records.Add(int64(n))
		records = records[n:]
	}
	p.counts.syncs.Add(1)
	return p.tail.sync(end)
}

// join copies records one behind the other, as many as fit.
func (p *packs) join(records []*record) (n int, octets []byte) {
	octets = p.scratch[:0]
	for n < len(records) && (n == 0 || len(octets)+len(records[n].buf) <= p.limits.Round) {
		octets = append(octets, records[n].buf...)
		n++
	}
	p.scratch = octets
	return n, octets
}

// enter makes durable records known. A copy counts only while the index still has what it is a copy of.
func (p *packs) enter(records []*record, end position) {
	var old []place
	x := p.index
	x.mu.Lock()
	for _, r := range records {
		before, known := x.newest(r.id)
		if !r.from.gone() {
			if !known {
				before, _ = x.filed(r.id)
			}
			if before != r.from {
				old = append(old, r.at)
				x.buried(r.at)
				continue
			}
			known = true
		}
		if known && !before.gone() {
			old = append(old, before)
			x.buried(before)
		}
		x.recent[r.id] = r.at
	}
	x.indexed = end
	due := len(x.recent) >= p.limits.Recent
	x.mu.Unlock()
	p.kill(old)
	if due {
		p.kick()
	}
}

// kill marks records as dead. A mark that cannot be written only costs room.
func (p *packs) kill(places []place) {
	for _, at := range places {
		if err := p.segments.kill(at); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				p.log.Warn("a replaced blob keeps its room", "segment", at.segment, "error", err)
			}
			continue
		}
		p.dirty.Lock()
		p.dirty.segments[at.segment] = true
		p.dirty.Unlock()
	}
}

// seal ends the newest segment. The next record begins another one.
func (p *packs) seal() error {
	if p.tail.file == nil {
		return nil
	}
	if err := p.tail.seal(); err != nil {
		return err
	}
	p.index.mu.Lock()
	p.index.indexed = position{p.next, 0}
	p.index.mu.Unlock()
	p.kick()
	return nil
}

// kick wakes the worker that checkpoints and compacts.
func (p *packs) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// open gives a blob's octets. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (p *packs) open(id domain.BlobID) (*packed, error) {
	for {
		at, err := p.index.find(id)
		if err != nil {
			return nil, failed(err, "look up a stored message")
		}
		if at.gone() {
			return nil, errMissing
		}
		o, err := p.openAt(id, at)
		if err == nil {
			return o, nil
		}
		if again, _ := p.index.find(id); again == at { // Else it was moved or replaced meanwhile.
			return nil, err
		}
	}
}

var errMissing = domain.Errorf(domain.NotFound, "the stored message is missing")

func (p *packs) openAt(id domain.BlobID, at place) (*packed, error) {
	g, err := p.segments.acquire(at.segment)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, domain.Wrap(domain.NotFound, err, "the stored message is missing")
	}
	if err != nil {
		return nil, failed(err, "open a stored message")
	}
	h, err := readHeader(g, at)
	switch {
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		err = failed(err, "read a stored message")
	case err != nil || h.id != id || h.segment != at.segment || h.size != at.size:
		err = &domain.Error{
			Kind: domain.Corrupt, Msg: "a stored message is damaged: segment " + filepath.Base(g.Name()) + " does not have it where it should be", Err: err,
			Hint: "look at the disk; restore the segment from a backup",
		}
	case h.dead:
		err = errMissing
	}
	if err != nil {
		p.segments.release(g)
		return nil, err
	}
	return &packed{packs: p, segment: g, at: int64(at.offset) + headerSize, size: int64(at.size)}, nil
}

// readHeader reads the header at a place. What is none comes back as the zero header.
func readHeader(g *segment, at place) (header, error) {
	var head [headerSize]byte
	if err := readFull(g, head[:], int64(at.offset)); err != nil {
		return header{}, err
	}
	h, _ := decode(head[:])
	return h, nil
}

// packed is an open blob within a segment.
type packed struct {
	packs   *packs
	segment *segment
	at      int64
	size    int64
	once    sync.Once
}

func (o *packed) Size() int64 { return o.size }

func (o *packed) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= o.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > o.size-off
	if short {
		p = p[:o.size-off]
	}
	n, err = o.segment.ReadAt(p, o.at+off)
	switch {
	case err != nil && !ended(err):
		err = failed(err, "read a stored message")
	case err == nil && short:
		err = io.EOF
	}
	return n, err
}

func (o *packed) Close() error {
	o.once.Do(func() { o.packs.segments.release(o.segment) })
	return nil
}

// list calls f for every blob that is in a segment when list is called.
func (p *packs) list(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	if err := p.checkpoint(); err != nil {
		return failed(err, "list stored messages")
	}
	for last := (*domain.BlobID)(nil); ; {
		found, err := p.index.after(last, 1000)
		if err != nil {
			return failed(err, "list stored messages")
		}
		if len(found) == 0 {
			return nil
		}
		for i := range found {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(found[i].id, int64(found[i].size), found[i].time()); err != nil {
				return err
			}
		}
		last = &found[len(found)-1].id
	}
}

// Stats tells what a Bucket has done since it was opened, and what it has.
type Stats struct {
	Records     int64 // stored in segments
	Syncs       int64 // that made them durable
	Compactions int64 // segments that were removed
	Segments    int64
	Dead        int64 // octets of deleted and replaced records that still take room
}

func (p *packs) stats() (s Stats) {
	s = Stats{Records: p.counts.records.Load(), Syncs: p.counts.syncs.Load(), Compactions: p.counts.compacted.Load()}
	if numbers, err := segmentNumbers(p.dir); err == nil {
		s.Segments = int64(len(numbers))
	}
	p.index.mu.RLock()
	defer p.index.mu.RUnlock()
	for _, octets := range p.index.dead {
		s.Dead += octets
	}
	return s
}

// close brings the index to its file and lets go of everything. Nothing is committed any more.
func (p *packs) close() error {
	err := p.commit(&batch{seal: true, last: true}) // It waits for the last round.
	close(p.quit)
	p.workers.Wait()
	err = errors.Join(err, p.checkpoint())
	p.segments.close()
	return errors.Join(err, p.index.close())
}
