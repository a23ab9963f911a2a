package main

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/search"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// This file does what James's routes order, by James's types of tasks. The work is that of our own types; the results say it in James's fields, too.

// jamesKinds are James's types of tasks.
func (c *core) jamesKinds() (all []worker.Kind) {
	add := func(name, help string, run func(context.Context, worker.Job, webadmin.JamesOrder) (any, webadmin.Facts, error)) *worker.Kind {
		all = append(all, worker.Kind{Name: name, Help: help, Resumable: true, Join: true, Local: true, Check: c.checkJames, Run: inJamesWords(name, run)})
		return &all[len(all)-1]
	}
	for _, name := range []string{webadmin.TaskReindexAll, webadmin.TaskReindexFailed, webadmin.TaskReindexUser, webadmin.TaskReindexMailbox, webadmin.TaskReindexMail, webadmin.TaskReindexMessage} {
		add(name, "Index messages again; James's reIndex", c.jamesReindex).Check = c.checkJamesReindex
	}
	for _, r := range []struct {
		name, projection string
		rebuild          bool
	}{
		{webadmin.TaskSolveMailboxes, mailboxes.Name, false},
		{webadmin.TaskSolveMessages, "", false},
		{webadmin.TaskSolveFlags, mailboxes.Name, false},
		{webadmin.TaskSolvePop3, mailboxes.Name, false},
		{webadmin.TaskSolveMappings, dirview.Name, false},
		{webadmin.TaskMissingParents, mailboxes.Name, false},
		{webadmin.TaskEmailQueryView, mailboxes.Name, false},
		{webadmin.TaskFastViews, mailboxes.Name, false},
		{webadmin.TaskFastViewsOfUser, mailboxes.Name, false},
		{webadmin.TaskCounters, counters.Name, true},
		{webadmin.TaskQuotas, quota.Name, true},
	} {
		help := "Compare views with the log and mend what differs; for James's scripts"
		if r.rebuild {
			help = "Make a view anew; for James's scripts"
		}
		add(r.name, help, func(ctx context.Context, job worker.Job, o webadmin.JamesOrder) (any, webadmin.Facts, error) {
			return c.jamesRepair(ctx, job, o, r.projection, r.rebuild)
		})
	}
	for name, run := range map[string]func(context.Context, worker.Job, webadmin.JamesOrder) (any, webadmin.Facts, error){
		webadmin.TaskClearMailbox: c.jamesClear, webadmin.TaskEraseUser: c.jamesErase, webadmin.TaskEraseDomain: c.jamesEraseDomain,
	} {
		kind := add(name, "Delete a mailbox's messages, a user's data, or that of a domain's users; for James's scripts", run)
		kind.Destroys, kind.Local, kind.Check = true, false, c.checkJamesErasure
	}
	return all
}

// inJamesWords adds James's fields to what work of a type has come to.
func inJamesWords(kind string, run func(context.Context, worker.Job, webadmin.JamesOrder) (any, webadmin.Facts, error)) func(context.Context, worker.Job) (any, error) {
	return func(ctx context.Context, job worker.Job) (any, error) {
		var o webadmin.JamesOrder
		if err := parameters(job.Parameters, &o); err != nil {
			return nil, err
		}
		sum, facts, err := run(ctx, job, o)
		if facts.Step = "DONE"; err != nil {
			facts.Step = "FAILED"
		}
		result := map[string]any{"sum": sum}
		for name, value := range webadmin.JamesFacts(kind, &facts) {
			result[name] = value
		}
		return result, err
	}
}

// jamesOrder reads such parameters. An account may be named by an address, and is kept by its id.
func (c *core) jamesOrder(ctx context.Context, text json.RawMessage) (o webadmin.JamesOrder, err error) {
	if err = parameters(text, &o); err == nil && o.Account != "" {
		var id string
		id, err = c.accountID(ctx, string(o.Account))
		o.Account = domain.AccountID(id)
	}
	return o, err
}

func keepJames(o *webadmin.JamesOrder, err error) (json.RawMessage, string, error) {
	if err != nil {
		return nil, "", err
	}
	return kept(cmp.Or(string(o.Account), o.Domain), o)
}

func (c *core) checkJames(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	o, err := c.jamesOrder(ctx, text)
	return keepJames(&o, err)
}

// checkJamesErasure wants to be told what is to go.
func (c *core) checkJamesErasure(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	o, err := c.jamesOrder(ctx, text)
	if err == nil && o.Account == "" && o.Domain == "" {
		err = domain.Errorf(domain.Invalid, "it is not said whose data is deleted")
	}
	return keepJames(&o, err)
}

