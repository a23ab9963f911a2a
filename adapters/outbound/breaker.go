package outbound

import (
	"container/list"
	"fmt"
	"sync"
	"time"
)

// breaker remembers addresses that could not be reached, so that the domains which share one do not each wait for it. An address that has failed a few times in a row rests: attempts pass it over at once. When its rest is
// over, one attempt tries it, and the others go on passing it over until that has ended.
type breaker struct {
	failures  int           // in a row, from which on an address rests
	rest      time.Duration // at first; doubled each time up to most
	most      time.Duration
	remembers int // addresses; those whose last failure is longest ago are forgotten
	now       func() time.Time

	mu     sync.Mutex
	known  map[string]*list.Element
	oldest list.List // of *resting
}

type resting struct {
	address  string
	failures int
	until    time.Time
	trying   bool // somebody tries whether it is back
}

// restError says that an address was passed over.
type restError struct{ until time.Time }

func (e *restError) Error() string {
	return fmt.Sprintf("it could not be reached a few times in a row, and is tried again after %s", e.until.UTC().Format(time.RFC3339))
}

// enter asks whether an address may be tried. Who may says with leave how it went.
func (b *breaker) enter(a string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[a]
	if e == nil {
		return nil
	}
	r := e.Value.(*resting)
	switch {
	case r.failures < b.failures:
		return nil
	case b.now().Before(r.until), r.trying:
		return &restError{r.until}
	}
	r.trying = true
	return nil
}

// leave notes whether an address could be reached.
func (b *breaker) leave(a string, reached bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[a]
	if reached {
		if e != nil {
			b.forget(e)
		}
		return
	}
	r := &resting{address: a}
	if e != nil {
		r = e.Value.(*resting)
		b.oldest.MoveToBack(e)
	} else {
		b.known[a] = b.oldest.PushBack(r)
	}
	r.failures++
	r.trying = false
	pause := b.rest
	for range min(max(r.failures-b.failures, 0), 20) {
		pause = min(2*pause, b.most)
	}
	r.until = b.now().Add(pause)
	for b.oldest.Len() > b.remembers {
		b.forget(b.oldest.Front())
	}
}

// withdraw gives back a try whose end tells nothing: the attempt was cut off.
func (b *breaker) withdraw(a string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.known[a]; e != nil {
		e.Value.(*resting).trying = false
	}
}

func (b *breaker) forget(e *list.Element) {
	delete(b.known, e.Value.(*resting).address)
	b.oldest.Remove(e)
}

// wake ends all rests.
func (b *breaker) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.known)
	b.oldest.Init()
}

// count is how many addresses rest.
func (b *breaker) count() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.oldest.Front(); e != nil; e = e.Next() {
		if r := e.Value.(*resting); r.failures >= b.failures && b.now().Before(r.until) {
			n++
		}
	}
	return n
}
