package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// projector keeps one stream's view. Its goroutine is the only one that writes there.
type projector struct {
	r           *Runner
	stream      string
	projections []Projection
	log         *slog.Logger
	jobs        chan job      // what Rebuild and Drop want done, between batches
	hurry       chan struct{} // holds a token when somebody waits for rows
	ended       chan struct{} // closed when run has returned

	// Of the projector's goroutine only.
	target   domain.Seq                      // where the log ended when the projector began to follow it
	notified domain.Seq                      // up to which position entries were reported
	healed   map[domain.AccountID]domain.Seq // at which cursor an account's rows were last mended

	mu      sync.Mutex
	view    View // nil while it is not open
	cursors map[string]cursor
	cursor  domain.Seq // the lowest of cursors
	state   State
	err     error         // why state is Retrying or Stopped
	current time.Time     // when the view was last known to show all that had been read
	changed chan struct{} // closed when anything above changes
}

// job runs on the projector's goroutine. It tells whether cursors were moved back.
type job struct {
	ctx  context.Context
	run  func(ctx context.Context, view View) (again bool, err error)
	done chan<- error
}

// errAgain asks for a fresh start at once.
var errAgain = errors.New("the cursors were moved")

func newProjector(r *Runner, stream string) *projector {
	return &projector{
		r: r, stream: stream, log: r.cfg.Logger.With("stream", stream), jobs: make(chan job), hurry: make(chan struct{}, 1), ended: make(chan struct{}),
		healed: map[domain.AccountID]domain.Seq{}, state: Starting, changed: make(chan struct{}),
	}
}

// publish changes what others see, and wakes those who wait.
func (p *projector) publish(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// shows tells whether the view can be read and has the entry at seq. The caller holds mu.
func (p *projector) shows(seq domain.Seq) bool {
	return p.view != nil && p.state != Starting && p.cursor >= seq
}

// run follows the stream until ctx ends, and starts over after failures.
func (p *projector) run(ctx context.Context) {
	defer close(p.ended)
	defer p.publish(func() { p.state, p.err = Stopped, domain.Errorf(domain.Unavailable, "the projectors are shut down") })
	backoff := p.r.cfg.Limits.BackoffMin
	for ctx.Err() == nil {
		began := time.Now()
		err := p.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errAgain):
			continue
		case fatal(err):
			p.log.Error("projector stopped: the log of this stream cannot be projected any further", "cursor", p.cursor, "error", err)
			p.publish(func() { p.state, p.err = Stopped, err })
			p.pause(ctx, math.MaxInt64)
			backoff = p.r.cfg.Limits.BackoffMin
			continue
		}
		if time.Since(began) > p.r.cfg.Limits.BackoffMax {
			backoff = p.r.cfg.Limits.BackoffMin
		}
		p.log.Warn("projector waits", "for", backoff, "error", err)
		p.publish(func() { p.state, p.err = Retrying, err })
		p.pause(ctx, backoff)
		backoff = min(2*backoff, p.r.cfg.Limits.BackoffMax)
	}
}

// fatal tells the errors that no waiting mends: what the log says is wrong, or newer than this build.
func fatal(err error) bool {
	var unknown *event.UnknownError
	return domain.Is(err, domain.Corrupt) || errors.As(err, &unknown)
}

// pause waits, and does jobs meanwhile; it ends early when one moved the cursors.
func (p *projector) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case j := <-p.jobs:
			view, err := p.r.cfg.Views.Open(ctx, p.stream)
			if err != nil {
				j.done <- err
				continue
			}
			if err := p.do(ctx, j, view); err == nil || errors.Is(err, errAgain) {
				return // whatever it was, trying again is worth it now
			}
		}
	}
}

// do runs a job and reports how it went. Its error is the job's, or errAgain.
func (p *projector) do(ctx context.Context, j job, view View) error {
	// Whoever asked may go away, and so may the projectors.
	asked, cancel := context.WithCancel(j.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	again, err := j.run(asked, view)
	if again && err == nil {
		// Who asked must not find the cursors where they were.
		p.publish(func() { p.state, p.cursor, p.cursors = Starting, 0, nil })
	}
	j.done <- err
	if again && err == nil {
		return errAgain
	}
	return err
}

// follow opens the view and applies the log to it until something fails.
func (p *projector) follow(ctx context.Context) error {
	view, err := p.r.cfg.Views.Open(ctx, p.stream)
	if err != nil {
		return err
	}
	cursors, err := p.prepare(ctx, view)
	if err != nil {
		return err
	}
	head, err := p.r.cfg.Log.Head(ctx, p.stream)
	if err != nil {
		return err
	}
	p.target = head
	low := lowest(cursors)
	for name, c := range cursors {
		if c.seq > head {
			err := domain.Errorf(domain.Corrupt, "projection %s stands at position %d of stream %s, but the log ends at %d", name, c.seq, p.stream, head)
			err.Hint = "the log lost entries that were projected; restore it, or accept the loss with projection rebuild --all"
			return err
		}
		p.notified = max(p.notified, c.seq)
	}
	p.publish(func() {
		p.view, p.cursors, p.cursor, p.err, p.current = view, cursors, low, nil, time.Now()
		p.state = Live
		if low < head {
			p.state = CatchingUp
		}
	})
	release, err := p.turn(ctx, view, head-low)
	if err != nil {
		return err
	}
	defer release()
	reading, stop := context.WithCancel(ctx)
	q := newQueue(p.r.cfg.Limits)
	var wg sync.WaitGroup
	wg.Go(func() {
		q.end(p.r.cfg.Log.Follow(reading, p.stream, low, func(entries []streams.Entry) error { return q.put(reading, entries) }))
	})
	defer wg.Wait()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j := <-p.jobs:
			if err := p.do(ctx, j, view); errors.Is(err, errAgain) {
				return err
			}
		case <-q.ready:
			p.gather(ctx, q)
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
			if err := p.apply(ctx, view, entries); err != nil {
				return err
			}
			if entries[len(entries)-1].Seq >= head {
				release()
			}
		}
	}
}

