package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
	"github.com/streampost/streampost/streams"
)

func TestATaskIsDone(t *testing.T) {
	shop := newWorkshop()
	var seen []string
	n := inMemory(t).start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})}, func(c *worker.Config) {
		c.Observe = func(kind string, ended task.Status, _ time.Duration) { seen = append(seen, kind+" "+ended.String()) }
	})
	id := n.submit("dig", ` { "deep" : 3 } `)
	run := shop.next(t)
	if run.ID != id || run.Attempt != 1 || string(run.Parameters) != `{"deep":3}` || run.Checkpoint != nil {
		t.Errorf("the job is %+v", run.Job)
	}
	run.Progress(map[string]int{"done": 1})
	if got := n.is(id, task.InProgress); got.Progress != `{"done":1}` || got.Runner != "n1" || got.SubmittedBy != "test" {
		t.Errorf("the task is %+v", got)
	}
	run.end <- ending{map[string]int{"dug": 3}, nil}
	got := n.becomes(id, task.Completed)
	if got.Result != `{"dug":3}` || got.Error != "" || got.Ended < got.Started || got.Started < got.Submitted {
		t.Errorf("the task is %+v", got)
	}
	list, err := n.List(deadline(t), tasks.Filter{Kind: "dig"}, tasks.Page{})
	if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], got) {
		t.Errorf("the list is %+v, %v", list, err)
	}
	n.shutDown()
	if !reflect.DeepEqual(seen, []string{"dig completed"}) {
		t.Errorf("seen was %q", seen)
	}
}

func TestWhatGoesWrong(t *testing.T) {
	fails := func(err error) func(context.Context, worker.Job) (any, error) {
		return func(context.Context, worker.Job) (any, error) { return []int{1}, err }
	}
	n := inMemory(t).start("n1", []worker.Kind{
		{Name: "refused", Run: fails(&domain.Error{Kind: domain.Unavailable, Msg: "no spade", Hint: "buy one"})},
		{Name: "panics", Run: func(context.Context, worker.Job) (any, error) { panic("a stone") }},
		{Name: "wordy", Run: fails(errors.New(strings.Repeat("é\xff", 10_000)))},
		{Name: "long", Run: func(context.Context, worker.Job) (any, error) { return strings.Repeat("x", 2<<20), nil }},
		{Name: "checked", Run: fails(nil), Check: func(_ context.Context, p json.RawMessage) (json.RawMessage, string, error) {
			return nil, "", domain.Errorf(domain.NotFound, "there is no %s", p)
		}},
	})
	if got := n.becomes(n.submit("refused", ""), task.Failed); got.Error != "no spade" || got.Hint != "buy one" || got.Result != `{"result":[1]}` {
		t.Errorf("a refusal gives %+v", got)
	}
	if got := n.becomes(n.submit("panics", "{}"), task.Failed); !strings.Contains(got.Error, "a stone") {
		t.Errorf("a panic gives %+v", got)
	}
	if got := n.becomes(n.submit("wordy", ""), task.Failed); len(got.Error) > task.MaxText || !strings.HasPrefix(got.Error, "é\uFFFDé") {
		t.Errorf("a long error gives %q", got.Error)
	}
	if got := n.becomes(n.submit("long", ""), task.Completed); got.Result != `{"tooLarge":2097154}` {
		t.Errorf("a long result gives %q", got.Result)
	}
	for _, wrong := range []struct {
		kind, parameters string
		want             domain.Kind
	}{{"fly", "{}", domain.Invalid}, {"panics", `{"x":1}`, domain.Invalid}, {"panics", `{`, domain.Invalid}, {"checked", `{}`, domain.NotFound}} {
		if id, err := n.Submit(deadline(t), "test", wrong.kind, json.RawMessage(wrong.parameters)); !domain.Is(err, wrong.want) {
			t.Errorf("%s %s gives %s, %v", wrong.kind, wrong.parameters, id, err)
		}
	}
	nobody := domain.NewTaskID([16]byte{1})
	_, found := n.Find(deadline(t), nobody)
	_, awaited := n.Await(deadline(t), nobody)
	if cancelled := n.Cancel(deadline(t), "test", nobody); !domain.Is(found, domain.NotFound) || !domain.Is(awaited, domain.NotFound) || !domain.Is(cancelled, domain.NotFound) {
		t.Errorf("a task that never was gives %v, %v, %v", found, awaited, cancelled)
	}
}

