package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/cluster"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/nodes"
)

// This file makes a server a node of a cluster.

// secret is that of the cluster that this server is a node of; ok is false where it stands alone.
func (c *core) secret() (s cluster.Secret, ok bool, err error) {
	if value := c.cfg.Cluster.Secret.Reveal(); value != "" {
		s, err = cluster.Parse(value)
	} else if s, err = cluster.Load(c.data.path); errors.Is(err, fs.ErrNotExist) {
		if len(c.cfg.Cluster.Join) == 0 && !c.cfg.Cluster.Witness {
			return s, false, nil
		}
		err = &domain.Error{
			Kind: domain.Invalid, Msg: "this node has no secret of the cluster that it is to join",
			Hint: "copy cluster.secret from the data directory where cluster init made it to " + c.data.path + ", or set STREAMPOST_CLUSTER_SECRET",
		}
		return s, false, err
	}
	if err != nil {
		return s, false, domain.Wrap(domain.Invalid, err, "read the secret of the cluster")
	}
	return s, true, nil
}

// usual settles what the configuration leaves to what the server is.
func (c *core) usual(clustered bool) {
	copies, blobs := 1, inDirectory
	if clustered {
		copies, blobs = 3, inJetStream
	}
	if c.cfg.Streams.Replicas == 0 {
		c.cfg.Streams.Replicas = copies
	}
	if c.cfg.Blobs.Kind == whereUsual {
		c.cfg.Blobs.Kind = blobs
	}
}

// member is what the embedded NATS server is told of its cluster.
func (c *core) member(secret cluster.Secret) (*natsd.Cluster, error) {
	cfg := c.cfg.Cluster
	tls, err := secret.TLS()
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "make the certificates of the cluster")
	}
	m := &natsd.Cluster{
		Node: cfg.Node, Listen: config.Shift(config.WithPort(cfg.Listen, config.ClusterPort), c.cfg.PortOffset),
		Advertise: config.WithPort(cfg.Advertise, config.ClusterPort), TLS: tls, Zone: cfg.Zone,
		Copies: c.cfg.Streams.Replicas, Adopt: grows(c.data.path),
	}
	if m.Node == "" {
		m.Node = c.hostname()
	}
	for _, seed := range cfg.Join {
		m.Seeds = append(m.Seeds, config.WithPort(seed, config.ClusterPort))
	}
	return m, nil
}

// joinCluster starts the NATS server of a node and waits until enough others are there. It has the master keys then: those of its directory, or of
// the nodes that have them.
func (c *core) joinCluster(ctx context.Context, server natsd.Config, secret cluster.Secret, log *streams.Config) error {
	if err := c.refuseLocalBlobs(); err != nil && !c.cfg.Cluster.Witness {
		return err
	}
	member, err := c.member(secret)
	if err != nil {
		return err
	}
	server.Cluster = member
	if c.nats, err = natsd.Start(ctx, server); err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "NATS server", Stop: c.nats.Close})
	log.Conn = c.nats.Conn()
	c.nodes = nodes.New(nodes.Config{Conn: log.Conn, Prefix: c.cfg.Streams.Prefix, Node: member.Node, Key: secret.Key("master keys"), Logger: c.log})
	c.group.Start(lifecycle.Part{Name: "other nodes", Stop: c.nodes.Close})
	c.copies = copiesOf(c.nats)
	if err := c.nodes.AnswerVersion(version()); err != nil {
		return err
	}
	if c.cfg.Cluster.Witness {
		return c.nodes.Witness()
	}
	if log.Master, err = c.sharedKeys(ctx); err != nil {
		return err
	}
	log.KeysChanged = func(ctx context.Context) error { return c.nodes.KeysChanged(ctx, c.nats.Gathered().Members) }
	if err := c.nodes.Follow(ctx, log.Master); err != nil { // a rotation may have ended while this node was away
		return err
	}
	log.Topology.Exists = !c.founds()
	if err := c.nats.Gather(ctx, log.Topology.Replicas, c.founds(), func(ctx context.Context) bool {
		there, err := streams.HasKeys(ctx, log.Conn, log.Topology)
		if err == nil && there {
			there, err = streams.Restoring(ctx, log.Conn, log.Topology)
			return err == nil && !there
		}
		return false
	}); err != nil {
		return err
	}
	return c.nodes.Mingle(ctx, version()) // before anything is written
}

// founderFile is in the data directory where a cluster begins, until its log is made. Only there it is: a node that finds no log waits for those that have it.
const founderFile = "cluster.new"

func (c *core) founds() bool {
	if c.restoring {
		return true
	}
	_, err := os.Stat(c.data.join(founderFile))
	return err == nil
}

// keepUp shares the master keys with the other nodes, now that they are known to open the log, and follows those of the others.
func (c *core) keepUp(keys *streams.MasterKeys) error {
	if err := os.Remove(c.data.join(founderFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return domain.Wrap(domain.Unavailable, err, "note that the log of the cluster is made")
	}
	if err := c.grown(); err != nil {
		return err
	}
	if err := c.nodes.Share(keys, c.streams.KeysSettled); err != nil {
		return err
	}
	c.copies.head = c.streams.Head
	if err := c.guardCopies(); err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "master keys of other nodes", Run: func(ctx context.Context) error {
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			if err := c.nodes.Follow(ctx, keys); err != nil && ctx.Err() == nil {
				c.log.Error("the master keys of the nodes differ", "error", err)
			}
		}
	}})
	return nil
}

// patiently takes a step of the start, which of a node is repeated.
func (c *core) patiently(ctx context.Context, step func() error) error {
	if c.nodes == nil {
		return step()
	}
	return c.insist(ctx, step)
}

