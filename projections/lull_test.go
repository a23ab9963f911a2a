package projections

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streampost/streampost/streams"
)

// bystander has somebody else's load on the CPUs, in percent.
func bystander(load *atomic.Int64, silent bool) (*group, *queue, *lull) {
	r := &Runner{cfg: Config{Limits: Limits{}.withDefaults(), Load: func() float64 { return float64(load.Load()) / 100 }}, aparts: 1}
	g := &group{r: r, silent: silent, hurry: make(chan struct{}, 1)}
	q := newQueue(r.cfg.Limits)
	return g, q, g.newLull(q)
}

// pass tells how long it is until what waits may be applied.
func pass(l *lull) time.Duration {
	began := time.Now()
	for {
		select {
		case <-l.over():
			l.lapse()
		case <-l.hurry():
			l.end()
		case <-l.q.ready:
			if l.allows() {
				return time.Since(began)
			}
		}
	}
}

// Entries of a live stream gather for a moment, and after a batch the longer the more work that was; not longer than a second, not when they are
// many, not when somebody waits for them, and not when the stream is behind.
func TestLiveEntriesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var idle atomic.Int64
		g, q, l := bystander(&idle, false)
		expect := func(what string, want time.Duration) {
			t.Helper()
			if err := q.put(t.Context(), make([]streams.Entry, 1)); err != nil {
				t.Fatal(err)
			}
			if got := pass(l); got != want {
				t.Errorf("%s: applied after %v, not %v", what, got, want)
			}
		}
		expect("the first", 50*time.Millisecond)
		l.follow(10 * time.Millisecond)
		expect("after a short batch", 190*time.Millisecond)
		l.follow(time.Minute)
		expect("after a long batch", time.Second)
		l.follow(time.Minute)
		signal(g.hurry)
		expect("with somebody who waits", 0)
		l.follow(time.Minute)
		if err := q.put(t.Context(), make([]streams.Entry, 1023)); err != nil {
			t.Fatal(err)
		}
		expect("with a thousand", 0)
		g.target = 10
		l.follow(time.Minute)
		expect("of a stream that is behind", 0)
	})
}

// A projection apart works half of the time on an idle machine, and nearly never on a busy one until that is idle again or somebody waits.
func TestProjectionsApartYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var load atomic.Int64
		g, q, l := bystander(&load, true)
		again := func() time.Duration {
			l.follow(100 * time.Millisecond)
			if err := q.put(t.Context(), make([]streams.Entry, 1)); err != nil {
				t.Fatal(err)
			}
			return pass(l)
		}
		if rest := again(); rest != 100*time.Millisecond {
			t.Errorf("on an idle machine it rests %v", rest)
		}
		load.Store(90)
		if rest := again(); rest != 4900*time.Millisecond {
			t.Errorf("on a busy machine it rests %v", rest)
		}
		time.AfterFunc(1500*time.Millisecond, func() { load.Store(0) })
		if rest := again(); rest != 2*time.Second {
			t.Errorf("on a machine that becomes idle it rests %v", rest)
		}
		load.Store(90)
		time.AfterFunc(300*time.Millisecond, func() { signal(g.hurry) })
		if rest := again(); rest != 300*time.Millisecond {
			t.Errorf("when somebody waits it rests %v", rest)
		}
	})
}
