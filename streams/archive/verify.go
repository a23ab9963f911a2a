package archive

import (
	"context"
	"fmt"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// VerifyOptions says what Verify looks at. The zero value looks at everything.
type VerifyOptions struct {
	Account domain.AccountID      // one account only
	Found   func(streams.Finding) // told of each finding at once, one at a time; may be nil
	// Progress is told how many of how many things of a kind are done; it may be nil.
	Progress func(kind string, done, total uint64)
}

// Report is what Verify found.
type Report struct {
	Segments int               // that lead from an account's first transaction to its last
	Left     int               // that nobody needs: Collect removes them
	Entries  uint64            // in segments
	Accounts int               // with segments
	Erased   int               // accounts whose key was destroyed
	Keys     int               // records of keys and secrets
	Behind   uint64            // entries of the log, or of the one account, that are not archived yet, as they need not be
	Findings []streams.Finding // Stream is "archive" where it is not known

	accounts map[domain.AccountID]domain.Tx // with a finding about the archive, and the newest transaction that it seems to have of them
	objects  []domain.BlobID                // of segments, that cannot be read
}

// verification is a Verify that runs.
type verification struct {
	store   *Store
	log     *streams.Log
	opts    VerifyOptions
	report  Report
	cursors map[string]domain.Seq
	holes   map[string]bool // streams of the log that lack entries: from those nothing is mended
	newest  map[domain.AccountID]domain.Tx
}

// Verify proves that the archive is what the log was up to its cursors: every segment opens, each account's transactions are there from the first on, chained,
// and open with the account's key, the last one is the very entry that the log has at that place, and nothing is missing up to the cursor; every key is
// the one that KEYS has. The error is about Verify itself.
func Verify(ctx context.Context, store *Store, log *streams.Log, opts VerifyOptions) (*Report, error) {
	if opts.Found == nil {
		opts.Found = func(streams.Finding) {}
	}
	if opts.Progress == nil {
		opts.Progress = func(string, uint64, uint64) {}
	}
	v := &verification{store: store, log: log, opts: opts, cursors: map[string]domain.Seq{}, holes: map[string]bool{}, newest: map[domain.AccountID]domain.Tx{}}
	v.report.accounts = map[domain.AccountID]domain.Tx{}
	if exists, err := Exists(ctx, store.buckets); err != nil || !exists {
		if err == nil {
			err = domain.Errorf(domain.NotFound, "there is no archive yet")
		}
		return nil, err
	}
	for _, stream := range log.Streams() {
		at, err := v.cursor(ctx, stream)
		if err != nil {
			return nil, err
		}
		head, err := log.Head(ctx, stream)
		if err != nil {
			return nil, err
		}
		if at > head {
			v.find(streams.Finding{Stream: stream, Seq: head, What: fmt.Sprintf("the log ends at sequence %d, and the archive has it up to %d", head, at)})
		} else if opts.Account == "" {
			v.report.Behind += uint64(head - at)
		}
		v.cursors[stream] = at
		missing, err := log.Missing(ctx, stream)
		if err != nil {
			return nil, err
		}
		v.holes[stream] = missing > 0
	}
	if err := v.segments(ctx); err != nil {
		return nil, err
	}
	if err := v.keys(ctx); err != nil {
		return nil, err
	}
	return &v.report, nil
}

// cursor reads the cursor of a stream.
func (v *verification) cursor(ctx context.Context, stream string) (domain.Seq, error) {
	at, err := v.store.cursor(ctx, v.store.generation, stream)
	if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
		v.find(streams.Finding{Stream: stream, What: "the cursor cannot be read: " + err.Error()})
		return 0, nil
	}
	return at, err
}

// find notes what is wrong with the archive.
func (v *verification) find(f streams.Finding) {
	switch {
	case f.Account != "" && v.holes[v.log.StreamOf(f.Account)]:
		f.What += "; it is not mended, because the log lacks entries of the stream: see log restore"
	case f.Account != "":
		v.report.accounts[f.Account] = v.newest[f.Account]
	}
	v.blame(f)
}

// blame notes what is wrong, be it with the archive or with the log.
func (v *verification) blame(f streams.Finding) {
	v.report.Findings = append(v.report.Findings, f)
	v.opts.Found(f)
}

// segments looks at every account that the archive or the log has.
func (v *verification) segments(ctx context.Context) error {
	all, err := v.store.list(ctx, func(name domain.BlobID, err error) {
		if v.report.objects = append(v.report.objects, name); v.opts.Account == "" {
			v.find(streams.Finding{Stream: "archive", What: fmt.Sprintf("object %s cannot be read: %v", name, err)})
		}
	}, func(done, total uint64) { v.opts.Progress("objects", done, total) })
	if err != nil {
		return err
	}
	accounts := chains(all, v.store.generation)
	for _, stream := range v.log.Streams() {
		ids, err := v.log.Accounts(ctx, stream)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, has := accounts[id]; !has {
				accounts[id] = nil
			}
		}
	}
	if v.opts.Account != "" {
		accounts = map[domain.AccountID][]found{v.opts.Account: accounts[v.opts.Account]}
	}
	done := uint64(0)
	for id, chain := range accounts {
		if err := v.account(ctx, id, chain); err != nil {
			return err
		}
		done++
		v.opts.Progress("accounts", done, uint64(len(accounts)))
	}
	return nil
}

