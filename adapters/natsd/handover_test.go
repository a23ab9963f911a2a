package natsd_test

import "testing"

// TestAStopHandsOver: when a server has stopped, the others know already who leads instead, and do not have to notice that it is gone.
func TestAStopHandsOver(t *testing.T) {
	t.Parallel()
	c := formed(t, 3)
	streams := []string{"A", "B", "C", "D", "E"}
	for _, name := range streams {
		c.stream(name, 3, 1)
	}
	victim := 0 // who leads the cluster, and some streams
	for i, s := range c.servers {
		if s.Gathered().Leader == s.Name() {
			victim = i
		}
	}
	name := c.servers[victim].Name()
	c.stop(victim)
	for _, s := range c.running() {
		if g := s.Gathered(); g.Leader == name || g.Leader == "" {
			t.Errorf("%s has stopped, and %s takes %q for the leader of the cluster", name, s.Name(), g.Leader)
		}
		for _, stream := range streams {
			if l := leads(t, s, stream); l == name || l == "" {
				t.Errorf("%s has stopped, and %s takes %q for the leader of %s", name, s.Name(), l, stream)
			}
		}
	}
}
