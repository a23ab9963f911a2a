package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// SnapshotCmd looks after snapshots.
type SnapshotCmd struct {
	List   SnapshotListCmd   `cmd:"" help:"List snapshots and how far the accounts' logs have gone on since."`
	Make   SnapshotMakeCmd   `cmd:"" help:"Keep an account's rows as they are now."`
	Verify SnapshotVerifyCmd `cmd:"" help:"Compare snapshots with what the log makes of them."`
	Rm     SnapshotRmCmd     `cmd:"" help:"Remove an account's snapshot."`
}

// Help teaches.
func (*SnapshotCmd) Help() string {
	return `A snapshot holds all rows of an account at one of its transactions, sealed with the account's key. A node without these rows takes them from there and folds only what came after; see also projection rebuild --from-snapshot. The server makes one by itself whenever an account's log has grown by snapshots.every transactions. Nothing depends on them: without one, or with one that cannot be used, the whole log is folded.`
}

// SnapshotListCmd lists snapshots.
type SnapshotListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SnapshotListCmd) Help() string {
	return `A snapshot that this build cannot use on this log, such as one of other versions of the projections, is listed with the reason. Another replaces it in time.

Examples:

  streampost snapshot list
  streampost snapshot list --json`
}

// Run prints the list.
func (c *SnapshotListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var rows [][]string
	list := []webadmin.Snapshot{}
	var sum struct{ Snapshots int }
	if err := server.stream(env, http.MethodGet, path("snapshots"), nil, func(raw json.RawMessage) error {
		var s webadmin.Snapshot
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		list = append(list, s)
		rows = append(rows, []string{cmp.Or(string(s.Account), "?"), fmt.Sprint(s.Tx), fmt.Sprint(s.Behind), s.Made.Local().Format(time.DateTime), octets(s.Octets), cmp.Or(s.Problem, "-")})
		return nil
	}, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	return env.table("ACCOUNT TX BEHIND MADE SIZE PROBLEM", rows)
}

// SnapshotMakeCmd makes a snapshot.
type SnapshotMakeCmd struct {
	Account string `arg:"" help:"Address or id of the account."`
	Detached
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SnapshotMakeCmd) Help() string {
	return `It is made of the rows as they are now, while mail goes on, and replaces the one before when it is complete.

Examples:

  streampost snapshot make alice@example.org
  streampost snapshot make alice@example.org --detach`
}

// Run orders it.
func (c *SnapshotMakeCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum madeSnapshot
	if err := server.work(env, c.Detached, webadmin.TaskSnapshotMake, snapshotOrder{Account: domain.AccountID(c.Account)}, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("a snapshot of account %s at transaction %d takes %s\n", sum.Account, sum.Tx, octets(sum.Octets))
	return nil
}

// SnapshotVerifyCmd compares snapshots with the log.
type SnapshotVerifyCmd struct {
	Account string  `arg:"" optional:"" help:"Address or id of one account."`
	All     bool    `help:"All snapshots, as without an account."`
	CPU     float64 `name:"cpu" placeholder:"SHARE" help:"Work only in this share of the time, above 0 and at most 1."`
	Detached
	JSON bool `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*SnapshotVerifyCmd) Help() string {
	return `The log of each account is folded up to the transaction that its snapshot shows, and every row is compared. Differences and snapshots that cannot be used are printed, and the exit code is then 4: snapshot make replaces them.

Examples:

  streampost snapshot verify alice@example.org
  streampost snapshot verify --all --cpu 0.25`
}

// Run orders the comparison.
func (c *SnapshotVerifyCmd) Run(g *Globals, env *Env) error {
	if c.All && c.Account != "" {
		return usage("say an account or --all")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum verifiedSnapshots
	order := snapshotOrder{Account: domain.AccountID(c.Account), CPU: c.CPU}
	if err := server.work(env, c.Detached, webadmin.TaskSnapshotVerify, order, shown(env, c.JSON, func(w *wrongSnapshot) {
		if d := w.Difference; d != nil {
			env.printf("%s %s: %s[%s] %s\n  snapshot: %s\n  log:      %s\n", d.Stream, d.Projection, d.Table, d.Key, d.Column, d.View, d.Log)
			return
		}
		env.printf("%s: %s\n", cmp.Or(string(w.Account), "?"), w.Problem)
	}), &sum); err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d snapshots looked at, %d rows compared, %d differ, %d snapshots cannot be used\n", sum.Snapshots, sum.Rows, sum.Differences, sum.Unusable)
	}
	if sum.Differences > 0 || sum.Unusable > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

// SnapshotRmCmd removes a snapshot.
type SnapshotRmCmd struct {
	Account string `arg:"" help:"Address or id of the account."`
	JSON    bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*SnapshotRmCmd) Help() string {
	return `Nothing is lost. As long as snapshots.enabled is true, the server soon makes another of an account with a long log.

Examples:

  streampost snapshot rm alice@example.org`
}

// Run removes it.
func (c *SnapshotRmCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.call(env, http.MethodDelete, path("snapshots", c.Account), nil, nil); err != nil {
		return err
	}
	if c.JSON {
		return env.json(map[string]string{"removed": c.Account})
	}
	return nil
}
