package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/tasks"
)

// This file is the side of a Worker that faces those who want something done.

// Kinds lists what this node can do, in the order of Config.Kinds.
func (w *Worker) Kinds() []Kind {
	all := make([]Kind, len(w.names))
	for i, name := range w.names {
		all[i] = w.kinds[name]
	}
	return all
}

// Submit orders a task and returns when the order is in the log. Parameters are one JSON object, or nothing. Where the kind says Join, the id
// may be that of a task which does the same already. Errors: domain.Invalid for a kind that nobody knows or for wrong parameters, and what
// Kind.Check says; domain.Unavailable, after which the order may have been taken or not.
func (w *Worker) Submit(ctx context.Context, actor, kind string, parameters json.RawMessage) (id domain.TaskID, err error) {
	k, known := w.kinds[kind]
	if !known {
		return "", &domain.Error{
			Kind: domain.Invalid, Msg: fmt.Sprintf("there are no tasks of type %q", kind), Hint: "the types are " + strings.Join(w.names, ", "),
		}
	}
	if len(bytes.TrimSpace(parameters)) == 0 {
		parameters = json.RawMessage("{}")
	}
	about := ""
	switch {
	case k.Check != nil:
		if parameters, about, err = k.Check(ctx, parameters); err != nil {
			return "", err
		}
	case string(bytes.TrimSpace(parameters)) != "{}":
		return "", domain.Errorf(domain.Invalid, "tasks of type %s have no parameters", kind)
	}
	var kept bytes.Buffer
	if err := json.Compact(&kept, parameters); err != nil {
		return "", domain.Wrap(domain.Invalid, err, "the parameters are not JSON")
	}
	c := task.Create{ID: newID(), Kind: kind, Parameters: kept.String(), About: about, By: actor, Node: w.cfg.Node, Join: k.Join}
	if k.Local {
		c.On = w.cfg.Node
	}
	refused, err := w.ledger.decide(ctx, actor, func(s *task.State) ([]event.Event, error) {
		id = c.ID
		if same := s.Same(c.Kind, c.Parameters, c.On); c.Join && same != nil {
			id = same.ID
		}
		return task.Decide(s, c)
	})
	w.signal()
	return id, errors.Join(err, refused)
}

// Cancel ends a task that waits at once, and asks whoever runs it to stop. For one that has ended there is nothing to do. Errors:
// domain.NotFound, domain.Unavailable.
func (w *Worker) Cancel(ctx context.Context, actor string, id domain.TaskID) error {
	refused, err := w.ledger.do(ctx, actor, task.Cancel{ID: id, By: actor})
	w.signal()
	if !domain.Is(refused, domain.NotFound) {
		return errors.Join(err, refused)
	}
	if found, err := w.Find(ctx, id); err != nil || found.Status.Ended() {
		return err
	}
	if err := w.ledger.refresh(ctx); err != nil { // the view knew it before this node's state did
		return err
	}
	refused, err = w.ledger.do(ctx, actor, task.Cancel{ID: id, By: actor})
	if domain.Is(refused, domain.NotFound) {
		refused = nil // it has ended meanwhile
	}
	return errors.Join(err, refused)
}

// Find tells of one task. Errors: domain.NotFound, domain.Unavailable.
func (w *Worker) Find(ctx context.Context, id domain.TaskID) (tasks.Task, error) {
	found, err := w.find(ctx, id)
	if domain.Is(err, domain.NotFound) { // Another node may have taken the order a moment ago.
		if err := w.ledger.refresh(ctx); err != nil {
			return tasks.Task{}, err
		}
		found, err = w.find(ctx, id)
	}
	return found, err
}

func (w *Worker) find(ctx context.Context, id domain.TaskID) (tasks.Task, error) {
	r, err := w.rows(ctx)
	if err != nil {
		return tasks.Task{}, err
	}
	found, err := tasks.Find(ctx, r, id)
	if err == nil {
		w.freshen(&found)
	}
	return found, err
}

// List tells of tasks, the newest first, see tasks.List.
func (w *Worker) List(ctx context.Context, f tasks.Filter, p tasks.Page) ([]tasks.Task, error) {
	r, err := w.rows(ctx)
	if err != nil {
		return nil, err
	}
	found, err := tasks.List(ctx, r, f, p)
	for i := range found {
		w.freshen(&found[i])
	}
	return found, err
}

// Await returns when a task has ended. Errors: domain.NotFound; domain.Unavailable when ctx ends before.
func (w *Worker) Await(ctx context.Context, id domain.TaskID) (tasks.Task, error) {
	if err := w.ledger.known(ctx); err != nil {
		return tasks.Task{}, err
	}
	for {
		open, _, changed, err := w.ledger.look(id)
		if err == nil && !open {
			if found, err := w.Find(ctx, id); err != nil || found.Status.Ended() {
				return found, err
			}
			if err := w.ledger.refresh(ctx); err != nil { // the view knew it before this node's state did
				return tasks.Task{}, err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return tasks.Task{}, domain.Wrap(domain.Unavailable, ctx.Err(), fmt.Sprintf("task %s has not ended yet", id))
		}
	}
}

// Forget removes from the view what ended and was submitted before a time, and tells how many tasks that were.
func (w *Worker) Forget(ctx context.Context, before time.Time) (n int, err error) {
	r, err := w.rows(ctx)
	if err == nil {
		n, err = tasks.Ended(ctx, r, before.UnixMilli())
	}
	if err != nil || n == 0 {
		return n, err
	}
	refused, err := w.ledger.do(ctx, "tasks:"+w.cfg.Node, task.Forget{Before: before.UnixMilli()})
	return n, errors.Join(err, refused)
}

// rows gives the view when it shows what the state of this node holds.
func (w *Worker) rows(ctx context.Context) (projections.Reader, error) {
	if err := w.ledger.known(ctx); err != nil {
		return nil, err
	}
	_, at, _, err := w.ledger.look("")
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, w.cfg.Limits.View)
	defer cancel()
	if err := w.cfg.View.Wait(waiting, at); err != nil {
		late := domain.Wrap(domain.Unavailable, err, "the view of tasks is not up to date")
		late.Hint = "tasks go on meanwhile; projection list says what the view waits for"
		return nil, late
	}
	return w.cfg.View.Reader()
}

// freshen puts in the progress that is not in the log yet.
func (w *Worker) freshen(t *tasks.Task) {
	w.mu.Lock()
	a := w.running[t.ID]
	w.mu.Unlock()
	if a == nil || a.number() != t.Attempt || t.Status.Ended() {
		return
	}
	if now := a.reported(); now != "" {
		t.Progress = now
	}
}

// Count is how many open tasks of a kind have a status.
type Count struct {
	Kind   string
	Status task.Status
	Tasks  int
}

// Counts tells what is open, with a count for every kind of this node and every status that is no end.
func (w *Worker) Counts() []Count {
	open, err := w.ledger.open()
	if err != nil {
		return nil
	}
	n := map[string][task.Completed]int{}
	for _, name := range w.names {
		n[name] = [task.Completed]int{}
	}
	for i := range open {
		counts := n[open[i].Kind]
		counts[open[i].Status]++
		n[open[i].Kind] = counts
	}
	var all []Count
	for kind, counts := range n {
		for status, tasks := range counts {
			all = append(all, Count{kind, task.Status(status), tasks})
		}
	}
	return all
}
