package natsd_test

import (
	"slices"
	"testing"
)

// TestAStopHandsOver: when a server stops, others lead what it led, and the rest hears so from them: nobody has to notice that it is gone.
func TestAStopHandsOver(t *testing.T) {
	t.Parallel()
	c := formed(t, 3)
	streams := []string{"A", "B", "C", "D", "E"}
	for _, name := range streams {
		c.stream(name, 3, 1)
		c.whole(name, 1, 0, 1, 2)
	}
	victim := 0 // who leads the cluster, and some streams
	for i, s := range c.servers {
		if s.Gathered().Leader == s.Name() {
			victim = i
		}
	}
	eventually(t, "somebody follows closely enough to lead", func() bool {
		gave, left := c.servers[victim].HandOver(t.Context())
		if len(left) > 0 {
			t.Errorf("nobody leads %v, which were given up", left)
		}
		return gave > 0
	})
	name := c.servers[victim].Name()
	c.stop(victim)
	for _, s := range c.running() {
		eventually(t, s.Name()+" knows who leads now", func() bool {
			if g := s.Gathered(); g.Leader == name || g.Leader == "" {
				return false
			}
			return !slices.ContainsFunc(streams, func(stream string) bool { l := leads(t, s, stream); return l == name || l == "" })
		})
	}
}
