package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections"
)

// TaskCmd looks after work that takes longer than a request.
type TaskCmd struct {
	List   TaskListCmd   `cmd:"" help:"List tasks, the newest first."`
	Show   TaskShowCmd   `cmd:"" help:"Show a task with its progress, result or error."`
	Wait   TaskWaitCmd   `cmd:"" help:"Wait until tasks have ended."`
	Cancel TaskCancelCmd `cmd:"" help:"Cancel tasks."`
	Run    TaskRunCmd    `cmd:"" help:"Order a task."`
	Types  TaskTypesCmd  `cmd:"" help:"List the types of tasks."`
}

// TaskListCmd lists tasks.
type TaskListCmd struct {
	Status string        `placeholder:"STATUS" help:"Only these: waiting, inProgress, canceledRequested, completed, failed or canceled."`
	Type   string        `placeholder:"TYPE" help:"Only of this type; see task types."`
	About  string        `placeholder:"SUBJECT" help:"Only about this account's id, domain or stream."`
	Text   string        `placeholder:"TEXT" help:"Only those with this text in parameters, error or submitter."`
	Limit  int           `default:"50" placeholder:"N" help:"At most so many, up to 1000 (${default})."`
	Next   domain.TaskID `placeholder:"TASK" help:"Begin after this task, the last one of the page before."`
	JSON   bool          `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*TaskListCmd) Help() string {
	return `Examples:

  streampost task list --status inProgress
  streampost task list --type projection-rebuild --limit 10 --json`
}

// Run prints a page.
func (c *TaskListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	list := []webadmin.Task{}
	asked := query("status", c.Status, "type", c.Type, "about", c.About, "text", c.Text, "limit", strconv.Itoa(c.Limit), "next", string(c.Next))
	if err := server.call(env, http.MethodGet, path("tasks")+asked, nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, t := range list {
		rows = append(rows, []string{string(t.ID), t.Type, t.Status, t.SubmitDate.Local().Format(time.DateTime), tookOf(&t), cmp.Or(t.About, "-"), strconv.Quote(summaryOf(&t))})
	}
	return env.table("TASK TYPE STATUS SUBMITTED TOOK ABOUT SUMMARY", rows)
}

// tookOf is how long the last attempt of a task took, or has taken until now.
func tookOf(t *webadmin.Task) string {
	if t.StartedDate.IsZero() {
		return "-"
	}
	for _, end := range []time.Time{t.CompletedDate.Time, t.FailedDate.Time, t.CanceledDate.Time} {
		if !end.IsZero() {
			return end.Sub(t.StartedDate.Time).Round(time.Millisecond).String()
		}
	}
	return time.Since(t.StartedDate.Time).Round(time.Second).String()
}

// summaryOf says in a few words how far a task is or how it ended.
func summaryOf(t *webadmin.Task) string {
	var p webadmin.Progress
	switch {
	case t.Error != "":
		return t.Error
	case t.Result != nil:
		var f struct{ Sum json.RawMessage }
		if json.Unmarshal(t.Result, &f) == nil && f.Sum != nil {
			return brief(f.Sum)
		}
		return brief(t.Result)
	case t.Progress != nil && json.Unmarshal(t.Progress, &p) == nil && p.Unit != "":
		if p.Total > 0 {
			return fmt.Sprintf("%d of %d %s, %.1f %%", p.Done, p.Total, p.Unit, p.Percent)
		}
		return fmt.Sprintf("%d %s", p.Done, p.Unit)
	}
	return brief(t.Progress)
}

// brief lists the numbers and texts of a JSON object, by name, without what is nested in it.
func brief(object json.RawMessage) string {
	var fields map[string]any
	if json.Unmarshal(object, &fields) != nil {
		return string(object)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch value := fields[name].(type) {
		case float64:
			parts = append(parts, name+" "+strconv.FormatFloat(value, 'f', -1, 64))
		case string:
			parts = append(parts, name+" "+value)
		case bool:
			parts = append(parts, fmt.Sprint(name, " ", value))
		}
	}
	return strings.Join(parts, ", ")
}

// TaskShowCmd shows a task.
type TaskShowCmd struct {
	Task domain.TaskID `arg:"" help:"The task's id."`
	JSON bool          `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*TaskShowCmd) Help() string {
	return `The progress of a running task is the newest that its node knows.

Examples:

  streampost task show 2f1b9b9e-5f3c-4ad5-9d0b-0d8f4a1c7e11`
}

