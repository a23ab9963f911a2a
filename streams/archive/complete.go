package archive

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// This file tells which generations are complete: those of which all that the log had was in the archive at one time. A restore begins a generation that
// takes a while to get there. Until then the one before it is the better copy, so it is what the next restore takes, and it is not removed.

// completeCursor stands for completeness among streams. The cursor is the time at which it was found, in milliseconds of Unix.
const completeCursor = "COMPLETE"

// complete notes that the generation which is written is complete. It is called when everything is archived that the log has.
func (a *Archiver) complete(ctx context.Context) error {
	if a.noted {
		return nil
	}
	store := a.cfg.Store
	at, err := store.completed(ctx, store.generation)
	if err == nil && at.IsZero() {
		err = store.putCursor(ctx, completeCursor, domain.Seq(time.Now().UnixMilli()), streams.Hash{})
	}
	a.noted = err == nil
	return err
}

// completed tells since when a generation is complete; zero when that is not known.
func (s *Store) completed(ctx context.Context, generation string) (time.Time, error) {
	at, err := s.cursor(ctx, generation, completeCursor)
	if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
		return time.Time{}, nil
	}
	if err != nil || at == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(at)), nil
}

// Generations lists the histories that the archive has, the oldest first, and since when they are complete.
func (s *Store) Generations(ctx context.Context, root *Root) (all []Generation, err error) {
	for _, g := range root.Generations {
		if g.Complete, err = s.completed(ctx, g.ID); err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// newest is the generation that a restore should take: the newest complete one, or the newest of all when none is known to be complete.
func newest(all []Generation) string {
	best := all[len(all)-1].ID
	for _, g := range all {
		if !g.Complete.IsZero() {
			best = g.ID
		}
	}
	return best
}

// superseded are the generations that nobody needs: a later one has been complete for longer than keep. The one that is written is never among them.
func superseded(all []Generation, written string, now time.Time, keep time.Duration) map[string]bool {
	gone := map[string]bool{}
	for i, g := range all {
		for _, later := range all[i+1:] {
			if g.ID != written && !later.Complete.IsZero() && now.Sub(later.Complete) > keep {
				gone[g.ID] = true
			}
		}
	}
	return gone
}
