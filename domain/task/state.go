// Package task is the tasks aggregate: what is to be done that takes longer than a request, which node does it, and how it ended.
//
// All tasks of an installation are one log, so one decision sees them all: how many of a kind run anywhere, whether the same work is ordered
// already, who runs what. Two nodes that want the same task append to the same place, and one of them loses.
//
//	            Start                Complete
//	waiting ───────────> inProgress ───────────> completed
//	   │  ^                │  │  │  Fail
//	   │  └────────────────┘  │  └─────────────> failed
//	   │      Abandon         │ Cancel
//	   │                      v         Stop
//	   │               canceledRequested ──────> canceled
//	   └───────────────────────────────────────────^
//	                     Cancel
//
// Decide(state, command) gives events or an error and changes nothing. State.Apply(tx, event) folds one event. Both are pure.
//
// Invariants, for every state reached by folding a log:
//   - The state holds the tasks that have not ended, at most MaxOpen of them. What has ended is in the view only.
//   - An attempt is running exactly while the task is inProgress or canceledRequested, and only its own number can end it.
//   - A task's attempts are numbered densely from 1; at most MaxDeaths of them ended without notice.
package task

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Status is where a task stands.
type Status uint8

// The statuses. Those from Completed on are ends.
const (
	Waiting Status = iota
	InProgress
	CancelRequested
	Completed
	Failed
	Cancelled
)

// Names as the operators of Apache James know them.
var statusNames = [...]string{"waiting", "inProgress", "canceledRequested", "completed", "failed", "canceled"}

func (s Status) String() string { return statusNames[s] }

// Ended tells whether nothing can follow.
func (s Status) Ended() bool { return s >= Completed }

// ParseStatus reads a status' name. Errors: domain.Invalid.
func ParseStatus(name string) (Status, error) {
	if i := slices.Index(statusNames[:], name); i >= 0 {
		return Status(i), nil
	}
	return 0, domain.Errorf(domain.Invalid, "%q is not a status of a task: waiting, inProgress, canceledRequested, completed, failed, canceled", name)
}

// Statuses lists all of them.
func Statuses() []Status {
	return []Status{Waiting, InProgress, CancelRequested, Completed, Failed, Cancelled}
}

// State is the tasks as their log has made them up to Tx. Outside this package it is read only.
type State struct {
	Tx      domain.Tx
	Created uint64 // how many tasks there ever were
	Open    map[domain.TaskID]*Task
}

// Task is one that has not ended.
type Task struct {
	ID          domain.TaskID
	Place       uint64 // among all tasks in the order of their creation, from 1
	Kind        string
	Parameters  string
	SubmittedBy string
	Node        string // that took the order
	On          string // the one node that may run it; empty when any may
	Status      Status
	Runner      string // the node of the running attempt
	Attempt     uint32 // the last one's number; 0 before the first
	Deaths      uint32 // attempts that ended without notice
	Progress    string // the last that was recorded
	CancelledBy string
}

// New gives the state before the first transaction.
func New() *State { return &State{Open: map[domain.TaskID]*Task{}} }

// Apply folds one event of transaction tx. Like account.State.Apply it panics on a fact that contradicts the state.
func (s *State) Apply(tx domain.Tx, e event.Event) {
	s.Tx = tx
	switch e := e.(type) {
	case *event.TaskCreated:
		if s.Open[e.Task] != nil {
			panic(fmt.Sprintf("task %s is created twice", e.Task))
		}
		s.Created++
		s.Open[e.Task] = &Task{
			ID: e.Task, Place: s.Created, Kind: e.Kind, Parameters: e.Parameters, SubmittedBy: e.SubmittedBy, Node: e.Node, On: e.On,
		}
	case *event.TaskStarted:
		t := s.task(e.Task)
		if t.Status != Waiting || e.Attempt != t.Attempt+1 {
			panic(fmt.Sprintf("attempt %d of task %s starts while it is %s after attempt %d", e.Attempt, e.Task, t.Status, t.Attempt))
		}
		t.Status, t.Runner, t.Attempt = InProgress, e.Node, e.Attempt
	case *event.TaskProgressed:
		s.attempt(e.Task, e.Attempt).Progress = e.Progress
	case *event.TaskCompleted:
		s.attempt(e.Task, e.Attempt)
		delete(s.Open, e.Task)
	case *event.TaskFailed:
		s.ending(e.Task, e.Attempt)
	case *event.TaskCancelRequested:
		t := s.task(e.Task)
		if t.Status != InProgress {
			panic(fmt.Sprintf("task %s is asked to stop while it is %s", e.Task, t.Status))
		}
		t.Status, t.CancelledBy = CancelRequested, e.By
	case *event.TaskCancelled:
		s.ending(e.Task, e.Attempt)
	case *event.TaskAbandoned:
		t := s.attempt(e.Task, e.Attempt)
		t.Status, t.Runner = Waiting, ""
		if e.Died {
			t.Deaths++
		}
	case *event.TasksForgotten: // of the view only
	default:
		panic(fmt.Sprintf("%s is not an event of tasks", event.Name(e)))
	}
}

func (s *State) task(id domain.TaskID) *Task {
	t, ok := s.Open[id]
	if !ok {
		panic(fmt.Sprintf("task %s is not open", id))
	}
	return t
}

// attempt gives a task whose running attempt is n.
func (s *State) attempt(id domain.TaskID, n uint32) *Task {
	t := s.task(id)
	if t.Status == Waiting || t.Attempt != n {
		panic(fmt.Sprintf("attempt %d of task %s is not running: the task is %s after attempt %d", n, id, t.Status, t.Attempt))
	}
	return t
}

// ending removes a task that waits, where n is 0, or whose running attempt is n.
func (s *State) ending(id domain.TaskID, n uint32) {
	if n != 0 {
		s.attempt(id, n)
	} else if t := s.task(id); t.Status != Waiting {
		panic(fmt.Sprintf("task %s ends without its attempt while it is %s", id, t.Status))
	}
	delete(s.Open, id)
}

// Sorted gives the open tasks in the order of their creation.
func (s *State) Sorted() []*Task {
	all := make([]*Task, 0, len(s.Open))
	for _, t := range s.Open {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Task) int { return cmp.Compare(a.Place, b.Place) })
	return all
}

// Running counts the attempts of a kind that are running on any node, and those of all kinds on one.
func (s *State) Running(kind, node string) (ofKind, onNode int) {
	for _, t := range s.Open {
		if t.Status == Waiting {
			continue
		}
		if t.Kind == kind {
			ofKind++
		}
		if t.Runner == node {
			onNode++
		}
	}
	return ofKind, onNode
}

// Same finds an open task of the same kind, parameters and place that nobody has asked to stop: the oldest.
func (s *State) Same(kind, parameters, on string) (same *Task) {
	for _, t := range s.Open {
		if t.Kind == kind && t.Parameters == parameters && t.On == on && t.Status != CancelRequested && (same == nil || t.Place < same.Place) {
			same = t
		}
	}
	return same
}
