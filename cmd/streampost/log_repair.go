package main

import (
	"encoding/json"
	"net/http"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/streams/nodes"
)

// LogRepairCmd repairs copies of the log.
type LogRepairCmd struct {
	Stream string `arg:"" optional:"" help:"Copies of this stream, such as ACCOUNTS_3."`
	All    bool   `help:"Copies of all streams."`
	Node   string `placeholder:"NAME" help:"Only copies on this node."`
	DryRun bool   `short:"n" help:"Only say what is bad, and what would be done."`
	JSON   bool   `name:"json" help:"Print JSON lines."`
}

// Help teaches.
func (*LogRepairCmd) Help() string {
	return `In a cluster each node has a copy of each stream. A copy is bad when it is not there, when entries are missing in it, or when it calls itself current and does not have what others have had for half a minute. It is put aside, in log/quarantine of that node's data directory, and the other nodes fill it anew; the node serves nothing from its log for about the time of a restart, and sessions wait. Nodes are repaired one after the other.

A copy stays as it is unless enough other nodes for a quorum have all of it, whole and current. The exit code is 4 when a bad copy is left, or a member of the cluster does not answer: nobody has looked at its copies.

Examples:

  streampost log repair --all --dry-run
  streampost log repair --all
  streampost log repair ACCOUNTS_3 --node mail2`
}

// Run repairs.
func (c *LogRepairCmd) Run(g *Globals, env *Env) error {
	if c.All == (c.Stream != "") {
		return usage("say which copies: those of a stream, or --all")
	}
	server, err := g.connect()
	if err != nil {
		return err
	}
	dry := ""
	if c.DryRun {
		dry = "true"
	}
	var sum webadmin.LogRepair
	err = server.stream(env, http.MethodPost, path("log", "repair")+query("stream", c.Stream, "node", c.Node, "dryRun", dry), nil, func(raw json.RawMessage) error {
		var one nodes.Repaired
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		switch {
		case c.JSON:
			env.printf("%s\n", raw)
		case one.Refused != "":
			env.printf("%s on %s %s, and is left: %s\n", one.Stream, one.Node, one.Bad, one.Refused)
		case one.Done:
			env.printf("%s on %s %s; it is whole again after %.1f s\n", one.Stream, one.Node, one.Bad, one.Seconds)
		default:
			env.printf("%s on %s %s; it would be filled anew\n", one.Stream, one.Node, one.Bad)
		}
		return nil
	}, &sum)
	if err != nil {
		return err
	}
	if c.JSON {
		env.printf("%s\n", mustJSON(sum))
	} else {
		env.printf("%d copies, %d of them bad, %d repaired, %d left\n", sum.Copies, sum.Bad, sum.Repaired, sum.Bad-sum.Repaired)
	}
	for _, member := range sum.Silent {
		env.tell("%s does not answer: nobody has looked at its copies\n", member)
	}
	if sum.Bad > sum.Repaired || len(sum.Silent) > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}