func TestCancelling(t *testing.T) {
	shop := newWorkshop()
	n := inMemory(t).start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})})
	first, second := n.submit("dig", ""), n.submit("dig", "")
	run := shop.next(t)
	if err := n.Cancel(deadline(t), "bob", second); err != nil { // it waits, because one at a time may run
		t.Fatal(err)
	}
	if got := n.is(second, task.Cancelled); got.CancelledBy != "bob" || got.Attempt != 0 {
		t.Errorf("the task that waited is %+v", got)
	}
	for range 2 {
		if err := n.Cancel(deadline(t), "bob", first); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.becomes(first, task.Cancelled); got.CancelledBy != "bob" || got.Result != `{"stopped":"yes"}` {
		t.Errorf("the task that ran is %+v", got)
	}
	if err := n.Cancel(deadline(t), "bob", run.ID); err != nil {
		t.Errorf("cancelling what has ended gives %v", err)
	}
}

func TestAwaitingEndsWithItsContext(t *testing.T) {
	shop := newWorkshop()
	n := inMemory(t).start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})})
	id := n.submit("dig", "")
	ctx, cancel := context.WithCancel(t.Context())
	awaited := make(chan error)
	go func() { _, err := n.Await(ctx, id); awaited <- err }()
	shop.next(t)
	cancel()
	if err := <-awaited; !errors.Is(err, context.Canceled) {
		t.Errorf("awaiting ends with %v", err)
	}
}

func TestTheSameWorkIsDoneOnce(t *testing.T) {
	shop := newWorkshop()
	n := inMemory(t).start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Join: true, Limit: 9})})
	first := n.submit("dig", `{"deep":1}`)
	run := shop.next(t)
	if again := n.submit("dig", `{ "deep":1 }`); again != first {
		t.Errorf("the same work is task %s and %s", first, again)
	}
	if other := n.submit("dig", `{"deep":2}`); other == first {
		t.Error("other work is the same task")
	}
	run.end <- ending{}
	n.becomes(first, task.Completed)
	if again := n.submit("dig", `{"deep":1}`); again == first {
		t.Error("what was done already is not done again")
	}
}

// TestLimits: as many run as may, of a kind and in all, and the others wait for their turn.
func TestLimits(t *testing.T) {
	shop := newWorkshop()
	n := inMemory(t).start("n1", []worker.Kind{
		shop.kind("n1", worker.Kind{Name: "dig", Limit: 2}), shop.kind("n1", worker.Kind{Name: "fill", Limit: 2}),
	}, func(c *worker.Config) { c.Limits.AtOnce = 3 })
	var ids []domain.TaskID
	for i := range 10 {
		ids = append(ids, n.submit([]string{"dig", "fill"}[i%2], ""))
	}
	for range 10 {
		shop.next(t).end <- ending{}
	}
	for _, id := range ids {
		n.becomes(id, task.Completed)
	}
	if shop.most > 3 || shop.twice != nil {
		t.Errorf("%d ran at once, %v", shop.most, shop.twice)
	}

	digs := []domain.TaskID{n.submit("dig", ""), n.submit("dig", ""), n.submit("dig", "")}
	first, second := shop.next(t), shop.next(t)
	fill := n.submit("fill", "") // may overtake the third
	third := shop.next(t)
	if third.ID != fill {
		t.Errorf("%s began, want %s", third.ID, fill)
	}
	n.is(digs[2], task.Waiting)
	for _, c := range n.Counts() {
		want := map[string]int{"dig waiting": 1, "dig inProgress": 2, "fill inProgress": 1}[c.Kind+" "+c.Status.String()]
		if c.Tasks != want {
			t.Errorf("%+v, want %d", c, want)
		}
	}
	for _, run := range []work{first, second, third} {
		run.end <- ending{}
	}
	shop.next(t).end <- ending{}
	n.becomes(digs[2], task.Completed)
}

