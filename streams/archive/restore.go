package archive

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Part is the part of an archive that a log is restored from: streams.Source.
type Part struct {
	Store   *Store
	Until   time.Time        // leaves out what was written later, and all that follows it in its account; zero takes everything
	Account domain.AccountID // besides the directory and the tasks, this account only; empty takes all
	// Lost is told of an account of which something is archived that cannot be restored, and how far it is: a segment is damaged or missing.
	Lost func(streams.Finding)

	// Topology is that of the log, with Shards as the root says: so that Entries can tell which entries are missing up to the cursors. Where it has no Shards,
	// and with Until or Account, nobody is told of those. Nor of those of a stream of which an account was erased, since they may be that account's.
	Topology streams.Topology

	Skipped uint64 // transactions that Until left out

	keys   map[string]bool   // the records that were read
	erased map[string]bool   // streams of which an account was erased
	seen   map[string]*marks // of streams, up to their cursors
}

var _ streams.Source = (*Part)(nil)

// Keys yields every key of the archive that can be read. Without that of the directory there is nothing to restore.
func (p *Part) Keys(ctx context.Context) iter.Seq2[streams.KeyRecord, error] {
	return func(yield func(streams.KeyRecord, error) bool) {
		var names []domain.BlobID
		err := p.Store.buckets.Keys.List(ctx, func(name domain.BlobID, _ int64, _ time.Time) error {
			if name != rootName {
				names = append(names, name)
			}
			return nil
		})
		if err != nil {
			yield(streams.KeyRecord{}, err)
			return
		}
		p.keys, p.erased = map[string]bool{}, map[string]bool{}
		for _, name := range names {
			r, ok, err := p.Store.keyNamed(ctx, name)
			if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
				p.lost(streams.Finding{Stream: keysCursor, What: fmt.Sprintf("key object %s cannot be read: %v", name, err)})
				continue
			}
			if err != nil {
				yield(streams.KeyRecord{}, fmt.Errorf("read a key: %w", err))
				return
			}
			if ok {
				if r.Erased && p.Topology.Shards > 0 {
					p.erased[p.Topology.StreamOf(r.Account)] = true
				}
				if p.keys[r.Name] = true; !yield(*r, nil) {
					return
				}
			}
		}
		if !p.keys[streams.AccountRecord(domain.DirectoryID)] {
			yield(streams.KeyRecord{}, domain.Errorf(domain.Corrupt, "the archive has lost the key of the directory, without which nothing can be read"))
		}
	}
}

// Entries yields account after account.
func (p *Part) Entries(ctx context.Context) iter.Seq2[streams.Sealed, error] {
	return func(yield func(streams.Sealed, error) bool) {
		all, err := p.Store.list(ctx, func(name domain.BlobID, err error) {
			p.lost(streams.Finding{Stream: "archive", What: fmt.Sprintf("object %s cannot be read: %v", name, err)})
		}, nil)
		if err != nil {
			yield(streams.Sealed{}, err)
			return
		}
		if err := p.begin(ctx); err != nil {
			yield(streams.Sealed{}, err)
			return
		}
		accounts := chains(all, p.Store.generation)
		for _, id := range slices.Sorted(maps.Keys(accounts)) {
			if p.Account != "" && id != p.Account && !id.Pseudo() {
				continue
			}
			if !p.account(ctx, id, accounts[id], yield) {
				return
			}
		}
		p.missing()
	}
}

// account yields the entries of an account up to the end, to Until, or to what is lost. It reports whether more are wanted.
func (p *Part) account(ctx context.Context, id domain.AccountID, chain []found, yield func(streams.Sealed, error) bool) bool {
	if !p.keys[streams.AccountRecord(id)] {
		p.lost(streams.Finding{Stream: chain[0].Stream, Account: id, What: "the account cannot be restored: its key is lost"})
		return true
	}
	used, left := reached(chain)
	last := streams.Sealed{}
	for _, f := range used {
		segment, err := p.Store.segmentNamed(ctx, f.name)
		if domain.Is(err, domain.Corrupt) && ctx.Err() == nil || domain.Is(err, domain.NotFound) || err == nil && segment.Prev != last.Hash {
			p.lost(streams.Finding{Stream: f.Stream, Account: id, Tx: f.First, What: fmt.Sprintf("the account ends before this transaction: its segment cannot be read (%v)", err)})
			return true
		}
		if err != nil {
			yield(streams.Sealed{}, err)
			return false
		}
		for _, e := range segment.Entries {
			p.seen[f.Stream].mark(e.Seq)
			if !p.Until.IsZero() && e.Written.After(p.Until) {
				p.Skipped += uint64(used[len(used)-1].Last-e.Tx) + 1
				return true
			}
			if !yield(e, nil) {
				return false
			}
			last = e
		}
	}
	if n := len(left); n > 0 && left[n-1].Last > last.Tx {
		p.lost(streams.Finding{Stream: left[n-1].Stream, Account: id, Tx: last.Tx + 1, What: fmt.Sprintf("the account ends before this transaction: the archive has some up to %d, but not this one", left[n-1].Last)})
	}
	return true
}

func (p *Part) lost(f streams.Finding) {
	if p.Lost != nil {
		p.Lost(f)
	}
}

// begin reads how far the archive has the streams.
func (p *Part) begin(ctx context.Context) error {
	p.seen = map[string]*marks{}
	if p.Topology.Shards == 0 || !p.Until.IsZero() || p.Account != "" {
		return nil
	}
	for _, stream := range p.Topology.Streams() {
		at, err := p.Store.cursor(ctx, p.Store.generation, stream)
		if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
			p.lost(streams.Finding{Stream: stream, What: "the cursor cannot be read, so nobody knows whether the end of the stream is there"})
			continue
		}
		if err != nil {
			return err
		}
		p.seen[stream] = newMarks(at)
	}
	return nil
}

// missing tells of what was archived and is not there.
func (p *Part) missing() {
	for _, stream := range slices.Sorted(maps.Keys(p.seen)) {
		if first, n, text := p.seen[stream].unmarked(); n > 0 && !p.erased[stream] {
			p.lost(streams.Finding{Stream: stream, Seq: first, What: fmt.Sprintf("%d entries that were archived are missing: those at the sequences %s", n, text)})
		}
	}
}

// marks remembers which sequences of a stream were seen, up to a last one: a bit each.
type marks struct {
	last domain.Seq
	bits []uint64
}

func newMarks(last domain.Seq) *marks { return &marks{last, make([]uint64, last/64+1)} }

func (m *marks) mark(seq domain.Seq) {
	if m != nil && seq <= m.last {
		m.bits[seq/64] |= 1 << (seq % 64)
	}
}

// maxRanges is how many ranges a finding names.
const maxRanges = 10

// unmarked counts what was not seen and describes it.
func (m *marks) unmarked() (first domain.Seq, n uint64, text string) {
	ranges := 0
	for seq := domain.Seq(1); seq <= m.last; seq++ {
		from := seq
		for seq <= m.last && m.bits[seq/64]&(1<<(seq%64)) == 0 {
			seq++
		}
		if seq == from {
			continue
		}
		first, n, ranges = cmp.Or(first, from), n+uint64(seq-from), ranges+1
		switch {
		case ranges == maxRanges+1:
			text += ", ..."
		case ranges <= maxRanges && text != "":
			text += fmt.Sprintf(", %d-%d", from, seq-1)
		case ranges <= maxRanges:
			text = fmt.Sprintf("%d-%d", from, seq-1)
		}
	}
	return first, n, text
}
