// Package worker runs tasks: it claims what waits in the log of tasks, does it, and writes down how it ended.
//
// Every node has one Worker. They need not know each other: each folds the same log, and an append that another one overtook is decided again,
// so a task is claimed by one of them and limits that count the whole installation hold. Parts of the server add what they can do as a Kind.
//
// Invariants:
//   - A task is run by at most one attempt at a time, and the log says by which. An attempt that was given up for dead cannot end the next one.
//   - No task is in progress for ever. What the log says is running here and is not, because the process died, is resumed or has failed as soon
//     as the node is up again; so is what runs on a node that is not alive.
//   - An attempt ends in the log before its place is given to another. While the log takes nothing, the attempt's end is offered again and again.
//   - Whoever submits a task, and whoever asks for one, sees at least what this node's own appends have done.
//
// Everything of this package is decided by package task; the rows are those of package tasks.
package worker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Kind is one sort of work.
type Kind struct {
	Name string // as operators see it: words in lower case with hyphens
	Help string // one line
	// Limit is how many may run at once in the whole installation; 0 means 1.
	Limit int
	// Resumable work may be begun again after its node stopped, from Job.Checkpoint or from its beginning. Other work has failed then.
	Resumable bool
	// Local work concerns the node that takes the order and runs there only.
	Local bool
	// Destroys marks work that takes away for good what only a backup could bring back: who may not delete may not order it.
	Destroys bool
	// Join makes two orders with the same parameters one, as long as the first has not ended.
	Join bool
	// Check looks at parameters before the order is taken, and gives them in the form that is kept and what they are about: an account's id, a
	// domain, a stream. Without it there are no parameters. Errors: domain.Invalid, domain.NotFound.
	Check func(ctx context.Context, parameters json.RawMessage) (kept json.RawMessage, about string, err error)
	// Run does the work until it is done or ctx ends, at a point where it may be resumed. Its result, unless nil, becomes one JSON object and is
	// kept also when there is an error.
	Run func(ctx context.Context, job Job) (result any, err error)
}

// Job is what Run works on.
type Job struct {
	ID         domain.TaskID
	Attempt    uint32 // from 1
	Parameters json.RawMessage
	Checkpoint json.RawMessage // the last progress of the attempts before; nil if there is none
	// Progress says how far the work is, in what becomes one JSON object and is not changed any more. It may be called as often as one likes:
	// it is kept in memory, and written to the log now and then and when the work stops.
	Progress func(any)
}

