package streams

import (
	"context"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
)

// nudge is how long a reader waits for a commit round to cover what it has seen before it asks for one. Only entries that no append of
// this process waits for need it: those of another writer, or of an append whose answer was lost.
const nudge = 20 * time.Millisecond

// horizon is how far a stream is known to be durable. Readers see nothing beyond it.
type horizon struct {
	wanted chan domain.Seq // asks the committer for a sync up to here
	closed <-chan struct{} // the log has no committer any more

	mu      sync.Mutex
	seq     domain.Seq
	err     error
	changed chan struct{} // closed at every change
}

func newHorizon(seq domain.Seq, closed <-chan struct{}) *horizon {
	return &horizon{seq: seq, wanted: make(chan domain.Seq), closed: closed, changed: make(chan struct{})}
}

func (h *horizon) seen() domain.Seq {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq
}

func (h *horizon) broken() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *horizon) advance(seq domain.Seq) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq > h.seq {
		h.seq = seq
		h.wake()
	}
}

func (h *horizon) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	h.wake()
}

func (h *horizon) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// wait returns when the stream is durable up to seq, which the caller has seen in the stream.
func (h *horizon) wait(ctx context.Context, seq domain.Seq) error {
	var wanted chan domain.Seq
	var timer *time.Timer
	var expired <-chan time.Time
	for {
		h.mu.Lock()
		durable, err, changed := h.seq, h.err, h.changed
		h.mu.Unlock()
		if seq <= durable {
			return nil
		}
		if err != nil {
			return err
		}
		if timer == nil {
			timer = time.NewTimer(nudge)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-changed:
		case <-expired:
			wanted = h.wanted
		case wanted <- seq:
			wanted = nil
		case <-h.closed:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