// TestShutdown: what can be resumed goes on from where it was, and what cannot has failed.
func TestShutdown(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	kinds := []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Resumable: true, Limit: 2}), shop.kind("n1", worker.Kind{Name: "blast"})}
	n := s.start("n1", kinds)
	dig := n.submit("dig", `{"deep":9}`)
	shop.next(t).Progress(map[string]int{"done": 4})
	blast := n.submit("blast", "")
	shop.next(t)
	n.shutDown()

	n = s.start("n1", kinds)
	if got := n.becomes(blast, task.Failed); !strings.Contains(got.Error, "shut down") || !strings.Contains(got.Hint, "again") {
		t.Errorf("what cannot be resumed is %+v", got)
	}
	run := shop.next(t)
	if run.ID != dig || run.Attempt != 2 || string(run.Checkpoint) != `{"done":4}` || string(run.Parameters) != `{"deep":9}` {
		t.Errorf("it is resumed with %+v", run.Job)
	}
	run.end <- ending{}
	n.becomes(dig, task.Completed)
}

// TestKilled is the same for a process that dies, on a real log that is opened anew each time.
func TestKilled(t *testing.T) {
	s, shop := embedded(t), newWorkshop()
	kinds := []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Resumable: true, Limit: 3}), shop.kind("n1", worker.Kind{Name: "blast"})}
	restart := func(n *node) *node {
		n.kill()
		s.close()
		s.open()
		return s.start("n1", kinds, mortals)
	}
	n := s.start("n1", kinds, mortals)
	dig, blast := n.submit("dig", ""), n.submit("blast", "")
	for range 2 {
		shop.next(t)
	}
	n = restart(n)
	if got := n.becomes(blast, task.Failed); !strings.Contains(got.Error, "without notice") {
		t.Errorf("what cannot be resumed is %+v", got)
	}
	run := shop.next(t)
	if run.ID != dig || run.Attempt != 2 {
		t.Errorf("it is resumed with %+v", run.Job)
	}
	run.end <- ending{}
	n.becomes(dig, task.Completed)
	n = restart(n)
	n.is(dig, task.Completed)
	n.is(blast, task.Failed)
}

// TestKilledWhileItIsToStop: who is asked to stop and dies instead is not resumed.
func TestKilledWhileItIsToStop(t *testing.T) {
	s := inMemory(t)
	began, deaf := make(chan struct{}), make(chan struct{})
	kinds := []worker.Kind{{Name: "deaf", Resumable: true, Run: func(context.Context, worker.Job) (any, error) {
		close(began)
		<-deaf
		return nil, nil
	}}}
	n := s.start("n1", kinds, mortals)
	id := n.submit("deaf", "")
	<-began
	if err := n.Cancel(deadline(t), "bob", id); err != nil {
		t.Fatal(err)
	}
	n.is(id, task.CancelRequested)
	n.log.away.Store(true)
	close(deaf)
	n.kill()
	n = s.start("n1", kinds, mortals)
	if got := n.becomes(id, task.Cancelled); got.CancelledBy != "bob" || got.Attempt != 1 {
		t.Errorf("the task is %+v", got)
	}
}

// TestATaskThatKillsItsNodeIsGivenUp: or else the node would die again and again.
func TestATaskThatKillsItsNodeIsGivenUp(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	kinds := []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Resumable: true})}
	n := s.start("n1", kinds, mortals)
	id := n.submit("dig", "")
	for range task.MaxDeaths {
		shop.next(t)
		n.kill()
		n = s.start("n1", kinds, mortals)
	}
	if got := n.becomes(id, task.Failed); !strings.Contains(got.Error, "3 times") || got.Attempt != task.MaxDeaths {
		t.Errorf("the task is %+v", got)
	}
}

// TestTheLogIsAway: what ends while nothing can be written is written later, and nothing is lost or done twice.
func TestTheLogIsAway(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	n := s.start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})})
	id := n.submit("dig", "")
	run := shop.next(t)
	memory := s.log.(*projectiontest.Log)
	memory.Fail(domain.Errorf(domain.Unavailable, "the log is away"))
	run.end <- ending{map[string]int{"dug": 1}, nil}
	if _, err := n.Submit(deadline(t), "test", "dig", nil); !domain.Is(err, domain.Unavailable) {
		t.Errorf("an order without a log gives %v", err)
	}
	memory.Fail(nil)
	if got := n.becomes(id, task.Completed); got.Result != `{"dug":1}` || got.Attempt != 1 {
		t.Errorf("the task is %+v", got)
	}
}

