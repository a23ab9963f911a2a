package projections

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// group keeps the views of one stream: one reader of the log, whose entries are folded by all projections of the group, batch by batch. Its
// goroutine is the only one that writes the generations that it drives.
type group struct {
	r      *Runner
	stream string
	scope  Scope
	slots  []*slot
	silent bool // listeners do not hear of its batches
	log    *slog.Logger
	jobs   chan job      // what others want done, between batches
	hurry  chan struct{} // holds a token when somebody waits for rows
	alarm  chan struct{} // holds a token when a reader met damage
	ended  chan struct{} // closed when run has returned

	// Of the group's goroutine only.
	target   domain.Seq      // where the log ended when the group began to follow it
	notified domain.Seq      // up to which position entries were reported
	begun    bool            // notified is known
	follows  bool            // position is that of all generations which are driven
	position domain.Seq      // up to which the log was applied
	last     []streams.Entry // those that were applied last, as many as a switch applies at most, while something is built: it need not read the log then

	mu        sync.Mutex // guards the fields below and those of the slots
	state     State
	err       error // why state is Retrying or Stopped
	over      bool  // the projectors are shut down
	current   time.Time
	wanted    map[domain.AccountID]bool // accounts that go first
	far       bool                      // catching up takes long
	hydrating bool                      // rows are taken from snapshots
	reached   domain.Seq                // position, for others; 0 while the group does not follow
	changed   chan struct{}             // closed when anything above changes
}

// job runs on the group's goroutine. It tells whether the group must begin anew.
type job struct {
	ctx  context.Context
	run  func(ctx context.Context) (again bool, err error)
	done chan<- error
}

// errAgain asks for a fresh start at once.
var errAgain = errors.New("the generations were changed")

func newGroup(r *Runner, stream string, scope Scope, projections ...Projection) *group {
	g := &group{
		r: r, stream: stream, scope: scope, log: r.cfg.Logger.With("stream", stream), jobs: make(chan job), hurry: make(chan struct{}, 1),
		alarm: make(chan struct{}, 1), ended: make(chan struct{}), state: Starting, changed: make(chan struct{}), wanted: map[domain.AccountID]bool{},
	}
	for _, projection := range projections {
		g.slots = append(g.slots, newSlot(g, projection))
	}
	return g
}

// publish changes what others see, and wakes those who wait.
func (g *group) publish(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.changed)
	g.changed = make(chan struct{})
}

// run follows the stream until ctx ends, and starts over after failures.
func (g *group) run(ctx context.Context) {
	defer close(g.ended)
	defer g.publish(func() {
		g.state, g.err, g.over = Stopped, domain.Errorf(domain.Unavailable, "the projectors are shut down"), true
	})
	backoff := g.r.cfg.Limits.BackoffMin
	for ctx.Err() == nil {
		began := time.Now()
		err := g.follow(ctx)
		g.follows = false
		g.publish(func() { g.reached = 0 })
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errAgain):
			continue
		case fatal(err):
			g.log.Error("projectors stopped: the log of this stream cannot be projected any further", "position", g.position, "error", err)
			g.publish(func() {
				g.state, g.err = Stopped, err
				for _, s := range g.slots { // what there is is served
					if s.live == nil {
						s.live = s.driven
					}
				}
			})
			g.pause(ctx, math.MaxInt64)
			backoff = g.r.cfg.Limits.BackoffMin
			continue
		}
		if time.Since(began) > g.r.cfg.Limits.BackoffMax {
			backoff = g.r.cfg.Limits.BackoffMin
		}
		g.log.Warn("projectors wait", "for", backoff, "error", err)
		g.publish(func() { g.state, g.err = Retrying, err })
		g.pause(ctx, backoff)
		backoff = min(2*backoff, g.r.cfg.Limits.BackoffMax)
	}
}

// fatal tells the errors that no waiting mends: what the log says is wrong, or newer than this build.
func fatal(err error) bool {
	var unknown *event.UnknownError
	return !errors.Is(err, ErrDamaged) && (domain.Is(err, domain.Corrupt) || errors.As(err, &unknown))
}

// pause waits, and does jobs meanwhile; it ends early when one succeeded: whatever it was, trying again is worth it then.
func (g *group) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case j := <-g.jobs:
			if err := g.do(ctx, j); err == nil || errors.Is(err, errAgain) {
				return
			}
		}
	}
}

