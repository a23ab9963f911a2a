package main

import (
	"net/http"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
)

// StatusCmd shows what the server is and does.
type StatusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*StatusCmd) Help() string {
	return `What the running server is: version, age, memory, accounts, the size of its log and where it listens. doctor looks for what is wrong.

Examples:

  streampost status
  streampost status --json`
}

// Run prints the status.
func (c *StatusCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var s webadmin.Status
	if err := server.call(env, http.MethodGet, path("status"), nil, &s); err != nil {
		return err
	}
	if c.JSON {
		return env.json(s)
	}
	state := "ready"
	if !s.Ready {
		state = "not ready: see streampost doctor"
	}
	env.printf("state      %s\nversion    %s\nhostname   %s\ndata       %s\nup         %s\nmemory     %s\naccounts   %d in %d domains\n", state, s.Version, s.Hostname, s.Data,
		time.Since(s.Started).Round(time.Second), octets(int64(s.Memory)), s.Accounts, s.Domains)
	var entries uint64
	for _, head := range s.Streams {
		entries += head
	}
	env.printf("log        %d entries in %d streams\n\n", entries, len(s.Streams))
	var rows [][]string
	for _, l := range s.Listeners {
		rows = append(rows, []string{l.Protocol, l.Address, l.TLS})
	}
	return env.table("LISTENER ADDRESS TLS", rows)
}
