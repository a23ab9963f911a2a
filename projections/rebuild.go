package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
)

// Selection says which rows are meant. The zero value means all.
type Selection struct {
	Projection string             // only this one; all if empty
	Stream     string             // only in this one; all if empty
	Accounts   []domain.AccountID // only theirs; all if empty
	// Mailbox and UID narrow a comparison to the rows of one mailbox of one account, and of one message in it; 0: all. Rows are made anew for whole accounts,
	// since each follows from all that came before.
	Mailbox domain.MailboxID
	UID     domain.UID
}

// RebuildOptions say how rows are made anew. The zero value means: at full speed.
type RebuildOptions struct {
	EntriesPerSecond int     // at most; 0: no bound
	CPUShare         float64 // of the time, in which it works: above 0, up to 1; 0 is 1
	DryRun           bool    // only say what would be done
	Verify           bool    // compare every new row with another fold of the log before the switch
	// Snapshots are where rows of single accounts with long logs are taken from, as far as that goes; nil: all are folded from the log.
	Snapshots Snapshots

	pace *pace // of all that it does
}

func (o RebuildOptions) check() error {
	switch {
	case o.EntriesPerSecond < 0:
		return domain.Errorf(domain.Invalid, "%d entries a second is no speed", o.EntriesPerSecond)
	case o.DryRun && o.Verify:
		return domain.Errorf(domain.Invalid, "a dry run makes no rows that could be verified")
	case o.CPUShare < 0 || o.CPUShare > 1:
		return domain.Errorf(domain.Invalid, "a share of the CPU is above 0 and at most 1, and not %g", o.CPUShare)
	}
	return nil
}

// Result is what a rebuild did, or, for a dry run, would do.
type Result struct {
	Plan    []Planned     `json:"plan,omitempty"` // of a dry run
	Entries uint64        `json:"entries"`        // of the log, each counted once for a stream
	Pause   time.Duration `json:"pause"`          // the longest for which projecting stood still at a switch, in ns
	Elapsed time.Duration `json:"elapsed"`        // in ns
}

// target is what is chosen in one group.
type target struct {
	group    *group
	slots    []*slot
	accounts []domain.AccountID
}

// chosen gives what a selection means. Of accounts, that is the projections whose rows belong to accounts. Errors: domain.NotFound, domain.Invalid.
func (r *Runner) chosen(sel Selection) ([]target, error) {
	if sel.Projection != "" && !slices.ContainsFunc(r.cfg.Projections, func(p Projection) bool { return p.Name() == sel.Projection }) {
		return nil, r.noProjection(sel.Projection)
	}
	if sel.Stream != "" && r.groups[sel.Stream] == nil {
		return nil, r.noStream(sel.Stream)
	}
	accounts := map[string][]domain.AccountID{}
	for _, id := range sel.Accounts {
		stream := r.cfg.Log.StreamOf(id)
		if sel.Stream != "" && sel.Stream != stream {
			return nil, domain.Errorf(domain.Invalid, "account %s is in stream %s, not in %s", id, stream, sel.Stream)
		}
		if !slices.Contains(accounts[stream], id) {
			accounts[stream] = append(accounts[stream], id)
		}
	}
	var all []target
	foreign := "" // a projection whose rows are nobody's
	for _, stream := range r.streams {
		if sel.Stream != "" && sel.Stream != stream || len(sel.Accounts) > 0 && accounts[stream] == nil {
			continue
		}
		for _, g := range r.groups[stream] {
			t := target{group: g, accounts: accounts[stream]}
			for _, s := range g.slots {
				switch {
				case sel.Projection != "" && s.name() != sel.Projection:
				case len(sel.Accounts) == 0 || s.byAccount():
					t.slots = append(t.slots, s)
				default:
					foreign = s.name()
				}
			}
			if len(t.slots) > 0 {
				all = append(all, t)
			}
		}
	}
	if len(all) == 0 && foreign != "" {
		return nil, domain.Errorf(domain.Invalid, "projection %s does not belong to accounts", foreign)
	}
	if len(all) == 0 {
		return nil, domain.Errorf(domain.NotFound, "projection %s has no rows there", sel.Projection)
	}
	return all, nil
}

// Rebuild makes rows anew from the log while the old ones are read and mail goes on. Generations are filled beside the live ones and switched in; rows of
// accounts are made anew where they are, or in a copy when an account's log is long. A rebuild of the same rows that runs already is joined. When ctx
// ends, what was filled is dropped and nothing has changed; when the process does, the next one goes on with it, but for accounts. progress may be nil and is not called
// concurrently. Errors: domain.NotFound, domain.Invalid, domain.Corrupt when the log cannot be folded, domain.Unavailable.
func (r *Runner) Rebuild(ctx context.Context, sel Selection, opt RebuildOptions, progress func(Progress)) (Result, error) {
	began := time.Now()
	var result Result
	chosen, err := r.chosen(sel)
	if err == nil {
		err = opt.check()
	}
	if err == nil && sel.Mailbox != 0 {
		refused := domain.Errorf(domain.Invalid, "rows of one mailbox are not made anew alone: they follow from all that happened to the account")
		refused.Hint = "make the account's rows anew, which disturbs nobody; search reindex reads messages of one mailbox again"
		err = refused
	}
	if err != nil {
		return result, err
	}
	if opt.DryRun {
		result.Plan, err = r.estimate(ctx, chosen)
		for _, p := range result.Plan {
			result.Entries += p.Entries
		}
		return result, err
	}
	if opt.pace == nil {
		opt.pace = newPace(opt.EntriesPerSecond, opt.CPUShare)
	}
	var mu sync.Mutex
	show := func(p Progress) {
		if progress != nil {
			mu.Lock()
			defer mu.Unlock()
			progress(p)
		}
	}
	failed := make([]error, len(chosen))
	var wg sync.WaitGroup
	for i, t := range chosen {
		wg.Go(func() {
			var pause time.Duration
			var entries uint64
			var err error
			if len(t.accounts) > 0 {
				entries, pause, err = r.rebuildAccounts(ctx, t, opt, show)
			} else {
				entries, pause, err = r.rebuildAll(ctx, t, opt, show)
			}
			mu.Lock()
			defer mu.Unlock()
			result.Entries += entries
			result.Pause = max(result.Pause, pause)
			if err != nil {
				failed[i] = fmt.Errorf("rebuild stream %s: %w", t.group.stream, err)
			}
		})
	}
	wg.Wait()
	result.Elapsed = time.Since(began)
	return result, errors.Join(failed...)
}