// Run prints a task.
func (c *TaskShowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var t webadmin.Task
	if err := server.call(env, http.MethodGet, path("tasks", string(c.Task)), nil, &t); err != nil {
		return err
	}
	if c.JSON {
		return env.json(t)
	}
	return env.showTask(&t)
}

func (e *Env) showTask(t *webadmin.Task) error {
	rows := [][]string{{"type", t.Type}, {"status", t.Status}, {"submitted", t.SubmitDate.Local().Format(time.DateTime) + " by " + cmp.Or(t.SubmittedBy, "?") + " on " + t.SubmittedFrom}}
	if t.Attempt > 0 {
		rows = append(rows, []string{"attempt", fmt.Sprintf("%d, begun %s on %s, took %s", t.Attempt, t.StartedDate.Local().Format(time.DateTime), cmp.Or(t.ExecutedOn, "no node"), tookOf(t))})
	}
	for _, row := range [][]string{{"about", t.About}, {"cancelled by", t.CancelledFrom}, {"progress", string(t.Progress)}, {"result", string(t.Result)}, {"error", t.Error}, {"hint", t.Hint}} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	return e.table(string("task "+t.ID), rows)
}

// TaskWaitCmd waits for tasks.
type TaskWaitCmd struct {
	Tasks []domain.TaskID `arg:"" name:"task" help:"The tasks' ids."`
	JSON  bool            `name:"json" help:"Print JSON, one task in a line."`
}

// Help teaches.
func (*TaskWaitCmd) Help() string {
	return `The exit code is 0 when all of them are completed, and 1 when one has failed or was cancelled. Interrupting it interrupts no task.

Examples:

  streampost task wait 2f1b9b9e-5f3c-4ad5-9d0b-0d8f4a1c7e11`
}

// Run waits.
func (c *TaskWaitCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var failed error
	for _, id := range c.Tasks {
		t, err := server.await(env, id)
		switch {
		case err != nil:
			return err
		case c.JSON:
			env.printf("%s\n", mustJSON(t))
		default:
			env.printf("%s  %s  %s  %s\n", t.ID, t.Type, t.Status, summaryOf(t))
		}
		if t.Status != task.Completed.String() {
			failed = &exitError{exitFailed, nil}
		}
	}
	return failed
}

// TaskCancelCmd cancels tasks.
type TaskCancelCmd struct {
	Tasks []domain.TaskID `arg:"" name:"task" help:"The tasks' ids."`
}

// Help teaches.
func (*TaskCancelCmd) Help() string {
	return `A task that waits is cancelled at once. One that is running stops where it does no harm; see task wait. One that has ended stays as it is.

Examples:

  streampost task cancel 2f1b9b9e-5f3c-4ad5-9d0b-0d8f4a1c7e11`
}

