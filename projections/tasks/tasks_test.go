package tasks

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"pgregory.net/rapid"
)

// bench is a log of tasks and its view.
type bench struct {
	log    *projectiontest.Log
	runner *projections.Runner
	state  *task.State
	clock  int64
	close  func()
}

type failer = storetest.TB

func newBench(t failer, dir string, kept int64, batch int) *bench {
	t.Helper()
	views, err := storetest.Open(t, dir, sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{log: projectiontest.New(1), state: task.New(), clock: 1_000}
	b.runner = projections.NewRunner(projections.Config{
		Log: b.log, Views: views, Projections: []projections.Projection{projection{kept}}, Logger: slog.New(slog.DiscardHandler),
		Limits: projections.Limits{BatchEntries: batch},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = b.runner.Run(ctx) }()
	b.close = func() { cancel(); <-ended; _ = views.Close() }
	return b
}

// do decides a command and appends what it gives. Refusals are passed over.
func (b *bench) do(c task.Command) bool {
	events, err := task.Decide(b.state, c)
	if err != nil || len(events) == 0 {
		return false
	}
	b.clock += 10
	at := b.log.Add(domain.TasksID, b.clock, events...)
	for _, e := range events {
		b.state.Apply(at.Tx, e)
	}
	return true
}

// reader gives the view when it shows all of the log.
func (b *bench) reader(t failer) projections.Reader {
	t.Helper()
	last, _ := b.log.Last(context.Background(), domain.TasksID)
	if err := b.runner.Wait(context.Background(), "TASKS", last.Seq); err != nil {
		t.Fatal(err)
	}
	r, err := b.runner.ReaderOf(Name, domain.TasksID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func taskID(n int) domain.TaskID { return domain.NewTaskID([16]byte{byte(n), byte(n >> 8)}) }

func command(t *rapid.T, n int) task.Command {
	id, attempt := taskID(rapid.IntRange(max(0, n-5), n).Draw(t, "task")), rapid.Uint32Range(0, 2).Draw(t, "attempt")
	switch rapid.IntRange(0, 9).Draw(t, "command") {
	case 0, 1, 2:
		return task.Start{ID: id, Node: "here", OfKind: 10, OnNode: 10}
	case 3:
		return task.Progress{ID: id, Attempt: attempt, Progress: fmt.Sprintf(`{"done":%d}`, n)}
	case 4, 5:
		return task.Complete{ID: id, Attempt: attempt, Result: `{"ok":true}`}
	case 6:
		return task.Fail{ID: id, Attempt: attempt, Error: "No spade", Hint: "buy one"}
	case 7:
		return task.Cancel{ID: id, By: "bob"}
	case 8:
		return task.Stop{ID: id, Attempt: attempt}
	default:
		return task.Abandon{ID: id, Attempt: attempt, Cause: "gone", Died: true, Resumable: true}
	}
}

// TestViewIsTheFold: whatever the commands and the batches, the open rows are the state, the newest that ended are kept, and every list is what
// picking from all rows by hand gives.
func TestViewIsTheFold(t *testing.T) {
	dir, n := t.TempDir(), 0
	const kept = 5
	rapid.Check(t, func(t *rapid.T) {
		n++
		b := newBench(t, fmt.Sprintf("%s/%d", dir, n), kept, rapid.IntRange(1, 10).Draw(t, "batch"))
		defer b.close()
		created := 0
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				created++
				b.do(task.Create{
					ID: taskID(created), Kind: rapid.SampledFrom([]string{"dig", "fill"}).Draw(t, "kind"), Parameters: fmt.Sprintf(`{"hole":"H%d"}`, created),
					About: rapid.SampledFrom([]string{"", "alice"}).Draw(t, "about"), By: "carol", Node: "here",
				})
			} else {
				b.do(command(t, created))
			}
		}
		r := b.reader(t)
		last, _ := b.log.Last(context.Background(), domain.TasksID)
		state, at, err := Load(context.Background(), r)
		if err != nil || at != last || !reflect.DeepEqual(state, b.state) {
			t.Fatalf("the view loads as %+v at %+v, %v; want %+v at %+v", state, at, err, b.state, last)
		}
		all, err := List(context.Background(), r, Filter{}, Page{})
		if err != nil || !slices.IsSortedFunc(all, func(a, b Task) int { return int(b.Submitted - a.Submitted) }) {
			t.Fatalf("the list is %v, %v", all, err)
		}
		if want := len(b.state.Open) + min(kept, created-len(b.state.Open)); len(all) != want {
			t.Fatalf("%d tasks are listed, want %d of %d", len(all), want, created)
		}
		f := Filter{
			Status: rapid.SampledFrom([]string{"", "waiting", "inProgress", "completed"}).Draw(t, "status"),
			Kind:   rapid.SampledFrom([]string{"", "dig", "nothing"}).Draw(t, "kind"),
			About:  rapid.SampledFrom([]string{"", "alice"}).Draw(t, "about"),
			Text:   rapid.SampledFrom([]string{"", "h1", "SPADE", "%", `\`}).Draw(t, "text"),
		}
		if rapid.Bool().Draw(t, "span") {
			f.Submitted = Span{rapid.Int64Range(1000, 1600).Draw(t, "after"), rapid.Int64Range(1000, 1600).Draw(t, "before")}
		}
		if rapid.Bool().Draw(t, "failed") {
			f.Failed = Span{After: rapid.Int64Range(1000, 1600).Draw(t, "failed after")}
		}
		var want []domain.TaskID
		for _, x := range all {
			if fits(x, f) {
				want = append(want, x.ID)
			}
		}
		var got []domain.TaskID
		size := rapid.IntRange(1, 4).Draw(t, "page")
		page := Page{Limit: size}
		for {
			part, err := List(context.Background(), r, f, page)
			if err != nil || len(part) > size {
				t.Fatalf("a page of %d has %v, %v", size, part, err)
			}
			for _, x := range part {
				got = append(got, x.ID)
			}
			if len(part) < size {
				break
			}
			if rapid.Bool().Draw(t, "by offset") {
				page = Page{Limit: size, Offset: len(got)}
			} else {
				page = Page{Limit: size, Next: got[len(got)-1]}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v lists %v, want %v", f, got, want)
		}
	})
}

func fits(x Task, f Filter) bool {
	in := func(at int64, s Span) bool {
		return s == (Span{}) || at > s.After && (s.Before == 0 || at < s.Before)
	}
	has := func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(f.Text)) }
	return (f.Status == "" || x.Status.String() == f.Status) && (f.Kind == "" || x.Kind == f.Kind) && (f.About == "" || x.About == f.About) &&
		(has(x.Parameters) || has(x.Error) || has(x.SubmittedBy)) && in(x.Submitted, f.Submitted) &&
		(f.Failed == (Span{}) || x.Status == task.Failed && in(x.Ended, f.Failed))
}

// TestATasksRow shows what the view knows of one task.
func TestATasksRow(t *testing.T) {
	b := newBench(t, t.TempDir(), Kept, 100)
	defer b.close()
	b.do(task.Create{ID: taskID(1), Kind: "dig", Parameters: `{"deep":1}`, About: "alice", By: "carol", Node: "n1", On: "n2"})
	b.do(task.Start{ID: taskID(1), Node: "n2", OfKind: 1, OnNode: 1})
	b.do(task.Progress{ID: taskID(1), Attempt: 1, Progress: `{"done":1}`})
	b.do(task.Cancel{ID: taskID(1), By: "dave"})
	b.do(task.Stop{ID: taskID(1), Attempt: 1, Result: `{"dug":1}`})
	got, err := Find(t.Context(), b.reader(t), taskID(1))
	want := Task{
		ID: taskID(1), Kind: "dig", About: "alice", Status: task.Cancelled, Parameters: `{"deep":1}`, Progress: `{"done":1}`, Result: `{"dug":1}`, SubmittedBy: "carol",
		Node: "n1", On: "n2", Runner: "n2", Attempt: 1, CancelledBy: "dave", Submitted: 1010, Started: 1020, Ended: 1050, Changed: 1050,
	}
	if err != nil || got != want {
		t.Errorf("the row says %+v, %v; want %+v", got, err, want)
	}
	if _, err := Find(t.Context(), b.reader(t), taskID(2)); !domain.Is(err, domain.NotFound) {
		t.Errorf("an unknown task gives %v", err)
	}
	b.do(task.Forget{Before: 1010})
	if _, err := Find(t.Context(), b.reader(t), taskID(1)); err != nil {
		t.Errorf("a task that is not older was forgotten: %v", err)
	}
	b.do(task.Forget{Before: 1011})
	if _, err := Find(t.Context(), b.reader(t), taskID(1)); !domain.Is(err, domain.NotFound) {
		t.Errorf("a forgotten task gives %v", err)
	}
}

// spy asks the store how it would answer each query.
type spy struct {
	projections.Reader
	plans *[]string
}

func (s spy) Snapshot(_ context.Context, f func(projections.Reader) error) error { return f(s) }

func (s spy) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := s.Reader.Query(ctx, "explain query plan "+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		steps = append(steps, detail)
	}
	*s.plans = append(*s.plans, strings.Join(steps, "; "))
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return s.Reader.Query(ctx, query, args...)
}

// TestPagesCostTheirLength: no list is sorted and none is read from its beginning: each walks along one index from where the page begins.
func TestPagesCostTheirLength(t *testing.T) {
	if storetest.Postgres() {
		t.Skip("the plans that it reads are SQLite's")
	}
	b := newBench(t, t.TempDir(), Kept, 100)
	defer b.close()
	b.do(task.Create{ID: taskID(1), Kind: "dig", Parameters: `{}`, Node: "n1"})
	for want, f := range map[string]Filter{
		"tasks_newest":    {},
		"tasks_by_status": {Status: "completed"},
		"tasks_by_kind":   {Kind: "dig"},
		"tasks_by_about":  {About: "alice"},
	} {
		var plans []string
		r := b.reader(t)
		err := r.Snapshot(t.Context(), func(r projections.Reader) error {
			_, err := List(t.Context(), spy{r, &plans}, f, Page{Limit: 10, Next: taskID(1)})
			return err
		})
		plan := plans[len(plans)-1]
		if err != nil || !strings.Contains(plan, want) || !strings.Contains(plan, "submitted") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%+v is answered by %q, %v", f, plan, err)
		}
	}
}

// TestDamage: a row that is not what the log made of it is noticed, and the view is made again.
func TestDamage(t *testing.T) {
	b := newBench(t, t.TempDir(), Kept, 100)
	defer b.close()
	b.log.Add(domain.TasksID, 1, &event.TaskCreated{Task: taskID(1), Kind: "dig", Parameters: "{}"}, &event.TaskStarted{Task: taskID(1), Attempt: 1})
	b.log.Add(domain.TasksID, 2, &event.TaskCompleted{Task: taskID(2), Attempt: 1})
	err := b.runner.Wait(t.Context(), "TASKS", 2)
	if err == nil || !strings.Contains(err.Error(), "is not there or has ended") {
		t.Errorf("a log that contradicts itself gives %v", err)
	}
}