// insist repeats a step while nobody leads a stream that it needs, which an election ends.
func (c *core) insist(ctx context.Context, step func() error) error {
	for {
		err := step()
		if !domain.Is(err, domain.Unavailable) {
			return err
		}
		c.log.Info("waiting for a stream that nobody leads yet", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// followEvery is how often a node looks whether a rotation passed it by while it was cut off.
const followEvery = 30 * time.Second

// askEvery is how often a node without master keys asks for them.
const askEvery = 2 * time.Second

// sharedKeys reads the master keys of the data directory, or gets them from another node.
func (c *core) sharedKeys(ctx context.Context) (*streams.MasterKeys, error) {
	keys := c.data.join("keys")
	if value := c.cfg.Keys.Master.Reveal(); value != "" {
		return streams.ParseMaster(value)
	}
	if hasMaster(keys) {
		return streams.LoadMaster(keys)
	}
	for told := false; ; {
		exported, ok, err := c.nodes.Keys(ctx)
		switch {
		case err != nil:
			return nil, err
		case ok:
			c.log.Info("the master keys came from another node", "directory", keys)
			return streams.SaveMaster(keys, exported)
		case !told:
			told = true
			c.log.Info("waiting for a node that has the master keys", "join", c.cfg.Cluster.Join)
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return nil, &domain.Error{
				Kind: domain.Unavailable, Msg: "no other node gives this one the master keys", Err: ctx.Err(),
				Hint: "start the node where cluster init was run, and check that all have the same secret and reach each other",
			}
		}
	}
}

// describe is what this node tells the others of itself.
func (c *core) describe(started time.Time, checks *health.Checks) func(context.Context) nodes.Status {
	return func(ctx context.Context) nodes.Status {
		s := nodes.Status{Role: nodes.Mail, Version: version(), Zone: c.cfg.Cluster.Zone, Started: started}
		report := checks.Report(ctx)
		s.Health = string(report.Status)
		for _, r := range report.Checks {
			if r.Status != health.Healthy {
				s.Causes = append(s.Causes, r.Name+": "+r.Cause)
			}
		}
		var err error
		if s.Replicas, err = c.copies.replicas(); err != nil {
			s.Health, s.Causes = string(health.Unhealthy), append(s.Causes, err.Error())
		}
		for _, p := range c.runner.Status(ctx) {
			if p.Serves() && p.State != projections.Stopped {
				s.Lag, s.LagSeconds = max(s.Lag, p.LagEntries), max(s.LagSeconds, p.LagSeconds)
			}
		}
		return s
	}
}

// clusterStatus asks all nodes and compares what they say.
func (c *core) clusterStatus(ctx context.Context) (webadmin.Cluster, error) {
	all, err := c.nodes.All(ctx, len(c.nats.Gathered().Nodes))
	if err != nil {
		return webadmin.Cluster{}, err
	}
	s := webadmin.Cluster{Node: c.nats.Name(), Copies: c.streams.Topology().Replicas, Nodes: all, Findings: []string{}}
	s.Quorum = s.Copies/2 + 1
	find := func(format string, args ...any) { s.Findings = append(s.Findings, fmt.Sprintf(format, args...)) }
	if len(all) < s.Copies {
		find("%d nodes answer, and the log has %d copies", len(all), s.Copies)
	}
	for _, member := range c.silent(all) {
		find("member %s does not answer", member)
	}
	for _, n := range all {
		if n.Health != string(health.Healthy) {
			find("node %s is %s: %s", n.Node, n.Health, strings.Join(n.Causes, "; "))
		}
		if n.Skew.Abs() > maxNodeSkew {
			find("the clock of node %s is off by %v", n.Node, n.Skew)
		}
		if n.Version != version() {
			find("node %s runs version %s, and this one %s", n.Node, n.Version, version())
		}
	}
	if c.controller != nil {
		charge, _ := c.controller.Charge()
		s.Failover = &charge
		if charge.Node == "" {
			find("no node is in charge of failover")
		}
		for _, a := range charge.Advice {
			find("the accounts of node %s are not moved, though %s: %s. To move them: streampost replica promote --from %s", a.Node, a.Why, charge.Withheld, a.Node)
		}
	}
	for _, name := range c.streams.Streams() {
		stream := webadmin.ClusterStream{Stream: name, Copies: []webadmin.ClusterReplica{}}
		for _, n := range all {
			for _, r := range n.Replicas {
				if r.Stream == name {
					stream.Last = max(stream.Last, r.Last)
					stream.Copies = append(stream.Copies, webadmin.ClusterReplica{Node: n.Node, Last: r.Last, Lacks: r.Lacks(), Current: r.Current, Bad: r.Bad()})
					if r.Leader == n.Node { // who leads knows it best
						stream.Leader = n.Node
					}
				}
			}
		}
		for i := range stream.Copies {
			r := &stream.Copies[i]
			if r.Behind = stream.Last - r.Last; r.Bad != "" {
				find("the copy of %s on node %s %s", name, r.Node, r.Bad)
			}
		}
		if stream.Leader == "" {
			find("nobody leads %s", name)
		}
		if len(stream.Copies) < s.Copies && len(all) >= s.Copies {
			find("%d nodes have a copy of %s, and it must have %d: if that stays so, run streampost cluster grow", len(stream.Copies), name, s.Copies)
		}
		s.Streams = append(s.Streams, stream)
	}
	return s, nil
}

// maxNodeSkew is how far apart the clocks of nodes may be: beyond, tasks and dates would surprise.
const maxNodeSkew = 2 * time.Second
