package streams

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// committer brings publications into one stream, durably. The two kinds differ in who syncs.
type committer interface {
	// commit returns when the publication is durable or refused.
	commit(ctx context.Context, p *publication) error
	// run works until ctx ends.
	run(ctx context.Context)
}

// pending is a publication that waits in a group.
type pending struct {
	*publication
	state atomic.Int32
	done  chan error // buffered: the committer never waits for a caller
}

// The states of a pending publication.
const (
	queued int32 = iota
	taken
	withdrawn
)

// group commits in rounds: publish all that wait, sync once, release. While it works the next round gathers.
type group struct {
	log    *Log
	stream *stream
	in     chan *pending
	broken error // the sync that failed; only run touches it
}

func newGroup(l *Log, s *stream) *group {
	return &group{log: l, stream: s, in: make(chan *pending, l.cfg.Limits.Waiting)}
}

func (g *group) commit(ctx context.Context, p *publication) error {
	w := &pending{publication: p, done: make(chan error, 1)}
	select {
	case g.in <- w:
	case <-ctx.Done():
		return unavailable(ctx.Err(), "append to the log")
	case <-g.log.done:
		return errClosed
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		if w.state.CompareAndSwap(queued, withdrawn) {
			return unavailable(ctx.Err(), "append to the log")
		}
	case <-g.log.done:
		if w.state.CompareAndSwap(queued, withdrawn) {
			return errClosed
		}
	}
	return <-w.done // it is on its way: only the outcome counts now
}

var errClosed = domain.Errorf(domain.Unavailable, "the log is closed")

func (g *group) run(ctx context.Context) {
	var held []*pending // for the next round, because their account is in this one
	round := make([]*pending, 0, g.log.cfg.Limits.Round)
	for {
		var target domain.Seq
		if len(held) == 0 {
			select {
			case w := <-g.in:
				held = append(held, w)
				// On a busy machine others are about to append: a sync is dearer than their turn.
				runtime.Gosched()
			case target = <-g.stream.horizon.wanted:
			case <-ctx.Done():
				return
			}
		}
		round, held = g.gather(round[:0], held)
		g.round(round, target)
	}
}

// gather takes what waits, at most one publication for each subject: two at once of one account could only conflict.
func (g *group) gather(round, held []*pending) (now, later []*pending) {
	subjects := map[string]bool{}
	take := func(w *pending) {
		switch {
		case subjects[w.subject]:
			later = append(later, w)
		case w.state.CompareAndSwap(queued, taken):
			subjects[w.subject] = true
			round = append(round, w)
		}
	}
	for _, w := range held {
		take(w)
	}
	for len(round)+len(later) < g.log.cfg.Limits.Round {
		select {
		case w := <-g.in:
			take(w)
		default:
			return round, later
		}
	}
	return round, later
}

// round publishes, syncs and releases. target is a sequence that a reader has seen and waits for; 0 for none.
func (g *group) round(round []*pending, target domain.Seq) {
	if g.broken != nil {
		release(round, g.broken)
		return
	}
	// The outcome of what is published matters to those who wait for it, whatever becomes of the log meanwhile.
	ctx := context.Background()
	began := time.Now()
	outcomes, head := g.publishAll(ctx, round)
	head = max(head, target)
	published := time.Now()
	if head > g.stream.horizon.seen() {
		g.log.cfg.Failpoint("log.published")
		if err := g.log.cfg.Syncer.Sync(ctx, g.stream.name); err != nil {
			g.fail(err)
			release(round, g.broken)
			return
		}
		if m, ok := g.log.cfg.Syncer.(Marker); ok {
			m.Mark(g.stream.name, head)
		}
		g.log.cfg.Failpoint("log.synced")
		g.stream.horizon.advance(head)
	}
	report := Round{Stream: g.stream.name, Publish: published.Sub(began), Sync: time.Since(published)}
	for i, w := range round {
		switch err := outcomes[i]; {
		case err == nil:
			report.Appends++
		case domain.Is(err, domain.Conflict):
			report.Conflicts++
		}
		w.done <- outcomes[i]
	}
	g.log.cfg.Observe(report)
}

// publishAll sends the whole round before it waits for the first answer.
func (g *group) publishAll(ctx context.Context, round []*pending) (outcomes []error, head domain.Seq) {
	ctx, cancel := context.WithTimeout(ctx, g.log.cfg.Limits.Publish+g.log.cfg.Limits.Settle)
	defer cancel()
	futures := make([]jetstream.PubAckFuture, len(round))
	outcomes = make([]error, len(round))
	for i, w := range round {
		g.log.cfg.Failpoint("log.before-publish")
		futures[i], outcomes[i] = g.log.send(w.publication)
	}
	timer := time.NewTimer(g.log.cfg.Limits.Publish)
	defer timer.Stop()
	for i, w := range round {
		if outcomes[i] = g.log.await(ctx, w.publication, futures[i], outcomes[i], timer); outcomes[i] == nil {
			head = max(head, w.seq)
		}
	}
	return outcomes, head
}

// fail stops the stream for good. The kernel drops the pages that it could not write and reports the error once: a later sync that
// succeeds would prove nothing about them.
func (g *group) fail(err error) {
	g.broken = &domain.Error{
		Kind: domain.Unavailable,
		Msg:  "the log cannot be written to disk; " + g.stream.name + " takes no changes until the server is restarted",
		Hint: "check the disk, then restart: what was acknowledged is safe",
		Err:  err,
	}
	g.stream.horizon.fail(g.broken)
	g.log.cfg.Logger.Error("the log cannot be written to disk", "stream", g.stream.name, "error", err)
}

func release(round []*pending, err error) {
	for _, w := range round {
		w.done <- err
	}
}

// direct publishes on a server that syncs before it acknowledges. Appends of different accounts run at once.
type direct struct {
	log    *Log
	stream *stream

	mu   sync.Mutex
	busy map[string]chan struct{} // by subject, closed when it is free
}

func newDirect(l *Log, s *stream) *direct {
	return &direct{log: l, stream: s, busy: map[string]chan struct{}{}}
}

func (d *direct) run(context.Context) {}

func (d *direct) commit(ctx context.Context, p *publication) error {
	free, err := d.enter(ctx, p.subject)
	if err != nil {
		return err
	}
	defer free()
	began := time.Now()
	d.log.cfg.Failpoint("log.before-publish")
	err = d.log.publish(context.WithoutCancel(ctx), p)
	d.log.cfg.Failpoint("log.published")
	d.log.cfg.Failpoint("log.synced")
	report := Round{Stream: d.stream.name, Publish: time.Since(began)}
	switch {
	case err == nil:
		report.Appends = 1
	case domain.Is(err, domain.Conflict):
		report.Conflicts = 1
	}
	d.log.cfg.Observe(report)
	return err
}

// enter waits until no other append to the subject is in flight.
func (d *direct) enter(ctx context.Context, subject string) (free func(), err error) {
	mine := make(chan struct{})
	for {
		select {
		case <-d.log.done:
			return nil, errClosed
		default:
		}
		d.mu.Lock()
		other, busy := d.busy[subject]
		if !busy {
			d.busy[subject] = mine
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.busy, subject)
				d.mu.Unlock()
				close(mine)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, unavailable(ctx.Err(), "append to the log")
		case <-d.log.done:
			return nil, errClosed
		}
	}
}