// Log is the log of record; *streams.Log is one.
type Log interface {
	StreamOf(id domain.AccountID) string
	Append(ctx context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error)
	Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// View is the view of tasks.
type View interface {
	Reader() (projections.Reader, error)
	// Wait returns once the view shows the entry at seq.
	Wait(ctx context.Context, seq domain.Seq) error
}

// Limits bound a Worker. Zero fields have the defaults in their comments.
type Limits struct {
	AtOnce   int           // attempts that run on this node: 4
	Progress time.Duration // between two records of an attempt's progress in the log, and a tenth of the time it has run if that is more: 5 s
	Sweep    time.Duration // between two looks for what nobody runs any more: 5 s
	Record   time.Duration // to write how an attempt ended when the node stops: 5 s
	Retry    time.Duration // between two tries while the log cannot be used: 1 s
	View     time.Duration // for the view to be up to date: before a request is refused, and after a start before the whole log is read instead: 5 s
	Load     time.Duration // that a request waits for the log of tasks to be read after a start: 10 s
}

func (l Limits) withDefaults() Limits {
	if l.AtOnce <= 0 {
		l.AtOnce = 4
	}
	for field, value := range map[*time.Duration]time.Duration{
		&l.Progress: 5 * time.Second, &l.Sweep: 5 * time.Second, &l.Record: 5 * time.Second, &l.Retry: time.Second, &l.Load: 10 * time.Second,
		&l.View: 5 * time.Second,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	return l
}

// Config is what a Worker works with.
type Config struct {
	Node  string // this node's name, the same after every start
	Log   Log
	View  View
	Kinds []Kind
	// Alive tells whether another node is up. What runs on one that is not is taken over. Nil means that there are no others.
	Alive func(node string) bool
	// Idle makes a Worker that takes orders and answers questions, and runs nothing.
	Idle    bool
	Limits  Limits
	Logger  *slog.Logger                                             // nil discards
	Clock   func() time.Time                                         // nil means time.Now
	Observe func(kind string, ended task.Status, took time.Duration) // told of every attempt that ended a task here; may be nil
}

// Worker runs tasks. Make one with New.
type Worker struct {
	cfg    Config
	kinds  map[string]Kind
	names  []string // of kinds, as they were given
	ledger *ledger
	wake   chan struct{} // holds a token when there may be something to do

	mu      sync.Mutex
	running map[domain.TaskID]*attempt
	wg      sync.WaitGroup // of attempts
}

// Why an attempt's context ended.
var (
	errCancelled = errors.New("somebody asked the task to stop")
	errStopping  = errors.New("the node was shut down while the task was running")
	errOvertaken = errors.New("the node was taken for dead, and the task was given to another")
)

// New makes a Worker. It does nothing until Run.
func New(c Config) (*Worker, error) {
	c.Limits = c.Limits.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Alive == nil {
		c.Alive = func(string) bool { return false }
	}
	if c.Observe == nil {
		c.Observe = func(string, task.Status, time.Duration) {}
	}
	if c.Node == "" {
		return nil, domain.Errorf(domain.Invalid, "a node that runs tasks needs a name")
	}
	w := &Worker{
		cfg: c, kinds: map[string]Kind{}, ledger: newLedger(c), wake: make(chan struct{}, 1), running: map[domain.TaskID]*attempt{},
	}
	for _, k := range c.Kinds {
		k.Limit = max(k.Limit, 1)
		if _, twice := w.kinds[k.Name]; twice || k.Name == "" || k.Run == nil {
			return nil, domain.Errorf(domain.Internal, "the kind of tasks %q is known already, or does nothing", k.Name)
		}
		w.kinds[k.Name] = k
		w.names = append(w.names, k.Name)
	}
	return w, nil
}

// Run works until ctx ends. Then attempts stop where they can be resumed, and Run returns when that is in the log.
func (w *Worker) Run(ctx context.Context) error {
	defer w.drain()
	for ctx.Err() == nil {
		err := w.work(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.cfg.Logger.Error("tasks wait: their log cannot be followed", "error", err)
		w.ledger.drop(err)
		pause(ctx, w.cfg.Limits.Retry)
	}
	return nil
}

// work reads the log of tasks and follows it, and starts what waits, until something fails.
func (w *Worker) work(ctx context.Context) error {
	if err := w.ledger.load(ctx); err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- w.ledger.follow(following, w.signal) }()
	ended := false
	defer func() {
		stop()
		if !ended {
			<-followed
		}
	}()
	sweep := time.NewTicker(w.cfg.Limits.Sweep)
	defer sweep.Stop()
	for {
		if !w.cfg.Idle {
			if err := w.fill(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-followed:
			ended = true
			return err
		case <-w.wake:
		case <-sweep.C:
		}
	}
}

// signal lets work look again.
func (w *Worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// fill looks at every open task once: it starts what may start, stops what is to stop, and ends what nobody runs.
func (w *Worker) fill(ctx context.Context) error {
	w.mu.Lock()
	running := maps.Clone(w.running) // before the tasks are looked at, so that what has just ended is not taken for left behind
	w.mu.Unlock()
	open, err := w.ledger.open()
	if err != nil {
		return err
	}
	for id, a := range running {
		if !w.ledger.runs(id, w.cfg.Node, a.number()) {
			a.cancel(errOvertaken)
		}
	}
	for i := range open {
		t := &open[i]
		a := running[t.ID]
		var err error
		switch {
		case t.Status == task.Waiting && a == nil:
			err = w.consider(ctx, t)
		case t.Status == task.Waiting: // Its attempt has just ended.
		case t.Runner == w.cfg.Node && a != nil:
			if t.Status == task.CancelRequested {
				a.cancel(errCancelled)
			}
		case t.Runner == w.cfg.Node && a == nil:
			err = w.giveUp(ctx, t, "the node ended without notice while the task was running")
		case t.Runner != w.cfg.Node && !w.cfg.Alive(t.Runner):
			err = w.giveUp(ctx, t, "node "+t.Runner+", which ran the task, is not alive")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// consider claims a task that waits if it can be run here and now.
func (w *Worker) consider(ctx context.Context, t *task.Task) error {
	kind, known := w.kinds[t.Kind]
	switch {
	case t.On != "" && t.On != w.cfg.Node:
		if !w.cfg.Alive(t.On) {
			return w.settle(ctx, task.Fail{ID: t.ID, Error: "node " + t.On + ", which alone can run the task, is not alive"})
		}
		return nil
	case !known && (t.Node == w.cfg.Node || !w.cfg.Alive(t.Node)): // Whoever took an order answers for it.
		return w.settle(ctx, task.Fail{ID: t.ID, Error: "this version knows no tasks of kind " + t.Kind})
	case !known:
		return nil
	}
	a := newAttempt(w, kind, t)
	w.mu.Lock()
	w.running[t.ID] = a // before the claim, so that it is never taken for one of a dead process
	w.mu.Unlock()
	err := w.settle(ctx, task.Start{ID: t.ID, Node: w.cfg.Node, OfKind: kind.Limit, OnNode: w.cfg.Limits.AtOnce})
	if err == nil && w.ledger.runs(t.ID, w.cfg.Node, a.number()) {
		w.wg.Go(a.run)
		return nil
	}
	w.forget(t.ID)
	return err
}

// giveUp ends an attempt that nobody runs.
func (w *Worker) giveUp(ctx context.Context, t *task.Task, cause string) error {
	w.cfg.Logger.Warn("a task was left in progress", "task", t.ID, "kind", t.Kind, "node", t.Runner, "attempt", t.Attempt, "cause", cause)
	return w.settle(ctx, task.Abandon{ID: t.ID, Attempt: t.Attempt, Cause: cause, Died: true, Resumable: w.kinds[t.Kind].Resumable})
}

// settle appends a decision that another node may have made meanwhile: that it is refused is no error.
func (w *Worker) settle(ctx context.Context, c task.Command) error {
	refused, err := w.ledger.do(ctx, "tasks:"+w.cfg.Node, c)
	if refused != nil {
		w.cfg.Logger.Debug("a task stays as it is", "command", c, "why", refused)
	}
	return err
}

func (w *Worker) forget(id domain.TaskID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, id)
}

// drain stops all attempts and waits for them.
func (w *Worker) drain() {
	w.mu.Lock()
	for _, a := range w.running {
		a.cancel(errStopping)
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// newID draws a task's id.
func newID() domain.TaskID {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	return domain.NewTaskID(random)
}

// pause waits, but not beyond the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
