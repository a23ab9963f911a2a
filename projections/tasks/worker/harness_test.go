package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
	"github.com/streampost/streampost/streams"
)

// site is an installation: one log, and a node for each name.
type site struct {
	t    *testing.T
	dir  string
	log  fullLog
	real *streams.Log
	nats *natsd.Server
}

type fullLog interface {
	projections.Log
	worker.Log
}

// inMemory is a site whose log is in memory.
func inMemory(t *testing.T) *site {
	return &site{t: t, dir: t.TempDir(), log: projectiontest.New(1)}
}

// embedded is a site whose log is on an embedded server.
func embedded(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir()}
	s.open()
	t.Cleanup(s.close)
	return s
}

func (s *site) open() {
	s.t.Helper()
	ctx := deadline(s.t)
	server, err := natsd.Start(ctx, natsd.Config{Dir: filepath.Join(s.dir, "log")})
	if err != nil {
		s.t.Fatal(err)
	}
	master, err := streams.LoadMaster(filepath.Join(s.dir, "keys"))
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := streams.Open(ctx, streams.Config{Conn: server.Conn(), Syncer: server, Master: master, Topology: streams.Topology{Shards: 1}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.nats, s.real, s.log = server, log, log
}

func (s *site) close() {
	if err := errors.Join(s.real.Close(context.Background()), s.nats.Close(context.Background())); err != nil {
		s.t.Error(err)
	}
}

// deadline ends a test that hangs.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// node is one process with its view and its worker.
type node struct {
	*worker.Worker
	t     *testing.T
	log   *mortal
	end   func(graceful bool)
	ended chan struct{}
}

// mortal is a log that a process cannot reach which was killed, or whose network is gone.
type mortal struct {
	fullLog
	away atomic.Bool
}

var errAway = domain.Errorf(domain.Unavailable, "the log cannot be reached")

func (m *mortal) Append(ctx context.Context, id domain.AccountID, at streams.Position, t *event.Transaction) (streams.Position, error) {
	if m.away.Load() {
		return streams.Position{}, errAway
	}
	return m.fullLog.Append(ctx, id, at, t)
}

func (m *mortal) ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error] {
	if m.away.Load() {
		return func(yield func(streams.Entry, error) bool) { yield(streams.Entry{}, errAway) }
	}
	return m.fullLog.ReadAccount(ctx, id, after)
}

func (m *mortal) Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error {
	return m.fullLog.Follow(ctx, stream, after, func(entries []streams.Entry) error {
		if m.away.Load() {
			return errAway
		}
		return f(entries)
	})
}

// view is a runner as a worker sees it.
type view struct {
	runner *projections.Runner
	log    projections.Log
}

func (v view) Reader() (projections.Reader, error) {
	return v.runner.ReaderOf(tasks.Name, domain.TasksID)
}
func (v view) Wait(ctx context.Context, seq domain.Seq) error {
	return v.runner.Wait(ctx, v.log.StreamOf(domain.TasksID), seq)
}

// start runs a node. Its limits are short where only patience would be tested.
func (s *site) start(name string, kinds []worker.Kind, options ...func(*worker.Config)) *node {
	s.t.Helper()
	views, err := storetest.Open(s.t, filepath.Join(s.dir, "views-"+name), sqlview.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	n := &node{t: s.t, log: &mortal{fullLog: s.log}, ended: make(chan struct{})}
	runner := projections.NewRunner(projections.Config{
		Log: s.log, Views: views, Projections: []projections.Projection{tasks.New()}, Logger: slog.New(slog.DiscardHandler),
	})
	c := worker.Config{
		Node: name, Log: n.log, View: view{runner, s.log}, Kinds: kinds, Alive: func(string) bool { return true },
		Limits: worker.Limits{Progress: time.Millisecond, Sweep: 20 * time.Millisecond, Record: time.Minute, Retry: time.Millisecond, View: time.Minute},
	}
	for _, o := range options {
		o(&c)
	}
	if n.Worker, err = worker.New(c); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	projecting, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = runner.Run(projecting) })
	go func() { defer close(n.ended); _ = n.Run(ctx) }()
	var once sync.Once
	n.end = func(graceful bool) {
		once.Do(func() {
			if !graceful {
				n.log.away.Store(true)
			}
			cancel()
			<-n.ended
			stop()
			wg.Wait()
			_ = views.Close()
		})
	}
	s.t.Cleanup(func() { n.end(true) })
	return n
}

// mortals are nodes that are killed, which keep nobody waiting then for a log that is away.
func mortals(c *worker.Config) { c.Limits.Record = 50 * time.Millisecond }

// shutDown ends the process in order, kill does not, which is for mortals.
func (n *node) shutDown() { n.end(true) }
func (n *node) kill()     { n.end(false) }

func (n *node) submit(kind, parameters string) domain.TaskID {
	n.t.Helper()
	id, err := n.Submit(deadline(n.t), "test", kind, json.RawMessage(parameters))
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// becomes waits for a task's end.
func (n *node) becomes(id domain.TaskID, want task.Status) tasks.Task {
	n.t.Helper()
	got, err := n.Await(deadline(n.t), id)
	if err != nil || got.Status != want {
		n.t.Fatalf("task %s is %+v, %v; want %s", id, got, err, want)
	}
	return got
}

func (n *node) is(id domain.TaskID, want task.Status) tasks.Task {
	n.t.Helper()
	got, err := n.Find(deadline(n.t), id)
	if err != nil || got.Status != want {
		n.t.Fatalf("task %s is %+v, %v; want %s", id, got, err, want)
	}
	return got
}

// anything accepts whatever parameters there are.
func anything(_ context.Context, parameters json.RawMessage) (json.RawMessage, string, error) {
	return parameters, "", nil
}

// site of work where every run of a task is seen beginning and waits to be told how to end.
type workshop struct {
	began chan work
	mu    sync.Mutex
	now   map[domain.TaskID]bool
	most  int // runs at once
	twice error
}

type work struct {
	worker.Job
	node string
	end  chan<- ending
}

type ending struct {
	result any
	err    error
}

func newWorkshop() *workshop {
	return &workshop{began: make(chan work, 1000), now: map[domain.TaskID]bool{}}
}

// kind is work on a node that ends when it is told to, or at once when its context does.
func (w *workshop) kind(node string, k worker.Kind) worker.Kind {
	k.Check = anything
	k.Run = func(ctx context.Context, job worker.Job) (any, error) {
		w.mu.Lock()
		if w.now[job.ID] {
			w.twice = fmt.Errorf("task %s runs twice at once", job.ID)
		}
		w.now[job.ID] = true
		w.most = max(w.most, len(w.now))
		w.mu.Unlock()
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.now, job.ID)
		}()
		end := make(chan ending, 1)
		w.began <- work{job, node, end}
		select {
		case e := <-end:
			return e.result, e.err
		case <-ctx.Done():
			return map[string]string{"stopped": "yes"}, context.Cause(ctx)
		}
	}
	return k
}

// next is the next run that begins.
func (w *workshop) next(t *testing.T) work {
	t.Helper()
	select {
	case x := <-w.began:
		return x
	case <-deadline(t).Done():
		t.Fatal("nothing begins")
	}
	panic("unreachable")
}
