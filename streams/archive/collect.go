package archive

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Collected is what Collect removed.
type Collected struct {
	Segments int64 `json:"segments"` // looked at
	Erased   int64 `json:"erased"`   // removed: of accounts whose key was destroyed
	Left     int64 `json:"left"`     // removed: merged into others
	Old      int64 `json:"old"`      // removed: of generations that ended long enough ago
	Octets   int64 `json:"octets"`   // of the removed
}

// young is how old a segment is at least before Collect calls it superfluous: a merge or another node may be at work.
const young = time.Hour

// collectAtOnce is how many segments are removed within one turn.
const collectAtOnce = 256

// Collect removes segments of erased accounts, those that merging has left, and generations that a complete one followed longer ago than keep. It may be cut
// short and repeated at any time. The log is archived meanwhile: what was written since Collect looked is not removed.
func (a *Archiver) Collect(ctx context.Context, keep time.Duration) (sum Collected, err error) {
	now, store := time.Now(), a.cfg.Store
	root, _, err := readRoot(ctx, store.buckets)
	if domain.Is(err, domain.NotFound) {
		return sum, nil
	}
	if err != nil {
		return sum, err
	}
	generations, err := store.Generations(ctx, root)
	if err != nil {
		return sum, err
	}
	gone := superseded(generations, store.generation, now, keep)
	all, err := store.list(ctx, nil, nil)
	if err != nil {
		return sum, err
	}
	remove := func(ctx context.Context, f found, count *int64) error {
		deleted, err := store.buckets.Segments.Delete(ctx, f.name, f.modified.Add(time.Nanosecond))
		if err == nil && deleted {
			*count++
			sum.Octets += f.octets
		}
		return err
	}
	sum.Segments = int64(len(all))
	for _, f := range all {
		erased, err := a.cfg.Log.Erased(ctx, f.Account)
		switch {
		case err != nil:
		case erased:
			err = remove(ctx, f, &sum.Erased)
		case gone[f.Generation]:
			err = remove(ctx, f, &sum.Old)
		}
		if err != nil {
			return sum, err
		}
	}
	for some := range slices.Chunk(superfluous(all, store.generation, now), collectAtOnce) {
		if err := a.collectInTurn(ctx, func(ctx context.Context) error {
			for _, f := range some {
				if err := remove(ctx, f, &sum.Left); err != nil {
					return err
				}
			}
			return nil
		}); errors.Is(err, errElsewhere) { // what another node writes may only look superfluous
			return sum, nil
		} else if err != nil {
			return sum, err
		}
	}
	if len(gone) == 0 {
		return sum, nil
	}
	err = a.collectInTurn(ctx, func(ctx context.Context) error { return a.forgetGenerations(ctx, gone) })
	if errors.Is(err, errElsewhere) {
		err = nil
	}
	return sum, err
}

// superfluous are segments of a generation that nobody needs and nobody has written for long.
func superfluous(all []found, generation string, now time.Time) (some []found) {
	for _, chain := range chains(all, generation) {
		used, left := reached(chain)
		if len(used) == 0 { // the chain has no beginning: this is for Verify to say
			continue
		}
		end := used[len(used)-1].Last
		for _, f := range left {
			if f.Last <= end && now.Sub(f.modified) > young {
				some = append(some, f)
			}
		}
	}
	return some
}

// collectInTurn does a piece of work between two rounds, if this node may write to the archive. Error: errElsewhere, those of f.
func (a *Archiver) collectInTurn(ctx context.Context, f func(context.Context) error) error {
	a.working.Lock()
	defer a.working.Unlock()
	return a.inTurn(ctx, true, f)
}

// forgetGenerations takes generations of which nothing is left out of the root.
func (a *Archiver) forgetGenerations(ctx context.Context, gone map[string]bool) error {
	store := a.cfg.Store
	root, _, err := readRoot(ctx, store.buckets)
	if err != nil {
		return err
	}
	var kept []Generation
	for _, g := range root.Generations {
		if !gone[g.ID] {
			kept = append(kept, g)
			continue
		}
		for _, stream := range append(a.cfg.Log.Streams(), keysCursor, completeCursor) {
			if _, err := store.buckets.Segments.Delete(ctx, store.cursorName(g.ID, stream), time.Time{}); err != nil {
				return err
			}
		}
	}
	secret, err := a.cfg.Log.Secret(ctx, purpose)
	if err != nil {
		return err
	}
	root.Generations = kept
	return store.putRoot(ctx, secret, root)
}

// Mend archives accounts anew in which Verify has found something, and all keys. What the log itself lacks stays as it is in the archive. Error: domain.Unavailable where another node archives.
func (a *Archiver) Mend(ctx context.Context, report *Report) error {
	a.working.Lock()
	defer a.working.Unlock()
	store := a.cfg.Store
	for id, newest := range report.accounts {
		delete(a.runs, id)
		erased, err := a.cfg.Log.Erased(ctx, id)
		if err == nil && erased {
			err = a.inTurn(ctx, true, func(ctx context.Context) error { return store.removeAccount(ctx, id) })
		} else if err == nil {
			err = a.mendAccount(ctx, id, newest)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range report.objects { // what was replaced can be read now, and the others nobody needs
		if err := a.inTurn(ctx, false, func(ctx context.Context) error {
			_, _, err := store.header(ctx, name)
			if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
				_, err = store.buckets.Segments.Delete(ctx, name, time.Time{})
				return err
			}
			return nil
		}); err != nil {
			return err
		}
	}
	a.keys = 0
	return a.archiveKeys(ctx)
}

// whole proves that the log has every transaction of an account, up to at least the newest that the archive has.
func (a *Archiver) whole(ctx context.Context, id domain.AccountID, newest domain.Tx) error {
	last := streams.Sealed{}
	for {
		e, ok, err := a.cfg.Log.SealedAfter(ctx, id, last.Seq)
		switch {
		case err != nil:
			return err
		case ok && (e.Tx != last.Tx+1 || e.Prev != last.Hash):
			return domain.Errorf(domain.Corrupt, "the log lacks transaction %d", last.Tx+1)
		case !ok && last.Tx < newest:
			return domain.Errorf(domain.Corrupt, "the log ends with transaction %d, and the archive has %d", last.Tx, newest)
		case !ok:
			return nil
		}
		last = e
	}
}

// mendAccount writes an account's segments anew, up to the cursor of its stream, unless the log has less of it than the archive: that may be all that is left.
func (a *Archiver) mendAccount(ctx context.Context, id domain.AccountID, newest domain.Tx) error {
	if err := a.whole(ctx, id, newest); domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
		a.cfg.Logger.Error("the archive of an account is not mended, because the log is damaged: see log restore", "account", id, "error", err)
		return nil
	} else if err != nil {
		return err
	}
	store := a.cfg.Store
	cursor, err := store.cursor(ctx, store.generation, a.cfg.Log.StreamOf(id))
	if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
		return nil // the next round begins with the first sequence
	}
	if err != nil {
		return err
	}
	var entries []streams.Sealed
	octets := 0
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		defer func() { entries, octets = nil, 0 }()
		return a.inTurn(ctx, true, func(ctx context.Context) error { return a.write(ctx, id, entries) })
	}
	for after := domain.Seq(0); ; {
		e, ok, err := a.cfg.Log.SealedAfter(ctx, id, after)
		if err != nil {
			return err
		}
		if !ok || e.Seq > cursor {
			return flush()
		}
		entries, after = append(entries, e), e.Seq
		if octets += len(e.Data); octets >= a.cfg.Limits.Segment {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
