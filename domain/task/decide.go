package task

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Limits of the aggregate.
const (
	MaxOpen       = 1_000    // tasks that have not ended
	MaxDeaths     = 3        // attempts that may end without notice before the task is given up
	MaxParameters = 64 << 10 // octets of a task's parameters
	MaxProgress   = 64 << 10 // and of one report of its progress
	MaxResult     = 1 << 20  // and of its result
	MaxText       = 4 << 10  // and of an error, a hint, a name
)

// Command is a wish to change what is to be done or what is known of it. Decide turns it into events, or into the error that whoever wished it
// gets.
type Command interface {
	decide(s *State) ([]event.Event, error)
}

// Decide is the only way from a wish to facts. It changes nothing; no events and no error mean that there is nothing to do.
func Decide(s *State, c Command) ([]event.Event, error) { return c.decide(s) }

// Create orders a task. Errors: domain.Invalid, domain.TooLarge, domain.Exists, domain.Unavailable when too many have not ended.
type Create struct {
	ID         domain.TaskID
	Kind       string
	Parameters string // a JSON object
	About      string
	By         string
	Node       string
	On         string
	Join       bool // be content with an open task of the same kind, parameters and place, see State.Same
}

func (c Create) decide(s *State) ([]event.Event, error) {
	if id, err := domain.ParseTaskID(string(c.ID)); err != nil || id != c.ID {
		return nil, domain.Errorf(domain.Invalid, "%q is not a task's id (a UUID in lower case)", c.ID)
	}
	if c.Kind == "" || c.Node == "" {
		return nil, domain.Errorf(domain.Invalid, "a task needs a kind and the node that takes the order")
	}
	if err := checkObject("parameters", c.Parameters, MaxParameters); err != nil {
		return nil, err
	}
	for _, text := range []string{c.Kind, c.About, c.By, c.Node, c.On} {
		if err := checkText(text); err != nil {
			return nil, err
		}
	}
	if c.Join && s.Same(c.Kind, c.Parameters, c.On) != nil {
		return nil, nil
	}
	if s.Open[c.ID] != nil {
		return nil, domain.Errorf(domain.Exists, "task %s exists", c.ID)
	}
	if len(s.Open) >= MaxOpen {
		return nil, &domain.Error{
			Kind: domain.Unavailable, Msg: fmt.Sprintf("%d tasks have not ended, and no more are taken", len(s.Open)),
			Hint: "wait for some of them, or cancel those that nobody needs: see task list",
		}
	}
	return []event.Event{&event.TaskCreated{
		Task: c.ID, Kind: c.Kind, Parameters: c.Parameters, About: c.About, SubmittedBy: c.By, Node: c.Node, On: c.On,
	}}, nil
}

// checkObject says whether a text is a JSON object, or nothing where that is allowed.
func checkObject(what, text string, most int) error {
	switch {
	case len(text) > most:
		return domain.Errorf(domain.TooLarge, "the %s of a task have at most %d octets", what, most)
	case !strings.HasPrefix(text, "{") || !json.Valid([]byte(text)) || !utf8.ValidString(text):
		return domain.Errorf(domain.Invalid, "the %s of a task are one JSON object", what)
	}
	return nil
}

func checkText(text string) error {
	if len(text) > MaxText || !utf8.ValidString(text) {
		return domain.Errorf(domain.Invalid, "the names and messages of a task are UTF-8 of at most %d octets", MaxText)
	}
	return nil
}

// find gives an open task or the reason why there is none.
func (s *State) find(id domain.TaskID) (*Task, error) {
	if t, ok := s.Open[id]; ok {
		return t, nil
	}
	return nil, domain.Errorf(domain.NotFound, "there is no task %s, or it has ended", id)
}

// running gives a task whose running attempt is n. Who reports on another was taken for dead.
func (s *State) running(id domain.TaskID, n uint32) (*Task, error) {
	t, err := s.find(id)
	if err == nil && (t.Status == Waiting || t.Attempt != n) {
		err = domain.Errorf(domain.Conflict, "attempt %d of task %s does not count any more", n, id)
	}
	return t, err
}

// Start claims a waiting task for a node. Errors: domain.NotFound; domain.Conflict when it is not waiting; domain.Denied when it is for another
// node; domain.Unavailable when so many run already.
type Start struct {
	ID     domain.TaskID
	Node   string
	OfKind int // how many of its kind may run at once, anywhere
	OnNode int // how many of all kinds may run at once on the node
}

func (c Start) decide(s *State) ([]event.Event, error) {
	t, err := s.find(c.ID)
	if err != nil {
		return nil, err
	}
	ofKind, onNode := s.Running(t.Kind, c.Node)
	switch {
	case t.Status != Waiting:
		return nil, domain.Errorf(domain.Conflict, "task %s is %s on node %s", c.ID, t.Status, t.Runner)
	case t.On != "" && t.On != c.Node:
		return nil, domain.Errorf(domain.Denied, "task %s is for node %s", c.ID, t.On)
	case ofKind >= c.OfKind:
		return nil, domain.Errorf(domain.Unavailable, "%d tasks of kind %s are running", ofKind, t.Kind)
	case onNode >= c.OnNode:
		return nil, domain.Errorf(domain.Unavailable, "%d tasks are running on node %s", onNode, c.Node)
	}
	return []event.Event{&event.TaskStarted{Task: c.ID, Node: c.Node, Attempt: t.Attempt + 1}}, nil
}

// Progress records how far an attempt is. Errors: domain.NotFound, domain.Conflict, domain.Invalid, domain.TooLarge.
type Progress struct {
	ID       domain.TaskID
	Attempt  uint32
	Progress string // a JSON object
}

