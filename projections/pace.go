package projections

import (
	"context"
	"sync"
	"time"
)

// pace keeps work below a number of entries a second and a share of one CPU's time, whichever goroutines do it: all that belongs to one rebuild or
// comparison has one pace. No pace, nil, is no bound.
type pace struct {
	perSecond int     // 0: as many as can be
	share     float64 // 0 or 1: all

	mu   sync.Mutex
	free time.Time // until when what was done already uses up the bound
}

func newPace(perSecond int, share float64) *pace { return &pace{perSecond: perSecond, share: share} }

// batch bounds the entries of one SQL transaction, so that work and rest alternate quickly.
func (p *pace) batch(most int) int {
	if p == nil {
		return most
	}
	if p.perSecond > 0 {
		most = min(most, max(1, p.perSecond/10))
	}
	if p.share > 0 && p.share < 1 {
		most = min(most, 256)
	}
	return most
}

// rest waits after some entries that took some time.
func (p *pace) rest(ctx context.Context, entries int, took time.Duration) error {
	if p == nil {
		return ctx.Err()
	}
	return Pause(ctx, p.book(time.Now(), entries, took))
}

// book tells how long to rest: what others did meanwhile counts, and time in which nobody worked is not saved up.
func (p *pace) book(now time.Time, entries int, took time.Duration) time.Duration {
	var costs time.Duration
	if p.perSecond > 0 {
		costs = time.Duration(entries) * time.Second / time.Duration(p.perSecond)
	}
	if p.share > 0 && p.share < 1 {
		costs = max(costs, took+Idle(took, p.share))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if began := now.Add(-took); p.free.Before(began) {
		p.free = began
	}
	p.free = p.free.Add(costs)
	return p.free.Sub(now)
}

// work does a piece of work, which tells how many entries it was, and rests.
func (p *pace) work(ctx context.Context, f func() (entries int, err error)) error {
	began := time.Now()
	entries, err := f()
	if err != nil {
		return err
	}
	return p.rest(ctx, entries, time.Since(began))
}

// Idle is how long to rest after work that took some time, so that it takes no more than a share of the whole.
func Idle(took time.Duration, share float64) time.Duration {
	return time.Duration(float64(took) * (1/share - 1))
}

// Pause waits, unless ctx ends before; its error is then ctx's.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
