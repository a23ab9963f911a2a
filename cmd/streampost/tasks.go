package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/task"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// kinds is everything that takes longer than a request. A kind is one line here and a function that does the work.
func (c *core) kinds() []worker.Kind {
	return append(slices.Concat(c.recallKinds(), c.listenerKinds(), c.jamesKinds(), c.replicaKinds(), c.queueKinds(), c.parkedKinds()), []worker.Kind{
		{Name: "log-verify", Help: "Prove that the log, or its archive, is whole; parameters: account or stream, archive, mend", Resumable: true, Join: true, Check: c.logScope, Run: c.verifyLog},
		{Name: "projection-rebuild", Help: "Fold the log again; parameters: projection, stream, accounts, domain, throttle, cpu, dryRun, verify, fromSnapshot, or all", Resumable: true, Join: true, Local: true, Check: c.rebuildWork, Run: c.rebuildViews},
		{Name: "projection-verify", Help: "Compare views with the log; parameters: projection, stream, accounts, domain, mailbox, uid, sample, salt, throttle, cpu, digests, repair", Resumable: true, Join: true, Local: true, Check: c.viewWork, Run: c.verifyViews},
		{Name: "projection-count", Help: "Compare rows of views with the digests beside them; parameters: projection, stream, accounts, domain, cpu, repair", Resumable: true, Join: true, Local: true, Check: c.viewWork, Run: c.countViews},
		{Name: "search-reindex", Help: "Read messages again for the search index; parameters: account, mailbox, message, check", Resumable: true, Join: true, Local: true, Check: c.checkReindex, Run: c.runReindex},
		{Name: webadmin.TaskSnapshotMake, Help: "Keep an account's rows as they are now; parameter: account", Resumable: true, Join: true, Local: true, Check: c.snapshotWork, Run: c.makeSnapshot},
		{Name: webadmin.TaskSnapshotVerify, Help: "Compare snapshots with the log; parameters: account, cpu", Resumable: true, Join: true, Local: true, Check: c.snapshotWork, Run: c.verifySnapshots},
		{Name: "keys-rotate", Help: "Make a new master key", Resumable: true, Join: true, Local: true, Run: c.rotateKeys},
		{Name: webadmin.TaskMailboxClear, Help: "Delete all messages of a mailbox; parameters: account, mailbox", Destroys: true, Resumable: true, Join: true, Check: c.accountWork, Run: c.clearMailbox},
		{Name: webadmin.TaskErase, Help: "Erase an account for ever; parameter: account", Destroys: true, Resumable: true, Join: true, Check: c.accountWork, Run: c.eraseAccount},
		{Name: "tasks-cleanup", Help: "Forget tasks that ended and were submitted before a time; parameter: before", Destroys: true, Resumable: true, Check: checkCleanup, Run: c.forgetTasks},
	}...)
}

// openTasks starts the worker. While a core is only being looked at, nothing is run.
func (c *core) openTasks() (err error) {
	node, alive, err := c.runners()
	if err != nil {
		return err
	}
	c.tasks, err = worker.New(worker.Config{
		Node: node, Log: c.streams, View: taskView{c.runner, c.streams.StreamOf(domain.TasksID)}, Kinds: c.kinds(), Alive: alive, Idle: c.inspecting, Logger: c.log,
		Observe: func(kind string, ended task.Status, took time.Duration) {
			c.metrics.TaskEnded(kind, ended.String(), took)
		},
	})
	if err == nil {
		c.group.Start(lifecycle.Part{Name: "tasks", Run: c.tasks.Run})
	}
	return err
}

// runners gives this node's name among those that run tasks, and tells which others are up; alive is nil where there are none.
func (c *core) runners() (node string, alive func(string) bool, err error) {
	if c.nodes == nil {
		node, err = c.node()
		return node, nil, err
	}
	return c.nats.Name(), newSightings(func() []string { return c.nats.Gathered().Nodes }).alive, nil
}

// nodeFile keeps the name of this node among those that share a log.
const nodeFile = "node.json"

// node gives this node's name, which is made at the first start and stays whatever becomes of addresses and host names.
func (c *core) node() (string, error) {
	var kept struct {
		Node string `json:"node"`
	}
	text, err := os.ReadFile(c.data.join(nodeFile))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kept.Node = "node-" + strings.ToLower(rand.Text()[:10])
		return kept.Node, c.data.writeJSON(nodeFile, kept)
	case err != nil || kept.Node == "":
		return "", &domain.Error{
			Kind: domain.Corrupt, Msg: "the name of this node cannot be read from " + c.data.join(nodeFile), Err: err,
			Hint: "restore the file, or remove it: the node then gets a new name, and what ran under the old one is taken for a dead node's",
		}
	}
	return kept.Node, nil
}