// account proves an account's chain of segments and compares it with the log.
func (v *verification) account(ctx context.Context, id domain.AccountID, chain []found) error {
	erased, err := v.log.Erased(ctx, id)
	if err != nil {
		return err
	}
	if erased { // its entries cannot be read by anybody and need not be there
		v.report.Erased++
		v.report.Left += len(chain)
		return nil
	}
	used, left := reached(chain)
	v.report.Left += len(left)
	for _, f := range chain {
		v.newest[id] = max(v.newest[id], f.Last)
	}
	if len(chain) > 0 {
		v.report.Accounts++
	}
	var last streams.Sealed
	for _, f := range used {
		segment, err := v.store.segment(ctx, v.store.generation, id, f.First)
		switch {
		case domain.Is(err, domain.Corrupt) && ctx.Err() == nil:
			v.find(streams.Finding{Stream: f.Stream, Account: id, Tx: f.First, Seq: f.FirstSeq, What: fmt.Sprintf("the segment of transactions %d to %d cannot be read: %v", f.First, f.Last, err)})
			return nil
		case domain.Is(err, domain.NotFound): // merged since it was listed; it is looked at again at the end of what is known
			return v.again(ctx, id)
		case err != nil:
			return err
		}
		if segment.Prev != last.Hash || segment.First != last.Tx+1 {
			v.find(streams.Finding{Stream: f.Stream, Account: id, Tx: f.First, Seq: f.FirstSeq, What: "the segment does not follow the one before it"})
			return nil
		}
		for i := range segment.Entries {
			if _, err := v.log.Opens(ctx, &segment.Entries[i]); domain.Is(err, domain.Corrupt) || domain.Is(err, domain.NotFound) {
				e := &segment.Entries[i]
				v.find(streams.Finding{Stream: e.Stream, Account: id, Tx: e.Tx, Seq: e.Seq, What: err.Error()})
				return nil
			} else if err != nil {
				return err
			}
		}
		last = segment.Entries[len(segment.Entries)-1]
		v.report.Segments++
		v.report.Entries += uint64(len(segment.Entries))
	}
	return v.compare(ctx, id, last)
}

// again looks at an account whose segments were merged while they were read.
func (v *verification) again(ctx context.Context, id domain.AccountID) error {
	chain, err := v.store.walk(ctx, v.store.generation, id)
	if err != nil {
		return err
	}
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	return v.account(ctx, id, chain)
}

// compare proves that what the archive has last of an account is what the log has there, and that nothing is missing up to the cursor.
func (v *verification) compare(ctx context.Context, id domain.AccountID, last streams.Sealed) error {
	if last.Tx > 0 {
		in, ok, err := v.log.SealedAfter(ctx, id, last.Seq-1)
		if err != nil && !domain.Is(err, domain.Corrupt) {
			return err
		}
		if !ok || err != nil || in.Seq != last.Seq || in.Hash != last.Hash {
			v.blame(streams.Finding{
				Stream: last.Stream, Account: id, Tx: last.Tx, Seq: last.Seq,
				What: "the log does not have there what the archive has: it is the log that is damaged, so the archive is not mended; see log restore",
			})
			return nil
		}
	}
	next, ok, err := v.log.SealedAfter(ctx, id, last.Seq)
	if err != nil || !ok {
		return err
	}
	if next.Seq <= v.cursors[next.Stream] {
		v.find(streams.Finding{Stream: next.Stream, Account: id, Tx: last.Tx + 1, Seq: next.Seq, What: "the archive lacks this transaction"})
	}
	if v.opts.Account != "" {
		end, err := v.log.Last(ctx, id)
		if err != nil {
			return err
		}
		v.report.Behind += uint64(end.Tx - last.Tx)
	}
	return nil
}

// keys compares the records of KEYS with the archive's.
func (v *verification) keys(ctx context.Context) error {
	names, err := v.log.KeyNames(ctx)
	if err != nil {
		return err
	}
	if v.opts.Account != "" {
		names = []string{streams.AccountRecord(v.opts.Account)}
	}
	at, err := v.cursor(ctx, keysCursor)
	if err != nil {
		return err
	}
	for i, name := range names {
		is, err := v.log.KeyRecord(ctx, name)
		if domain.Is(err, domain.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		v.opts.Progress("keys", uint64(i+1), uint64(len(names)))
		has, err := v.store.key(ctx, name)
		f := streams.Finding{Stream: keysCursor, Account: is.Account, Seq: is.Seq}
		switch {
		case domain.Is(err, domain.NotFound) && is.Seq > at:
			v.report.Behind++
			continue
		case domain.Is(err, domain.NotFound):
			f.What = "the archive lacks key record " + name
		case domain.Is(err, domain.Corrupt) && ctx.Err() == nil:
			f.What = "key record " + name + " of the archive cannot be read"
		case err != nil:
			return err
		case has.Seq < is.Seq && is.Seq > at:
			v.report.Behind++
			continue
		case has.Seq < is.Seq && is.Erased:
			f.What = "the archive has a key that was destroyed"
		case has.Seq == is.Seq && string(has.Data) != string(is.Data):
			f.What = "key record " + name + " is another one in the archive"
		case has.Seq < is.Seq:
			f.What = "the archive has an older version of key record " + name
		default:
			if err := v.log.Master().Check(has); err != nil && !domain.Is(err, domain.Corrupt) {
				return err
			} else if err != nil {
				f.What = err.Error()
			}
		}
		if v.report.Keys++; f.What != "" {
			v.find(f)
		}
	}
	return nil
}
