package archive

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// readers is how many objects are read at the same time by those who read all of them.
const readers = 8

// found is a segment of the bucket.
type found struct {
	Header
	name     domain.BlobID
	octets   int64
	modified time.Time
}

// list reads the headers of all segments. bad is told, one at a time, of objects that cannot be read; it may be nil. progress is told how many of how many were read.
func (s *Store) list(ctx context.Context, bad func(name domain.BlobID, err error), progress func(done, total uint64)) (all []found, err error) {
	var objects []found
	if err := s.buckets.Segments.List(ctx, func(name domain.BlobID, size int64, modified time.Time) error {
		if name != rootName {
			objects = append(objects, found{name: name, octets: size, modified: modified})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	work := parallel{limit: readers}
	done := uint64(0)
	for _, o := range objects {
		work.do(ctx, func(ctx context.Context) error {
			segment, ok, err := s.header(ctx, o.name)
			mu.Lock()
			defer mu.Unlock()
			done++
			if progress != nil {
				progress(done, uint64(len(objects)))
			}
			switch {
			case domain.Is(err, domain.NotFound): // merged or removed meanwhile
				return nil
			case domain.Is(err, domain.Corrupt) && ctx.Err() == nil:
				if bad != nil {
					bad(o.name, err)
				}
				return nil
			case err != nil || !ok:
				return err
			}
			o.Header = segment.Header
			all = append(all, o)
			return nil
		})
	}
	return all, work.wait()
}

// chains sorts segments of one generation by account, each account's by their first transactions.
func chains(all []found, generation string) map[domain.AccountID][]found {
	accounts := map[domain.AccountID][]found{}
	for _, f := range all {
		if f.Generation == generation {
			accounts[f.Account] = append(accounts[f.Account], f)
		}
	}
	for _, chain := range accounts {
		slices.SortFunc(chain, func(a, b found) int { return cmp.Compare(a.First, b.First) })
	}
	return accounts
}

// reached splits an account's segments into those that lead from transaction 1 on and those that nobody needs: a merge or a crash has left them.
func reached(chain []found) (used, left []found) {
	next := domain.Tx(1)
	for _, f := range chain {
		if f.First == next {
			used, next = append(used, f), f.Last+1
		} else {
			left = append(left, f)
		}
	}
	return used, left
}

// recalled is what was read last to fill a hole: all who follow a stream meet it at about the same time.
type recalled struct {
	mu      sync.Mutex
	stream  string
	from    domain.Seq
	to      domain.Seq
	entries []streams.Sealed
}

// Recall gives the entries that a stream had from one sequence to another, both included. All segments are looked through, which may take long.
// Errors: domain.NotFound when the archive does not have all of them, domain.Corrupt, domain.Unavailable.
func (s *Store) Recall(ctx context.Context, stream string, from, to domain.Seq) ([]streams.Sealed, error) {
	r := &s.recalled
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream == stream && r.from == from && r.to == to {
		return r.entries, nil
	}
	all, err := s.list(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	var entries []streams.Sealed
	for _, f := range all {
		if f.Generation != s.generation || f.Stream != stream || f.LastSeq < from || f.FirstSeq > to {
			continue
		}
		segment, err := s.segmentNamed(ctx, f.name)
		if err != nil && !domain.Is(err, domain.NotFound) {
			return nil, err
		}
		if err == nil {
			entries = append(entries, within(segment.Entries, from, to)...)
		}
	}
	slices.SortFunc(entries, func(a, b streams.Sealed) int { return cmp.Compare(a.Seq, b.Seq) })
	entries = slices.CompactFunc(entries, func(a, b streams.Sealed) bool { return a.Seq == b.Seq && a.Hash == b.Hash })
	if uint64(len(entries)) != uint64(to-from)+1 {
		return nil, domain.Errorf(domain.NotFound, "the archive has %d of the %d entries of %s from sequence %d to %d", len(entries), to-from+1, stream, from, to)
	}
	r.stream, r.from, r.to, r.entries = stream, from, to, entries
	return entries, nil
}

func within(entries []streams.Sealed, from, to domain.Seq) (some []streams.Sealed) {
	for _, e := range entries {
		if e.Seq >= from && e.Seq <= to {
			some = append(some, e)
		}
	}
	return some
}
