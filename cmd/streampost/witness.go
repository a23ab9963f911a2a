package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/projections/replicas"
	"github.com/streampost/streampost/streams/nodes"
)

// witness runs a node that keeps a copy of the log and nothing else. It has no master keys: it cannot read what it keeps.
func witness(env *Env, cfg *config.Config, log *slog.Logger) error {
	c, err := newCore(cfg, log)
	if err != nil {
		return err
	}
	started := time.Now()
	if err = c.openLog(env); err == nil {
		err = c.guardCopies()
	}
	if err == nil {
		err = c.nodes.Answer(func(context.Context) nodes.Status {
			s := nodes.Status{Role: nodes.Witness, Version: version(), Zone: cfg.Cluster.Zone, Started: started, Health: string(health.Healthy)}
			replicas, err := c.copies.replicas()
			if err != nil {
				s.Health, s.Causes = string(health.Unhealthy), []string{err.Error()}
			}
			s.Replicas = replicas
			return s
		})
	}
	if err == nil && cfg.Cluster.Failover.Mode != failoverOff {
		lease, failed := c.controllerConfig()
		if err = failed; err == nil {
			c.startFailover(lease)
		}
	}
	if err == nil {
		err = replicas.Witness(c.nodes)
	}
	if err == nil {
		log.Info("keeping a copy of the log", "data", c.data.path, "version", version())
		err = c.group.Wait(env)
	}
	err = errors.Join(err, c.close())
	if err == nil {
		log.Info("stopped")
	}
	return err
}
