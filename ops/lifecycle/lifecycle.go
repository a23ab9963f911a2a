// Package lifecycle starts the parts of a server in order and stops them in reverse.
//
// A part that others stand on (the log) comes first and goes last, so that nothing is ever served by a half-open server, and whatever a
// listener still has in flight when it drains finds the log open. The parts of one step, such as all listeners, stop together. The whole
// stop has one bound: a part that has not finished by then is given up and named in the error, and the next step is stopped all the same.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// Part is one component of a server. Both functions may be nil.
type Part struct {
	Name string
	// Run works until its context ends. An error before that brings the whole server down.
	Run func(context.Context) error
	// Stop drains: it takes no new work, finishes what is in flight and frees what the part holds. When its context ends first it gives up
	// what is left. Run's context ends after Stop has returned, and those of the other parts of its step.
	Stop func(context.Context) error
}

// Group is a server's parts in the order of their start. It is used by one goroutine.
type Group struct {
	log    *slog.Logger
	steps  [][]*running
	failed chan error
}

type running struct {
	Part
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
}

// New makes an empty Group.
func New(log *slog.Logger) *Group { return &Group{log: log, failed: make(chan error, 1)} }

// Start adds a step of parts and sets them running.
func (g *Group) Start(parts ...Part) {
	step := make([]*running, len(parts))
	for i, p := range parts {
		ctx, cancel := context.WithCancel(context.Background())
		r := &running{Part: p, cancel: cancel, done: make(chan struct{})}
		step[i] = r
		if p.Run == nil {
			close(r.done)
			continue
		}
		go func() {
			defer close(r.done)
			if err := p.Run(ctx); err != nil && ctx.Err() == nil {
				select {
				case g.failed <- fmt.Errorf("%s: %w", p.Name, err):
				default: // another part failed first; this one most likely because of it
				}
			}
		}()
	}
	g.steps = append(g.steps, step)
}

// Wait returns nil when ctx ends, or the error of the first part that failed.
func (g *Group) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-g.failed:
		return err
	}
}

// Stop stops every step, last first, within the bound and gives all errors together.
func (g *Group) Stop(bound time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	var errs []error
	for len(g.steps) > 0 {
		step := g.steps[len(g.steps)-1]
		g.steps = g.steps[:len(g.steps)-1]
		// One part's Stop may drain what another part's Run serves, so no Run is told to end before every Stop has returned.
		for _, phase := range []func(context.Context, *running) error{g.drain, g.end} {
			var all errgroup.Group
			for _, r := range step {
				all.Go(func() error { return phase(ctx, r) })
			}
			errs = append(errs, all.Wait())
		}
	}
	return errors.Join(errs...)
}

func (g *Group) drain(ctx context.Context, r *running) error {
	if r.Stop == nil {
		return nil
	}
	began := time.Now()
	if err := r.Stop(ctx); err != nil {
		return fmt.Errorf("stop %s: %w", r.Name, err)
	}
	g.log.Debug("stopped", "part", r.Name, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// end ends a part's Run and waits for it.
func (g *Group) end(ctx context.Context, r *running) error {
	r.cancel()
	select {
	case <-r.done:
		return nil
	default:
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: it did not finish in time", r.Name)
	}
}
