package natsd_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
)

// whole waits until a stream has three copies, on these nodes, each with all messages and nothing missing.
func (c *trio) whole(stream string, messages uint64, nodes ...int) {
	c.t.Helper()
	for _, i := range nodes {
		eventually(c.t, c.places[i].Cluster.Node+" has a whole copy of "+stream, func() bool {
			all, err := c.servers[i].Replicas()
			if err != nil {
				c.t.Fatal(err)
			}
			for _, r := range all {
				if r.Stream == stream {
					return r.Last == messages && r.Lacks() == 0 && r.Current
				}
			}
			return false
		})
	}
	placed, err := c.servers[nodes[0]].Placements(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range placed {
		if p.Stream != stream {
			continue
		}
		for _, i := range nodes {
			if !p.On(c.places[i].Cluster.Node) || len(p.Copies) != len(nodes) {
				c.t.Errorf("the copies of %s are %+v", stream, p.Copies)
			}
		}
	}
}

// soon is a context that ends after some minutes.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestMembersComeAndGo: a node that lives is taken out, one that died is replaced by another of a new name, and one by another of the same name. The
// stream has three whole copies after each.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	c := formed(t, 3)
	js := c.stream("LOG", 3, 100)
	c.whole("LOG", 100, 0, 1, 2)
	quiet := func(int) {}

	c.start(c.place("node4", unused(t), c.places[0].Cluster.Seeds...))
	c.gathered(4)
	if err := c.servers[0].Remove(soon(t), "nobody", false, quiet); !domain.Is(err, domain.NotFound) {
		t.Errorf("removing nobody gives %v", err)
	}
	if err := c.servers[0].Evacuate(soon(t), "node2", quiet); err != nil {
		t.Fatal(err)
	}
	c.whole("LOG", 100, 0, 2, 3) // before anything is removed
	if err := c.servers[0].Remove(soon(t), "node2", false, quiet); err != nil {
		t.Fatal(err)
	}
	c.stop(1)
	c.gathered(3)

	c.stop(2)
	fifth := c.place("node5", unused(t), c.places[0].Cluster.Seeds...)
	c.start(fifth)
	eventually(t, "node5 is a member", func() bool { return len(c.servers[0].Gathered().Members) == 4 })
	if err := c.servers[0].Remove(soon(t), "node3", false, quiet); err != nil {
		t.Fatal(err)
	}
	c.whole("LOG", 100, 0, 3, fifth)

	c.stop(3)
	if err := os.RemoveAll(c.places[3].Dir); err != nil {
		t.Fatal(err)
	}
	c.start(3)
	c.whole("LOG", 100, 0, 3, fifth)
	insist(t, js, "LOG.a", 1, "the last")
	c.whole("LOG", 101, 0, 3, fifth)
}

// TestClusterForgetsWhoItNeverMet: after all others were restarted, none knows the name of the dead one, only the id that follows from it.
func TestClusterForgetsWhoItNeverMet(t *testing.T) {
	long(t)
	c := formed(t, 3)
	fourth := c.place("node4", unused(t), c.places[0].Cluster.Seeds...)
	c.start(fourth)
	c.gathered(4)
	c.stop(fourth)
	for i := range 3 {
		c.stop(i)
		c.start(i)
		c.gathered(3)
	}
	asked := c.servers[0]
	g := asked.Gathered()
	member, ok := g.Member("node4")
	if !ok || member == "node4" || len(g.Members) != 4 {
		t.Fatalf("the members are %v, and node4 is %q", g.Members, member)
	}
	if _, ok := g.Member("node5"); ok {
		t.Error("node5 is a member")
	}
	if err := asked.Remove(soon(t), member, false, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if g = asked.Gathered(); len(g.Members) != 3 {
		t.Errorf("the members are %v", g.Members)
	}
}

// TestNobodyAnswersForAStream: one whose only copy was on a dead member is among the placements, and said to be silent.
func TestNobodyAnswersForAStream(t *testing.T) {
	t.Parallel()
	c := formed(t, 3)
	c.stream("LOST", 1, 1)
	eventually(t, "somebody has the stream", func() bool { return c.holder("LOST") >= 0 })
	c.stop(c.holder("LOST"))
	asked := c.running()[0]
	eventually(t, "it is known that nobody answers for it", func() bool {
		all, err := asked.Placements(t.Context())
		return err == nil && len(all) == 1 && all[0].Stream == "LOST" && all[0].Silent
	})
}

// holder is who has a stream with one copy; -1 while nobody has.
func (c *trio) holder(stream string) int {
	for i := range c.servers {
		if c.servers[i] != nil && c.copyOf(i, stream).Stream != "" {
			return i
		}
	}
	return -1
}
