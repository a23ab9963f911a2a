package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
)

// Phase is what a build is doing.
type Phase string

// The phases.
const (
	Waiting    Phase = "waiting" // for its turn
	Copying    Phase = "copying" // the live rows, to make those of some accounts anew
	Filling    Phase = "filling"
	Verifying  Phase = "verifying"
	Switching  Phase = "switching"
	Comparing  Phase = "comparing" // a verification, of rows with rows
	Measuring  Phase = "measuring"
	Refreshing Phase = "refreshing" // rows of single accounts, where they are
	Hydrating  Phase = "hydrating"  // accounts take the rows of their snapshots
)

// Progress tells how far a rebuild or a comparison has come in a stream.
type Progress struct {
	Stream      string     `json:"stream"`
	Projections []string   `json:"projections"`
	Phase       Phase      `json:"phase"`
	Done        domain.Seq `json:"done"` // position reached
	Total       domain.Seq `json:"total"`
	Rate        float64    `json:"rate"` // entries a second
	Left        float64    `json:"left"` // seconds, by that rate
}

// build fills generations of one stream beside the live ones, in one pass over the log, and has them switched in.
type build struct {
	g     *group
	parts []*part
	opt   RebuildOptions
	own   bool // the runner needs it: it is tried until it succeeds, and nobody's going away ends it

	cancel context.CancelFunc
	done   chan struct{} // closed at the end, when pause and err are known
	pause  time.Duration
	old    map[*slot]*generation // whose place others have taken

	// Of the build's goroutine only.
	presses bool // others wait for it
	folds   bool // snapshots are of no use: rows that came from them were wrong

	// Guarded by the group's lock.
	waiting   int // callers of Rebuild
	listeners []func(Progress)
	progress  Progress
	removed   []domain.AccountID // erased meanwhile
	trouble   error              // why it is tried again
}

// part is one projection's part of a build.
type part struct {
	slot     *slot
	gen      *generation        // what is filled; nil: a new one
	from     *generation        // what it is copied from, if it is
	accounts []domain.AccountID // whose rows are made anew in the copy
	started  bool               // by this process, from nothing
	spared   bool               // it has rows that come from snapshots
	err      error              // why this part failed, once the build is done
	ended    bool               // it failed, or is switched in
}

// begin starts a build on those of its slots that have none, and gives the builds of all of them. Errors: domain.Unavailable when the projectors
// do not run.
func (r *Runner) begin(b *build) (all []*build, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil || r.running.Err() != nil {
		return nil, domain.Errorf(domain.Unavailable, "the projectors are not running")
	}
	ctx, cancel := context.WithCancel(r.running)
	b.cancel, b.done, b.old = cancel, make(chan struct{}), map[*slot]*generation{}
	b.progress = Progress{Stream: b.g.stream, Phase: Waiting}
	b.g.publish(func() {
		parts := b.parts
		b.parts = nil
		for _, p := range parts {
			if other := p.slot.build; other != nil {
				if !slices.Contains(all, other) {
					all = append(all, other)
				}
				continue
			}
			p.slot.build = b
			b.parts = append(b.parts, p)
			b.progress.Projections = append(b.progress.Projections, p.slot.name())
		}
		if b.own {
			for _, other := range all {
				other.own = true
			}
		}
	})
	if len(b.parts) == 0 {
		cancel()
		return all, nil
	}
	r.builds.Go(func() {
		defer cancel()
		b.run(ctx)
	})
	return append(all, b), nil
}

