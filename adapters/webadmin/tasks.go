package webadmin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// Tasks is worker.Worker.
type Tasks interface {
	Submit(ctx context.Context, actor, kind string, parameters json.RawMessage) (domain.TaskID, error)
	Cancel(ctx context.Context, actor string, id domain.TaskID) error
	Find(ctx context.Context, id domain.TaskID) (tasks.Task, error)
	List(ctx context.Context, f tasks.Filter, p tasks.Page) ([]tasks.Task, error)
	Await(ctx context.Context, id domain.TaskID) (tasks.Task, error)
	Kinds() []worker.Kind
}

// Task is what is known of a task. The fields up to AdditionalInformation are James's execution report; dates without a value are absent.
type Task struct {
	ID                    domain.TaskID              `json:"taskId"`
	Type                  string                     `json:"type"`
	Status                string                     `json:"status"` // waiting, inProgress, canceledRequested, completed, failed or canceled
	SubmitDate            jamesTime                  `json:"submitDate,omitzero"`
	StartedDate           jamesTime                  `json:"startedDate,omitzero"` // of the last attempt
	CompletedDate         jamesTime                  `json:"completedDate,omitzero"`
	CanceledDate          jamesTime                  `json:"canceledDate,omitzero"`
	FailedDate            jamesTime                  `json:"failedDate,omitzero"`
	SubmittedFrom         string                     `json:"submittedFrom"`        // a node
	ExecutedOn            string                     `json:"executedOn,omitempty"` // a node
	CancelledFrom         string                     `json:"cancelledFrom,omitempty"`
	AdditionalInformation map[string]json.RawMessage `json:"additionalInformation"` // parameters, overlaid by the result or by the progress

	SubmittedBy string          `json:"submittedBy,omitempty"`
	About       string          `json:"about,omitempty"` // an account's id, a domain, a stream
	Attempt     uint32          `json:"attempt,omitempty"`
	Progress    json.RawMessage `json:"progress,omitempty"`
	Result      json.RawMessage `json:"result,omitempty"`
	Error       string          `json:"error,omitempty"`
	Hint        string          `json:"hint,omitempty"`
}

// jamesTime is a moment as James writes it in JSON.
type jamesTime struct{ time.Time }

const jamesTimeForm = "2006-01-02T15:04:05.000-0700"

// MarshalJSON writes it in UTC.
func (t jamesTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format(jamesTimeForm))
}

// UnmarshalJSON reads it.
func (t *jamesTime) UnmarshalJSON(b []byte) (err error) {
	t.Time, err = time.Parse(`"`+jamesTimeForm+`"`, string(b))
	return err
}

// moment is a time of the view; the zero value where there is none.
func moment(milliseconds int64) (t jamesTime) {
	if milliseconds != 0 {
		t.Time = time.UnixMilli(milliseconds)
	}
	return t
}

func taskOf(t *tasks.Task) Task {
	shown := Task{
		ID: t.ID, Type: t.Kind, Status: t.Status.String(), SubmitDate: moment(t.Submitted), StartedDate: moment(t.Started), SubmittedFrom: t.Node, ExecutedOn: t.Runner,
		CancelledFrom: t.CancelledBy, AdditionalInformation: map[string]json.RawMessage{}, SubmittedBy: t.SubmittedBy, About: t.About, Attempt: t.Attempt,
		Progress: json.RawMessage(t.Progress), Result: json.RawMessage(t.Result), Error: t.Error, Hint: t.Hint,
	}
	switch t.Status {
	case task.Completed:
		shown.CompletedDate = moment(t.Ended)
	case task.Failed:
		shown.FailedDate = moment(t.Ended)
	case task.Cancelled:
		shown.CanceledDate = moment(t.Ended)
	}
	fillIn(t.Kind, shown.AdditionalInformation)
	latest := t.Result
	if latest == "" {
		latest = t.Progress
	}
	for _, object := range []string{t.Parameters, latest} {
		if object != "" {
			_ = json.Unmarshal([]byte(object), &shown.AdditionalInformation) // the log holds objects only
		}
	}
	shown.AdditionalInformation["type"], _ = json.Marshal(t.Kind)                                                        // never fails
	shown.AdditionalInformation["timestamp"], _ = json.Marshal(time.UnixMilli(t.Changed).UTC().Format(time.RFC3339Nano)) // never fails
	return shown
}

// NewTask orders a task.
type NewTask struct {
	Type       string          `json:"type"`
	Parameters json.RawMessage `json:"parameters,omitempty"` // an object
}

