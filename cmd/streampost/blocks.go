package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/streampost/streampost/projections/door"
)

// AccountBlockedCmd lists who has to wait.
type AccountBlockedCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*AccountBlockedCmd) Help() string {
	return `Logins that were tried, whether or not there are such accounts, and addresses that attempts came from, with failures that make the next attempt wait. Users are not kept out: they come in at once from where they have logged in before, with an app password or with a token, and from elsewhere after DELAY.

Examples:

  streampost account blocked
  streampost account unblock alice@example.org`
}

// Run prints the list.
func (c *AccountBlockedCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var list []door.Block
	if err := server.call(env, http.MethodGet, path("blocks"), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return env.json(list)
	}
	var rows [][]string
	for _, b := range list {
		what := "login"
		if b.Source {
			what = "address"
		}
		rows = append(rows, []string{fmt.Sprintf("%q", b.Name), what, strconv.Itoa(b.Failures), b.Last.Format(time.RFC3339), (time.Duration(b.Delay * float64(time.Second))).String()})
	}
	return env.table("NAME WHAT FAILURES LAST DELAY", rows)
}

// AccountUnblockCmd forgets failures.
type AccountUnblockCmd struct {
	Name named `arg:"" help:"The login or the address, as account blocked shows it."`
}

// Help teaches.
func (*AccountUnblockCmd) Help() string {
	return `The failed logins are forgotten on all nodes, so that the next attempt does not wait.

Examples:

  streampost account unblock alice@example.org
  streampost account unblock 192.0.2.1
  streampost account unblock 2001:db8:1:2::`
}

// Run sends the request.
func (c *AccountUnblockCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	return server.call(env, http.MethodDelete, path("blocks", string(c.Name)), nil, nil)
}
