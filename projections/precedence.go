package projections

import (
	"context"
	"sync"
)

// precedence has builds wait that somebody ordered, or that nobody waits for, while there are others without which mail is not served: rows of a new
// version, or of the one before after a return to it. They would share the processors for no gain.
type precedence struct {
	mu   sync.Mutex
	n    int           // builds that go first
	none chan struct{} // closed when they have ended; nil when there are none
}

// begin says that a build goes first until end is called.
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

// wait waits until no build goes first.
func (p *precedence) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		none := p.none
		p.mu.Unlock()
		if none == nil {
			return ctx.Err()
		}
		select {
		case <-none:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
