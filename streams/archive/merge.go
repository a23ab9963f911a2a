package archive

import (
	"context"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// This file keeps the number of segments small: of Fan segments of about one size one is made, so that a transaction is written anew about as often as
// its account's archive has grown by the factor Fan, and an account has a few dozen segments and those that are full.

// walk finds the segments of an account by their headers: each begins where the one before ends. It trusts that nobody merges meanwhile.
func (s *Store) walk(ctx context.Context, generation string, id domain.AccountID) (segments []found, err error) {
	for next := domain.Tx(1); ; {
		f, ok, err := s.header(ctx, s.segmentName(generation, id, next))
		if domain.Is(err, domain.NotFound) {
			return segments, nil
		}
		if err == nil && !ok {
			err = damaged(errMalformed)
		}
		if err != nil {
			return segments, err
		}
		segments = append(segments, f)
		next = f.Last + 1
	}
}

// merge notes that an account has a new segment of these entries, which end at a cursor that is written, and merges its last ones when there are enough.
func (a *Archiver) merge(ctx context.Context, id domain.AccountID, entries []streams.Sealed) error {
	added := run{first: entries[0].Tx, last: entries[len(entries)-1].Tx}
	for i := range entries {
		added.octets += len(entries[i].Data)
	}
	runs, known := a.runs[id]
	if !known {
		erased, err := a.cfg.Log.Erased(ctx, id)
		if err != nil || erased {
			return err
		}
		segments, err := a.cfg.Store.walk(ctx, a.cfg.Store.generation, id)
		if err != nil {
			return err
		}
		for _, f := range segments {
			if f.Last < added.first {
				runs = append(runs, run{f.First, f.Last, int(f.octets)})
			}
		}
		if len(a.runs) >= a.cfg.Limits.Accounts {
			for other := range a.runs {
				delete(a.runs, other)
				break
			}
		}
	}
	runs = append(runs, added)
	var err error
	for from := a.mergeable(runs); from >= 0 && err == nil; from = a.mergeable(runs) {
		var merged run
		if merged, err = a.mergeRuns(ctx, id, runs[from:]); err == nil {
			runs = append(runs[:from:from], merged)
		}
	}
	if domain.Is(err, domain.NotFound) { // it was erased meanwhile
		delete(a.runs, id)
		return nil
	}
	if err != nil {
		delete(a.runs, id)
		return err
	}
	a.runs[id] = runs
	return nil
}

// mergeable tells from which run on an account's last ones are to be merged; -1 when they are not: Fan of them, of which none is larger than the others together.
func (a *Archiver) mergeable(runs []run) int {
	from := len(runs) - a.cfg.Limits.Fan
	if from < 0 {
		return -1
	}
	sum, largest := 0, 0
	for _, r := range runs[from:] {
		sum, largest = sum+r.octets, max(largest, r.octets)
	}
	if largest > sum-largest || sum > a.cfg.Limits.Segment {
		return -1
	}
	return from
}

// mergeRuns writes one segment in the place of the first of several, which from then on is the whole of them, and deletes the others.
func (a *Archiver) mergeRuns(ctx context.Context, id domain.AccountID, runs []run) (run, error) {
	store := a.cfg.Store
	var entries []streams.Sealed
	for _, r := range runs {
		s, err := store.segment(ctx, store.generation, id, r.first)
		if err != nil {
			return run{}, err
		}
		entries = append(entries, s.Entries...)
	}
	segment, err := newSegment(store.generation, entries)
	if err != nil {
		return run{}, damaged(err)
	}
	if err := store.putSegment(ctx, segment); err != nil {
		return run{}, err
	}
	a.cfg.Failpoint("archive.merged")
	merged := run{first: segment.First, last: segment.Last}
	for i := range entries {
		merged.octets += len(entries[i].Data)
	}
	for _, r := range slices.Backward(runs[1:]) {
		if err := store.deleteSegment(ctx, store.generation, id, r.first); err != nil {
			return run{}, err
		}
	}
	a.stats.merged.Add(1)
	return merged, nil
}

// removeAccount deletes an account's segments in all generations. The last ones go first, so that what a crash leaves is found again.
func (s *Store) removeAccount(ctx context.Context, id domain.AccountID) error {
	generations, err := s.generations(ctx)
	if err != nil {
		return err
	}
	for _, generation := range generations {
		segments, err := s.walk(ctx, generation, id)
		if err != nil && !domain.Is(err, domain.Corrupt) {
			return err
		}
		for _, f := range slices.Backward(segments) {
			if err := s.deleteSegment(ctx, generation, id, f.First); err != nil {
				return err
			}
		}
	}
	return nil
}

// generations lists the histories that the archive has.
func (s *Store) generations(ctx context.Context) (all []string, err error) {
	root, _, err := readRoot(ctx, s.buckets)
	if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
		return []string{s.generation}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, g := range root.Generations {
		all = append(all, g.ID)
	}
	return all, nil
}
