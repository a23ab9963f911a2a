package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// While the rows of a stream are made, or catch up with a long tail, accounts that somebody asks for go first: theirs are made from the account's snapshot and
// its own log, up to its end, and they are ahead of the others until the stream comes there.

// WaitOf is WaitFor for the rows of one account: it returns as soon as these show the entry at seq.
func (r *Runner) WaitOf(ctx context.Context, projection string, id domain.AccountID, seq domain.Seq) error {
	s, err := r.slot(r.cfg.Log.StreamOf(id), projection)
	if err != nil {
		return err
	}
	return s.waitOf(ctx, id, seq)
}

// serves gives the generation whose rows of an account can be read: the live one, or the first one on its way when the account is ahead there. The caller
// holds the group's lock.
func (s *slot) serves(id domain.AccountID) *generation {
	if s.live == nil && s.driven != nil && id != "" {
		if _, there := s.driven.ahead[id]; there {
			return s.driven
		}
	}
	return s.live
}

// goesFirst tells whether rows of an account are worth to be made before the others: these are on their way, and that is long. The caller holds the group's lock.
func (s *slot) goesFirst(id domain.AccountID) bool {
	return id != "" && s.byAccount() && !s.group.silent && s.driven != nil && (s.live == nil || s.group.far && s.group.state == CatchingUp)
}

// want has an account go first, once for all who ask. It does not wait.
func (g *group) want(id domain.AccountID) {
	r := g.r
	r.mu.Lock()
	defer r.mu.Unlock()
	running := r.running
	if running == nil || running.Err() != nil {
		return
	}
	g.mu.Lock()
	already := g.wanted[id]
	g.wanted[id] = true
	g.mu.Unlock()
	if already {
		return
	}
	r.builds.Go(func() {
		err := g.schedule(running, func(ctx context.Context) (bool, error) { return false, g.haste(ctx, id) })
		if err != nil && running.Err() == nil {
			g.log.Warn("an account that is wanted cannot go first: it waits for the others", "account", id, "error", err)
		}
		g.publish(func() { delete(g.wanted, id) })
	})
}

// haste makes the rows of an account up to the end of its log, in all projections in lock-step. It runs on the group's goroutine.
func (g *group) haste(ctx context.Context, id domain.AccountID) error {
	r := g.r
	last, err := r.cfg.Log.Last(ctx, id)
	if err != nil || last.Tx == 0 {
		return err
	}
	works := sections(g.works())
	if len(works) == 0 {
		return nil
	}
	low := leastShown(works, id)
	if low == 0 && r.cfg.Snapshots != nil {
		if _, err := r.hydrate(ctx, id, works, r.cfg.Snapshots, func(domain.Seq) {}); errors.Is(err, ErrRefused) {
			r.refusal(id, err)
		} else if err != nil && ctx.Err() == nil {
			g.log.Warn("a snapshot cannot be used now: the account's rows are folded from its log", "account", id, "error", err)
		}
		low = leastShown(works, id)
	}
	release, err := r.writes.take(ctx, len(works))
	if err != nil {
		return err
	}
	defer release()
	links := newLinker(low)
	var batch []streams.Entry
	for e, err := range r.cfg.Log.ReadAccount(ctx, id, low) {
		if err == nil && e.Seq <= last.Seq {
			err = links.check(&e)
		}
		if err != nil {
			return err
		}
		if e.Seq > last.Seq {
			break
		}
		if batch = append(batch, e); len(batch) == r.cfg.Limits.BatchEntries {
			if err := g.extend(ctx, works, id, batch); err != nil {
				return err
			}
			batch = nil
		}
	}
	return g.extend(ctx, works, id, batch)
}

// leastShown is up to where all of some generations show an account's log.
func leastShown(works []*work, id domain.AccountID) domain.Seq {
	low := works[0].gen.shown(id)
	for _, w := range works[1:] {
		low = min(low, w.gen.shown(id))
	}
	return low
}

// extend folds entries of an account that follow on what generations show of it, in each of them in a transaction of its own.
func (g *group) extend(ctx context.Context, works []*work, id domain.AccountID, entries []streams.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	at := entries[len(entries)-1].Position()
	var all sync.WaitGroup
	errs := make([]error, len(works))
	for i, w := range works {
		all.Go(func() {
			errs[i] = w.gen.view.Update(ctx, func(tx Tx) error {
				batch, err := w.slot.projection.Begin(ctx, tx)
				if err != nil {
					return err
				}
				for j := range entries {
					if entries[j].Seq <= w.gen.shown(id) {
						continue
					}
					if err := batch.Apply(ctx, &entries[j]); err != nil {
						return fmt.Errorf("projection %s, position %d: %w", w.slot.name(), entries[j].Seq, err)
					}
				}
				if err := batch.Flush(ctx); err != nil {
					return err
				}
				return w.gen.advance(ctx, tx, id, at)
			})
		})
	}
	all.Wait()
	g.publish(func() {
		for i, w := range works {
			if errs[i] == nil {
				w.gen.advanced(id, at)
			}
		}
	})
	return errors.Join(errs...)
}
