package projections

import (
	"context"
	"sync"

	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/streams"
)

// queue carries entries from the goroutine that reads and opens them to the one that applies them. It is bounded in number and in octets: a
// reader that is ahead waits. What gathers while a batch commits becomes the next batch, so batches are small when live and large when far behind.
type queue struct {
	most   int           // entries
	octets int           // by estimate; one entry may be larger
	ready  chan struct{} // holds a token when there may be something to take
	room   chan struct{} // holds a token when there may be room

	mu      sync.Mutex
	entries []streams.Entry
	held    int   // octets
	err     error // why no more will come
	ended   bool
}

func newQueue(l Limits) *queue {
	return &queue{most: l.BatchEntries, octets: l.BatchOctets, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds entries, and waits while the queue is full.
func (q *queue) put(ctx context.Context, entries []streams.Entry) error {
	for len(entries) > 0 {
		n := 0
		q.mu.Lock()
		for n < len(entries) && len(q.entries) < q.most && q.held < q.octets {
			q.entries = append(q.entries, entries[n])
			q.held += weight(&entries[n])
			n++
		}
		q.mu.Unlock()
		if entries = entries[n:]; n > 0 {
			signal(q.ready)
			continue
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end says that no more entries will come, and why.
func (q *queue) end(err error) {
	q.mu.Lock()
	q.err, q.ended = err, true
	q.mu.Unlock()
	signal(q.ready)
}

// take gives all entries that are there, after a token from ready. When there are none and none will come, ended is true.
func (q *queue) take() (entries []streams.Entry, ended bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	entries, q.entries, q.held = q.entries, nil, 0
	signal(q.room)
	if len(entries) == 0 {
		return nil, q.ended, q.err
	}
	if q.ended {
		signal(q.ready)
	}
	return entries, false, nil
}

// enough tells that what waits should be taken now: n entries, as much as fits, nothing, or the end.
func (q *queue) enough(n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended || len(q.entries) == 0 || len(q.entries) >= min(n, q.most) || q.held >= q.octets
}

// empty tells that nothing waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) == 0
}

// weight estimates what an entry takes in memory, in octets.
func weight(e *streams.Entry) int {
	n := 256
	if e.Transaction == nil {
		return n
	}
	for _, ev := range e.Transaction.Events {
		n += 128
		switch ev := ev.(type) {
		case *event.MessageAdded:
			n += 1024 + parts(&ev.Summary.Root)*512
		case *event.MessageRestored:
			n += 1024 + parts(&ev.Summary.Root)*512
		case *event.MessagesPurged:
			n += 8 * len(ev.Emails)
		case *event.FlagsChanged:
			n += 8 * len(ev.UIDs)
		case *event.MessagesExpunged:
			n += 8 * len(ev.UIDs)
		case *event.MessagesMoved:
			n += 8 * len(ev.UIDs)
		case *event.MessagesCopied:
			n += 8 * len(ev.UIDs)
		}
	}
	return n
}

func parts(p *message.Part) int {
	n := 1
	for i := range p.Parts {
		n += parts(&p.Parts[i])
	}
	return n
}
