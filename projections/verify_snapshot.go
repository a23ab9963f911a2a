package projections

import (
	"context"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
)

// VerifySnapshot compares the rows of an account's snapshot, and their digests, with a fold of the account's log up to the snapshot's position. Differences are no error.
// progress may be nil. Errors: those of Snapshots.Open; ErrRefused for a snapshot that this build cannot use on this log, and domain.Corrupt for one that is
// damaged; domain.Corrupt for a log that cannot be folded.
func (r *Runner) VerifySnapshot(ctx context.Context, id domain.AccountID, from Snapshots, opt VerifyOptions, progress func(Progress)) (report Report, err error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	snapshot, err := from.Open(ctx, id)
	if err != nil {
		return report, err
	}
	defer snapshot.Close()
	taken := snapshot.Taken()
	if err := r.Usable(ctx, taken); err != nil {
		return report, err
	}
	opt.pace = newPace(opt.EntriesPerSecond, opt.CPUShare)
	stream := r.cfg.Log.StreamOf(id)
	v := &verification{
		g: r.groups[stream][0], accounts: []domain.AccountID{id}, opt: opt, progress: progress, report: &report, wrong: map[*slot]*wrong{},
		met: map[domain.AccountID]bool{},
	}
	held := map[string]View{}
	for _, s := range r.sections(stream) {
		rows, release, err := r.cfg.Views.Scratch(ctx, s.name())
		if err != nil {
			return report, err
		}
		defer release()
		shadow, release, err := r.cfg.Views.Scratch(ctx, s.name())
		if err != nil {
			return report, err
		}
		defer release()
		held[s.name()] = rows
		v.sides = append(v.sides, &side{slot: s, gen: Generation{Stream: stream, Projection: s.name()}, live: rows, shadow: shadow})
	}
	for name, rows := range held {
		if err := rows.Update(ctx, func(tx Tx) error { return tx.Restart(ctx, string(id), taken.Digests[name]) }); err != nil {
			return report, err
		}
	}
	if err := unpack(ctx, snapshot, held); err != nil {
		return report, err
	}
	links := newLinker(0)
	ends := make([]domain.Seq, len(v.sides))
	for i := range ends {
		ends[i] = taken.Seq
	}
	if err := v.fold(ctx, links, ends); err != nil {
		return report, err
	}
	if links.last[id] != taken.At {
		return report, refused("the log stands at transaction %d where it says %d", links.last[id].Tx, taken.At.Tx)
	}
	for i, s := range v.sides {
		report.Compared = append(report.Compared, Compared{Stream: stream, Projection: s.slot.name(), Seq: ends[i]})
		for _, table := range v.tables(s) {
			progress(Progress{Stream: stream, Projections: []string{s.slot.name()}, Phase: Comparing, Done: taken.Seq, Total: taken.Seq})
			if err := v.compare(ctx, s, table, s.live); err != nil {
				return report, fmt.Errorf("compare table %s: %w", table.Name, err)
			}
		}
	}
	report.Streams, report.Accounts = 1, len(v.met)
	return report, v.blame(ctx)
}

// unpack writes the rows of a snapshot into empty tables.
func unpack(ctx context.Context, snapshot Snapshot, into map[string]View) error {
	var room Room
	for chunk, err := range snapshot.Chunks(ctx, func(projection string) bool { return into[projection] != nil }) {
		if err != nil {
			return err
		}
		rows, err := chunk.Rows(&room)
		if err != nil {
			return domain.Wrap(domain.Corrupt, err, "the snapshot is damaged")
		}
		if err := into[chunk.Projection].Update(ctx, func(tx Tx) error { return tx.Copy(ctx, chunk.Table, chunk.Columns, rows) }); err != nil {
			if errors.Is(err, ErrDamaged) || domain.Is(err, domain.Unavailable) || ctx.Err() != nil {
				return err
			}
			return refused("its rows cannot be used: %w", err)
		}
		chunk.Done()
	}
	return nil
}
