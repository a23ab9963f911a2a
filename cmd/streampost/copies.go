package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/streams/nodes"
)

// How closely a node watches its own copies of the log.
const (
	copiesEvery = 10 * time.Second
	// badLooks is how many looks in a row must find a copy bad before it counts as stale, or is repaired without being told to: what is bad stays so.
	badLooks = 3
)

// copies watches this node's copies of the log. Holes are seen at every look; a copy that merely stands still calls itself current, and is found out by
// what its leader had ten seconds ago; one that is not there at all, by what those who lead the streams say about where copies are.
type copies struct {
	node   string
	every  time.Duration // between two looks
	own    func() ([]nodes.Replica, error)
	placed func(ctx context.Context) ([]natsd.Placement, error)
	head   func(ctx context.Context, stream string) (domain.Seq, error) // nil where there is nobody to ask

	mu       sync.Mutex
	heads    map[string]uint64 // of the streams, at the last look
	standing map[string]int    // looks in a row at which a copy lacked what its leader had at the one before
	gone     map[string]int    // looks in a row at which a copy was missing
	bad      int               // looks in a row at which any copy was bad

	repaired, refused atomic.Uint64 // copies
}

// copiesOf watches the copies of a server.
func copiesOf(server *natsd.Server) *copies {
	return &copies{node: server.Name(), every: copiesEvery, own: server.Replicas, placed: server.Placements}
}