// Submitted names the task that was ordered.
type Submitted struct {
	ID domain.TaskID `json:"taskId"`
}

// TaskType is one sort of task.
type TaskType struct {
	Type      string `json:"type"`
	About     string `json:"about"`
	AtOnce    int    `json:"atOnce"`    // how many run at once
	Resumable bool   `json:"resumable"` // goes on after its node was started again
}

var (
	taskFilter = []Query{
		{"status", "waiting, inProgress, canceledRequested, completed, failed or canceled"}, {"type", "The type"}, {"about", "What it concerns: an account's id, a domain, a stream"},
		{"text", "Occurs in the parameters, the error or the submitter"}, {"limit", "At most so many; 1000 if absent"}, {"offset", "Pass over so many"}, {"next", "Begin after this task"},
		{"submittedBefore", "A time (RFC 3339)"}, {"submittedAfter", "A time"}, {"startedBefore", "A time"}, {"startedAfter", "A time"}, {"completedBefore", "A time"},
		{"completedAfter", "A time"}, {"failedBefore", "A time"}, {"failedAfter", "A time"},
	}
	awaitTimeout = []Query{{"timeout", "How long to wait, such as 30s or 5m; 365 days if absent"}}
)

// taskRoutes are James's, and the same below /v1 with what James lacks.
var taskRoutes = func() (all []Route) {
	for _, prefix := range []string{"", "/v1"} {
		all = append(all,
			Route{Pattern: "GET " + prefix + "/tasks", Answer: []Task{}, Query: taskFilter, serve: (*Server).tasks, Summary: "List tasks, the newest first"},
			Route{Pattern: "GET " + prefix + "/tasks/{task}", Answer: Task{}, serve: (*Server).task, Summary: "Show a task"},
			Route{Pattern: "GET " + prefix + "/tasks/{task}/await", Waits: true, Answer: Task{}, Query: awaitTimeout, serve: (*Server).awaitTask, Summary: "Wait until a task has ended; 408 if it has not in time"},
			Route{Pattern: "DELETE " + prefix + "/tasks/{task}", serve: (*Server).cancelTask, Summary: "Cancel a task"},
			Route{Pattern: "DELETE " + prefix + "/tasks", Answer: Submitted{}, Status: http.StatusCreated, Query: []Query{{"olderThan", "Such as 30d"}}, serve: (*Server).forgetTasks, Summary: "Forget tasks that ended and were submitted long ago"},
		)
	}
	return append(all,
		Route{Pattern: "POST /v1/tasks", Body: NewTask{}, Answer: Submitted{}, Status: http.StatusCreated, serve: (*Server).submitTask, Summary: "Order a task"},
		Route{Pattern: "GET /v1/task-types", Answer: []TaskType{}, serve: (*Server).taskTypes, Summary: "List the types of tasks"})
}()

func (s *Server) tasks(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := tasks.Filter{Status: q.Get("status"), Kind: q.Get("type"), About: q.Get("about"), Text: q.Get("text")}
	if f.Status != "" {
		if _, err := task.ParseStatus(f.Status); err != nil {
			return err
		}
	}
	for name, span := range map[string]*tasks.Span{"submitted": &f.Submitted, "started": &f.Started, "completed": &f.Completed, "failed": &f.Failed} {
		for side, at := range map[string]*int64{"After": &span.After, "Before": &span.Before} {
			var err error
			if *at, err = queryTime(q, name+side); err != nil {
				return err
			}
		}
	}
	limit, err := number(r, "limit", tasks.MaxPage)
	if err != nil {
		return err
	}
	offset, err := number(r, "offset", 0)
	if err != nil {
		return err
	}
	p := tasks.Page{Limit: int(min(limit, tasks.MaxPage)), Offset: int(min(offset, 1<<31))}
	if next := q.Get("next"); next != "" {
		if p.Next, err = domain.ParseTaskID(next); err != nil {
			return err
		}
	}
	shown := []Task{}
	if limit > 0 {
		found, err := s.b.Tasks.List(r.Context(), f, p)
		if err != nil {
			return err
		}
		for i := range found {
			shown = append(shown, taskOf(&found[i]))
		}
	}
	writeJSON(w, http.StatusOK, shown)
	return nil
}

