package task

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"pgregory.net/rapid"
)

var ids = []domain.TaskID{domain.NewTaskID([16]byte{1}), domain.NewTaskID([16]byte{2}), domain.NewTaskID([16]byte{3})}

// script runs commands one after the other.
type script struct {
	t *testing.T
	s *State
}

func (x *script) do(c Command) []event.Event {
	x.t.Helper()
	events, err := Decide(x.s, c)
	if err != nil {
		x.t.Fatalf("%+v: %v", c, err)
	}
	for _, e := range events {
		x.s.Apply(x.s.Tx+1, e)
	}
	return events
}

func (x *script) refuses(kind domain.Kind, c Command) {
	x.t.Helper()
	if events, err := Decide(x.s, c); !domain.Is(err, kind) || events != nil {
		x.t.Errorf("%+v: got %v and %v, want a refusal: %v", c, events, err, kind)
	}
}

func (x *script) is(id domain.TaskID, want Status) {
	x.t.Helper()
	if got := x.s.Open[id]; got == nil || got.Status != want {
		x.t.Errorf("task %s is %+v, want %s", id, got, want)
	}
}

func order(id domain.TaskID) Create {
	return Create{ID: id, Kind: "dig", Parameters: "{}", By: "alice", Node: "here"}
}

func start(id domain.TaskID) Start { return Start{ID: id, Node: "here", OfKind: 10, OnNode: 10} }

func TestATasksLife(t *testing.T) {
	x := &script{t, New()}
	x.do(order(ids[0]))
	x.is(ids[0], Waiting)
	x.refuses(domain.Exists, order(ids[0]))
	x.refuses(domain.Conflict, Complete{ID: ids[0]})
	x.do(start(ids[0]))
	x.is(ids[0], InProgress)
	x.refuses(domain.Conflict, start(ids[0]))
	x.do(Progress{ids[0], 1, `{"done":1}`})
	if again := x.do(Progress{ids[0], 1, `{"done":1}`}); again != nil {
		t.Errorf("the same progress twice gives %v", again)
	}
	x.refuses(domain.Conflict, Progress{ids[0], 2, `{}`})
	x.refuses(domain.Conflict, Stop{ID: ids[0], Attempt: 1}) // nobody asked
	x.do(Complete{ids[0], 1, `{"holes":3}`})
	x.refuses(domain.NotFound, Cancel{ids[0], "bob"})
	x.refuses(domain.NotFound, Complete{ID: ids[0], Attempt: 1})
	if len(x.s.Open) != 0 {
		t.Errorf("something is left: %v", x.s.Open)
	}
}

func TestCancelling(t *testing.T) {
	x := &script{t, New()}
	for _, id := range ids {
		x.do(order(id))
	}
	if got := x.do(Cancel{ids[0], "bob"}); !reflect.DeepEqual(got, []event.Event{&event.TaskCancelled{Task: ids[0], By: "bob"}}) {
		t.Errorf("cancelling a task that waits gives %v", got)
	}
	x.do(start(ids[1]))
	x.do(Cancel{ids[1], "bob"})
	x.is(ids[1], CancelRequested)
	if again := x.do(Cancel{ids[1], "carol"}); again != nil {
		t.Errorf("cancelling twice gives %v", again)
	}
	x.do(Progress{ids[1], 1, "{}"}) // it has not heard yet
	if got := x.do(Stop{ID: ids[1], Attempt: 1}); got[0].(*event.TaskCancelled).By != "bob" {
		t.Errorf("it was cancelled by %v", got[0])
	}
	x.do(start(ids[2]))
	x.do(Cancel{ids[2], "bob"})
	x.do(Complete{ID: ids[2], Attempt: 1}) // it was faster
}

func TestADeadNodesTasks(t *testing.T) {
	x := &script{t, New()}
	for _, id := range ids {
		x.do(order(id))
		x.do(start(id))
	}
	lost := Abandon{ID: ids[0], Attempt: 1, Cause: "the node died", Died: true}
	if got := x.do(lost); got[0].(*event.TaskFailed).Error != "the node died" {
		t.Errorf("what cannot be resumed gives %v", got)
	}
	lost.ID, lost.Resumable = ids[1], true
	for lost.Attempt = 1; lost.Attempt < MaxDeaths; lost.Attempt++ {
		x.do(lost)
		x.is(ids[1], Waiting)
		x.refuses(domain.Conflict, Complete{ID: ids[1], Attempt: lost.Attempt}) // the node was not dead after all
		x.do(start(ids[1]))
	}
	x.do(Abandon{ID: ids[1], Attempt: MaxDeaths, Cause: "shutdown", Resumable: true}) // in order, so it does not count
	x.do(start(ids[1]))
	lost.Attempt = MaxDeaths + 1
	if got := x.do(lost); !strings.Contains(got[0].(*event.TaskFailed).Error, "3 times") {
		t.Errorf("a task that kills its node gives %v", got)
	}
	x.do(Cancel{ids[2], "bob"})
	if got := x.do(Abandon{ID: ids[2], Attempt: 1, Cause: "the node died", Resumable: true}); got[0].(*event.TaskCancelled).By != "bob" {
		t.Errorf("what nobody wants any more gives %v", got)
	}
}

