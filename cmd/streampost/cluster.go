package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/failover"
	"github.com/streampost/streampost/ops/cluster"
	"github.com/streampost/streampost/streams"
)

// ClusterCmd forms and watches a cluster.
type ClusterCmd struct {
	Init   ClusterInitCmd   `cmd:"" help:"Make the secret of a new cluster, and its master key, in the data directory of its first node."`
	Status ClusterStatusCmd `cmd:"" help:"Show the nodes, who leads which stream, and what is wrong."`
	Grow   ClusterGrowCmd   `cmd:"" help:"Make a server that stands alone the first node of a cluster, and give its log copies."`
	Remove ClusterRemoveCmd `cmd:"" help:"Take a node out of the cluster for ever."`
	Local  ClusterLocalCmd  `cmd:"" help:"Run three nodes on this machine, to try what a cluster does."`
}

// ClusterInitCmd makes a secret.
type ClusterInitCmd struct{}

// Help teaches.
func (*ClusterInitCmd) Help() string {
	return `Three nodes make a cluster that goes on when one of them is lost. Run this once, on an empty data directory, and copy cluster.secret from there to the data directory of each other node, with mode 0600. Then start all three, each with the address of one that it can reach. They find the others, and get the master key, from it.

Whoever has the secret is let in: keep it as you keep the master key in keys/.

Examples:

  streampost cluster init --data /var/lib/streampost
  streampost serve --data /var/lib/streampost --join mail2.example.org          # on mail1, and so on`
}

// Run makes the secret and the first master key.
func (c *ClusterInitCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	data, err := openData(loaded.Config.Data)
	if err != nil {
		return err
	}
	defer func() { _ = data.close() }()
	if _, err := os.Stat(data.join("log")); err == nil {
		return &domain.Error{
			Kind: domain.Invalid, Msg: data.path + " holds the log of a server already",
			Hint: "a cluster begins on an empty data directory",
		}
	}
	if exists, err := cluster.Exists(data.path); err != nil || exists {
		return errors.Join(err, errHasSecret(data.join(cluster.File)))
	}
	// The secret comes last: what is interrupted before is done again.
	if _, err := streams.LoadMaster(data.join("keys")); err != nil {
		return err
	}
	if err := markFounder(data.path); err != nil {
		return err
	}
	switch err := cluster.New().Save(data.path); {
	case errors.Is(err, fs.ErrExist):
		return errHasSecret(data.join(cluster.File))
	case err != nil:
		return domain.Wrap(domain.Unavailable, err, "write the secret of the cluster")
	}
	env.printf("The secret of the cluster is %s.\nCopy it to the data directory of each other node, mode 0600, then start all:\n\n  streampost serve --data %s --join HOST-OF-ANOTHER-NODE\n", data.join(cluster.File), data.path)
	return nil
}

func errHasSecret(file string) error {
	return &domain.Error{Kind: domain.Exists, Msg: file + " is there already: the cluster has its secret", Hint: "start the nodes with streampost serve --join HOST"}
}

// markFounder marks the data directory of the node that makes the log of a new cluster.
func markFounder(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, founderFile), nil, 0o600); err != nil {
		return domain.Wrap(domain.Unavailable, err, "mark the first node of the cluster")
	}
	return nil
}

// ClusterStatusCmd shows the cluster.
type ClusterStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ClusterStatusCmd) Help() string {
	return `It asks all nodes through the one that it reaches. A node that does not answer within two seconds is not listed. The exit code is 4 when something is wrong.

Examples:

  streampost cluster status
  streampost cluster status --json`
}

// Run prints the nodes and the streams.
func (c *ClusterStatusCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	var s webadmin.Cluster
	if err := server.call(env, http.MethodGet, path("cluster"), nil, &s); err != nil {
		return err
	}
	if c.JSON {
		if err := env.json(s); err != nil {
			return err
		}
	} else if err := c.print(env, &s); err != nil {
		return err
	}
	if len(s.Findings) > 0 {
		return &exitError{exitFound, nil}
	}
	return nil
}

func (c *ClusterStatusCmd) print(env *Env, s *webadmin.Cluster) error {
	var rows [][]string
	for _, n := range s.Nodes {
		leads := 0
		for _, stream := range s.Streams {
			if stream.Leader == n.Node {
				leads++
			}
		}
		name := n.Node
		if name == s.Node {
			name += "*"
		}
		rows = append(rows, []string{
			name, string(n.Role), dash(n.Zone), n.Version, n.Health, fmt.Sprint(leads), fmt.Sprintf("%d (%.1fs)", n.Lag, n.LagSeconds),
			n.Skew.String(), time.Since(n.Started).Round(time.Second).String(),
		})
	}
	if err := env.table("NODE ROLE ZONE VERSION HEALTH LEADS LAG CLOCK UP", rows); err != nil {
		return err
	}
	env.printf("\n")
	rows = nil
	for _, stream := range s.Streams {
		var copies []string
		for _, r := range stream.Copies {
			switch {
			case r.Lacks > 0:
				copies = append(copies, fmt.Sprintf("%s lacks %d", r.Node, r.Lacks))
			case !r.Current:
				copies = append(copies, fmt.Sprintf("%s %d behind", r.Node, r.Behind))
			default:
				copies = append(copies, r.Node)
			}
		}
		rows = append(rows, []string{stream.Stream, dash(stream.Leader), fmt.Sprint(stream.Last), strings.Join(copies, ", ")})
	}
	if err := env.table("STREAM LEADER ENTRIES COPIES", rows); err != nil {
		return err
	}
	if f := s.Failover; f != nil {
		how := "moves accounts"
		if f.Advise {
			how = "advises only"
		}
		env.printf("\nfailover  %s is in charge (term %d) and %s\n", dash(f.Node), f.Term, how)
		for _, n := range f.Nodes {
			if n.State != failover.Live {
				env.printf("failover  %s is %s: %s (suspicion %.1f)\n", n.Node, n.State, n.Why, n.Phi)
			}
		}
		if f.Moving != "" {
			env.printf("failover  the accounts of %s are being moved\n", f.Moving)
		}
	}
	if len(s.Findings) > 0 {
		env.printf("\n")
	}
	for _, f := range s.Findings {
		env.printf("problem  %s\n", f)
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