// taskView is the view of tasks as the worker wants it.
type taskView struct {
	runner *projections.Runner
	stream string
}

func (v taskView) Reader() (projections.Reader, error) { return v.runner.Reader(v.stream, tasks.Name) }

func (v taskView) Wait(ctx context.Context, seq domain.Seq) error {
	return v.runner.WaitFor(ctx, tasks.Name, v.stream, seq)
}

// found is the result of work that finds things: a sum, with the things beside it as far as they are kept.
type found[Sum, Item any] struct {
	Sum   Sum    `json:"sum"`
	Items []Item `json:"items,omitempty"`
}

// keptItems bounds the things in a result. The sum counts all.
const keptItems = 1000

func (f *found[Sum, Item]) keep(i Item) {
	if len(f.Items) < keptItems {
		f.Items = append(f.Items, i)
	}
}

// parameters reads a task's parameters strictly.
func parameters(text json.RawMessage, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return domain.Wrap(domain.Invalid, err, "the parameters are not those of this type of task")
	}
	return nil
}

// checkScope reads a scope. An account may be named by an address, and is kept by its id.
func (c *core) checkScope(ctx context.Context, text json.RawMessage) (scope webadmin.Scope, err error) {
	if err := parameters(text, &scope); err != nil {
		return scope, err
	}
	if scope.Account != "" {
		if _, err := domain.ParseAccountID(string(scope.Account)); err != nil {
			account, err := c.directory.Lookup(ctx, string(scope.Account))
			if err != nil {
				return scope, err
			}
			scope.Account = account.ID
		}
	}
	return scope, nil
}

func keepScope(scope webadmin.Scope) (json.RawMessage, string, error) {
	about := string(scope.Account)
	if about == "" {
		about = scope.Stream + scope.Projection
	}
	text, err := json.Marshal(scope)
	return text, about, err
}

func (c *core) logScope(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	scope, err := c.checkScope(ctx, text)
	if err == nil && (scope.Projection != "" || scope.Account != "" && scope.Stream != "") {
		err = domain.Errorf(domain.Invalid, "say one account or one stream, or neither")
	}
	if err != nil {
		return nil, "", err
	}
	return keepScope(scope)
}

// viewWork is what a rebuild or a comparison of views is asked for.
type viewWork struct {
	webadmin.ViewScope
	webadmin.RebuildOptions
	All    bool    `json:"all,omitempty"`    // said to a rebuild that is given no scope
	Domain string  `json:"domain,omitempty"` // all accounts with an address in it
	Sample float64 `json:"sample,omitempty"`
	Salt   uint64  `json:"salt,omitempty"`
	Repair bool    `json:"repair,omitempty"`

	Digests bool `json:"digests,omitempty"`
}

// viewWork checks the parameters of such a task. Accounts may be named by addresses, and are kept by their ids.
func (c *core) viewWork(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var work viewWork
	if err := parameters(text, &work); err != nil {
		return nil, "", err
	}
	for i, name := range work.Accounts {
		if _, err := domain.ParseAccountID(string(name)); err == nil {
			continue
		}
		account, err := c.directory.Lookup(ctx, string(name))
		if err != nil {
			return nil, "", err
		}
		work.Accounts[i] = account.ID
	}
	if work.Domain != "" {
		all, err := c.directory.Accounts(ctx)
		if err == nil {
			all, err = webadmin.InDomain(all, work.Domain)
		}
		if err != nil {
			return nil, "", err
		}
		for _, account := range all {
			work.Accounts = append(work.Accounts, account.ID)
		}
		work.Domain = ""
	}
	about := work.Projection + work.Stream
	if len(work.Accounts) == 1 {
		about = string(work.Accounts[0])
	}
	text, err := json.Marshal(work)
	return text, about, err
}

// rebuildWork is viewWork for a rebuild, which must be told what to make anew.
func (c *core) rebuildWork(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	text, about, err := c.viewWork(ctx, text)
	if err != nil {
		return nil, "", err
	}
	var work viewWork
	if err := parameters(text, &work); err != nil {
		return nil, "", err
	}
	return text, about, work.Named(work.All)
}

// scoped runs work on the scope in a job's parameters.
func scoped(job worker.Job, work func(webadmin.Scope, func(webadmin.Progress)) (any, error)) (any, error) {
	var scope webadmin.Scope
	if err := parameters(job.Parameters, &scope); err != nil {
		return nil, err
	}
	return work(scope, func(p webadmin.Progress) { job.Progress(p) })
}

