package listen

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// delivery is one message on its way through a lane.
type delivery struct {
	seq     uint64 // in the stream
	subject string
	header  nats.Header
	data    []byte // nil when it is to be read again
	size    int64  // octets that it counts for in Limits.Memory
	failed  int    // attempts so far; only the lane touches it
	first   time.Time

	mu      sync.Mutex
	reply   string // where to acknowledge its latest delivery
	touched time.Time
}

// tracker knows what became of the messages of one consumer, so that the server may deliver again as often as it likes. Its memory is bounded
// by the server's window: what lies below the consumer's floor is forgotten.
type tracker struct {
	mu     sync.Mutex
	flying map[uint64]*delivery
	done   map[uint64]*[chunkSize / 64]uint64 // handled, as bits, by seq / chunkSize
}

const chunkSize = 1024

func newTracker() *tracker {
	return &tracker{flying: map[uint64]*delivery{}, done: map[uint64]*[chunkSize / 64]uint64{}}
}

// What admit says of a delivery.
type verdict int

const (
	fresh   verdict = iota // nobody works on it
	again                  // a lane has it
	handled                // it was handled before, and its acknowledgement was lost
)

func (t *tracker) admit(d *delivery) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.flying[d.seq]; f != nil {
		f.touch(d.reply)
		return again
	}
	if bits := t.done[d.seq/chunkSize]; bits != nil && bits[d.seq%chunkSize/64]&(1<<(d.seq%64)) != 0 {
		return handled
	}
	t.flying[d.seq] = d
	return fresh
}

// finish notes that a delivery is handled.
func (t *tracker) finish(d *delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.flying, d.seq)
	bits := t.done[d.seq/chunkSize]
	if bits == nil {
		bits = new([chunkSize / 64]uint64)
		t.done[d.seq/chunkSize] = bits
	}
	bits[d.seq%chunkSize/64] |= 1 << (d.seq % 64)
}

// forget drops what the server will never deliver again.
func (t *tracker) forget(floor uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for chunk := range t.done {
		if (chunk+1)*chunkSize <= floor {
			delete(t.done, chunk)
		}
	}
}

// stale lists the deliveries that were not heard of since a time, and takes them for extended.
func (t *tracker) stale(since, now time.Time) (replies []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.flying {
		d.mu.Lock()
		if d.touched.Before(since) {
			d.touched = now
			replies = append(replies, d.reply)
		}
		d.mu.Unlock()
	}
	return replies
}

func (d *delivery) touch(reply string) {
	d.mu.Lock()
	d.reply, d.touched = reply, time.Now()
	d.mu.Unlock()
}

func (d *delivery) replyTo() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reply
}
