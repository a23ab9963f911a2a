package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// This file copies keys and transactions in pieces, each of which a node can finish within its turn, and notes after each how far it has come.

// elsewhere is how long Keys waits for another node, between looks at what it has done.
const elsewhere = 500 * time.Millisecond

// Keys returns when the archive has the root and every key as the log has them now: before a master key is destroyed with which older ones are wrapped.
// Where another node archives, it waits for that until ctx ends. Errors are those of Round.
func (a *Archiver) Keys(ctx context.Context) error {
	head, err := a.cfg.Log.KeysHead(ctx)
	if err != nil {
		return err
	}
	for {
		mine, err := a.keysOnce(ctx)
		if err != nil || mine {
			return err
		}
		if at, err := a.cfg.Store.cursor(ctx, a.cfg.Store.generation, keysCursor); err == nil && at >= head {
			return nil
		}
		select {
		case <-time.After(elsewhere):
		case <-ctx.Done():
			return domain.Wrap(domain.Unavailable, ctx.Err(), "wait until the node that archives the log has archived its keys")
		}
	}
}

func (a *Archiver) keysOnce(ctx context.Context) (mine bool, err error) {
	a.working.Lock()
	defer a.working.Unlock()
	err = a.inTurn(ctx, true, func(ctx context.Context) error {
		if err := a.begin(ctx); err != nil {
			return err
		}
		return a.keepRoot(ctx)
	})
	if err == nil {
		err = a.archiveKeys(ctx)
	}
	if errors.Is(err, errElsewhere) {
		return false, nil
	}
	return true, err
}

// keysAtOnce is how many records of KEYS are archived before the cursor is written.
const keysAtOnce = 200

var errEnough = errors.New("these are enough for now")

// archiveKeys copies the records of KEYS that were written since the last time. The key of an erased account is replaced by the note that it is erased.
func (a *Archiver) archiveKeys(ctx context.Context) error {
	for more := true; more; {
		if err := a.inTurn(ctx, false, func(ctx context.Context) (err error) {
			more, err = a.someKeys(ctx)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// someKeys archives the next records, and tells whether there are more.
func (a *Archiver) someKeys(ctx context.Context) (more bool, err error) {
	latest, seen, at := map[string]streams.KeyRecord{}, 0, a.keys
	head, err := a.cfg.Log.KeyRecords(ctx, a.keys, func(r streams.KeyRecord) error {
		if latest[r.Name], at, seen = r, r.Seq, seen+1; seen == keysAtOnce {
			return errEnough
		}
		return nil
	})
	switch more = errors.Is(err, errEnough); {
	case more:
	case err != nil:
		return false, fmt.Errorf("archive keys: %w", err)
	default:
		at = head
	}
	if at <= a.keys {
		return false, nil
	}
	work := parallel{limit: a.cfg.Limits.Parallel}
	for name, r := range latest {
		work.do(ctx, func(ctx context.Context) error {
			if name == streams.SecretRecord(purpose) {
				if err := a.keepRoot(ctx); err != nil {
					return err
				}
			}
			err := a.cfg.Store.putKey(ctx, &r)
			if err == nil && r.Erased {
				err = a.cfg.Store.removeAccount(ctx, r.Account)
			}
			a.stats.keys.Add(1)
			return err
		})
	}
	if err := work.wait(); err != nil {
		return false, err
	}
	if err := a.cfg.Store.putCursor(ctx, keysCursor, at, streams.Hash{}); err != nil {
		return false, err
	}
	a.keys = at
	return more, nil
}

// archiveStream copies what a stream has beyond its cursor. A segment that cannot be merged keeps nothing else from being archived.
func (a *Archiver) archiveStream(ctx context.Context, stream string) error {
	head, err := a.cfg.Log.Head(ctx, stream)
	if err != nil {
		return err
	}
	var unmerged error
	for a.cursors[stream] < head {
		a.show(stream, a.cursors[stream], head)
		var accounts map[domain.AccountID][]streams.Sealed
		if err := a.inTurn(ctx, false, func(ctx context.Context) (err error) {
			accounts, err = a.batch(ctx, stream, head)
			return err
		}); err != nil {
			return errors.Join(unmerged, err)
		}
		if err := a.mergeAll(ctx, accounts); errors.Is(err, errElsewhere) {
			return err
		} else if err != nil {
			unmerged = errors.Join(unmerged, err)
		}
	}
	a.show(stream, a.cursors[stream], head)
	return unmerged
}

// maxAccounts is how many accounts have segments in one batch at most, so that a turn is long enough for it.
const maxAccounts = 256

// batch reads up to Limits.Batch octets and writes a segment for each account that is in them, then the cursor. It gives what it has written.
func (a *Archiver) batch(ctx context.Context, stream string, head domain.Seq) (map[domain.AccountID][]streams.Sealed, error) {
	accounts := map[domain.AccountID][]streams.Sealed{}
	octets, at, hash := 0, a.cursors[stream], streams.Hash{}
	for e, err := range a.cfg.Log.Sealed(ctx, stream, at, head) {
		if err != nil {
			return nil, err
		}
		if _, known := accounts[e.Account]; !known && len(accounts) == maxAccounts {
			break
		}
		accounts[e.Account] = append(accounts[e.Account], e)
		at, hash = e.Seq, e.Hash
		if octets += len(e.Data); octets >= a.cfg.Limits.Batch {
			break
		}
	}
	if at == a.cursors[stream] {
		return nil, domain.Errorf(domain.Unavailable, "nothing can be read after sequence %d", at)
	}
	work := parallel{limit: a.cfg.Limits.Parallel}
	for id, entries := range accounts {
		work.do(ctx, func(ctx context.Context) error { return a.write(ctx, id, entries) })
	}
	if err := work.wait(); err != nil {
		return nil, err
	}
	a.cfg.Failpoint("archive.segments")
	if err := a.cfg.Store.putCursor(ctx, stream, at, hash); err != nil {
		return nil, err
	}
	a.cursors[stream] = at
	return accounts, nil
}

// mergeAll merges segments of accounts that have new ones. After an error, what is known of the segments of those that were not merged is given up: it is
// read again when they have new ones.
func (a *Archiver) mergeAll(ctx context.Context, accounts map[domain.AccountID][]streams.Sealed) (all error) {
	away := false
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		if away || ctx.Err() != nil {
			delete(a.runs, id)
			continue
		}
		err := a.inTurn(ctx, false, func(ctx context.Context) error { return a.merge(ctx, id, accounts[id]) })
		if errors.Is(err, errElsewhere) {
			return err
		}
		if err != nil {
			delete(a.runs, id)
			away = !domain.Is(err, domain.Corrupt)
			all = errors.Join(all, fmt.Errorf("merge segments of account %s: %w", id, err))
		}
	}
	return all
}

// write stores entries of an account that follow each other. Of an erased account nothing is kept.
func (a *Archiver) write(ctx context.Context, id domain.AccountID, entries []streams.Sealed) error {
	if erased, err := a.cfg.Log.Erased(ctx, id); err != nil || erased {
		return err
	}
	segment, err := newSegment(a.cfg.Store.generation, entries)
	if err != nil {
		return domain.Wrap(domain.Corrupt, err, "archive transactions of account "+string(id))
	}
	if err := a.cfg.Store.putSegment(ctx, segment); err != nil {
		return err
	}
	a.stats.segments.Add(1)
	for i := range entries {
		a.stats.octets.Add(uint64(len(entries[i].Data)))
	}
	return nil
}