func TestLimits(t *testing.T) {
	x := &script{t, New()}
	for _, id := range ids {
		x.do(order(id))
	}
	x.do(Start{ID: ids[0], Node: "here", OfKind: 2, OnNode: 1})
	x.refuses(domain.Unavailable, Start{ID: ids[1], Node: "here", OfKind: 2, OnNode: 1})
	x.refuses(domain.Unavailable, Start{ID: ids[1], Node: "there", OfKind: 1, OnNode: 1})
	x.do(Start{ID: ids[1], Node: "there", OfKind: 2, OnNode: 1})
	x.refuses(domain.Unavailable, Start{ID: ids[2], Node: "elsewhere", OfKind: 2, OnNode: 1})

	local := order(domain.NewTaskID([16]byte{9}))
	local.On = "there"
	x.do(local)
	x.refuses(domain.Denied, start(local.ID))

	for n := len(x.s.Open); n < MaxOpen; n++ {
		x.do(order(domain.NewTaskID([16]byte{10, byte(n), byte(n >> 8)})))
	}
	x.refuses(domain.Unavailable, order(domain.NewTaskID([16]byte{99})))
}

func TestTheSameWorkIsOrderedOnce(t *testing.T) {
	x := &script{t, New()}
	first, second := order(ids[0]), order(ids[1])
	second.Join = true
	x.do(first)
	if got := x.do(second); got != nil {
		t.Errorf("the same again gives %v", got)
	}
	x.do(start(ids[0]))
	x.do(Cancel{ids[0], "bob"})
	if got := x.do(second); len(got) != 1 {
		t.Errorf("after the first was cancelled the second gives %v", got)
	}
	other := second
	other.ID, other.Parameters = ids[2], `{"deeper":true}`
	if got := x.do(other); len(got) != 1 {
		t.Errorf("other work gives %v", got)
	}
}

func TestWhatIsNoTask(t *testing.T) {
	x := &script{t, New()}
	for _, spoil := range []func(*Create){
		func(c *Create) { c.ID = "7" },
		func(c *Create) { c.ID = domain.TaskID(strings.ToUpper(string(domain.NewTaskID([16]byte{0xab})))) },
		func(c *Create) { c.Kind = "" },
		func(c *Create) { c.Node = "" },
		func(c *Create) { c.By = "\xff" },
		func(c *Create) { c.About = strings.Repeat("x", MaxText+1) },
		func(c *Create) { c.Parameters = "" },
		func(c *Create) { c.Parameters = "[]" },
		func(c *Create) { c.Parameters = "{" },
		func(c *Create) { c.Parameters = "{\"a\":\"\xff\"}" },
	} {
		c := order(ids[0])
		spoil(&c)
		x.refuses(domain.Invalid, c)
	}
	large := order(ids[0])
	large.Parameters = fmt.Sprintf(`{"x":"%s"}`, strings.Repeat("x", MaxParameters))
	x.refuses(domain.TooLarge, large)
	x.do(order(ids[0]))
	x.do(start(ids[0]))
	x.refuses(domain.TooLarge, Complete{ids[0], 1, fmt.Sprintf(`{"x":"%s"}`, strings.Repeat("x", MaxResult))})
	x.refuses(domain.Invalid, Complete{ids[0], 1, "done"})
}

// told is what an onlooker knows of a task who hears of every command and of nothing else.
type told struct {
	status  Status
	attempt uint32
	deaths  int
	node    string
}

