package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections/parking"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// parkedSamples are metrics of repositories.
func (c *core) parkedSamples() (all []metrics.Sample) {
	opened, _ := c.mailroom.get()
	lots := c.mailroom.lots()
	if opened == nil || lots == nil {
		return nil
	}
	for _, r := range lots.Repositories() {
		var age time.Duration
		if !r.Oldest.IsZero() {
			age = time.Since(r.Oldest)
		}
		all = append(all, metrics.Parked(r.Name, r.Size, r.Octets, age)...)
	}
	var size int
	var age time.Duration
	opened.View(func(s *queue.State) {
		on := s.On(queue.Spool)
		if size = on.Len(); size > 0 {
			age = time.Since(time.UnixMilli(on.Oldest().Arrived))
		}
	})
	return append(all, metrics.Spool(size, age)...)
}

// Park keeps mail whose recipients' mappings come to no end. It is processed again from its recipients as they were given.
func (m *mailroom) Park(ctx context.Context, repository string, e *queue.Entry, cause string) error {
	lots := m.lots()
	if lots == nil {
		return errQueueClosed
	}
	_, err := lots.Park(ctx, repository, e, parking.Cause{Code: "loop", Text: cause})
	return err
}

// lookAtParked is a health check: what could not be processed waits for an operator.
func (c *core) lookAtParked(context.Context) (health.Status, string) {
	lots := c.mailroom.lots()
	if lots == nil {
		return health.Degraded, "the queue cannot be read"
	}
	if r, err := lots.Repository(queue.RepositoryError); err == nil && r.Size > 0 {
		return health.Degraded, fmt.Sprintf("%d messages could not be processed: see streampost parked list error", r.Size)
	}
	return health.Healthy, ""
}

// parkedKinds are the tasks about parked mail; those that James has are James's.
func (c *core) parkedKinds() []worker.Kind {
	kind := func(name, help string, destroys bool, do func(*parking.Lots) func(context.Context, *parking.Order, func(done, total int)) (parking.Done, error)) worker.Kind {
		return worker.Kind{
			Name: name, Help: help, Destroys: destroys, Resumable: true, Check: c.checkParked(name),
			Run: func(ctx context.Context, job worker.Job) (any, error) { return c.workParked(ctx, job, do) },
		}
	}
	reprocess := func(l *parking.Lots) func(context.Context, *parking.Order, func(int, int)) (parking.Done, error) {
		return l.Reprocess
	}
	remove := func(l *parking.Lots) func(context.Context, *parking.Order, func(int, int)) (parking.Done, error) {
		return l.Delete
	}
	move := func(l *parking.Lots) func(context.Context, *parking.Order, func(int, int)) (parking.Done, error) {
		return l.Move
	}
	const about = "; parameters: repository, filter, limit, rate, dryRun"
	return []worker.Kind{
		kind(webadmin.TaskReprocessAll, "Process parked mail again"+about+", processor, keep", false, reprocess),
		kind(webadmin.TaskReprocessOne, "Process a parked message again; parameters as of "+webadmin.TaskReprocessAll, false, reprocess),
		kind(webadmin.TaskParkedClear, "Delete all mail of a repository; parameters: repository", true, remove),
		kind(webadmin.TaskParkedDelete, "Delete parked mail"+about, true, remove),
		{Name: webadmin.TaskParkedExpire, Help: "Delete what has been parked in dead for longer than pipeline.keep_dead", Destroys: true, Resumable: true, Join: true, Run: c.expireParked},
		kind(webadmin.TaskParkedMove, "Move parked mail to another repository"+about+", to", false, move),
	}
}

// expireParked deletes what nobody has wanted for so long.
func (c *core) expireParked(ctx context.Context, job worker.Job) (any, error) {
	lots := c.mailroom.lots()
	if lots == nil {
		return nil, errQueueClosed
	}
	keep := c.cfg.Pipeline.KeepDead
	if keep == 0 {
		return parking.Done{Repository: queue.RepositoryDead}, nil
	}
	o := parking.Order{Repository: queue.RepositoryDead, By: actorOf(job), Filter: queue.Filter{ParkedBefore: queue.Millis(time.Now().Add(-keep))}}
	return lots.Delete(ctx, &o, func(done, total int) { tell(job, "messages")(int64(done), int64(total)) })
}

// checkParked checks the parameters of such a task.
func (c *core) checkParked(kind string) func(context.Context, json.RawMessage) (json.RawMessage, string, error) {
	return func(_ context.Context, text json.RawMessage) (json.RawMessage, string, error) {
		var o parking.Order
		if err := parameters(text, &o); err != nil {
			return nil, "", err
		}
		shelf, err := queue.Repository(o.Repository)
		if err == nil && (kind == webadmin.TaskParkedMove || o.To != "") {
			_, err = queue.Repository(o.To)
		}
		if err == nil {
			err = o.Check()
		}
		if err == nil {
			err = c.checkProcessor(o.Processor)
		}
		if err != nil {
			return nil, "", err
		}
		o.Repository = shelf.Name()
		return kept(o.Repository, o)
	}
}

// checkProcessor tells whether mail can be processed again from a processor on.
func (c *core) checkProcessor(name string) error {
	if name == "" || c.mailroom.pipeline() != nil && c.mailroom.pipeline().Program().Has(name) {
		return nil
	}
	return domain.Errorf(domain.Invalid, "there is no processor %q; see streampost pipeline show", name)
}

// workedParked is what was done, also in James's words.
type workedParked struct {
	parking.Done
	Path      string `json:"mailRepositoryPath"`
	Queue     string `json:"targetQueue,omitempty"`
	Processor string `json:"targetProcessor,omitempty"`
	Key       string `json:"mailKey,omitempty"`
	Initial   int    `json:"initialCount"`
	Remaining int    `json:"remainingCount"`
}

func (c *core) workParked(ctx context.Context, job worker.Job, do func(*parking.Lots) func(context.Context, *parking.Order, func(done, total int)) (parking.Done, error)) (any, error) {
	var o parking.Order
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	lots := c.mailroom.lots()
	if lots == nil {
		return nil, errQueueClosed
	}
	o.By = actorOf(job)
	before, err := lots.Repository(o.Repository)
	if err != nil {
		return nil, err
	}
	done, err := do(lots)(ctx, &o, func(done, total int) { tell(job, "messages")(int64(done), int64(total)) })
	sum := workedParked{Done: done, Path: webadmin.JamesPath(o.Repository), Initial: before.Size, Remaining: done.Remaining}
	if o.To == "" {
		sum.Queue, sum.Processor = string(queue.Spool), o.Processor
	}
	if len(o.Filter.IDs) == 1 {
		sum.Key = o.Filter.IDs[0].String()
		if err == nil && done.Selected == 0 {
			err = domain.Errorf(domain.NotFound, "repository %s has no mail %s", o.Repository, sum.Key)
		}
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = ctx.Err()
	}
	return sum, err
}
