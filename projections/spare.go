package projections

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Rows that have to be made, on a node that has none or returns after a long time, come from snapshots as far as there are any: first an account after the
// other takes the rows of its snapshot and is ahead of all others then, and the stream is read once, past the entries that these rows show. Accounts without
// a snapshot that can be used are folded from the stream like everything else, so this spares time and nothing depends on it.

// Sparing is implemented by logs that need not open entries which their reader knows; *streams.Log is one.
type Sparing interface {
	// FollowPast and ReadPast are Follow and Read, but for entries that are known, which come closed.
	FollowPast(ctx context.Context, stream string, after domain.Seq, known streams.Known, f func([]streams.Entry) error) error
	ReadPast(ctx context.Context, stream string, after, upTo domain.Seq, known streams.Known) iter.Seq2[streams.Entry, error]
}

func (r *Runner) followPast(ctx context.Context, stream string, after domain.Seq, known streams.Known, f func([]streams.Entry) error) error {
	if log, can := r.cfg.Log.(Sparing); can && len(known) > 0 {
		return log.FollowPast(ctx, stream, after, known, f)
	}
	return r.cfg.Log.Follow(ctx, stream, after, f)
}

func (r *Runner) readPast(ctx context.Context, stream string, after, upTo domain.Seq, known streams.Known) iter.Seq2[streams.Entry, error] {
	if log, can := r.cfg.Log.(Sparing); can && len(known) > 0 {
		return log.ReadPast(ctx, stream, after, upTo, known)
	}
	return r.cfg.Log.Read(ctx, stream, after, upTo)
}

// catalogueLasts is how long a list of the snapshots serves: all streams of a node that begins ask for it at about the same time, and what a snapshot says of
// itself is read again before it is used.
const catalogueLasts = time.Minute

// catalogue lists the snapshots of the accounts of a stream.
func (r *Runner) catalogue(ctx context.Context, from Snapshots, stream string) (all []Taken, err error) {
	r.listing.Lock()
	defer r.listing.Unlock()
	if r.taken == nil || time.Since(r.listed) > catalogueLasts {
		taken := []Taken{}
		if err := from.Each(ctx, func(t Taken) error { taken = append(taken, t); return nil }); err != nil {
			return nil, err
		}
		r.taken, r.listed = taken, time.Now()
	}
	for _, t := range r.taken {
		if r.cfg.Log.StreamOf(t.Account) == stream {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b Taken) int { return cmp.Compare(a.Account, b.Account) })
	return all, nil
}

// spares tells whether taking a snapshot costs less than folding what it spares: copying a row takes about a third of the time of making it.
func (r *Runner) spares(ctx context.Context, taken Taken, works []*work) (bool, error) {
	shown := taken.At.Seq
	for _, w := range works {
		shown = min(shown, w.gen.shown(taken.Account))
	}
	if shown == 0 || shown >= taken.At.Seq {
		return shown == 0, nil
	}
	for e, err := range r.cfg.Log.ReadAccount(ctx, taken.Account, shown) {
		if err != nil {
			return false, err
		}
		saved := taken.At.Tx + 1 - min(taken.At.Tx+1, e.Tx)
		return saved >= domain.Tx(r.cfg.Limits.Spared) && saved >= taken.At.Tx/3, nil
	}
	return false, nil
}

// spared is what became of the snapshots of a stream's accounts.
type spared struct {
	accounts int // that took one
	rows     int64
	tx       uint64 // transactions that need not be folded
	refused  int
}