// TestModel: whatever is asked, the aggregate answers as a table of statuses does, and folding what it said gives the same state again.
func TestModel(t *testing.T) {
	const ofKind, onNode = 2, 2
	rapid.Check(t, func(t *rapid.T) {
		state, tx := New(), domain.Tx(0)
		model := map[domain.TaskID]*told{}
		var facts []event.Event
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			id := rapid.SampledFrom(ids).Draw(t, "task")
			node := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node")
			attempt := rapid.Uint32Range(0, 4).Draw(t, "attempt")
			m := model[id]
			open := m != nil && !m.status.Ended()
			runs := open && m.status != Waiting && m.attempt == attempt
			var c Command
			var next told // if allowed
			allowed := runs
			if m != nil {
				next = *m
			}
			switch rapid.SampledFrom([]string{"create", "start", "start", "progress", "complete", "fail", "cancel", "stop", "abandon", "abandon"}).Draw(t, "command") {
			case "create":
				c, allowed, next = Create{ID: id, Kind: "dig", Parameters: "{}", Node: node}, m == nil, told{}
				if m != nil && m.status.Ended() {
					continue // nobody draws the same UUID twice
				}
			case "start":
				busyKind, busyNode := 0, 0
				for _, other := range model {
					if other.status == InProgress || other.status == CancelRequested {
						busyKind++
						if other.node == node {
							busyNode++
						}
					}
				}
				c = Start{ID: id, Node: node, OfKind: ofKind, OnNode: onNode}
				allowed = open && m.status == Waiting && busyKind < ofKind && busyNode < onNode
				next.status, next.attempt, next.node = InProgress, next.attempt+1, node
			case "progress":
				c = Progress{id, attempt, `{"done":` + fmt.Sprint(len(facts)) + `}`}
			case "complete":
				c, next.status = Complete{ID: id, Attempt: attempt}, Completed
			case "fail":
				c, next.status = Fail{ID: id, Attempt: attempt, Error: "no spade"}, Failed
				allowed = runs || open && attempt == 0 && m.status == Waiting
			case "cancel":
				c, allowed = Cancel{id, "bob"}, open
				next.status = CancelRequested
				if open && m.status == Waiting {
					next.status = Cancelled
				}
			case "stop":
				c, next.status = Stop{ID: id, Attempt: attempt}, Cancelled
				allowed = runs && m.status == CancelRequested
			case "abandon":
				died, resumable := rapid.Bool().Draw(t, "died"), rapid.Bool().Draw(t, "resumable")
				c, next.status = Abandon{id, attempt, "gone", died, resumable}, Waiting
				if died {
					next.deaths++
				}
				switch {
				case m != nil && m.status == CancelRequested:
					next.status = Cancelled
				case !resumable || died && next.deaths == MaxDeaths:
					next.status = Failed
				}
			}
			events, err := Decide(state, c)
			if (err == nil) != allowed {
				t.Fatalf("%+v on %+v: %v, want allowed: %v", c, m, err, allowed)
			}
			if err != nil {
				continue
			}
			tx++
			for _, e := range events {
				state.Apply(tx, e)
			}
			facts = append(facts, events...)
			model[id] = &next
			got := state.Open[id]
			if (got == nil) != next.status.Ended() || got != nil && (got.Status != next.status || got.Attempt != next.attempt || int(got.Deaths) != next.deaths) {
				t.Fatalf("after %+v the task is %+v, want %+v", c, got, next)
			}
		}
		again := New()
		for _, e := range facts {
			again.Apply(state.Tx, e)
		}
		if !reflect.DeepEqual(again, state) {
			t.Fatalf("folded again the log gives %+v, was %+v", again, state)
		}
	})
}

func TestFactsThatContradictTheState(t *testing.T) {
	for _, facts := range [][]event.Event{
		{&event.TaskStarted{Task: ids[0], Attempt: 1}},
		{&event.TaskCreated{Task: ids[0]}, &event.TaskCreated{Task: ids[0]}},
		{&event.TaskCreated{Task: ids[0]}, &event.TaskStarted{Task: ids[0], Attempt: 2}},
		{&event.TaskCreated{Task: ids[0]}, &event.TaskCompleted{Task: ids[0], Attempt: 1}},
		{&event.TaskCreated{Task: ids[0]}, &event.TaskCancelRequested{Task: ids[0]}},
		{&event.TaskCreated{Task: ids[0]}, &event.TaskStarted{Task: ids[0], Attempt: 1}, &event.TaskCancelled{Task: ids[0]}},
		{&event.TaskCreated{Task: ids[0]}, &event.TaskStarted{Task: ids[0], Attempt: 1}, &event.TaskProgressed{Task: ids[0], Attempt: 2}},
		{&event.DomainAdded{Name: "example.org"}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was folded", facts)
				}
			}()
			s := New()
			for _, e := range facts {
				s.Apply(1, e)
			}
		}()
	}
}