// Run cancels.
func (c *TaskCancelCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	for _, id := range c.Tasks {
		if err := server.call(env, http.MethodDelete, path("tasks", string(id)), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// TaskRunCmd orders a task.
type TaskRunCmd struct {
	Type       string   `arg:"" help:"The type; see task types."`
	Parameters []string `arg:"" optional:"" name:"key=value" help:"Parameters. A value that is JSON is taken as such, anything else as text."`
	Wait       bool     `help:"Wait until it has ended, with a progress bar."`
	JSON       bool     `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*TaskRunCmd) Help() string {
	return `Examples:

  streampost task run log-verify stream=ACCOUNTS_0 --wait
  streampost task run tasks-cleanup before=2026-01-01T00:00:00Z`
}

// Run orders.
func (c *TaskRunCmd) Run(g *Globals, env *Env) error {
	given := map[string]json.RawMessage{}
	for _, p := range c.Parameters {
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			return usage("a parameter is KEY=VALUE, not %q", p)
		}
		if given[key] = json.RawMessage(value); !json.Valid(given[key]) {
			given[key] = mustJSON(value)
		}
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	id, err := server.order(env, c.Type, given)
	switch {
	case err != nil:
		return err
	case c.Wait:
		t, err := server.await(env, id)
		if err != nil {
			return err
		}
		if c.JSON {
			err = env.json(t)
		} else {
			err = env.showTask(t)
		}
		if err == nil && t.Status != task.Completed.String() {
			err = &exitError{exitFailed, nil}
		}
		return err
	case c.JSON:
		return env.json(webadmin.Submitted{ID: id})
	}
	env.printf("%s\n", id)
	return nil
}

// TaskTypesCmd lists types.
type TaskTypesCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*TaskTypesCmd) Help() string {
	return `Each type says which parameters it takes, how many may run at once, and whether it goes on after a restart.

Examples:

  streampost task types`
}

// Run prints the list.
func (c *TaskTypesCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var list []webadmin.TaskType
	if err := server.call(env, http.MethodGet, path("task-types"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, k := range list {
		rows = append(rows, []string{k.Type, strconv.Itoa(k.AtOnce), strconv.FormatBool(k.Resumable), k.About})
	}
	return env.table("TYPE AT-ONCE RESUMABLE ABOUT", rows)
}

// order submits a task.
func (c *client) order(env *Env, kind string, parameters any) (domain.TaskID, error) {
	var answer webadmin.Submitted
	err := c.call(env, http.MethodPost, path("tasks"), webadmin.NewTask{Type: kind, Parameters: mustJSON(parameters)}, &answer)
	return answer.ID, err
}

// look is how long one request waits for the end of a task, between two looks at its progress.
const look = "1s"

// await waits for the end of a task and shows its progress meanwhile.
func (c *client) await(env *Env, id domain.TaskID) (*webadmin.Task, error) {
	bar := newBar(env)
	defer bar.finish()
	for told := false; ; {
		var t webadmin.Task
		err := c.call(env, http.MethodGet, path("tasks", string(id), "await")+query("timeout", look), nil, &t)
		if err == nil {
			return &t, nil
		}
		if env.interrupted() {
			env.tell("The task goes on. To wait for it or to cancel it: streampost task wait %[1]s, streampost task cancel %[1]s\n", id)
		}
		var refused *webadmin.Error
		switch {
		case !errors.As(err, &refused):
			return nil, err
		case refused.StatusCode == http.StatusServiceUnavailable: // the views are away, the task need not be
			if !told {
				env.tell("The server cannot tell how far task %s is, and is asked again: %v\n", id, err)
				told = true
			}
			_ = projections.Pause(env, time.Second) // the next request finds out whether it was interrupted
			continue
		case refused.StatusCode != http.StatusRequestTimeout:
			return nil, err
		}
		var p webadmin.Progress
		if err := c.call(env, http.MethodGet, path("tasks", string(id)), nil, &t); err == nil && json.Unmarshal(t.Progress, &p) == nil {
			bar.show(p)
		}
	}
}

// longWork is what a command does that takes longer than a request.
type longWork struct {
	kind       string
	parameters any                         // of the task
	route      string                      // that does the same where no server runs, with the parameters as its query
	item       func(json.RawMessage) error // for everything that is found; may be nil
}

// Detached is for commands that begin long work.
type Detached struct {
	Detach bool `help:"Print the id of the task and do not wait for its end."`
}

// errDetached ends a command whose work goes on elsewhere.
var errDetached = &exitError{exitOK, nil}

// long does work as a task of the running server, or, where none runs, in this process. It gives the sum, or errDetached.
func (s *session) long(env *Env, d Detached, w longWork, sum any) error {
	if s.core != nil {
		if d.Detach {
			return usage("--detach needs a running server")
		}
		return s.stream(env, http.MethodPost, w.route, nil, w.item, sum)
	}
	return s.work(env, d, w.kind, w.parameters, w.item, sum)
}

// work orders a task and waits for its end, unless the command is to be detached. It gives what was found to item, which may be nil, and the sum.
func (c *client) work(env *Env, d Detached, kind string, parameters any, item func(json.RawMessage) error, sum any) error {
	id, err := c.order(env, kind, parameters)
	if err != nil {
		return err
	}
	if d.Detach {
		env.printf("%s\n", id)
		return errDetached
	}
	t, err := c.await(env, id)
	switch {
	case err != nil:
		return err
	case t.Status == task.Failed.String():
		return &webadmin.Error{Message: t.Error, Hint: t.Hint}
	case t.Status != task.Completed.String():
		return fmt.Errorf("task %s was cancelled by %s", t.ID, cmp.Or(t.CancelledFrom, "somebody"))
	}
	var result struct {
		Sum   json.RawMessage   `json:"sum"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(t.Result, &result); err != nil {
		return fmt.Errorf("read the result of task %s: %w", t.ID, err)
	}
	if result.Sum == nil { // the whole of it is the sum, as James has it
		return json.Unmarshal(t.Result, sum)
	}
	for _, found := range result.Items {
		if item == nil {
			break
		}
		if err := item(found); err != nil {
			return err
		}
	}
	return json.Unmarshal(result.Sum, sum)
}
