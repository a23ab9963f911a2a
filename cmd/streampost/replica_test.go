package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/projections/replicas"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
)

const operation = "2f1b9b9e-5f3c-4ad5-9d0b-0d8f4a1c7e11"

// admins is a server that notes what it is ordered and answers as it is told.
type admins struct {
	webadmin.Tasks // what no test asks for
	did            []string
	order          replicas.Order
	filter         replicas.Filter
	nodes          []string
	outcome        replicas.Outcome
	err            error
	accounts       []replicas.Account
	health         []replicas.Health
	found          []replicas.Difference
	open, missing  []string // of a comparison
	ended          tasks.Task
	url            string
}

func (a *admins) note(what string, o replicas.Order) (replicas.Outcome, error) {
	a.did, a.order = append(a.did, what), o
	return a.outcome, a.err
}

func (a *admins) Set(_ context.Context, _ string, o replicas.Order) (replicas.Outcome, error) {
	return a.note("set", o)
}

func (a *admins) Remove(_ context.Context, _ string, o replicas.Order) (replicas.Outcome, error) {
	return a.note("remove", o)
}

func (a *admins) Pause(_ context.Context, _ string, o replicas.Order, paused bool) (replicas.Outcome, error) {
	if paused {
		return a.note("pause", o)
	}
	return a.note("resume", o)
}

func (a *admins) Status(_ context.Context, f replicas.Filter) ([]replicas.Account, []directory.Problem, error) {
	a.filter = f
	return a.accounts, nil, a.err
}

func (a *admins) Enrolments(context.Context) (map[string]directory.Enrolment, error) {
	return map[string]directory.Enrolment{
		"all": {Keep: 2, Destinations: []event.Destination{{Node: "n1"}, {Node: "n2"}}}, "domain:example.org": {Destinations: []event.Destination{{Node: "n3", Priority: 5}}},
	}, nil
}

func (a *admins) Test(context.Context) ([]replicas.Health, error) { return a.health, nil }

func (a *admins) Verify(_ context.Context, _ directory.Selection, nodes []string, different func(replicas.Difference), progress func(done, total int)) (replicas.Verified, error) {
	a.nodes = nodes
	for _, d := range a.found {
		different(d)
	}
	progress(1, 1)
	return replicas.Verified{Nodes: []string{"n1", "n2"}, Accounts: 1, Mailboxes: 3, Differ: len(a.found), Open: a.open, Missing: a.missing}, nil
}

func (a *admins) Submit(_ context.Context, _, kind string, parameters json.RawMessage) (domain.TaskID, error) {
	a.did = append(a.did, kind+" "+string(parameters))
	return operation, nil
}

func (a *admins) Await(context.Context, domain.TaskID) (tasks.Task, error) { return a.ended, nil }

func (a *admins) Kinds() []worker.Kind { return nil }