// TestWithoutAView: tasks are done although their view cannot be opened.
func TestWithoutAView(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	kinds := []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Resumable: true})}
	n := s.start("n1", kinds)
	id := n.submit("dig", "")
	shop.next(t)
	n.shutDown()
	n = s.start("n1", kinds, func(c *worker.Config) { c.View = blind{} })
	if run := shop.next(t); run.ID != id || run.Attempt != 2 {
		t.Errorf("%+v is resumed", run.Job)
	}
	if _, err := n.Find(deadline(t), id); !domain.Is(err, domain.Unavailable) {
		t.Errorf("without a view a task is shown as %v", err)
	}
}

// TestAWrongPosition: what damaged rows say of the position never gets into the log.
func TestAWrongPosition(t *testing.T) {
	for _, harm := range []string{`update tasks_position set hash = substr(hash, 2)`, `update tasks_position set tx = tx + 1`, `update tasks_position set seq = seq + 1`, `update tasks_position set seq = seq - 1`} {
		s, shop := inMemory(t), newWorkshop()
		kinds := []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Resumable: true})}
		n := s.start("n1", kinds)
		id := n.submit("dig", "")
		shop.next(t).end <- ending{}
		n.becomes(id, task.Completed)
		n.shutDown()
		views, err := sqlview.Open(filepath.Join(s.dir, "views-n1"), sqlview.Options{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := views.Open(t.Context(), projections.Generation{Stream: "TASKS", Projection: tasks.Name, Number: 1})
		if err == nil {
			err = v.Update(t.Context(), func(tx projections.Tx) error { _, err := tx.Exec(t.Context(), harm); return err })
		}
		if err := errors.Join(err, views.Close()); err != nil {
			t.Fatal(err)
		}
		n = s.start("n1", kinds)
		id = n.submit("dig", "")
		shop.next(t).end <- ending{}
		n.becomes(id, task.Completed)
		var at streams.Position
		for e, err := range s.log.ReadAccount(t.Context(), domain.TasksID, 0) {
			if err == nil {
				err = projections.Link(at, &e)
			}
			if err != nil {
				t.Fatalf("%s: %v", harm, err)
			}
			at = e.Position()
		}
		n.shutDown()
	}
}

type blind struct{}

func (blind) Reader() (projections.Reader, error) { return nil, errors.New("no view") }
func (blind) Wait(context.Context, domain.Seq) error {
	return domain.Errorf(domain.Unavailable, "no view")
}

// late is a view that does not come forward once it is told to.
type late struct {
	worker.View
	stuck atomic.Bool
}

func (v *late) Wait(ctx context.Context, seq domain.Seq) error {
	if !v.stuck.Load() {
		return v.View.Wait(ctx, seq)
	}
	<-ctx.Done()
	return ctx.Err()
}

// While the view does not come forward tasks go on, and who asks for them is told so soon.
func TestViewThatIsLate(t *testing.T) {
	shop := newWorkshop()
	var view late
	n := inMemory(t).start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})}, func(c *worker.Config) {
		view.View, c.View, c.Limits.View = c.View, &view, 3*time.Second // in which rows must come when nothing is late
	})
	first := n.submit("dig", "")
	job := shop.next(t)
	view.stuck.Store(true)
	if _, err := n.Find(t.Context(), first); !domain.Is(err, domain.Unavailable) || !strings.Contains(err.Error(), "not up to date") {
		t.Errorf("while the view is late: %v", err)
	}
	job.end <- ending{}
	view.stuck.Store(false)
	n.becomes(first, task.Completed)
}

// TestUnknownKinds: an order that nobody can carry out has failed, whoever took it.
func TestUnknownKinds(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	n := s.start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig", Resumable: true})}, mortals)
	running, waiting := n.submit("dig", ""), n.submit("dig", "")
	shop.next(t)
	n.kill()
	n = s.start("n1", nil) // a version that does not know the kind
	for _, id := range []domain.TaskID{running, waiting} {
		n.becomes(id, task.Failed)
	}
}