// spare has accounts take the rows of their snapshots in some generations of one stream, as far as those show nothing beyond a position. between is called before each
// account and may end it. Errors: those of between and ctx; ErrDamaged of a generation, whose work has it.
func (r *Runner) spare(ctx context.Context, from Snapshots, works []*work, upTo domain.Seq, between func(done, total int) error) (spared, error) {
	var sum spared
	g := works[0].slot.group
	began := time.Now()
	all, err := r.catalogue(ctx, from, g.stream)
	for i, taken := range all {
		if err = between(i, len(all)); err != nil {
			return sum, err
		}
		var worth bool
		if worth, err = r.spares(ctx, taken, works); err == nil && worth && max(taken.At.Seq, taken.Seq) <= upTo {
			var done Hydrated
			done, err = r.hydrate(ctx, taken.Account, works, from, func(domain.Seq) {})
			switch {
			case err == nil:
				sum.accounts, sum.rows, sum.tx = sum.accounts+1, sum.rows+done.Rows, sum.tx+uint64(done.From)
			case errors.Is(err, ErrRefused):
				r.refusal(taken.Account, err)
				sum.refused, err = sum.refused+1, nil
			}
		}
		if err != nil {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return sum, ctx.Err()
	case errors.Is(err, ErrDamaged):
		return sum, err
	case err != nil:
		g.log.Warn("snapshots cannot be used now: what is missing is folded from the log", "error", err)
	}
	if sum.accounts+sum.refused > 0 {
		g.log.Info("rows of accounts come from their snapshots: only what came after is folded",
			"accounts", sum.accounts, "rows", sum.rows, "transactions", sum.tx, "refused", sum.refused, "elapsed", time.Since(began).Round(time.Millisecond))
	}
	return sum, nil
}

// sections gives those of some works whose rows are in snapshots.
func sections(works []*work) (all []*work) {
	for _, w := range works {
		if w.slot.byAccount() {
			all = append(all, w)
		}
	}
	return all
}

// spare takes what snapshots have of the rows that the group is about to make, and tells which entries need not be opened after that.
func (g *group) spare(ctx context.Context, works []*work, head domain.Seq) (streams.Known, error) {
	low, r := lowest(works), g.r
	mine := sections(works)
	if g.silent || len(mine) == 0 {
		return nil, nil
	}
	if r.cfg.Snapshots != nil && (low == 0 && head > 0 || head > low && head-low > domain.Seq(r.cfg.Limits.FarBehind)) {
		g.publish(func() { g.hydrating = true })
		defer g.publish(func() { g.hydrating = false })
		if _, err := r.spare(ctx, r.cfg.Snapshots, mine, head, func(int, int) error { return g.serve(ctx) }); err != nil {
			lost := false
			for _, w := range mine {
				if errors.Is(w.err, ErrDamaged) {
					w.slot.lose(ctx, w.gen, w.err)
					lost = true
				}
			}
			if lost {
				err = errAgain
			}
			return nil, err
		}
	}
	for _, w := range works {
		if w.gen.ready || !w.slot.byAccount() { // whoever listens hears of what is read, too
			return nil, nil
		}
	}
	return known(works), nil
}

// serve does the jobs that wait.
func (g *group) serve(ctx context.Context) error {
	for {
		select {
		case j := <-g.jobs:
			if err := g.do(ctx, j); errors.Is(err, errAgain) {
				return err
			}
		default:
			return ctx.Err()
		}
	}
}

// snapshots gives what a build may take rows from: what was ordered with it, or what the runner has, when it needs the build to go on itself.
func (b *build) snapshots() Snapshots {
	b.g.mu.Lock()
	defer b.g.mu.Unlock()
	switch {
	case b.folds:
		return nil
	case b.own && b.opt.Snapshots == nil:
		return b.g.r.cfg.Snapshots
	}
	return b.opt.Snapshots
}

// spare has the parts of a build that begin from nothing take what snapshots have.
func (b *build) spare(ctx context.Context) error {
	upTo, err := b.goal(ctx)
	if err != nil {
		return err
	}
	from := b.snapshots()
	var works []*work
	for _, w := range b.works() {
		if p := b.part(w.slot); from != nil && p.from == nil && w.gen.seq == 0 && w.slot.byAccount() && !b.g.silent {
			works = append(works, w)
		}
	}
	if len(works) == 0 || upTo == 0 {
		return nil
	}
	sum, err := b.g.r.spare(ctx, from, works, upTo, func(done, total int) error {
		b.show(Hydrating, domain.Seq(done), domain.Seq(total), 0)
		return b.yield(ctx)
	})
	if sum.accounts > 0 {
		for _, w := range works {
			b.part(w.slot).spared = true
		}
	}
	if errors.Is(err, ErrDamaged) {
		return b.outcome(ctx, works)
	}
	return err
}
