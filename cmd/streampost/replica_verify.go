package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/projections/replicas"
)

// ReplicaTestCmd tests what nodes reach.
type ReplicaTestCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ReplicaTestCmd) Help() string {
	return `Every node looks at once: it asks each stream of the log where it ends, opens a key with its master key, and tries what its blobs lie in, and each answers within a second. A node that does not answer, and one whose master keys are not those of the others, is found. The exit code is 4 when something is not reached.

Examples:

  streampost replica test
  streampost replica test --json`
}

// Run asks the nodes.
func (c *ReplicaTestCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var all []replicas.Health
	if err := server.call(env, http.MethodGet, path("replicas", "test"), nil, &all); err != nil {
		return err
	}
	if c.JSON {
		err = env.json(all)
	} else {
		err = printHealth(env, all)
	}
	if err == nil && slices.ContainsFunc(all, func(h replicas.Health) bool { return !h.OK() }) {
		err = &exitError{exitFound, nil}
	}
	return err
}

func printHealth(env *Env, all []replicas.Health) error {
	var rows [][]string
	var problems []string
	for _, h := range all {
		row := []string{h.Node}
		var found []string
		for _, part := range []struct {
			name  string
			reach replicas.Reach
		}{{"log", h.Log}, {"blobs", h.Blobs}, {"keys", h.Keys}} {
			switch {
			case !h.Answers || h.Witness:
				row = append(row, "-")
			case part.reach.OK:
				found = append(found, part.reach.Found)
				row = append(row, "ok "+time.Duration(part.reach.Seconds*float64(time.Second)).Round(100*time.Microsecond).String())
			default:
				row = append(row, "FAILED")
				problems = append(problems, fmt.Sprintf("%s, %s: %s", h.Node, part.name, part.reach.Error))
			}
		}
		switch {
		case !h.Answers:
			row = append(row, h.Error)
		case h.Witness:
			row = append(row, "a witness: it keeps the log only")
		default:
			row = append(row, strings.Join(found, ", "))
		}
		rows = append(rows, row)
	}
	if err := env.table("NODE LOG BLOBS KEYS FOUND", rows); err != nil {
		return err
	}
	for _, p := range problems {
		env.printf("problem  %s\n", p)
	}
	return nil
}

// ReplicaVerifyCmd compares nodes.
type ReplicaVerifyCmd struct {
	Accounts []string `arg:"" optional:"" help:"Accounts; all if none."`
	Node     []string `placeholder:"NODE" help:"Compare these nodes, two or more; all that have rows if none is named. May be repeated."`
	Domain   []string `placeholder:"DOMAIN" help:"All accounts with an address in this domain; may be repeated."`
	JSON     bool     `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*ReplicaVerifyCmd) Help() string {
	return `Every node says at which transaction its rows of an account stand, and which digest each mailbox has there; those of one transaction must be equal. Nothing but digests is read, so that thousands of mailboxes are compared in a moment while mail goes on. An account whose rows are not seen at one transaction on all nodes is looked at again, and listed as open in the end; so is one whose rows a node cannot read. A node that does not answer is listed as missing, unless it is known to be a witness. Rows that a disk has changed behind the digest beside them are found by projection count, on each node; which node is wrong, projection verify tells there. The exit code is 4 when something differs, is open or is missing.

Examples:

  streampost replica verify
  streampost replica verify alice@example.org --node mail1 --node mail2
  streampost replica verify --domain example.org --json`
}

// Run compares.
func (c *ReplicaVerifyCmd) Run(g *Globals, env *Env) error {
	check := webadmin.ReplicaCheck{Nodes: c.Node, Domains: c.Domain, All: len(c.Accounts)+len(c.Domain) == 0}
	if !check.All {
		var err error
		if check.Accounts, err = (&accountsFlags{Domain: c.Domain}).names(env, c.Accounts); err != nil {
			return err
		}
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	var sum replicas.Verified
	if err := server.stream(env, http.MethodPost, path("replicas", "verify"), bytes.NewReader(mustJSON(check)), shown(env, c.JSON, func(d *replicas.Difference) {
		where := d.Name
		if d.Mailbox != 0 {
			where += fmt.Sprintf(", mailbox %d", d.Mailbox)
		}
		var digests []string
		for _, node := range slices.Sorted(maps.Keys(d.Digests)) {
			digests = append(digests, node+" "+d.Digests[node].String())
		}
		env.printf("differs  %s at transaction %d: %s\n", where, d.Tx, strings.Join(digests, ", "))
	}), &sum); err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		for _, name := range sum.Open {
			env.printf("open     %s was not seen at one transaction on all nodes\n", name)
		}
		for _, node := range sum.Missing {
			env.printf("missing  node %s did not answer and was not compared\n", node)
		}
		env.printf("%d mailboxes of %d accounts compared on %s: %d accounts differ\n", sum.Mailboxes, sum.Accounts, strings.Join(sum.Nodes, ", "), sum.Differ)
	}
	if sum.Differ+len(sum.Open)+len(sum.Missing) > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}