// queryTime reads a time in RFC 3339 or in James's form, as Unix milliseconds; 0 when it is absent.
func queryTime(q url.Values, name string) (int64, error) {
	text := strings.ReplaceAll(q.Get(name), " ", "+") // a "+" that was not escaped
	if text == "" {
		return 0, nil
	}
	for _, form := range []string{time.RFC3339Nano, jamesTimeForm} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, domain.Errorf(domain.Invalid, "%s=%q is not a time such as 2026-03-02T09:00:00Z", name, text)
}

func (s *Server) task(w http.ResponseWriter, r *http.Request) error {
	id, err := domain.ParseTaskID(r.PathValue("task"))
	if err != nil {
		return err
	}
	found, err := s.b.Tasks.Find(r.Context(), id)
	if err == nil {
		writeJSON(w, http.StatusOK, taskOf(&found))
	}
	return err
}

// longestAwait is James's.
const longestAwait = 365 * 24 * time.Hour

// awaitTask answers when the task has ended. 408 after the timeout is James's; RFC 9110 section 15.5.9 means something else by it.
func (s *Server) awaitTask(w http.ResponseWriter, r *http.Request) error {
	id, err := domain.ParseTaskID(r.PathValue("task"))
	if err != nil {
		return err
	}
	timeout, err := duration(r, "timeout", longestAwait, time.Second)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // a client that goes away is seen without a deadline
	_ = control.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(r.Context(), min(timeout, longestAwait))
	defer cancel()
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	found, err := s.b.Tasks.Await(ctx, id)
	_ = control.SetWriteDeadline(time.Now().Add(s.limits.RequestTime))
	switch {
	case s.stopping.Err() != nil && err != nil:
		return &domain.Error{Kind: domain.Unavailable, Msg: "the server is shutting down", Hint: "ask again later: the task goes on when the server is back"}
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil:
		writeError(w, Error{StatusCode: http.StatusRequestTimeout, Type: "timeout", Message: "task " + string(id) + " has not ended yet"})
		return nil
	case err == nil:
		writeJSON(w, http.StatusOK, taskOf(&found))
	}
	return err
}

func (s *Server) cancelTask(w http.ResponseWriter, r *http.Request) error {
	id, err := domain.ParseTaskID(r.PathValue("task"))
	if err != nil {
		return err
	}
	return done(w, s.b.Tasks.Cancel(r.Context(), actor, id))
}

// tasksCleanup is the type of task that forgets others.
const tasksCleanup = "tasks-cleanup"

func (s *Server) forgetTasks(w http.ResponseWriter, r *http.Request) error {
	if !r.URL.Query().Has("olderThan") {
		return &domain.Error{Kind: domain.Invalid, Msg: "olderThan is missing", Hint: "say from which age on tasks are forgotten, such as ?olderThan=30d"}
	}
	age, err := duration(r, "olderThan", 0, 24*time.Hour)
	if err != nil {
		return err
	}
	return s.submit(w, r, tasksCleanup, map[string]string{"before": s.now().Add(-age).UTC().Format(time.RFC3339)})
}

func (s *Server) submitTask(w http.ResponseWriter, r *http.Request) error {
	var order NewTask
	if err := readJSON(r, &order); err != nil {
		return err
	}
	return s.submit(w, r, order.Type, order.Parameters)
}

// submit orders a task and answers as James does. It is for every route that begins long work.
func (s *Server) submit(w http.ResponseWriter, r *http.Request, kind string, parameters any) error {
	text, err := json.Marshal(parameters)
	if err != nil {
		return err
	}
	if string(text) == "null" {
		text = nil
	}
	if s.destroys(kind) && s.lock.level(r) < all {
		return domain.Errorf(domain.Denied, "this token may not order %s, which destroys", kind)
	}
	id, err := s.b.Tasks.Submit(r.Context(), actor, kind, text)
	if err == nil {
		w.Header().Set("Location", "/tasks/"+string(id))
		writeJSON(w, http.StatusCreated, Submitted{id})
	}
	return err
}

func (s *Server) destroys(kind string) bool {
	return slices.ContainsFunc(s.b.Tasks.Kinds(), func(k worker.Kind) bool { return k.Name == kind && k.Destroys })
}

func (s *Server) taskTypes(w http.ResponseWriter, _ *http.Request) error {
	shown := []TaskType{}
	for _, k := range s.b.Tasks.Kinds() {
		shown = append(shown, TaskType{k.Name, k.Help, k.Limit, k.Resumable})
	}
	slices.SortFunc(shown, func(a, b TaskType) int { return strings.Compare(a.Type, b.Type) })
	writeJSON(w, http.StatusOK, shown)
	return nil
}