// checkJamesReindex also refuses what the index that answers searches cannot do.
func (c *core) checkJamesReindex(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	o, err := c.jamesOrder(ctx, text)
	switch {
	case err != nil:
	case c.cluster == nil && c.search == nil:
		err = &domain.Error{Kind: domain.Invalid, Msg: "there is no search index", Hint: "set search.enabled"}
	case c.cluster != nil && o.Options["mode"] == "FIX_OUTDATED":
		err = &domain.Error{Kind: domain.Invalid, Msg: "mode=fixOutdated is not for OpenSearch, whose documents are not compared", Hint: "leave mode away: what is there already is written again as it is"}
	case c.cluster != nil && o.Account == "" && o.Throttle > 0:
		err = &domain.Error{Kind: domain.Invalid, Msg: "messagesPerSecond does not bound a new index in OpenSearch, which is filled as fast as OpenSearch takes it", Hint: "leave it away, or index one user after the other"}
	}
	return keepJames(&o, err)
}

// jamesReindex writes the index anew that is asked first: the one in OpenSearch where there is one, else the embedded one.
func (c *core) jamesReindex(ctx context.Context, job worker.Job, o webadmin.JamesOrder) (any, webadmin.Facts, error) {
	switch {
	case c.cluster != nil:
		order := webadmin.ReindexOrder{Account: string(o.Account), Mailbox: o.Box, Message: o.Message}
		sum, err := c.intoCluster(ctx, job, order, paced(ctx, o.Throttle))
		return sum, webadmin.Facts{Processed: int64(sum.Documents), Failed: int64(sum.Failed)}, err
	case o.Account != "":
		sum, err := c.reindexOne(ctx, job, o, search.Reindexed{}, paced(ctx, o.Throttle))
		return sum, indexed(sum), err
	case o.Outdated:
		list, err := c.directory.Accounts(ctx)
		var sum search.Reindexed
		pace := paced(ctx, o.Throttle)
		for _, a := range list {
			if err == nil {
				o.Account = a.ID
				sum, err = c.reindexOne(ctx, job, o, sum, pace)
			}
		}
		return sum, indexed(sum), err
	}
	scope := webadmin.ViewScope{Projection: search.Name}
	sum, err := c.views().Rebuild(ctx, scope, webadmin.RebuildOptions{Throttle: o.Throttle}, func(p webadmin.Progress) { job.Progress(p) })
	var facts webadmin.Facts
	for _, stream := range c.accountStreams() {
		if err != nil {
			break
		}
		var r projections.Reader
		var documents, unread int64
		if r, err = c.caughtUp(ctx, stream, search.Name); err == nil {
			documents, unread, err = search.Census(ctx, r)
		}
		facts.Processed += documents - unread
		facts.Failed += unread
	}
	return sum, facts, err
}

func indexed(sum search.Reindexed) webadmin.Facts {
	return webadmin.Facts{Processed: sum.Messages - sum.Missing, Failed: sum.Missing}
}

// reindexOne adds an account's messages, or some of them, to what is done. Progress is told in James's fields.
func (c *core) reindexOne(ctx context.Context, job worker.Job, o webadmin.JamesOrder, before search.Reindexed, pace func(done uint64)) (search.Reindexed, error) {
	sel, err := c.reindexed(ctx, &reindexWork{Account: o.Account, Mailbox: o.Box, Message: o.Message})
	if err != nil {
		return before, err
	}
	plus := func(now search.Reindexed) search.Reindexed {
		return search.Reindexed{Messages: before.Messages + now.Messages, Written: before.Written + now.Written, Wrong: before.Wrong + now.Wrong, Missing: before.Missing + now.Missing}
	}
	sum, err := c.search.Reindex(ctx, searchRows{c.runner}, sel, o.Outdated, func(done search.Reindexed) {
		facts := indexed(plus(done))
		progress := webadmin.JamesFacts(webadmin.TaskReindexAll, &facts)
		progress["sum"] = plus(done)
		job.Progress(progress)
		pace(uint64(plus(done).Messages))
	})
	return plus(sum), err
}

// paced gives a function that is told how much is done, and waits when that is more than so much a second from now on.
func paced(ctx context.Context, perSecond int) func(done uint64) {
	began := time.Now()
	return func(done uint64) {
		if perSecond > 0 {
			due := began.Add(time.Duration(float64(done) / float64(perSecond) * float64(time.Second)))
			_ = projections.Pause(ctx, time.Until(due)) // who works looks at ctx, too
		}
	}
}

