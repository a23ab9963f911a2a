package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/streampost/streampost/adapters/webadmin"
)

// ProjectionCmd looks after views.
type ProjectionCmd struct {
	List    ProjectionListCmd    `cmd:"" help:"List projections and how far they are."`
	Rebuild ProjectionRebuildCmd `cmd:"" help:"Fold the log again into empty rows."`
	Verify  ProjectionVerifyCmd  `cmd:"" help:"Compare every row with what the log makes of it."`
}

// ProjectionListCmd lists projections.
type ProjectionListCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the list.
func (c *ProjectionListCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var list []webadmin.Projection
	if err := server.call(env, http.MethodGet, path("projections"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, p := range list {
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Version), p.Stream, fmt.Sprint(p.Cursor), fmt.Sprint(p.Head), fmt.Sprint(p.Lag), fmt.Sprintf("%.1fs", p.LagTime), p.State})
	}
	return env.table("PROJECTION VERSION STREAM CURSOR HEAD LAG AGE STATE", rows)
}

// ViewScope says which rows a command is about.
type ViewScope struct {
	All        bool   `xor:"scope" help:"All projections of all accounts."`
	Projection string `xor:"scope" placeholder:"NAME" help:"One projection; see projection list."`
	Account    string `xor:"scope" placeholder:"ACCOUNT" help:"All rows of one account, by address or id."`
}

func (s ViewScope) query() string { return query("projection", s.Projection, "account", s.Account) }

// ProjectionRebuildCmd folds the log again.
type ProjectionRebuildCmd struct {
	ViewScope
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ProjectionRebuildCmd) Help() string {
	return `Views hold nothing that the log does not hold, so a rebuild is always safe; the accounts concerned may be slow meanwhile. It works beside a running server, or without one on its data directory.

Examples:

  streampost projection rebuild --account alice@example.org
  streampost projection rebuild --all`
}

// Run rebuilds.
func (c *ProjectionRebuildCmd) Run(g *Globals, env *Env) error {
	if c.ViewScope == (ViewScope{}) {
		return usage("say what to rebuild: --all, --projection NAME or --account ACCOUNT")
	}
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var sum webadmin.Rebuilt
	if err := server.stream(env, http.MethodPost, path("projections", "rebuild")+c.query(), nil, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("%d entries are folded again\n", sum.Entries)
	return nil
}

// ProjectionVerifyCmd compares rows with the log.
type ProjectionVerifyCmd struct {
	All        bool   `xor:"scope" help:"All projections of all accounts, as without any of these flags."`
	Projection string `xor:"scope" placeholder:"NAME" help:"One projection only."`
	Account    string `xor:"scope" placeholder:"ACCOUNT" help:"One account only, by address or id."`
	JSON       bool   `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*ProjectionVerifyCmd) Help() string {
	return `The log is folded into a shadow, which is then compared with the view row by row. Each difference is printed, and the exit code is then 4: rebuild what differs and report it as a bug. It works beside a running server, or without one on its data directory.

Examples:

  streampost projection verify
  streampost projection verify --account alice@example.org || streampost projection rebuild --account alice@example.org`
}

// Run compares.
func (c *ProjectionVerifyCmd) Run(g *Globals, env *Env) error {
	server, err := g.connectOrOpen(env)
	if err != nil {
		return err
	}
	defer server.Close()
	var sum webadmin.Compared
	err = server.stream(env, http.MethodPost, path("projections", "verify")+query("projection", c.Projection, "account", c.Account), nil, func(raw json.RawMessage) error {
		if c.JSON {
			env.printf("%s\n", raw)
			return nil
		}
		var d webadmin.Difference
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		env.printf("%s %s: %s[%s] %s\n  view: %s\n  log:  %s\n", d.Stream, d.Projection, d.Table, d.Key, d.Column, d.View, d.Log)
		return nil
	}, &sum)
	if err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d rows compared, %d differ\n", sum.Rows, sum.Differences)
	}
	if sum.Differences > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}
