package projections

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain"
)

// patrolEvery is how often the patrol looks whose turn has come.
const patrolEvery = time.Minute

// patrol inspects every account once in some time, a few at a time, and as often what belongs to no account. Each has its place in that time, which follows
// from its name alone, so nothing need be remembered: a process that begins anew goes on with the accounts whose time comes then.
func (r *Runner) patrol(ctx context.Context, every time.Duration, inspect func(context.Context, Selection) error) {
	ticker := time.NewTicker(min(patrolEvery, every))
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		for _, stream := range r.streams {
			if err := r.patrolStream(ctx, stream, func(id domain.AccountID) bool { return due(id, last, now, every) }, inspect); err != nil && ctx.Err() == nil {
				r.cfg.Logger.Warn("views could not be inspected", "stream", stream, "error", err)
			}
		}
		last = now
	}
}

// due tells whether an account's place lies in a time, of which the end belongs to it.
func due(id domain.AccountID, after, upTo time.Time, every time.Duration) bool {
	turn := func(t time.Time) (cycle int64, share float64) {
		n := t.UnixNano()
		return n / int64(every), float64(n%int64(every)) / float64(every)
	}
	from, begin := turn(after)
	to, end := turn(upTo)
	at := place(id, 0)
	switch to - from {
	case 0:
		return begin < at && at <= end
	case 1:
		return begin < at || at <= end
	}
	return true
}

func (r *Runner) patrolStream(ctx context.Context, stream string, due func(domain.AccountID) bool, inspect func(context.Context, Selection) error) error {
	for _, g := range r.groups[stream] {
		for _, s := range g.slots {
			if s.byAccount() || !s.readable() || !due(domain.AccountID(stream+"."+s.name())) {
				continue
			}
			if err := inspect(ctx, Selection{Stream: stream, Projection: s.name()}); err != nil {
				return err
			}
		}
	}
	ids, err := r.accounts(ctx, stream)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !due(id) {
			continue
		}
		if err := inspect(ctx, Selection{Stream: stream, Accounts: []domain.AccountID{id}}); err != nil {
			return err
		}
	}
	return nil
}

// inspect compares an account, or the rows of a projection that belong to none.
func (r *Runner) inspect(ctx context.Context, sel Selection) error {
	report, err := r.Verify(ctx, sel, VerifyOptions{Limit: 10, CPUShare: r.cfg.Limits.VerifyShare}, nil)
	if err != nil {
		return err
	}
	for _, d := range report.Differences {
		r.cfg.Logger.Error("a view differs from the log: projection verify --repair makes the rows anew", "difference", d.String())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Verified += uint64(len(sel.Accounts))
	r.stats.Differences += uint64(report.Total)
	r.stats.LastVerified = time.Now()
	if len(report.Differences) > 0 {
		r.stats.Found = report.Differences[0].String()
	}
	return nil
}

// tally compares the rows of an account, or those of a projection that belong to none, with their digests.
func (r *Runner) tally(ctx context.Context, sel Selection) error {
	report, err := r.Count(ctx, sel, CountOptions{Limit: 10, CPUShare: r.cfg.Limits.VerifyShare}, nil)
	if err != nil {
		return err
	}
	for _, m := range report.Miscounts {
		r.cfg.Logger.Error("something other than the projector changed rows of a view: projection count --repair makes them anew", "miscount", m.String())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Counted += uint64(len(sel.Accounts))
	r.stats.Miscounts += uint64(report.Total)
	r.stats.LastCounted = time.Now()
	if len(report.Miscounts) > 0 {
		r.stats.Miscount = report.Miscounts[0].String()
	}
	return nil
}

// accounts lists whose rows the views of a stream have, in any of the tables that have one for each account.
func (r *Runner) accounts(ctx context.Context, stream string) ([]domain.AccountID, error) {
	met := map[domain.AccountID]bool{}
	var all []domain.AccountID
	for _, g := range r.groups[stream] {
		for _, s := range g.slots {
			if !s.byAccount() || !s.readable() {
				continue
			}
			for _, table := range s.projection.Tables() {
				if len(table.Key) != 1 {
					continue
				}
				rows, err := reader{s: s}.Query(ctx, "select account from "+table.Name)
				if err != nil {
					return nil, err
				}
				for rows.Next() {
					var id domain.AccountID
					if err := rows.Scan(&id); err != nil {
						_ = rows.Close()
						return nil, err
					}
					if !met[id] {
						met[id] = true
						all = append(all, id)
					}
				}
				if err := rows.Err(); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}