// jamesRepair compares a view with the log, or all of them, or makes one anew, and then counts what there is.
func (c *core) jamesRepair(ctx context.Context, job worker.Job, o webadmin.JamesOrder, projection string, rebuild bool) (sum any, facts webadmin.Facts, err error) {
	scope := webadmin.ViewScope{Projection: projection}
	if o.Account != "" {
		scope.Accounts = []domain.AccountID{o.Account}
	}
	progress := func(p webadmin.Progress) { job.Progress(p) }
	if mode := o.Options["mode"]; rebuild || mode == "REBUILD_ALL" {
		sum, err = c.views().Rebuild(ctx, scope, webadmin.RebuildOptions{Throttle: o.Throttle}, progress)
	} else {
		sum, err = c.views().Verify(ctx, scope, webadmin.VerifyOptions{Repair: true, Throttle: o.Throttle}, func(d webadmin.Difference) {
			if n := len(facts.Differences); n > 0 && facts.Differences[n-1].Table == d.Table && facts.Differences[n-1].Key == d.Key {
				return // another column of the same row
			}
			facts.Differences = append(facts.Differences, d)
			switch {
			case d.Column != "":
				facts.Updated++
			case d.Log == "a row":
				facts.Added++
			default:
				facts.Removed++
			}
		}, progress)
	}
	if err == nil {
		err = c.census(ctx, o.Account, &facts)
	}
	return sum, facts, err
}

// census counts accounts, mailboxes and messages, of all accounts or of one, as views have them.
func (c *core) census(ctx context.Context, id domain.AccountID, facts *webadmin.Facts) error {
	streams := c.accountStreams()
	if id != "" {
		streams = []string{c.streams.StreamOf(id)}
	}
	for _, stream := range streams {
		for name, of := range map[string]struct {
			query string
			into  []any
		}{
			quota.Name:    {`select count(*), cast(coalesce(sum(messages), 0) as bigint) from quota where $1 = '' or account = $1`, []any{new(int64), new(int64)}},
			counters.Name: {`select count(*) from counters where $1 = '' or account = $1`, []any{new(int64)}},
		} {
			r, err := c.caughtUp(ctx, stream, name)
			if err != nil {
				return err
			}
			if err := one(ctx, r, of.query, []any{string(id)}, of.into...); err != nil {
				return err
			}
			if name == counters.Name {
				facts.Mailboxes += *of.into[0].(*int64)
				continue
			}
			facts.Accounts += *of.into[0].(*int64)
			facts.Messages += *of.into[1].(*int64)
		}
	}
	return nil
}

func (c *core) jamesClear(ctx context.Context, job worker.Job, o webadmin.JamesOrder) (any, webadmin.Facts, error) {
	sum, err := c.empty(ctx, job, webadmin.AccountWork{Account: o.Account, Mailbox: o.Box})
	return sum, webadmin.Facts{Erased: int64(sum.Messages)}, err
}

func (c *core) jamesErase(ctx context.Context, job worker.Job, o webadmin.JamesOrder) (any, webadmin.Facts, error) {
	job.Progress(webadmin.JamesFacts(webadmin.TaskEraseUser, &webadmin.Facts{Step: "IN_PROGRESS"}))
	return struct{}{}, webadmin.Facts{}, c.directory.Erase(ctx, actorOf(job), o.Account)
}

// jamesEraseDomain goes on with the next user when one cannot be erased, and fails in the end.
func (c *core) jamesEraseDomain(ctx context.Context, job worker.Job, o webadmin.JamesOrder) (any, webadmin.Facts, error) {
	var facts webadmin.Facts
	list, err := c.directory.Accounts(ctx)
	if err != nil {
		return struct{}{}, facts, err
	}
	list = slices.DeleteFunc(list, func(a door.Account) bool { return !strings.HasSuffix(a.Login, "@"+o.Domain) })
	var failed error
	for i, a := range list {
		if err := ctx.Err(); err != nil {
			return struct{}{}, facts, err
		}
		if err := c.directory.Erase(ctx, actorOf(job), a.ID); err != nil {
			facts.Unerased, failed = append(facts.Unerased, a.Login), err
		} else {
			facts.Erased++
		}
		tell(job, "accounts")(int64(i+1), int64(len(list)))
	}
	return struct{}{}, facts, failed
}

// caughtUp gives a view that shows all that the log holds now.
func (c *core) caughtUp(ctx context.Context, stream, projection string) (projections.Reader, error) {
	head, err := c.streams.Head(ctx, stream)
	if err == nil {
		err = c.runner.WaitFor(ctx, projection, stream, head)
	}
	if err != nil {
		return nil, err
	}
	return c.runner.Reader(stream, projection)
}

// one scans the one row that a query of counts gives.
func one(ctx context.Context, r projections.Reader, query string, args []any, into ...any) error {
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
	}
	return rows.Err()
}