// run builds until it succeeds, fails or is cancelled. When the process ends, what is filled stays, and the next start goes on with it.
func (b *build) run(ctx context.Context) {
	r := b.g.r
	backoff := r.cfg.Limits.BackoffMin
	var err error
	for {
		err = b.try(ctx)
		if err == nil || ctx.Err() != nil || fatal(err) || !b.needed() {
			break
		}
		b.g.log.Warn("a view cannot be built now", "for", backoff, "projections", b.names(), "error", err)
		b.g.publish(func() { b.trouble = err })
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, r.cfg.Limits.BackoffMax)
	}
	if r.running.Err() == nil {
		for _, p := range b.parts {
			b.abandon(p, err)
		}
	}
	var bereft []*part
	b.g.publish(func() {
		for _, p := range b.parts {
			if !p.ended {
				p.err = err
			}
			if p.slot.build != b {
				continue
			}
			p.slot.build = nil
			if p.slot.driven == nil && p.slot.state != Stopped && p.slot.state != Dropped {
				bereft = append(bereft, &part{slot: p.slot})
			}
		}
	})
	close(b.done)
	if len(bereft) > 0 && r.running.Err() == nil { // who wanted it went away just when it became needed
		_, _ = r.begin(&build{g: b.g, parts: bereft, own: true}) // it fails only at the end of the process
	}
}

// needed tells whether a slot is without rows that can be written, so that the build must go on whoever wanted it.
func (b *build) needed() bool {
	b.g.mu.Lock()
	defer b.g.mu.Unlock()
	for _, p := range b.parts {
		if !p.ended && p.slot.driven == nil && p.slot.state != Stopped && p.slot.state != Dropped {
			b.own = true
		}
	}
	return b.own
}

// missed tells whether mail waits for the rows: no others of the projection follow the log meanwhile.
func (b *build) missed() bool {
	b.g.mu.Lock()
	defer b.g.mu.Unlock()
	return !b.g.silent && slices.ContainsFunc(b.parts, func(p *part) bool {
		return !p.ended && p.slot.driven == nil && p.slot.state != Stopped && p.slot.state != Dropped
	})
}

// abandon drops what a failed part has filled. A projection that has no rows to write stops visibly, and serves what there is.
func (b *build) abandon(p *part, err error) {
	if p.ended || err == nil {
		return
	}
	s := p.slot
	var alone bool
	var gen *generation
	b.g.publish(func() {
		p.err, p.ended = err, true
		alone = s.driven == nil && s.state != Stopped && s.state != Dropped
		if alone && s.live == nil {
			s.live = p.gen
		}
		if p.gen != s.live {
			gen = p.gen
		}
	})
	if gen != nil {
		s.retire(gen, b.g.r.cfg.Views.Drop)
	}
	if alone && !errors.Is(err, context.Canceled) {
		s.stop(err)
	}
}

func (b *build) names() []string {
	var all []string
	for _, p := range b.parts {
		if !p.ended {
			all = append(all, p.slot.name())
		}
	}
	return all
}

// works gives the parts that go on.
func (b *build) works() []*work {
	var all []*work
	for _, p := range b.parts {
		if !p.ended {
			all = append(all, &work{slot: p.slot, gen: p.gen, gone: b.gone})
		}
	}
	return all
}

func (b *build) part(s *slot) *part {
	return b.parts[slices.IndexFunc(b.parts, func(p *part) bool { return p.slot == s })]
}

// try goes from where the generations are to the switch.
func (b *build) try(ctx context.Context) error {
	r := b.g.r
	turns := r.replays
	if b.presses = b.missed(); b.presses {
		turns = r.pressing
		defer r.first.begin()()
	}
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, p := range b.parts {
		if err := b.open(ctx, p); err != nil {
			return err
		}
	}
	if err := b.spare(ctx); err != nil {
		return err
	}
	verified, settled, closing := !b.opt.Verify, false, 0
	for {
		works := b.works()
		if len(works) == 0 {
			return nil // each part has its own error
		}
		low := lowest(works)
		goal, err := b.goal(ctx)
		if err != nil {
			return err
		}
		far := goal > low && goal-low > near
		if low < goal && (far || !verified || closing < closer) {
			if !far {
				closing++
			}
			if err := b.fill(ctx, low, goal); err != nil {
				return err
			}
			continue
		}
		if !verified {
			verified = true
			if err := b.verify(ctx, works); err != nil {
				return err
			}
			continue
		}
		b.show(Switching, goal, goal, 0)
		if !settled {
			settled = true
			b.settle(ctx, works)
			continue
		}
		err = b.g.schedule(ctx, func(ctx context.Context) (bool, error) { return b.take(ctx) })
		if !errors.Is(err, errFar) {
			b.clear()
			return err
		}
		settled, closing = false, 0
	}
}

