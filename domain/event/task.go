package event

import "github.com/streampost/streampost/domain"

// TaskCreated orders work that takes longer than a request. The task waits until a node starts it.
type TaskCreated struct {
	Task        domain.TaskID `json:"task"`
	Kind        string        `json:"kind"`
	Parameters  string        `json:"parameters"`      // a JSON object
	About       string        `json:"about,omitempty"` // what it concerns: an account's id, a domain, a stream; empty for everything
	SubmittedBy string        `json:"submittedBy"`
	Node        string        `json:"node"`         // that took the order
	On          string        `json:"on,omitempty"` // the one node that may run it; empty when any may
}

func (e *TaskCreated) fields(c *coder) {
	stringField(c, 1, &e.Task)
	c.String(2, &e.Kind)
	c.String(3, &e.Parameters)
	c.String(4, &e.About)
	c.String(5, &e.SubmittedBy)
	c.String(6, &e.Node)
	c.String(7, &e.On)
}

// TaskStarted is a node's claim on a waiting task. Attempts are numbered from 1, and what follows of an attempt carries its number, so that a
// node that was taken for dead writes nothing into a later one.
type TaskStarted struct {
	Task    domain.TaskID `json:"task"`
	Node    string        `json:"node"`
	Attempt uint32        `json:"attempt"`
}

func (e *TaskStarted) fields(c *coder) {
	stringField(c, 1, &e.Task)
	c.String(2, &e.Node)
	uintField(c, 3, &e.Attempt)
}

// TaskProgressed says how far an attempt is. A task that is resumed begins from the last of these.
type TaskProgressed struct {
	Task     domain.TaskID `json:"task"`
	Attempt  uint32        `json:"attempt"`
	Progress string        `json:"progress"` // a JSON object
}

func (e *TaskProgressed) fields(c *coder) {
	stringField(c, 1, &e.Task)
	uintField(c, 2, &e.Attempt)
	c.String(3, &e.Progress)
}

// TaskCompleted ends a task well.
type TaskCompleted struct {
	Task    domain.TaskID `json:"task"`
	Attempt uint32        `json:"attempt"`
	Result  string        `json:"result,omitempty"` // a JSON object, or empty
}

func (e *TaskCompleted) fields(c *coder) {
	stringField(c, 1, &e.Task)
	uintField(c, 2, &e.Attempt)
	c.String(3, &e.Result)
}

// TaskFailed ends a task that could not be done. Attempt is 0 when it was never started.
type TaskFailed struct {
	Task    domain.TaskID `json:"task"`
	Attempt uint32        `json:"attempt,omitempty"`
	Error   string        `json:"error"`
	Hint    string        `json:"hint,omitempty"`
	Result  string        `json:"result,omitempty"` // what was done until then: a JSON object, or empty
}

func (e *TaskFailed) fields(c *coder) {
	stringField(c, 1, &e.Task)
	uintField(c, 2, &e.Attempt)
	c.String(3, &e.Error)
	c.String(4, &e.Hint)
	c.String(5, &e.Result)
}

// TaskCancelRequested asks the node that runs a task to stop it.
type TaskCancelRequested struct {
	Task domain.TaskID `json:"task"`
	By   string        `json:"by"`
}

func (e *TaskCancelRequested) fields(c *coder) {
	stringField(c, 1, &e.Task)
	c.String(2, &e.By)
}

// TaskCancelled ends a task because somebody asked for it. Attempt is 0 when it was never started.
type TaskCancelled struct {
	Task    domain.TaskID `json:"task"`
	Attempt uint32        `json:"attempt,omitempty"`
	By      string        `json:"by"`
	Result  string        `json:"result,omitempty"` // what was done until then: a JSON object, or empty
}

func (e *TaskCancelled) fields(c *coder) {
	stringField(c, 1, &e.Task)
	uintField(c, 2, &e.Attempt)
	c.String(3, &e.By)
	c.String(4, &e.Result)
}

// TaskAbandoned ends an attempt, not the task, which waits again: its node stopped or died.
type TaskAbandoned struct {
	Task    domain.TaskID `json:"task"`
	Attempt uint32        `json:"attempt"`
	Cause   string        `json:"cause"`
	Died    bool          `json:"died,omitempty"` // without notice, perhaps because of the task
}

func (e *TaskAbandoned) fields(c *coder) {
	stringField(c, 1, &e.Task)
	uintField(c, 2, &e.Attempt)
	c.String(3, &e.Cause)
	c.Bool(4, &e.Died)
}

// TasksForgotten removes tasks from the view that ended and were submitted before a time.
type TasksForgotten struct {
	Before int64 `json:"before"` // Unix milliseconds
}

func (e *TasksForgotten) fields(c *coder) { c.Sint(1, &e.Before) }