func newAdmins(t *testing.T) *admins {
	a := &admins{ended: tasks.Task{ID: operation, Status: task.Completed, Result: `{"sum":{"accounts":2,"replicas":4,"seconds":1.5}}`}}
	door, err := webadmin.New(webadmin.Config{
		Tokens: webadmin.Tokens{All: "token"}, Logger: slog.New(slog.DiscardHandler), Backend: webadmin.Backend{Replicas: a, Tasks: a, Metrics: http.NotFoundHandler()},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(door)
	t.Cleanup(served.Close)
	a.url = served.URL
	return a
}

// run carries out a command line and gives the exit code and what it printed.
func (a *admins) run(t *testing.T, line ...string) (code int, out string) {
	t.Helper()
	var printed, told bytes.Buffer
	env := &Env{Context: t.Context(), Stdin: strings.NewReader("carol@example.org # on leave\n\ndave@example.org\n"), Stdout: &printed, Stderr: &told}
	var cli CLI
	parser, err := newParser(&cli)
	if err != nil {
		t.Fatal(err)
	}
	command, err := parser.Parse(append(line, "--url", a.url, "--token", "token"))
	if err != nil {
		return exitUsage, err.Error()
	}
	code = report(env, command.Run(&cli.Globals, env))
	return code, printed.String() + told.String()
}

// TestReplicaLines: what operators type, in our words and in Carbonio's, becomes the order that they mean, or is refused with a hint.
func TestReplicaLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(file, []byte("# these\nx@example.org\ny@example.org, z@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	some := func(names ...string) directory.Selection { return directory.Selection{Names: names} }
	for line, want := range map[string]replicas.Order{
		"replica set n2 10 a@x,b@x c@x":                         {Selection: some("a@x", "b@x", "c@x"), Destination: "n2", Priority: 10},
		"replica set n2 0 @" + file:                             {Selection: some("x@example.org", "y@example.org", "z@example.org"), Destination: "n2"},
		"replica set n2 1 @-":                                   {Selection: some("carol@example.org", "dave@example.org"), Destination: "n2", Priority: 1},
		"replica set n2 10 --domain a.x --domain b.x --auto":    {Selection: directory.Selection{Domains: []string{"a.x", "b.x"}}, Destination: "n2", Priority: 10, New: true},
		"replica set --keep 2 --all":                            {Selection: directory.Selection{All: true}, Keep: 2},
		"replica set --keep 2 *@x --partial":                    {Selection: some("*@x"), Keep: 2, Partial: true},
		"replica remove n2 a@x":                                 {Selection: some("a@x"), Destination: "n2"},
		"replica pause --all --destination n3":                  {Selection: directory.Selection{All: true}, Destination: "n3"},
		"replica resume a@x":                                    {Selection: some("a@x")},
		"ha setAccountDestination n2 10 accounts a@x,b@x":       {Selection: some("a@x", "b@x"), Destination: "n2", Priority: 10},
		"ha setAccountDestination n2 10 input_file " + file:     {Selection: some("x@example.org", "y@example.org", "z@example.org"), Destination: "n2", Priority: 10},
		"MailReplica setAccountDestination n2 20 accounts a@x":  {Selection: some("a@x"), Destination: "n2", Priority: 20},
		"ha removeAccountDestination n2 accounts a@x --json":    {Selection: some("a@x"), Destination: "n2"},
		"ha pauseReplicas accounts a@x":                         {Selection: some("a@x")},
		"ha restartReplicas input_file " + file + " --sync":     {Selection: some("x@example.org", "y@example.org", "z@example.org")},
		"replica remove n2 --domain example.org --auto --json":  {Selection: directory.Selection{Domains: []string{"example.org"}}, Destination: "n2", New: true},
		"replica set n2 4294967295 a@x --wait --partial --json": {Selection: some("a@x"), Destination: "n2", Priority: 1<<32 - 1, Partial: true},
	} {
		a := newAdmins(t)
		a.outcome = replicas.Outcome{Accounts: []domain.AccountID{"1"}, Nodes: []string{"n2"}}
		if code, out := a.run(t, strings.Fields(line)...); code != exitOK || !reflect.DeepEqual(a.order, want) {
			t.Errorf("%s: %d %s, ordered %+v", line, code, out, a.order)
		}
	}
	for line, why := range map[string]string{
		"replica set n2 10":                             "which accounts are meant",
		"replica set n2 ten a@x":                        `"ten" is no priority`,
		"replica set n2 -1 a@x":                         "unknown flag",
		"replica set n2":                                "say the node, the priority and the accounts",
		"replica set n2 10 @nowhere":                    "read the list of accounts",
		"replica set --keep=-1 --all":                   "how many replicas",
		"replica pause":                                 "which accounts are meant",
		"replica monitor a,b":                           "named by one UUID",
		"ha setAccountDestination n2 10 accounts":       "accounts needs a value",
		"ha setAccountDestination n2 10 account a@x":    `"account" is none of the arguments`,
		"ha setAccountDestination n2 10 accounts *@x":   "is a pattern",
		"ha setAccountDestination n2 10":                "say accounts",
		"ha pauseReplicas accounts a@x accounts b@x":    "given twice",
		"ha pauseReplicas accounts a@x input_file x":    "not both",
		"ha getAccountStatus replicaState unavailable":  "none of the arguments",
		"ha setAccountDestination n2 high accounts a@x": "priority",
		"replica status --replica-status away":          "must be one of",
	} {
		a := newAdmins(t)
		if code, out := a.run(t, strings.Fields(line)...); code != exitUsage || !strings.Contains(out, why) || len(a.did) > 0 {
			t.Errorf("%s: %d %s, did %v", line, code, out, a.did)
		}
	}
}

// TestReplicaOutcomes: what failed is listed and the exit code says so; an operation watches what takes time.
func TestReplicaOutcomes(t *testing.T) {
	a := newAdmins(t)
	a.outcome = replicas.Outcome{Accounts: []domain.AccountID{"1", "2"}, Nodes: []string{"n2"}, Selectors: []string{"all"}}
	code, out := a.run(t, "replica", "set", "n2", "10", "--all", "--auto")
	if code != exitOK || out != "2 accounts have replicas\nand those that will be added: all\noperation "+operation+"\n" || len(a.did) != 2 ||
		a.did[1] != `replica-initialise {"accounts":["1","2"],"destinations":["n2"]}` {
		t.Errorf("%d %s, %v", code, out, a.did)
	}
	if code, out = a.run(t, "replica", "set", "n2", "10", "--all", "--wait"); code != exitOK || !strings.Contains(out, "completed: 4 replicas of 2 accounts follow the log, after 1.5 s") {
		t.Errorf("%d %s", code, out)
	}
	a.outcome.Failed = []replicas.Failure{{Name: "zoe@example.org", Error: "address zoe@example.org does not exist"}}
	if code, out = a.run(t, "replica", "set", "n2", "10", "a@x", "--partial"); code != exitFound || !strings.HasPrefix(out, "failed  zoe@example.org: address zoe@example.org does not exist\n2 accounts have replicas, 1 failed\n") {
		t.Errorf("%d %s", code, out)
	}
	a.err = &domain.Error{Kind: domain.NotFound, Msg: "nothing was done: no", Hint: "say --partial"}
	if code, out = a.run(t, "replica", "remove", "n2", "a@x"); code != exitFailed || !strings.Contains(out, "nothing was done: no (say --partial)") {
		t.Errorf("%d %s", code, out)
	}
	a.ended.Result = `{"sum":{"accounts":2,"replicas":3,"seconds":1.5},"items":[{"accountId":"1","accountName":"a@x","error":"a@x on n2 is diverged"}]}`
	if code, out = a.run(t, "ha", "monitor", operation, "n1"); code != exitFound || !strings.Contains(out, "failed  a@x on n2 is diverged\n") {
		t.Errorf("%d %s", code, out)
	}
	a.ended.Status, a.ended.Error = task.Failed, "the log is away"
	if code, out = a.run(t, "replica", "monitor", operation); code != exitFailed || !strings.Contains(out, "the log is away") {
		t.Errorf("%d %s", code, out)
	}
	if code, out = a.run(t, "replica", "enrolment"); code != exitOK || strings.Join(strings.Fields(out), " ") != "SELECTOR GETS NODES all 2 of n1 n2 domain:example.org all of n3:5" {
		t.Errorf("%d %s", code, out)
	}
	// Where there is no cluster everybody is told so.
	alone, err := webadmin.New(webadmin.Config{Tokens: webadmin.Tokens{All: "token"}, Logger: slog.New(slog.DiscardHandler), Backend: webadmin.Backend{Metrics: http.NotFoundHandler()}})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(alone)
	defer served.Close()
	a.url = served.URL
	for _, line := range []string{"replica status", "replica set n2 1 a@x", "replica test", "replica verify", "replica enrolment", "ha getAccountStatus"} {
		if code, out := a.run(t, strings.Fields(line)...); code != exitFailed || !strings.Contains(out, "stands alone") {
			t.Errorf("%s: %d %s", line, code, out)
		}
	}
}

// TestReplicaStatusLines: filters arrive as they are meant, and the table and the JSON say what is known.
func TestReplicaStatusLines(t *testing.T) {
	yes, no := true, false
	for line, want := range map[string]replicas.Filter{
		"replica status": {},
		"replica status a@x,*@y --replica n1 --replica n2":                 {Accounts: directory.Selection{Names: []string{"a@x", "*@y"}}, Replicas: []string{"n1", "n2"}},
		"replica status --domain x --mail-host n1 --account-status paused": {Accounts: directory.Selection{Domains: []string{"x"}}, MailHosts: []string{"n1"}, Paused: &yes},
		"replica status --replica-status unavailable --state lagging":      {Available: &no, States: []replicas.State{replicas.Lagging}},
		"ha getAccountStatus all":                                          {},
		"ha getAccountStatus mailHost n1,n2 domains x accounts a@x,b@x":    {Accounts: directory.Selection{Names: []string{"a@x", "b@x"}, Domains: []string{"x"}}, MailHosts: []string{"n1", "n2"}},
		"ha getAccountStatus replicaServer n2 replicaStatus available":     {Replicas: []string{"n2"}, Available: &yes},
		"ha getAccountStatus accountStatus active":                         {Paused: &no},
	} {
		a := newAdmins(t)
		if code, out := a.run(t, strings.Fields(line)...); code != exitOK || !reflect.DeepEqual(a.filter, want) {
			t.Errorf("%s: %d %s, asked %+v", line, code, out, a.filter)
		}
	}
	a := newAdmins(t)
	if code, out := a.run(t, "replica", "status", "--state", "asleep"); code != exitFailed || !strings.Contains(out, `"asleep" is no state`) {
		t.Errorf("%d %s", code, out)
	}
	lag, age, eta := uint64(7), 2.5, 30.0
	a.accounts = []replicas.Account{{
		ID: "0123456789abcdef", Name: "a@x", MailHost: "n1", Sequence: 12, ItemID: 3, MailboxID: 1,
		Replicas: []replicas.Replica{
			{Destination: "n2", Priority: 10, State: replicas.Lagging, Available: true, Sequence: 5, LagTransactions: &lag, LagSeconds: &age, ETA: &eta},
			{Destination: "n3", Priority: 20, State: replicas.Unavailable, Cause: "node n3 does not answer"},
		},
	}}
	code, out := a.run(t, "replica", "status", "--check")
	if want := "ACCOUNT HOST TX REPLICA PRIORITY STATE SHOWS LAG AGE LEFT a@x n1 12 n2 10 lagging 5 7 2.5s 30s a@x n1 12 n3 20 unavailable 0 ? ? ? node n3 does not answer"; code != exitFound || strings.Join(strings.Fields(out), " ") != want {
		t.Errorf("%d\n%s", code, out)
	}
	_, out = a.run(t, "ha", "getAccountStatus", "--json")
	var shown []map[string]any
	if err := json.Unmarshal([]byte(out), &shown); err != nil || len(shown) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, field := range []string{"accountId", "accountName", "accountMailHost", "paused", "mailboxId", "sequence", "itemId", "replicas"} { // Carbonio's
		if _, has := shown[0][field]; !has {
			t.Errorf("an account lacks %s", field)
		}
	}
	one := shown[0]["replicas"].([]any)[1].(map[string]any)
	for _, field := range []string{"accountId", "itemId", "sequence", "mailboxId", "destination", "available", "priority", "canConnectToKafka", "state", "lagTransactions", "lagSeconds", "etaSeconds"} {
		if _, has := one[field]; !has {
			t.Errorf("a replica lacks %s", field)
		}
	}
	if one["lagSeconds"] != nil {
		t.Errorf("what nobody knows is %v", one["lagSeconds"])
	}
}

// TestReplicaLooks: replica test and replica verify tell what is wrong, also by the exit code.
func TestReplicaLooks(t *testing.T) {
	a := newAdmins(t)
	ok := replicas.Reach{OK: true, Seconds: 0.001, Found: "3 streams"}
	a.health = []replicas.Health{{Node: "n1", Answers: true, Log: ok, Blobs: ok, Keys: ok}, {Node: "w", Answers: true, Witness: true}}
	if code, out := a.run(t, "ha", "test", "kafka1:9092"); code != exitOK || strings.Contains(out, "problem") {
		t.Errorf("%d %s", code, out)
	}
	a.health[0].Blobs = replicas.Reach{Error: "no bucket"}
	a.health = append(a.health, replicas.Health{Node: "n2", Error: "it does not answer"})
	if code, out := a.run(t, "replica", "test"); code != exitFound || !strings.Contains(out, "problem  n1, blobs: no bucket") || !strings.Contains(out, "it does not answer") {
		t.Errorf("%d %s", code, out)
	}
	const compared = "3 mailboxes of 1 accounts compared on n1, n2: 0 accounts differ\n"
	if code, out := a.run(t, "replica", "verify", "--node", "n1", "--node", "n2"); code != exitOK || out != compared || len(a.nodes) != 2 {
		t.Errorf("%d %s", code, out)
	}
	a.open = []string{"bob@example.org"}
	if code, out := a.run(t, "replica", "verify"); code != exitFound || out != "open     bob@example.org was not seen at one transaction on all nodes\n"+compared {
		t.Errorf("%d %s", code, out)
	}
	a.open, a.missing = nil, []string{"n3"}
	if code, out := a.run(t, "replica", "verify"); code != exitFound || out != "missing  node n3 did not answer and was not compared\n"+compared {
		t.Errorf("%d %s", code, out)
	}
	a.missing = nil
	a.found = []replicas.Difference{{Name: "a@x", Tx: 4, Mailbox: 2, Digests: nil}}
	if code, out := a.run(t, "replica", "verify"); code != exitFound || !strings.Contains(out, "differs  a@x, mailbox 2 at transaction 4") {
		t.Errorf("%d %s", code, out)
	}
}

// TestInitialisedNotice: administrators are told how the wait for replicas has ended, also by an error.
func TestInitialisedNotice(t *testing.T) {
	var f found[replicas.Initialised, replicas.Failure]
	f.Sum = replicas.Initialised{Accounts: 2, Replicas: 4, Seconds: 1.5}
	if n := initialised(f, 0, nil); n.Failed != 0 || n.Subject != "Replicas are initialised" || n.Text != "4 replicas of 2 accounts follow the log after 1.5 s." {
		t.Errorf("all is well: %+v", n)
	}
	f.keep(replicas.Failure{Error: "alice@x on n2 is lagging"})
	if n := initialised(f, 1, nil); n.Failed != 1 || n.Subject != "Replicas are not initialised" || !strings.HasSuffix(n.Text, " 1 do not:\n\n  alice@x on n2 is lagging") {
		t.Errorf("one is not: %+v", n)
	}
	f.Items = nil
	if n := initialised(f, 0, errors.New("no leader")); n.Failed != 1 || !strings.HasSuffix(n.Text, "The operation has failed: no leader") {
		t.Errorf("an error: %+v", n)
	}
}
