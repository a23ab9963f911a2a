package webadmin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// taskView is a runner as a worker sees it.
type taskView struct{ *projections.Runner }

func (v taskView) Reader() (projections.Reader, error) { return v.Runner.Reader("TASKS", tasks.Name) }
func (v taskView) Wait(ctx context.Context, seq domain.Seq) error {
	return v.Runner.Wait(ctx, "TASKS", seq)
}

// newTasks digs: a hole with a depth is reported and waits for a word on the channel, one without is done at once.
func newTasks(t *testing.T, words <-chan error) *worker.Worker {
	t.Helper()
	views, err := storetest.Open(t, t.TempDir(), sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := projectiontest.New(1)
	runner := projections.NewRunner(projections.Config{
		Log: log, Views: views, Projections: []projections.Projection{tasks.New()}, Logger: slog.New(slog.DiscardHandler),
	})
	clock := int64(1_700_000_000_000)
	var mu sync.Mutex
	w, err := worker.New(worker.Config{
		Node: "n1", Log: log, View: taskView{runner},
		Clock: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			clock += 1000
			return time.UnixMilli(clock)
		},
		Kinds: append(jamesKinds(), []worker.Kind{
			{
				Name: "dig", Help: "Dig a hole", Resumable: true,
				Check: func(_ context.Context, p json.RawMessage) (json.RawMessage, string, error) {
					var hole struct{ Depth, Garden any }
					if err := json.Unmarshal(p, &hole); err != nil {
						return nil, "", domain.Wrap(domain.Invalid, err, "that is no hole")
					}
					garden, _ := hole.Garden.(string)
					return p, garden, nil
				},
				Run: func(ctx context.Context, job worker.Job) (any, error) {
					if string(job.Parameters) == "{}" {
						return map[string]int{"dug": 0}, nil
					}
					job.Progress(webadmin.Progress{Done: 1, Total: 2, Unit: "spits"})
					select {
					case err := <-words:
						return map[string]int{"dug": 1}, err
					case <-ctx.Done():
						return map[string]int{"dug": 1}, ctx.Err()
					}
				},
			},
			{Name: "tasks-cleanup", Destroys: true, Check: func(_ context.Context, p json.RawMessage) (json.RawMessage, string, error) { return p, "", nil },
				Run: func(_ context.Context, job worker.Job) (any, error) { return job.Parameters, nil }},
		}...),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	projecting, stop := context.WithCancel(context.Background())
	var working, projected sync.WaitGroup
	working.Go(func() { _ = w.Run(ctx) })
	projected.Go(func() { _ = runner.Run(projecting) })
	t.Cleanup(func() {
		cancel()
		working.Wait()
		stop()
		projected.Wait()
		_ = views.Close()
	})
	return w
}

// jamesKinds do nothing, and tell James of it. 13 messages a second are bad luck.
func jamesKinds() (all []worker.Kind) {
	for _, name := range []string{
		webadmin.TaskReindexAll, webadmin.TaskReindexFailed, webadmin.TaskReindexUser, webadmin.TaskReindexMailbox, webadmin.TaskReindexMail, webadmin.TaskReindexMessage,
		webadmin.TaskSolveMailboxes, webadmin.TaskSolveMessages, webadmin.TaskSolveFlags, webadmin.TaskSolvePop3, webadmin.TaskSolveMappings, webadmin.TaskMissingParents,
		webadmin.TaskEmailQueryView, webadmin.TaskFastViews, webadmin.TaskFastViewsOfUser, webadmin.TaskCounters, webadmin.TaskQuotas,
		webadmin.TaskClearMailbox, webadmin.TaskEraseUser, webadmin.TaskEraseDomain,
	} {
		all = append(all, worker.Kind{
			Name: name, Destroys: name == webadmin.TaskEraseUser || name == webadmin.TaskEraseDomain,
			Check: func(_ context.Context, p json.RawMessage) (json.RawMessage, string, error) { return p, "", nil },
			Run: func(_ context.Context, job worker.Job) (any, error) {
				if strings.Contains(string(job.Parameters), `"throttle":13`) {
					return nil, domain.Errorf(domain.Unavailable, "bad luck")
				}
				return webadmin.JamesFacts(name, &webadmin.Facts{
					Processed: 18, Failed: 3, Accounts: 2, Mailboxes: 12, Messages: 21, Added: 1, Updated: 2, Removed: 3, Erased: 5, Step: "DONE",
					Differences: []webadmin.Difference{{Account: alice, Table: "messages", Key: "account=" + string(alice) + ", mailbox=1, uid=7"}},
				}), nil
			},
		})
	}
	return all
}

// submitted orders a task through the door.
func submitted(t *testing.T, url, body string) string {
	t.Helper()
	status, answer := ask(t, "POST", url+"/v1/tasks", body)
	found := regexp.MustCompile(`^\{"taskId":"([0-9a-f-]{36})"\}$`).FindStringSubmatch(answer)
	if status != http.StatusCreated || found == nil {
		t.Fatalf("%s: %d %s", body, status, answer)
	}
	return found[1]
}

func TestTasksDialogue(t *testing.T) {
	words := make(chan error, 1)
	f := newFake(t)
	f.tasks = newTasks(t, words)
	s := serve(t, f, webadmin.Limits{})
	first := submitted(t, s.URL, `{"type":"dig"}`)
	if status, body := ask(t, "GET", s.URL+"/tasks/"+first+"/await", ""); status != 200 || !strings.Contains(body, `"status":"completed"`) {
		t.Fatalf("%d %s", status, body)
	}
	second := submitted(t, s.URL, `{"type":"dig","parameters":{"depth":2,"garden":"east"}}`)
	third := submitted(t, s.URL, `{"type":"dig","parameters":{"depth":3}}`)
	eventually(t, func() bool {
		_, body := ask(t, "GET", s.URL+"/tasks/"+second, "")
		return strings.Contains(body, `"unit":"spits"`)
	})
	nobody := "/tasks/" + string(domain.NewTaskID([16]byte{1}))
	dialogue := []struct {
		method, path, body string
		status             int
		want               string
	}{
		// James's execution report, with James's dates.
		{"GET", "/tasks/" + first, "", 200, `{"taskId":"` + first + `","type":"dig","status":"completed","submitDate":"2023-11-14T22:13:21.000+0000","startedDate":"2023-11-14T22:13:22.000+0000","completedDate":"2023-11-14T22:13:23.000+0000","submittedFrom":"n1","executedOn":"n1","additionalInformation":{"dug":0,"timestamp":"2023-11-14T22:13:23Z","type":"dig"},"submittedBy":"admin","attempt":1,"result":{"dug":0}}`},
		{"GET", "/tasks/" + strings.ToUpper(first), "", 200, first},
		{"GET", "/tasks/" + second, "", 200, `"progress":{"done":1,"total":2,"unit":"spits","percent":50}`},
		{"GET", "/tasks/" + second, "", 200, `"additionalInformation":{"depth":2,"done":1,"garden":"east",`},
		{"GET", "/v1/tasks/" + third, "", 200, `"status":"waiting","submitDate":"2023-11-14T22:13:2`},
		{"GET", nobody, "", 404, `"type":"notFound"`},
		{"GET", "/tasks/7", "", 400, `is not a task's id`},
		{"GET", nobody + "/await", "", 404, `"type":"notFound"`},
		{"GET", "/tasks/7/await", "", 400, `is not a task's id`},
		{"GET", "/tasks/" + second + "/await?timeout=1ms", "", 408, `has not ended yet`},
		{"GET", "/tasks/" + second + "/await?timeout=soon", "", 400, `is not a duration`},
		{"DELETE", nobody, "", 404, `"type":"notFound"`},
		{"DELETE", "/tasks/7", "", 400, ``},

		{"GET", "/tasks?status=nonsense", "", 400, `canceledRequested`},
		{"GET", "/tasks?submittedBefore=yesterday", "", 400, `is not a time`},
		{"GET", "/tasks?limit=x", "", 400, `is not a number`},
		{"GET", "/tasks?next=x", "", 400, `is not a task's id`},
		{"GET", "/tasks?type=nothing", "", 200, `[]`},

		{"POST", "/v1/tasks", `{"type":"fly"}`, 400, `"hint":"the types are `},
		{"POST", "/v1/tasks", `{"type":"dig","parameters":[]}`, 400, `that is no hole`},
		{"POST", "/v1/tasks", `{"sort":"dig"}`, 400, ``},
		{"GET", "/v1/task-types", "", 200, `{"type":"dig","about":"Dig a hole","atOnce":1,"resumable":true},`},
		{"DELETE", "/tasks", "", 400, `olderThan is missing`},
		{"DELETE", "/tasks?olderThan=2%20fortnights", "", 400, `is not a duration`},
	}
	for _, c := range dialogue {
		status, body := ask(t, c.method, s.URL+c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
	for asked, want := range map[string][]string{
		"":                  {third, second, first},
		"?limit=1":          {third},
		"?limit=0":          {},
		"?offset=1&limit=1": {second},
		"?next=" + third:    {second, first},
		"?status=completed": {first},
		"?status=waiting":   {third},
		"?about=east":       {second},
		"?text=DEPTH":       {third, second},
		"?submittedBefore=2023-11-14T22:13:22.000Z":         {first},
		"?submittedAfter=2023-11-14T22:13:22.000+0000":      {third, second},
		"?completedAfter=2023-11-14T22:13:22Z&type=dig":     {first},
		"?failedAfter=2023-11-14T22:13:22Z":                 {},
		"?startedAfter=2023-11-14T22:13:23Z&status=waiting": {},
	} {
		_, body := ask(t, "GET", s.URL+"/tasks"+asked, "")
		var list []webadmin.Task
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		got := []string{}
		for _, x := range list {
			got = append(got, string(x.ID))
		}
		if !slices.Equal(got, want) {
			t.Errorf("/tasks%s lists %v, want %v", asked, got, want)
		}
	}

	// Cancelling, also of what has ended.
	for range 2 {
		if status, body := ask(t, "DELETE", s.URL+"/tasks/"+third, ""); status != 204 {
			t.Fatalf("%d %s", status, body)
		}
	}
	if _, body := ask(t, "GET", s.URL+"/tasks/"+third, ""); !strings.Contains(body, `"status":"canceled"`) || !strings.Contains(body, `"canceledDate":"2023-`) || !strings.Contains(body, `"cancelledFrom":"admin"`) {
		t.Errorf("the cancelled task is %s", body)
	}
	words <- &domain.Error{Kind: domain.Unavailable, Msg: "a stone", Hint: "dig elsewhere"}
	if _, body := ask(t, "GET", s.URL+"/v1/tasks/"+second+"/await?timeout=1%20min", ""); !strings.Contains(body, `"status":"failed"`) || !strings.Contains(body, `"error":"a stone","hint":"dig elsewhere"`) {
		t.Errorf("the failed task is %s", body)
	}

	status, body := ask(t, "DELETE", s.URL+"/tasks?olderThan=30day", "")
	var order webadmin.Submitted
	if err := json.Unmarshal([]byte(body), &order); err != nil || status != 201 {
		t.Fatalf("%d %s", status, body)
	}
	if _, body := ask(t, "GET", s.URL+"/tasks/"+string(order.ID)+"/await", ""); !strings.Contains(body, `"before":"2023-10-15T22:13:20Z"`) {
		t.Errorf("the cleanup is %s", body)
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ask(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not come about")
		}
	}
}

func TestASubmissionNamesItsPlace(t *testing.T) {
	f := newFake(t)
	f.tasks = newTasks(t, nil)
	s := serve(t, f, webadmin.Limits{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/tasks", strings.NewReader(`{"type":"dig"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Password", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var order webadmin.Submitted
	if err := json.NewDecoder(resp.Body).Decode(&order); err != nil || resp.Header.Get("Location") != "/tasks/"+string(order.ID) {
		t.Errorf("%v: the task %s is at %s", err, order.ID, resp.Header.Get("Location"))
	}
}

// TestAwaitingOutlastsARequestButNotTheServer: no request is so short that it ends an await, and none so long that it holds up the end.
func TestAwaitingOutlastsARequestButNotTheServer(t *testing.T) {
	f := newFake(t)
	words := make(chan error)
	f.tasks = newTasks(t, words)
	var ended struct {
		sync.WaitGroup
		status int
	}
	t.Run("server", func(t *testing.T) {
		s := serve(t, f, webadmin.Limits{RequestTime: time.Second})
		short, err := f.tasks.Submit(t.Context(), "test", "dig", json.RawMessage(`{"depth":1}`))
		if err != nil {
			t.Fatal(err)
		}
		if status, body := ask(t, "GET", fmt.Sprintf("%s/tasks/%s/await?timeout=1200ms", s.URL, short), ""); status != http.StatusRequestTimeout {
			t.Errorf("%d %s", status, body)
		}
		waiting := make(chan struct{})
		ended.Go(func() {
			req, err := http.NewRequest("GET", s.URL+"/tasks/"+string(short)+"/await", nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Password", token)
			close(waiting)
			resp, err := http.DefaultClient.Do(req)
			if err != nil { // the server went before it took the request
				ended.status = http.StatusServiceUnavailable
				return
			}
			ended.status = resp.StatusCode
			_ = resp.Body.Close()
		})
		<-waiting
	})
	ended.Wait()
	if ended.status != http.StatusServiceUnavailable {
		t.Errorf("the end of the server answers an await with %d", ended.status)
	}
}
