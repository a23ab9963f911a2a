package door

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
)

// This file leaves nothing readable of accounts that were erased, here or on another node, in whatever order things happen.

// eraseAgain is the longest pause before an erasure that failed here is tried again.
const eraseAgain = 30 * time.Second

// erasures knows which erased accounts have left nothing on this node. What is still to be done is in the directory itself, so nothing is queued, and
// however many are erased at once, one goroutine follows.
type erasures struct {
	news chan struct{} // holds something after an erasure was heard of

	mu       sync.Mutex
	followed map[domain.AccountID]struct{}
}

func newErasures() erasures {
	return erasures{news: make(chan struct{}, 1), followed: map[domain.AccountID]struct{}{}}
}

// heard wakes who follows. It never waits.
func (e *erasures) heard() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// follow destroys what is left of an account, once.
func (e *erasures) follow(ctx context.Context, d *Directory, id domain.AccountID) error {
	if err := d.destroy(ctx, id); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.followed[id] = struct{}{}
	return nil
}

// left gives those of the erased accounts that have not been followed yet.
func (e *erasures) left(s *directory.State) []domain.AccountID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Erased)), func(id domain.AccountID) bool { _, ok := e.followed[id]; return ok })
}

// destroy leaves nothing readable of an account on this node: its key, its state in memory and its rows. Destroying twice is no error.
func (d *Directory) destroy(ctx context.Context, id domain.AccountID) error {
	d.accounts.forget(id)
	if err := d.log.Erase(ctx, id); err != nil && !domain.Is(err, domain.Erased) {
		return classify(err, "destroy the account's key")
	}
	d.accounts.forget(id)
	return classifyNil(d.views.Drop(ctx, id), "remove the account's rows")
}

// FinishErasures repeats what Erase does after its first step for every erased account of which something may be left here, and counts them. It serves
// the start after a crash: the order to erase is in the log, so it is carried out whatever happened in between. One that fails keeps no other waiting.
func (d *Directory) FinishErasures(ctx context.Context) (n int, err error) {
	var left []domain.AccountID
	if err := d.view(ctx, func(s *directory.State) error {
		left = d.erasures.left(s)
		return nil
	}); err != nil {
		return 0, err
	}
	for _, id := range left {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(ctx, d.setup.limits.LoadTimeout)
		failed := d.erasures.follow(ctx, d, id)
		if cancel(); failed == nil {
			n++
		}
		err = errors.Join(err, failed)
	}
	return n, err
}

// FollowErasures finishes erasures as they become known, until ctx ends: those that a crash interrupted, and those of other nodes. What fails, because
// two nodes do the same at once or the log is away, is tried again until it is done.
func (d *Directory) FollowErasures(ctx context.Context) error {
	pause := d.setup.limits.Backoff
	for {
		_, err := d.FinishErasures(ctx)
		var again <-chan time.Time
		if err == nil {
			pause = d.setup.limits.Backoff
		} else if ctx.Err() == nil {
			if pause = min(2*pause, eraseAgain); pause == eraseAgain {
				d.setup.logger.Warn("an erasure is not complete on this node: it is tried again", "in", pause, "error", err)
			}
			again = time.After(pause)
		}
		select {
		case <-d.erasures.news:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}
