package projections

import (
	"context"
	"sync"

	"github.com/streampost/streampost/streams"
)

// queue carries entries from the goroutine that reads and opens them to the one that applies them. It holds a bounded number: a reader that is
// ahead waits. What gathers while a batch commits becomes the next batch, so batches are small when live and large when far behind.
type queue struct {
	limit int
	ready chan struct{} // holds a token when there may be something to take
	room  chan struct{} // holds a token when there may be room

	mu      sync.Mutex
	entries []streams.Entry
	err     error // why no more will come
	ended   bool
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
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
		q.mu.Lock()
		n := min(q.limit-len(q.entries), len(entries))
		q.entries = append(q.entries, entries[:n]...)
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
	entries, q.entries = q.entries, nil
	signal(q.room)
	if len(entries) == 0 {
		return nil, q.ended, q.err
	}
	if q.ended {
		signal(q.ready)
	}
	return entries, false, nil
}