// gather lets a live batch grow for a moment while nobody waits for its rows. Decisions and sessions run on states in memory, so few ever wait,
// and one commit for many entries costs little more than one for a single entry.
func (p *projector) gather(ctx context.Context, q *queue) {
	if q.enough(p.r.cfg.Limits.LingerFor) {
		return
	}
	timer := time.NewTimer(p.r.cfg.Limits.Linger)
	defer timer.Stop()
	for {
		select {
		case <-p.hurry:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-q.ready:
			if q.enough(p.r.cfg.Limits.LingerFor) {
				return
			}
		}
	}
}

// turn waits until a stream that is far behind may catch up: many at once would fill the memory. release may be called more than once.
func (p *projector) turn(ctx context.Context, view View, behind domain.Seq) (release func(), err error) {
	if behind <= domain.Seq(p.r.cfg.Limits.FarBehind) {
		return func() {}, nil
	}
	for {
		select {
		case p.r.replays <- struct{}{}:
			return sync.OnceFunc(func() { <-p.r.replays }), nil
		case j := <-p.jobs:
			if err := p.do(ctx, j, view); errors.Is(err, errAgain) {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// apply commits one batch. When the log is wrong at some entry, those before it are applied, so that the cursor tells exactly where.
func (p *projector) apply(ctx context.Context, view View, entries []streams.Entry) error {
	err := p.commit(ctx, view, entries)
	var damage *Damage
	if errors.As(err, &damage) {
		return p.heal(ctx, view, damage)
	}
	var at *entryError
	if errors.As(err, &at) && at.index > 0 && domain.Is(err, domain.Corrupt) {
		if err := p.commit(ctx, view, entries[:at.index]); err != nil {
			return err
		}
	}
	return err
}

// entryError says which entry of a batch could not be applied.
type entryError struct {
	index int
	err   error
}

func (e *entryError) Error() string { return e.err.Error() }
func (e *entryError) Unwrap() error { return e.err }

func (p *projector) commit(ctx context.Context, view View, entries []streams.Entry) error {
	cursors := make(map[string]cursor, len(p.projections))
	err := view.Update(ctx, func(tx Tx) error {
		for _, projection := range p.projections {
			c := p.cursors[projection.Name()]
			c, err := fold(ctx, tx, projection, c, entries)
			if err != nil {
				return err
			}
			if err := writeCursor(ctx, tx, p.stream, projection, c); err != nil {
				return err
			}
			cursors[projection.Name()] = c
		}
		p.r.cfg.Failpoint("project.before-commit")
		return nil
	})
	if err != nil {
		return err
	}
	p.r.cfg.Failpoint("project.committed")
	low := lowest(cursors)
	p.publish(func() {
		p.cursors, p.cursor, p.current = cursors, low, time.Now()
		if p.state == CatchingUp && low >= p.target {
			p.state = Live
		}
	})
	p.report(entries)
	return nil
}

// fold applies the entries beyond a cursor and gives the new cursor.
func fold(ctx context.Context, tx Tx, projection Projection, c cursor, entries []streams.Entry) (cursor, error) {
	batch, err := projection.Begin(ctx, tx)
	if err != nil {
		return c, err
	}
	for i := range entries {
		e := &entries[i]
		if e.Seq <= c.seq {
			continue
		}
		if err := batch.Apply(ctx, e); err != nil {
			return c, &entryError{i, fmt.Errorf("projection %s, position %d: %w", projection.Name(), e.Seq, err)}
		}
		c.seq = e.Seq
		if e.Transaction != nil {
			c.at = e.Transaction.At
		}
	}
	return c, batch.Flush(ctx)
}

// report tells the listeners of entries that they have not heard of.
func (p *projector) report(entries []streams.Entry) {
	for len(entries) > 0 && entries[0].Seq <= p.notified {
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return
	}
	p.notified = entries[len(entries)-1].Seq
	for _, f := range p.r.notify {
		f(p.stream, entries)
	}
}