// TestTwoNodes: on one log two nodes do each task exactly once at a time, within the limits of the whole installation.
func TestTwoNodes(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *site{"in memory": inMemory, "on a server": embedded} {
		t.Run(name, func(t *testing.T) {
			s, shop := make(t), newWorkshop()
			const limit = 3
			nodes := []*node{}
			for _, name := range []string{"n1", "n2"} {
				nodes = append(nodes, s.start(name, []worker.Kind{shop.kind(name, worker.Kind{Name: "dig", Limit: limit}), shop.kind(name, worker.Kind{Name: "local", Local: true, Limit: limit})}))
			}
			var ids []domain.TaskID
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range 40 {
				wg.Go(func() {
					id := nodes[i%2].submit("dig", "")
					mu.Lock()
					defer mu.Unlock()
					ids = append(ids, id)
				})
			}
			done := map[domain.TaskID]int{}
			for range 40 {
				run := shop.next(t)
				done[run.ID]++
				run.end <- ending{}
			}
			wg.Wait()
			for i, id := range ids {
				if got := nodes[i%2].becomes(id, task.Completed); got.Attempt != 1 || done[id] != 1 {
					t.Errorf("%+v was begun %d times", got, done[id])
				}
			}
			if shop.most > limit || shop.twice != nil {
				t.Errorf("%d ran at once, %v", shop.most, shop.twice)
			}
			local := nodes[1].submit("local", "")
			if run := shop.next(t); run.node != "n2" {
				t.Errorf("a local task runs on %s", run.node)
			} else {
				// Any node may be asked to stop it.
				if err := nodes[0].Cancel(deadline(t), "bob", local); err != nil {
					t.Fatal(err)
				}
			}
			nodes[0].becomes(local, task.Cancelled)
		})
	}
}

// TestADeadNodesTasks: another node takes over what can be resumed, and the dead one's word does not count when it comes back to life.
func TestADeadNodesTasks(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	var mu sync.Mutex
	dead := map[string]bool{}
	alive := func(c *worker.Config) {
		c.Alive = func(node string) bool {
			mu.Lock()
			defer mu.Unlock()
			return !dead[node]
		}
	}
	kinds := func(node string) []worker.Kind {
		return []worker.Kind{
			shop.kind(node, worker.Kind{Name: "dig", Resumable: true}), shop.kind(node, worker.Kind{Name: "blast"}),
			shop.kind(node, worker.Kind{Name: "local", Resumable: true, Local: true}),
		}
	}
	first := s.start("n1", kinds("n1"), alive)
	dig, blast := first.submit("dig", ""), first.submit("blast", "")
	lost := []work{shop.next(t), shop.next(t)}
	local, stuck := first.submit("local", ""), first.submit("local", "")
	shop.next(t)

	first.log.away.Store(true)
	mu.Lock()
	dead["n1"] = true
	mu.Unlock()
	second := s.start("n2", kinds("n2"), alive)
	if got := second.becomes(blast, task.Failed); !strings.Contains(got.Error, "node n1") {
		t.Errorf("what cannot be resumed is %+v", got)
	}
	for _, id := range []domain.TaskID{local, stuck} {
		second.becomes(id, task.Failed)
	}
	run := shop.next(t)
	if run.ID != dig || run.node != "n2" || run.Attempt != 2 {
		t.Errorf("taken over is %+v on %s", run.Job, run.node)
	}
	for _, l := range lost {
		l.end <- ending{map[string]string{"by": "a ghost"}, nil}
	}
	mu.Lock()
	dead["n1"] = false
	mu.Unlock()
	first.log.away.Store(false)
	first.is(dig, task.InProgress)
	run.end <- ending{map[string]string{"by": "n2"}, nil}
	if got := first.becomes(dig, task.Completed); got.Result != `{"by":"n2"}` {
		t.Errorf("the task is %+v", got)
	}
	first.is(blast, task.Failed)
}

// TestIdle: a worker that runs nothing takes orders all the same.
func TestIdle(t *testing.T) {
	s, shop := inMemory(t), newWorkshop()
	kinds := []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})}
	n := s.start("n1", kinds, func(c *worker.Config) { c.Idle = true })
	id := n.submit("dig", "")
	n.is(id, task.Waiting)
	n.shutDown()
	n = s.start("n1", kinds)
	shop.next(t).end <- ending{}
	n.becomes(id, task.Completed)
}

func TestManyOpenTasks(t *testing.T) {
	shop := newWorkshop()
	n := inMemory(t).start("n1", []worker.Kind{shop.kind("n1", worker.Kind{Name: "dig"})}, func(c *worker.Config) { c.Idle = true })
	for range task.MaxOpen {
		n.submit("dig", "")
	}
	if _, err := n.Submit(deadline(t), "test", "dig", nil); !domain.Is(err, domain.Unavailable) || !strings.Contains(fmt.Sprint(err), "1000 tasks") {
		t.Errorf("one more gives %v", err)
	}
}
