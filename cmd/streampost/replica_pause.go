package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/search"
)

// This file spares a node the work for replicas that are paused there: the index of words, which reads every message and takes most of the time that a replica
// costs. The rows follow the log all the same, because those of all accounts are one fold.

// pauses is the accounts whose replicas on this node are paused.
type pauses struct {
	ids atomic.Pointer[map[domain.AccountID]bool]
	at  domain.Tx // of the directory; of whoever calls follow
}

// has tells whether an account is one of them.
func (p *pauses) has(id domain.AccountID) bool {
	ids := p.ids.Load()
	return ids != nil && (*ids)[id]
}

// follow takes over what the directory says now.
func (p *pauses) follow(ctx context.Context, d *door.Directory, node string) error {
	paused, at, err := d.PausedOn(ctx, node, p.at)
	if err == nil && paused != nil {
		p.ids.Store(&paused)
		p.at = at
	}
	return err
}

// pausesEvery is how often a node looks whether replicas on it were paused or resumed.
const pausesEvery = 2 * time.Second

// keepPauses follows the directory, and has the index catch up with accounts that are resumed. What it lacks is in the rows, so it does not matter when they
// were paused, and whether the node ran meanwhile.
func (c *core) keepPauses(ctx context.Context) error {
	tick := time.NewTicker(pausesEvery)
	defer tick.Stop()
	for recalled := false; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := c.paused.follow(ctx, c.directory, c.nats.Name()); err != nil {
			continue // the directory cannot be read now, which others tell
		}
		if !recalled {
			if recalled = c.recall(ctx) == nil; !recalled {
				continue
			}
		}
		for _, id := range c.search.Owing() {
			if c.paused.has(id) {
				continue
			}
			done, err := c.search.CatchUp(ctx, searchRows{c.runner}, id)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				c.log.Warn("the index does not catch up with an account whose replica is resumed: it is tried again", "account", id, "error", err)
			default:
				c.log.Info("the index has caught up with an account whose replica is resumed", "account", id, "messages", done.Written)
			}
		}
	}
}

// recall finds what the index lacks, once its rows are complete.
func (c *core) recall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pausesEvery)
	defer cancel()
	readers, err := c.runner.Readers(ctx, search.Name)
	for _, r := range readers {
		if err == nil {
			err = c.search.Recall(ctx, r)
		}
	}
	return err
}
