package streams

import (
	"testing"
	"time"
)

// TestGossipIsHeardOnce, whoever repeats it and whenever, and what is remembered for that is bounded.
func TestGossipIsHeardOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	g := Gossip{speakers: map[[16]byte]speaker{}}
	for i, c := range []struct {
		start  byte
		number uint64
		want   bool
	}{{1, 5, true}, {1, 5, false}, {1, 4, false}, {1, 6, true}, {2, 5, true}, {2, 5, false}} {
		if got := g.isNew([16]byte{c.start}, c.number, now); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	for i := range 2 * gossipStarts {
		g.isNew([16]byte{3, byte(i), byte(i >> 8)}, 1, now)
	}
	if n := len(g.speakers); n != gossipStarts || g.isNew([16]byte{1}, 6, now) {
		t.Errorf("%d starts are remembered", n)
	}
	if !g.isNew([16]byte{4}, 1, now.Add(3*gossipAge)) || len(g.speakers) != 1 {
		t.Errorf("%d starts are remembered that nobody hears of any more", len(g.speakers))
	}
}