// rebuildAll has whole generations filled.
func (r *Runner) rebuildAll(ctx context.Context, t target, opt RebuildOptions, show func(Progress)) (uint64, time.Duration, error) {
	var parts []*part
	for _, s := range t.slots {
		parts = append(parts, &part{slot: s})
	}
	return r.await(ctx, t, &build{g: t.group, parts: parts, opt: opt}, show)
}

// await begins a build, or joins those that run, and waits for all.
func (r *Runner) await(ctx context.Context, t target, b *build, show func(Progress)) (entries uint64, pause time.Duration, err error) {
	for _, s := range t.slots {
		if err := s.known(ctx); err != nil {
			return 0, 0, err
		}
	}
	builds, err := r.begin(b)
	if err != nil {
		return 0, 0, err
	}
	for _, b := range builds {
		b.g.mu.Lock()
		b.waiting++
		b.listeners = append(b.listeners, show)
		b.g.mu.Unlock()
	}
	var failed []error
	for _, b := range builds {
		select {
		case <-b.done:
		case <-ctx.Done():
			failed = append(failed, ctx.Err())
			b.leave()
			continue
		}
		pause = max(pause, b.pause)
		for _, p := range b.parts {
			if slices.Contains(t.slots, p.slot) && p.err != nil && !said(failed, p.err) {
				failed = append(failed, p.err)
			}
		}
		b.g.mu.Lock()
		entries += uint64(b.progress.Total)
		b.g.mu.Unlock()
	}
	return entries, pause, errors.Join(failed...)
}

// said tells whether an error says nothing that another has not said: a full disk fails all projections alike.
func said(all []error, err error) bool {
	return slices.ContainsFunc(all, func(other error) bool { return other.Error() == err.Error() })
}

// leave ends a build that nobody waits for any more, unless it is needed.
func (b *build) leave() {
	b.g.mu.Lock()
	b.waiting--
	idle := b.waiting == 0
	b.g.mu.Unlock()
	if idle && !b.needed() {
		b.cancel()
		<-b.done
	}
}

// rebuildAccounts makes rows of accounts anew: where they are when that is quick, else in a copy.
func (r *Runner) rebuildAccounts(ctx context.Context, t target, opt RebuildOptions, show func(Progress)) (entries uint64, pause time.Duration, err error) {
	g := t.group
	var long []domain.AccountID
	var names []string
	for _, s := range t.slots {
		names = append(names, s.name())
	}
	for i, id := range t.accounts {
		last, err := r.cfg.Log.Last(ctx, id)
		if err != nil {
			return entries, pause, err
		}
		entries += uint64(last.Tx)
		working := time.Now()
		if uint64(last.Tx) > uint64(r.cfg.Limits.InPlace) {
			long = append(long, id)
			continue
		}
		if err := g.schedule(ctx, func(ctx context.Context) (again bool, err error) {
			began := time.Now()
			for _, s := range t.slots {
				changed, err := s.refresh(ctx, id)
				if err != nil {
					return false, err
				}
				again = again || changed
			}
			pause = max(pause, time.Since(began))
			return again, nil
		}); err != nil {
			return entries, pause, fmt.Errorf("account %s: %w", id, err)
		}
		show(Progress{Stream: g.stream, Projections: names, Phase: Refreshing, Done: domain.Seq(i + 1), Total: domain.Seq(len(t.accounts))})
		if err := opt.pace.rest(ctx, int(last.Tx), time.Since(working)); err != nil {
			return entries, pause, err
		}
	}
	if len(long) == 0 {
		return entries, pause, nil
	}
	b := &build{g: g, opt: opt}
	for _, s := range t.slots {
		p := &part{slot: s, accounts: long}
		g.mu.Lock()
		if s.driven != nil && s.driven == s.live {
			p.from = s.live
		}
		g.mu.Unlock()
		b.parts = append(b.parts, p)
	}
	_, stood, err := r.await(ctx, t, b, show)
	return entries, max(pause, stood), err
}

// refresh makes the rows of an account anew in the live generation, on the group's goroutine. It tells whether a projection that stood still can be
// tried again.
func (s *slot) refresh(ctx context.Context, id domain.AccountID) (again bool, err error) {
	g := s.group
	g.mu.Lock()
	gen, stopped := s.driven, s.state == Stopped
	if gen == nil && s.build == nil {
		gen = s.live
	}
	g.mu.Unlock()
	if gen == nil {
		return false, nil // it is being made anew altogether
	}
	if err := s.refold(ctx, gen, id, nil, nil); err != nil {
		if errors.Is(err, ErrDamaged) {
			s.lose(ctx, gen, err)
		}
		return false, err
	}
	if stopped {
		g.publish(func() { s.state, s.err, s.driven = "", nil, gen })
		again = true
	}
	g.r.rows(g.stream, s.name(), id)
	return again, nil
}