func (c *core) verifyLog(ctx context.Context, job worker.Job) (any, error) {
	return scoped(job, func(scope webadmin.Scope, progress func(webadmin.Progress)) (_ any, err error) {
		var f found[webadmin.Verified, webadmin.Damage]
		f.Sum, err = logBackend{c.streams, c}.Verify(ctx, scope, f.keep, progress)
		return f, err
	})
}

func (c *core) rebuildViews(ctx context.Context, job worker.Job) (any, error) {
	var work viewWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	var f found[webadmin.Rebuilt, struct{}]
	var err error
	f.Sum, err = c.views().Rebuild(ctx, work.ViewScope, work.RebuildOptions, func(p webadmin.Progress) { job.Progress(p) })
	return f, err
}

func (c *core) verifyViews(ctx context.Context, job worker.Job) (any, error) {
	var work viewWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	var f found[webadmin.Compared, webadmin.Difference]
	var err error
	opt := webadmin.VerifyOptions{Sample: work.Sample, Salt: work.Salt, CPU: work.CPU, Repair: work.Repair, Throttle: work.Throttle, Digests: work.Digests}
	f.Sum, err = c.views().Verify(ctx, work.ViewScope, opt, f.keep, func(p webadmin.Progress) { job.Progress(p) })
	return f, err
}

func (c *core) countViews(ctx context.Context, job worker.Job) (any, error) {
	var work viewWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	var f found[webadmin.Counted, webadmin.Miscount]
	var err error
	f.Sum, err = c.views().Count(ctx, work.ViewScope, webadmin.CountOptions{CPU: work.CPU, Repair: work.Repair}, f.keep, func(p webadmin.Progress) { job.Progress(p) })
	return f, err
}

// accountWork checks the parameters of a task on an account.
func (c *core) accountWork(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var work webadmin.AccountWork
	if err := parameters(text, &work); err != nil {
		return nil, "", err
	}
	found, err := c.directory.Lookup(ctx, string(work.Account))
	if err != nil {
		return nil, "", err
	}
	work.Account = found.ID
	text, err = json.Marshal(work)
	return text, string(found.ID), err
}

func (c *core) clearMailbox(ctx context.Context, job worker.Job) (any, error) {
	var work webadmin.AccountWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	sum, err := c.empty(ctx, job, work)
	return found[cleared, struct{}]{Sum: sum}, err
}

// empty deletes all messages of a mailbox.
func (c *core) empty(ctx context.Context, job worker.Job, work webadmin.AccountWork) (sum cleared, err error) {
	box, err := c.views().mailbox(ctx, work.Account, work.Mailbox)
	if err != nil {
		return sum, err
	}
	outcome, err := c.accounts.Do(ctx, work.Account, actorOf(job), account.Expunge{Mailbox: box, Any: true})
	for _, e := range outcome.Events {
		if gone, ok := e.(*event.MessagesExpunged); ok {
			sum.Messages += gone.UIDs.Len()
		}
	}
	return sum, err
}

// cleared is what emptying a mailbox did.
type cleared struct {
	Messages int `json:"messages"`
}

// eraseAccount goes on with an erasure that was begun.
func (c *core) eraseAccount(ctx context.Context, job worker.Job) (any, error) {
	var work webadmin.AccountWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	return found[struct{}, struct{}]{}, c.directory.Erase(ctx, "task:"+string(job.ID), work.Account)
}

func (c *core) rotateKeys(ctx context.Context, job worker.Job) (_ any, err error) {
	var f found[rotated, struct{}]
	f.Sum.Keys, err = logBackend{c.streams, c}.RotateMaster(ctx, func(p webadmin.Progress) { job.Progress(p) })
	return f, err
}

// rotated is what a rotation did.
type rotated struct {
	Keys int `json:"keys"`
}

// cleanup is the parameters of tasks-cleanup.
type cleanup struct {
	Before time.Time `json:"before"`
}

func checkCleanup(_ context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var p cleanup
	err := parameters(text, &p)
	if err == nil && p.Before.IsZero() {
		err = domain.Errorf(domain.Invalid, "say before which time, such as 2026-03-02T09:00:00Z")
	}
	return text, "", err
}

func (c *core) forgetTasks(ctx context.Context, job worker.Job) (any, error) {
	var p cleanup
	if err := parameters(job.Parameters, &p); err != nil {
		return nil, err
	}
	n, err := c.tasks.Forget(ctx, p.Before)
	return map[string]int{"removedTasksCount": n}, err
}
