package projections

import (
	"context"
	"sync"

	"github.com/streampost/streampost/domain"
)

// Bounded is implemented by view stores that have a limited number of connections for all generations together. Whoever holds several of them until
// it has got yet another one takes the places for all at once, so that two never wait for each other.
type Bounded interface {
	// Bounds tell how many generations may be written at the same time by those who do not commit one before all are written, and how many
	// connections are left beside for comparisons, which hold a snapshot of each generation.
	Bounds() (writes, compared int)
}

// seats are the places of one kind of work. Nil has room for everything.
type seats struct {
	most int
	what string
	door sync.Mutex // held by the first of those who wait, so that who needs many is not overtaken for ever

	mu   sync.Mutex
	free int
	left chan struct{} // holds a token when places were given back
}

func newSeats(n int, what string) *seats {
	return &seats{most: n, what: what, free: n, left: make(chan struct{}, 1)}
}

// take waits for n places. Errors: domain.Unavailable when there are never so many.
func (s *seats) take(ctx context.Context, n int) (release func(), err error) {
	if s == nil || n == 0 {
		return func() {}, nil
	}
	if n > s.most {
		err := domain.Errorf(domain.Unavailable, "%s %d views at a time needs more connections to their database than the %d that there are for it", s.what, n, s.most)
		err.Hint = "raise views.connections"
		return nil, err
	}
	s.door.Lock()
	defer s.door.Unlock()
	for !s.sit(n) {
		select {
		case <-s.left:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return sync.OnceFunc(func() { s.sit(-n); signal(s.left) }), nil
}

// sit takes places if there are enough, or gives a negative number of them back.
func (s *seats) sit(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.free {
		return false
	}
	s.free -= n
	return true
}
