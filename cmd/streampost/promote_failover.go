package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/failover"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/promotion"
	"github.com/streampost/streampost/streams/leases"
)

// This file lets a node renew its lease, and, if it is in charge, move the accounts of nodes that are gone.

// failoverOff switches all of it off.
const failoverOff = "off"

// controllerConfig is what every node's controller has, a witness's as well.
func (c *core) controllerConfig() (cfg promotion.ControllerConfig, err error) {
	f := &c.cfg.Cluster.Failover
	bucket, err := leases.New(leases.Config{Conn: c.nats.Conn(), Prefix: c.cfg.Streams.Prefix, Replicas: c.cfg.Streams.Replicas})
	return promotion.ControllerConfig{
		Node: c.nats.Name(), Boot: rand.Text(), Leases: bucket, Advise: f.Mode == "advise", Charge: f.Charge, Rate: f.Rate, Logger: c.log,
		Limits: failover.Limits{
			Suspicion: failover.Suspicion{Beat: f.Beat, Threshold: float64(f.Threshold), Pause: f.Pause},
			Grace:     f.Grace, Unfit: f.Unfit, Restart: f.Restart, Steady: f.Steady, Window: f.Window, Most: f.Most,
		},
	}, err
}

// startFailover begins to renew the lease. It is the first thing that stops, so that the others know of it.
func (c *core) startFailover(cfg promotion.ControllerConfig) {
	c.controller = promotion.NewController(cfg)
	c.group.Start(lifecycle.Part{Name: "lease of this node", Run: c.controller.Run, Stop: c.controller.Leave})
}

// failover starts the controller of a node that serves mail.
func (c *core) failover() error {
	if c.nodes == nil || c.cfg.Cluster.Failover.Mode == failoverOff {
		return nil
	}
	cfg, err := c.controllerConfig()
	if err != nil {
		return err
	}
	own := c.checks().Only("disk", "projectors", "blobs") // what is this node's, and not the cluster's
	cfg.Mail, cfg.Accounts, cfg.Candidates, cfg.Suspect, cfg.Of = true, c.accounts, c.promotions.nodes, c.promotions.nodes.prepare, c.accountsToMove
	var all moved // one node is evacuated at a time
	before := map[string]int{}
	cfg.Each = func(o promotion.Outcome) {
		c.promotions.count("failover", string(o.Result()))
		all.add(o)
	}
	cfg.Ended = func(node string, sum promotion.Sum, err error) {
		ended := all
		all = moved{}
		ended.From = node
		if ended.end(sum, err); !ended.quietly(before) {
			c.promotions.tell(ended.notice("failover"))
		}
	}
	cfg.Unfit = func(ctx context.Context) string {
		for _, r := range own.Report(ctx).Checks {
			if r.Status == health.Unhealthy {
				return r.Name + ": " + r.Cause
			}
		}
		return ""
	}
	c.startFailover(cfg)
	return nil
}

// accountsToMove lists the accounts of a node that is gone, by what views show now: while a stream has no leader nobody can tell what they lack, and the
// controller asks again.
func (c *core) accountsToMove(ctx context.Context, node string) ([]domain.AccountID, error) {
	ctx, cancel := context.WithTimeout(ctx, rowsPatience)
	defer cancel()
	return mailboxes.Store{Runner: c.runner}.OfPrimary(ctx, node)
}

// rowsPatience is how long the accounts of a node that is gone wait for views that are being made.
const rowsPatience = 30 * time.Second

// failoverSamples are the metrics of leases. What is known of other nodes is told by the one in charge.
func (c *core) failoverSamples() (all []metrics.Sample) {
	if c.controller == nil {
		return nil
	}
	charge, renewed := c.controller.Charge()
	inCharge := c.controller.InCharge()
	all = metrics.Failover(inCharge, renewed, len(charge.Advice))
	if !inCharge {
		return all[:2]
	}
	for _, n := range charge.Nodes {
		all = append(all, metrics.Suspicion(n.Node, string(n.State), n.Phi)...)
	}
	return all
}