// look counts once, and tells whether some copy has been bad for long.
func (c *copies) look(ctx context.Context) (bad bool, err error) {
	all, err := c.replicas()
	if err != nil {
		return false, err
	}
	gone, err := c.missing(ctx, all)
	if err != nil {
		gone = c.gone // nobody tells; those who were missing are taken to be missing still
	}
	heads := map[string]uint64{}
	if c.head != nil {
		for _, r := range all {
			if head, err := c.head(ctx, r.Stream); err == nil && r.Log {
				heads[r.Stream] = uint64(head)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	standing := map[string]int{}
	for _, r := range all {
		if r.Current && r.Last < c.heads[r.Stream] {
			standing[r.Stream] = c.standing[r.Stream] + 1
		}
	}
	c.heads, c.standing, c.gone = heads, standing, gone
	all = c.judge(all, func(r *nodes.Replica) bool { return true })
	if c.bad++; !slices.ContainsFunc(all, func(r nodes.Replica) bool { return r.Bad() != "" }) {
		c.bad = 0
	}
	return c.bad >= badLooks, nil
}

// missing counts anew in how many looks in a row copies were not there, or took no part.
func (c *copies) missing(ctx context.Context, all []nodes.Replica) (gone map[string]int, err error) {
	placed, err := c.placed(ctx)
	if err != nil {
		return nil, err
	}
	gone = map[string]int{}
	for _, p := range placed {
		part := func(r nodes.Replica) bool { return r.Stream == p.Stream && r.Group == p.Group }
		if p.Group != "" && p.On(c.node) && !slices.ContainsFunc(all, part) {
			gone[p.Stream] = c.gone[p.Stream] + 1
		}
	}
	return gone, nil
}

// judge says of copies whether they are stale, where still tells that one stands, and whether they are absent. c.mu is held.
func (c *copies) judge(all []nodes.Replica, still func(*nodes.Replica) bool) []nodes.Replica {
	for i := range all {
		r := &all[i]
		r.Stale = c.standing[r.Stream] >= badLooks && still(r)
		r.Absent = c.gone[r.Stream] >= badLooks && r.Group == ""
	}
	for _, stream := range slices.Sorted(maps.Keys(c.gone)) {
		if c.gone[stream] >= badLooks && !slices.ContainsFunc(all, func(r nodes.Replica) bool { return r.Stream == stream }) {
			all = append(all, nodes.Replica{Stream: stream, Log: true, Absent: true})
		}
	}
	return all
}

// replicas are this node's copies, as they are now.
func (c *copies) replicas() ([]nodes.Replica, error) {
	all, err := c.own()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.judge(all, func(r *nodes.Replica) bool { return r.Current && r.Last < c.heads[r.Stream] }), err
}

// guardCopies watches this node's copies from now on, and repairs them when another node says so.
func (c *core) guardCopies() error {
	c.group.Start(lifecycle.Part{Name: "copies of the log", Run: c.watchCopies})
	return c.nodes.AnswerRepair(c.repairOwn)
}

// watchCopies looks again and again, and repairs what is bad where the configuration says so.
func (c *core) watchCopies(ctx context.Context) error {
	for tick := time.NewTicker(c.copies.every); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return nil
		}
		if err := c.nats.Stopped(); err != nil { // the supervisor starts the process anew
			return err
		}
		bad, err := c.copies.look(ctx)
		if err != nil || !bad || !c.cfg.Cluster.Repair {
			continue
		}
		all, err := c.nodes.All(ctx, len(c.nats.Gathered().Nodes))
		if err != nil || !nodes.First(all, c.nats.Name()) {
			continue // nodes take turns
		}
		if _, err := c.repairOwn(ctx, nodes.Repair{}); err != nil && ctx.Err() == nil {
			c.log.Error("a bad copy of the log is not repaired", "error", err)
		}
	}
}

// badOwn are the bad copies of this node, and those of them that may be filled anew, by what all nodes say now.
func (c *core) badOwn(ctx context.Context, order nodes.Repair) (bad []nodes.Repaired, refill []string, err error) {
	own, err := c.copies.replicas()
	if err != nil {
		return nil, nil, err
	}
	all, err := c.nodes.All(ctx, len(c.nats.Gathered().Nodes))
	if err != nil {
		return nil, nil, err
	}
	for _, r := range own {
		found := r.Bad()
		if found == "" || order.Stream != "" && order.Stream != r.Stream {
			continue
		}
		one := nodes.Repaired{Node: c.nats.Name(), Stream: r.Stream, Bad: found}
		if err := nodes.MayRefill(all, c.cfg.Streams.Replicas, c.nats.Name(), r.Stream); err != nil {
			one.Refused = err.Error()
			c.copies.refused.Add(1)
			c.log.Error("a bad copy of the log stays", "stream", r.Stream, "found", found, "error", err)
		} else {
			refill = append(refill, r.Stream)
		}
		bad = append(bad, one)
	}
	return bad, refill, nil
}

// repairOwn fills the bad copies of this node anew, of which others have all. Of two orders at a time the later one looks when the earlier one is done.
func (c *core) repairOwn(ctx context.Context, order nodes.Repair) (done []nodes.Repaired, err error) {
	if order.DryRun {
		done, _, err = c.badOwn(ctx, order)
		return done, err
	}
	var refill []string
	var began time.Time
	err = c.nats.Refill(ctx, func(ctx context.Context) ([]string, error) {
		if done, refill, err = c.badOwn(ctx, order); err == nil && len(refill) > 0 {
			c.log.Warn("bad copies of the log are filled anew by the other nodes", "streams", refill)
			began = time.Now()
		}
		return refill, err
	})
	if err != nil || len(refill) == 0 {
		return done, err
	}
	took := time.Since(began)
	for i := range done {
		if done[i].Refused == "" {
			done[i].Done, done[i].Seconds = true, nodes.Seconds(took)
		}
	}
	c.copies.repaired.Add(uint64(len(refill)))
	c.log.Warn("the copies are whole again", "streams", refill, "took", took.Round(time.Millisecond))
	return done, nil
}

// repairLog has all nodes fill their bad copies anew, one after the other.
func (c *core) repairLog(ctx context.Context, order webadmin.RepairOrder, told func(nodes.Repaired)) (sum webadmin.LogRepair, err error) {
	all, err := c.nodes.All(ctx, len(c.nats.Gathered().Nodes))
	if err != nil {
		return sum, err
	}
	at := func(s nodes.Status) bool { return order.Node == "" || s.Node == order.Node }
	if !slices.ContainsFunc(all, at) {
		return sum, domain.Errorf(domain.NotFound, "node %s is not there", order.Node)
	}
	known := func(r nodes.Replica) bool { return order.Stream == "" || r.Stream == order.Stream }
	if !slices.ContainsFunc(all, func(s nodes.Status) bool { return slices.ContainsFunc(s.Replicas, known) }) {
		return sum, domain.Errorf(domain.NotFound, "no node has a copy of a stream %s", order.Stream)
	}
	for _, s := range all {
		if !at(s) {
			continue
		}
		for _, r := range s.Replicas {
			if known(r) {
				sum.Copies++
			}
		}
		if !slices.ContainsFunc(s.Replicas, func(r nodes.Replica) bool { return known(r) && r.Bad() != "" }) {
			continue
		}
		repair := nodes.Repair{Stream: order.Stream, DryRun: order.DryRun}
		var done []nodes.Repaired
		if s.Node == c.nats.Name() {
			done, err = c.repairOwn(ctx, repair)
		} else {
			done, err = c.nodes.Repair(ctx, s.Node, repair)
		}
		for _, one := range done {
			told(one)
			if sum.Bad++; one.Done {
				sum.Repaired++
			}
			if one.Refused != "" {
				sum.Refused++
			}
		}
		if err != nil {
			return sum, err
		}
	}
	if order.Node == "" {
		sum.Silent = c.silent(all)
	}
	return sum, nil
}

// silent are the members of the cluster that did not answer: their names, or ids where this node has not met them since its own start.
func (c *core) silent(all []nodes.Status) []string {
	return slices.DeleteFunc(c.nats.Gathered().Members, func(member string) bool {
		return slices.ContainsFunc(all, func(s nodes.Status) bool { return s.Node == member })
	})
}

// lookAtReplicas is the health of this node's copies of the log. A hole in one is damage that JetStream itself does not notice.
func (c *core) lookAtReplicas(context.Context) (health.Status, string) {
	all, err := c.copies.replicas()
	if err != nil {
		return health.Unhealthy, err.Error()
	}
	for _, r := range all {
		switch bad := r.Bad(); {
		case bad != "":
			return health.Unhealthy, fmt.Sprintf("this node's copy of %s %s: streampost log repair fills it anew, see \"A damaged copy\" in the operator's guide", r.Stream, bad)
		case r.Leader == "":
			return health.Unhealthy, "nobody leads " + r.Stream + ": too few nodes reach each other"
		case !r.Current:
			return health.Degraded, "this node's copy of " + r.Stream + " is catching up"
		}
	}
	return health.Healthy, ""
}

// copySamples are the metrics of this node's copies of the log.
func (c *core) copySamples() []metrics.Sample {
	all := append(metrics.Repairs(c.copies.repaired.Load(), c.copies.refused.Load()), metrics.Nodes(len(c.nats.Gathered().Nodes)))
	replicas, err := c.copies.replicas()
	if err != nil {
		return all
	}
	for _, r := range replicas {
		if r.Log {
			all = append(all, metrics.Copy(r.Stream, r.Lacks(), r.Current, r.Stale, r.Absent, r.Leader != "")...)
		}
	}
	return all
}