func (c Progress) decide(s *State) ([]event.Event, error) {
	t, err := s.running(c.ID, c.Attempt)
	if err != nil {
		return nil, err
	}
	if err := checkObject("progress", c.Progress, MaxProgress); err != nil || c.Progress == t.Progress {
		return nil, err
	}
	return []event.Event{&event.TaskProgressed{Task: c.ID, Attempt: c.Attempt, Progress: c.Progress}}, nil
}

// Complete ends a task well, also one that was asked to stop and was faster. Errors: domain.NotFound, domain.Conflict, domain.Invalid,
// domain.TooLarge.
type Complete struct {
	ID      domain.TaskID
	Attempt uint32
	Result  string // a JSON object, or empty
}

func (c Complete) decide(s *State) ([]event.Event, error) {
	if _, err := s.running(c.ID, c.Attempt); err != nil {
		return nil, err
	}
	if err := checkResult(c.Result); err != nil {
		return nil, err
	}
	return []event.Event{&event.TaskCompleted{Task: c.ID, Attempt: c.Attempt, Result: c.Result}}, nil
}

func checkResult(result string) error {
	if result == "" {
		return nil
	}
	return checkObject("results", result, MaxResult)
}

// Fail ends a task that cannot be done; one that waits is given up with attempt 0. Errors as of Complete.
type Fail struct {
	ID      domain.TaskID
	Attempt uint32
	Error   string
	Hint    string
	Result  string // a JSON object, or empty
}

func (c Fail) decide(s *State) ([]event.Event, error) {
	if c.Attempt != 0 {
		if _, err := s.running(c.ID, c.Attempt); err != nil {
			return nil, err
		}
	} else if t, err := s.find(c.ID); err != nil {
		return nil, err
	} else if t.Status != Waiting {
		return nil, domain.Errorf(domain.Conflict, "task %s is %s", c.ID, t.Status)
	}
	for _, text := range []string{c.Error, c.Hint} {
		if err := checkText(text); err != nil {
			return nil, err
		}
	}
	if err := checkResult(c.Result); err != nil {
		return nil, err
	}
	return []event.Event{&event.TaskFailed{Task: c.ID, Attempt: c.Attempt, Error: c.Error, Hint: c.Hint, Result: c.Result}}, nil
}

// Cancel ends a task that waits, and asks for the end of one that is running. Asking again is nothing to do. Errors: domain.NotFound, also when
// it has ended.
type Cancel struct {
	ID domain.TaskID
	By string
}

func (c Cancel) decide(s *State) ([]event.Event, error) {
	t, err := s.find(c.ID)
	if err == nil {
		err = checkText(c.By)
	}
	switch {
	case err != nil || t.Status == CancelRequested:
		return nil, err
	case t.Status == Waiting:
		return []event.Event{&event.TaskCancelled{Task: c.ID, By: c.By}}, nil
	}
	return []event.Event{&event.TaskCancelRequested{Task: c.ID, By: c.By}}, nil
}

// Stop is the answer to Cancel of whoever ran the task. Errors: domain.NotFound; domain.Conflict also when nobody asked; domain.Invalid,
// domain.TooLarge.
type Stop struct {
	ID      domain.TaskID
	Attempt uint32
	Result  string // a JSON object, or empty
}

func (c Stop) decide(s *State) ([]event.Event, error) {
	t, err := s.running(c.ID, c.Attempt)
	if err != nil {
		return nil, err
	}
	if t.Status != CancelRequested {
		return nil, domain.Errorf(domain.Conflict, "nobody asked task %s to stop", c.ID)
	}
	if err := checkResult(c.Result); err != nil {
		return nil, err
	}
	return []event.Event{&event.TaskCancelled{Task: c.ID, Attempt: c.Attempt, By: t.CancelledBy, Result: c.Result}}, nil
}

// Abandon ends an attempt whose node stops or died. The task waits for another attempt if it can be resumed; if not, or if its attempts die
// again and again, it has failed; and if somebody asked it to stop, it has. Errors: domain.NotFound, domain.Conflict, domain.Invalid.
type Abandon struct {
	ID        domain.TaskID
	Attempt   uint32
	Cause     string
	Died      bool // without notice
	Resumable bool
}

func (c Abandon) decide(s *State) ([]event.Event, error) {
	t, err := s.running(c.ID, c.Attempt)
	if err == nil {
		err = checkText(c.Cause)
	}
	switch {
	case err != nil:
		return nil, err
	case t.Status == CancelRequested:
		return []event.Event{&event.TaskCancelled{Task: c.ID, Attempt: c.Attempt, By: t.CancelledBy}}, nil
	case !c.Resumable:
		return []event.Event{&event.TaskFailed{
			Task: c.ID, Attempt: c.Attempt, Error: c.Cause, Hint: "tasks of this kind cannot be resumed: submit it again",
		}}, nil
	case c.Died && t.Deaths+1 >= MaxDeaths:
		return []event.Event{&event.TaskFailed{
			Task: c.ID, Attempt: c.Attempt, Error: fmt.Sprintf("%s (%d times by now)", c.Cause, t.Deaths+1), Hint: "the task may be what ends its node: look into the node's log",
		}}, nil
	}
	return []event.Event{&event.TaskAbandoned{Task: c.ID, Attempt: c.Attempt, Cause: c.Cause, Died: c.Died}}, nil
}

// Forget removes tasks that ended from the view.
type Forget struct{ Before int64 } // submitted before, Unix milliseconds

func (c Forget) decide(*State) ([]event.Event, error) {
	return []event.Event{&event.TasksForgotten{Before: c.Before}}, nil
}
