package projections

import (
	"context"
	"sync"
	"time"
)

// precedence has builds wait that somebody ordered, or that nobody waits for, while there is what mail waits for: builds of rows without which it is not
// served, such as those of a new version, or entries that somebody waits to see in rows which follow the log. All would share the processors, and connections.
type precedence struct {
	mu   sync.Mutex
	n    int           // what goes first
	none chan struct{} // closed when they have ended; nil when there are none
}

// begin says that something goes first until end is called.
func (p *precedence) begin() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n++; p.n == 1 {
		p.none = make(chan struct{})
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.n--; p.n == 0 {
			close(p.none)
			p.none = nil
		}
	}
}

// wait waits until nothing goes first, or for some time at most, if it is not 0.
func (p *precedence) wait(ctx context.Context, most time.Duration) error {
	var enough <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		enough = timer.C
	}
	for {
		p.mu.Lock()
		none := p.none
		p.mu.Unlock()
		if none == nil {
			return ctx.Err()
		}
		select {
		case <-none:
		case <-enough:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