// do runs a job and reports how it went. Its error is the job's, or errAgain.
func (g *group) do(ctx context.Context, j job) error {
	// Whoever asked may go away, and so may the projectors.
	asked, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	again, err := j.run(asked)
	j.done <- err
	if again && err == nil {
		return errAgain
	}
	return err
}

// schedule runs f on the group's goroutine and waits for it.
func (g *group) schedule(ctx context.Context, f func(context.Context) (again bool, err error)) error {
	done := make(chan error, 1)
	select {
	case g.jobs <- job{ctx, f, done}:
		return <-done
	case <-g.ended:
		return domain.Errorf(domain.Unavailable, "the projectors are shut down")
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), "the projectors are busy")
	}
}

// follow opens the views and applies the log to them until something fails.
func (g *group) follow(ctx context.Context) error {
	head, err := g.r.cfg.Log.Head(ctx, g.stream)
	if err != nil {
		return err
	}
	if err := g.prepare(ctx, head); err != nil {
		return err
	}
	works := g.works()
	if len(works) == 0 { // everything has stopped, or is being built elsewhere
		g.publish(func() { g.state, g.err = Live, nil })
		return g.attend(ctx)
	}
	low := lowest(works)
	for _, w := range works {
		if w.gen.seq > head {
			// Of several copies of the log the one that answered may be behind.
			if err := g.r.cfg.Log.Reaches(ctx, g.stream, w.gen.seq); err == nil || !domain.Is(err, domain.Corrupt) {
				if err == nil {
					err = errAgain
				}
				return err
			}
			err := domain.Errorf(domain.Corrupt, "projection %s stands at position %d of stream %s, but the log ends at %d", w.slot.name(), w.gen.seq, g.stream, head)
			err.Hint = "the log lost entries that were projected; restore it, or accept the loss with projection rebuild --all"
			return err
		}
		if !g.begun {
			g.notified = max(g.notified, w.gen.seq)
		}
	}
	g.begun, g.target, g.position, g.follows = true, head, low, true
	g.publish(func() {
		g.err, g.current, g.reached, g.state = nil, time.Now(), low, Live
		if low < head {
			g.state, g.far = CatchingUp, head-low > domain.Seq(g.r.cfg.Limits.FarBehind)
		}
	})
	release, err := g.turn(ctx, head-low)
	if err != nil {
		return err
	}
	defer release()
	known, err := g.spare(ctx, works, head)
	if err != nil {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	limits := g.r.cfg.Limits
	if g.silent { // small batches, so that work and rest alternate
		limits.BatchEntries = min(limits.BatchEntries, apartBatch)
	}
	q := newQueue(limits)
	var wg sync.WaitGroup
	wg.Go(func() {
		// Entries that every generation has but nobody has heard of are read again.
		from := low
		if !g.silent {
			from = min(low, g.notified)
		}
		q.end(g.r.followPast(reading, g.stream, from, known, func(entries []streams.Entry) error { return q.put(reading, entries) }))
	})
	defer wg.Wait()
	defer stop()
	lull := g.newLull(q)
	defer lull.end()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j := <-g.jobs:
			if err := g.do(ctx, j); errors.Is(err, errAgain) {
				return err
			}
		case <-g.alarm:
			if err := g.examine(ctx); err != nil {
				return err
			}
		case <-lull.over():
			lull.lapse()
		case <-lull.hurry():
			lull.end()
		case <-q.ready:
			if !lull.allows() {
				continue
			}
			began := time.Now()
			entries, ended, err := q.take()
			if ended {
				if err == nil {
					err = domain.Errorf(domain.Unavailable, "the log ended the stream")
				}
				return err
			}
			if len(entries) == 0 {
				continue
			}
			if err := g.apply(ctx, entries); err != nil {
				return err
			}
			if g.position >= head {
				release()
			}
			lull.follow(time.Since(began))
		}
	}
}

// apartBatch bounds the batches of projections apart.
const apartBatch = 64

// attend does jobs until one changes the generations.
func (g *group) attend(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j := <-g.jobs:
			if err := g.do(ctx, j); errors.Is(err, errAgain) {
				return err
			}
		}
	}
}

