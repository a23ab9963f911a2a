package sts

import (
	"context"
	"encoding/json"
	"time"

	"github.com/streampost/streampost/domain"
)

// pause is how often a Cache looks whether something has to be saved or fetched again.
const pause = time.Minute

// Run saves what changes and fetches policies again before their time runs out (RFC 8461 section 5.1), until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		c.Refresh(ctx)
		if err := c.save(); err != nil {
			c.cfg.Logger.Warn("the policies of MTA-STS cannot be saved", "error", err)
		}
	}
}

// Refresh looks at the policies that are used and grow old, one after the other.
func (c *Cache) Refresh(ctx context.Context) {
	now := c.cfg.Clock()
	c.mu.Lock()
	var names []string
	for name, e := range c.known {
		if e.holds(now) && e.stale(now, c.cfg.Limits.Refresh) && now.Sub(e.Used) < c.cfg.Limits.Unused && now.Sub(e.checked) >= c.cfg.Limits.Recheck {
			names = append(names, name)
		}
	}
	c.mu.Unlock()
	for _, name := range names {
		c.mu.Lock()
		e := c.known[name]
		if e == nil || e.looking != nil {
			c.mu.Unlock()
			continue
		}
		e.looking = make(chan struct{})
		c.mu.Unlock()
		if c.look(ctx, name, e); ctx.Err() != nil {
			return
		}
	}
}

// Close saves what is known.
func (c *Cache) Close(context.Context) error { return c.save() }

// save writes the policies that hold, if one is new.
func (c *Cache) save() error {
	now := c.cfg.Clock()
	c.mu.Lock()
	if !c.dirty || c.cfg.Save == nil {
		c.mu.Unlock()
		return nil
	}
	held := map[string]*entry{}
	for name, e := range c.known {
		if e.holds(now) {
			held[name] = e
		}
	}
	text, err := json.Marshal(held)
	c.dirty = false
	c.mu.Unlock()
	if err == nil {
		err = c.cfg.Save(text)
	}
	if err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
		return domain.Wrap(domain.Unavailable, err, "save the policies of MTA-STS")
	}
	return nil
}