// open makes or finds what a part fills.
func (b *build) open(ctx context.Context, p *part) error {
	if p.ended {
		return nil
	}
	if p.gen != nil { // its head may have been written although the commit failed
		again, err := b.g.r.open(ctx, p.gen.Generation)
		if errors.Is(err, ErrDamaged) {
			b.forgo(p, b.g.r.cfg.Views.Aside)
		} else if err != nil {
			return err
		} else {
			b.g.publish(func() { p.gen.head, p.gen.ahead = again.head, again.ahead })
			return nil
		}
	}
	if p.from != nil {
		err := b.copy(ctx, p)
		if errors.Is(err, ErrDamaged) { // what cannot be copied is made from the log
			err = p.slot.suspect(err)
			b.forgo(p, b.g.r.cfg.Views.Drop)
		}
		if !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	gen, err := p.slot.fresh(ctx)
	b.g.publish(func() { p.gen, p.started = gen, true })
	return err
}

// forgo gives up what a part was filling; the next try begins from nothing. Rows that are read are read on.
func (b *build) forgo(p *part, away func(context.Context, Generation) error) {
	var gen *generation
	b.g.publish(func() {
		if p.gen != p.slot.live {
			gen = p.gen
		}
		p.gen, p.from, p.spared = nil, nil, false
	})
	if gen != nil {
		p.slot.retire(gen, away)
	}
}

// copy takes the live rows and makes those of some accounts anew.
func (b *build) copy(ctx context.Context, p *part) error {
	b.show(Copying, 0, p.from.seq, 0)
	g := b.g
	g.mu.Lock()
	p.slot.number++
	id := Generation{g.stream, p.slot.name(), p.slot.number}
	g.mu.Unlock()
	if err := g.r.cfg.Views.Copy(ctx, p.from.Generation, id); err != nil {
		return err
	}
	gen, err := g.r.open(ctx, id)
	if err != nil {
		return err
	}
	var removed []domain.AccountID
	b.g.publish(func() { p.gen, removed = gen, slices.Clone(b.removed) })
	err = gen.view.Update(ctx, func(tx Tx) error { return remove(ctx, tx, p.slot.projection, removed...) })
	for _, account := range p.accounts {
		hydrated := false
		if err == nil {
			hydrated, err = b.hydrate(ctx, p.slot, gen, account)
		}
		if err == nil && !hydrated {
			err = p.slot.refold(ctx, gen, account, b.opt.pace, func(seq domain.Seq) { b.show(Refreshing, seq, gen.seq, 0) })
		}
	}
	if err != nil { // nobody knows later which accounts have been made anew
		b.forgo(p, g.r.cfg.Views.Drop)
		return fmt.Errorf("rebuild accounts: %w", err)
	}
	return nil
}

// gone tells which accounts were erased since the build began. Entries of theirs may have been read before that.
func (b *build) gone() []domain.AccountID {
	b.g.mu.Lock()
	defer b.g.mu.Unlock()
	return slices.Clone(b.removed)
}

// show tells those who wait how far the build is.
func (b *build) show(phase Phase, done, total domain.Seq, rate float64) {
	p := Progress{Stream: b.g.stream, Projections: b.names(), Phase: phase, Done: min(done, total), Total: total, Rate: rate}
	if rate > 0 {
		p.Left = float64(total-p.Done) / rate
	}
	b.g.mu.Lock()
	b.progress, b.trouble = p, nil
	listeners := slices.Clone(b.listeners)
	b.g.mu.Unlock()
	for _, f := range listeners {
		f(p)
	}
}