// works gives what the group drives.
func (g *group) works() []*work {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*work
	for _, s := range g.slots {
		if s.driven != nil {
			all = append(all, &work{slot: s, gen: s.driven})
		}
	}
	return all
}

// turn waits until a stream that is far behind may catch up: many at once would fill the memory. release may be called more than once.
func (g *group) turn(ctx context.Context, behind domain.Seq) (release func(), err error) {
	if behind <= domain.Seq(g.r.cfg.Limits.FarBehind) {
		return func() {}, nil
	}
	turns, end := g.r.replays, func() {}
	if !g.silent { // mail waits for it
		turns, end = g.r.pressing, g.r.first.begin()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	for {
		select {
		case turns <- struct{}{}:
			return sync.OnceFunc(func() { <-turns; end() }), nil
		case j := <-g.jobs:
			if err := g.do(ctx, j); errors.Is(err, errAgain) {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// apply commits one batch and tells who listens. What goes wrong with one projection takes it out of the group and lets the others go on; what is
// wrong with the log stops all just before it.
func (g *group) apply(ctx context.Context, entries []streams.Entry) error {
	works := g.works()
	g.complete(works, entries[len(entries)-1].Seq)
	g.commit(ctx, works, entries)
	for _, w := range works {
		if errors.Is(w.err, ErrLog) {
			if err := g.convict(ctx, w, entries); err != nil {
				g.commitBefore(ctx, works, before(w.err, entries))
				return err
			}
		}
	}
	g.proceed(ctx, works, entries)
	var again error
	for _, w := range works {
		if w.err == nil {
			continue
		}
		if err := g.mend(ctx, w, entries); err != nil {
			again = err
		}
	}
	if again != nil {
		return again
	}
	last := &entries[len(entries)-1]
	g.position = max(g.position, last.Seq)
	g.publish(func() {
		g.reached, g.current = g.position, time.Now()
		if slices.ContainsFunc(g.slots, func(s *slot) bool { return s.build != nil }) && !slices.ContainsFunc(entries, closed) {
			last := entries
			if n := len(g.last); n > 0 && g.last[n-1].Seq+1 == entries[0].Seq { // nothing is missing between them
				last = append(g.last, entries...)
			}
			g.last = slices.Clone(last[max(0, len(last)-near):])
		} else {
			g.last = nil
		}
		for _, w := range works {
			if w.slot.driven == w.gen && w.gen.ready {
				w.slot.live = w.gen
			}
		}
		if g.state == CatchingUp && g.position >= g.target {
			g.state = Live
		}
	})
	g.report(entries)
	if len(g.works()) == 0 {
		return errAgain
	}
	return nil
}

// complete has generations that are not ready say so with the batch that ends at a position, when that is where the log ended at the beginning.
func (g *group) complete(works []*work, end domain.Seq) {
	for _, w := range works {
		if !w.gen.ready && end >= g.target {
			w.finish = func(_ context.Context, _ Tx, h *head) error { h.ready = true; return nil }
		}
	}
}

// commitBefore commits what comes before an entry that nobody can apply, so that the heads tell exactly where.
func (g *group) commitBefore(ctx context.Context, works []*work, entries []streams.Entry) {
	if len(entries) == 0 {
		return
	}
	again := make([]*work, len(works))
	for i, w := range works {
		again[i] = &work{slot: w.slot, gen: w.gen}
	}
	g.commit(ctx, again, entries) // an error comes again, and then with a better report
	g.position = max(g.position, entries[len(entries)-1].Seq)
	g.publish(func() {})
	g.report(entries)
}

// report tells the listeners of entries that they have not heard of.
func (g *group) report(entries []streams.Entry) {
	for len(entries) > 0 && entries[0].Seq <= g.notified {
		entries = entries[1:]
	}
	if len(entries) == 0 || g.silent {
		return
	}
	g.notified = entries[len(entries)-1].Seq
	if slices.ContainsFunc(entries, closed) { // of rows that nobody has read yet
		if entries = slices.DeleteFunc(slices.Clone(entries), closed); len(entries) == 0 {
			return
		}
	}
	for _, f := range g.r.notify {
		f(g.stream, entries)
	}
}

// closed tells whether an entry was not opened.
func closed(e streams.Entry) bool { return e.Closed }
