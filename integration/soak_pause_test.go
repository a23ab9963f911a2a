package integration

import (
	"cmp"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Nobody may wait for an answer longer than pauseLimit, and projecting may not stand still for longer than switchLimit when views are switched. Time in which the
// whole machine stood still is not counted, nor is the time for which a process that was killed was away, until it is ready. Logging in is not measured: hashing the passwords of all
// clients at once, after a kill, takes its time on purpose. A machine that is shared with others tells only of what hangs, ten times as long:
// STREAMPOST_TEST_PAUSES holds one that is quiet to the limits themselves.
const (
	pauseLimit  = time.Second
	switchLimit = 100 * time.Millisecond
	ofShared    = 10
)

// span is a time.
type span struct{ from, to time.Time }

// stalls are the times in which the machine stood still, as is seen by who has nothing to do with the server: a goroutine that wants to be woken every few
// milliseconds, one that wants a processor for a few, and one that syncs a small file on the same disk.
type stalls struct {
	mu      sync.Mutex
	all     []span
	labours []span // of the same work, in order
}

const (
	tick     = 5 * time.Millisecond
	lateTick = 10 * time.Millisecond // more than a busy processor takes to come round
	labour   = 20_000                // hashes: some milliseconds
	slowWork = 15 * time.Millisecond // more than they take on two busy processors
	slowSync = 30 * time.Millisecond // more than a sync takes that waits for those of others
)

// watch watches until ctx ends.
func (s *stalls) watch(ctx context.Context, t *testing.T, wg *sync.WaitGroup) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "sync"))
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			due := time.Now().Add(tick)
			time.Sleep(tick)
			s.add(due, lateTick)
		}
	})
	wg.Go(func() {
		for sum := [32]byte{}; ctx.Err() == nil; time.Sleep(4 * tick) {
			began := time.Now()
			for range labour {
				sum = sha256.Sum256(sum[:])
			}
			s.add(began, slowWork)
			s.mu.Lock()
			s.labours = append(s.labours, span{began, time.Now()})
			s.mu.Unlock()
		}
	})
	wg.Go(func() {
		defer file.Close()
		for block := make([]byte, 4096); ctx.Err() == nil; time.Sleep(2 * tick) {
			began := time.Now()
			_, err := file.WriteAt(block, 0)
			if err == nil {
				err = syscall.Fdatasync(int(file.Fd()))
			}
			if err != nil {
				t.Error(err)
				return
			}
			s.add(began, slowSync)
		}
	})
}

// add notes that something which began ends now, if it took longer than it should.
func (s *stalls) add(began time.Time, should time.Duration) {
	if now := time.Now(); now.Sub(began) > should {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, span{began, now})
	}
}

// within is how long the machine stood still in a time.
func (s *stalls) within(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.all, func(a, b span) int { return a.from.Compare(b.from) })
	for _, stall := range s.all {
		if stall.from.After(from) {
			from = stall.from
		}
		end := stall.to
		if end.After(to) {
			end = to
		}
		if end.After(from) {
			sum += end.Sub(from)
			from = end
		}
	}
	return sum
}

// speed is the part of a processor that who wanted one got in a time and just before, compared with the best moment of all; 1 when nobody wanted one.
func (s *stalls) speed(from, to time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var took time.Duration
	n, best := 0, time.Hour
	for _, l := range s.labours {
		best = min(best, l.to.Sub(l.from))
		if l.to.After(from.Add(-8*tick)) && l.from.Before(to) {
			n, took = n+1, took+l.to.Sub(l.from)
		}
	}
	if n == 0 {
		return 1
	}
	return best.Seconds() * float64(n) / took.Seconds()
}

// pauses are the longer ones of those for which clients waited.
type pauses struct {
	mu      sync.Mutex
	doing   string // the disturbance
	away    bool   // the process has been killed, and is not ready again
	killed  time.Time
	back    time.Time // when it was last ready again
	over    bool      // nobody measures any more
	answers int
	long    []wait
}

type wait struct {
	span
	what, meanwhile string
	stalled         time.Duration
	speed           float64 // at which the rest counts
}

func (w *wait) net() time.Duration {
	return time.Duration(float64(w.to.Sub(w.from)-w.stalled) * w.speed)
}

func (w *pauses) meanwhile(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing = what
}

// leaves says that the process is about to be killed.
func (w *pauses) leaves() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away, w.killed = true, time.Now()
}

// returns says that the process is ready.
func (w *pauses) returns() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away, w.back = false, time.Now()
}

// end says that what comes is not measured.
func (w *pauses) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// answered notes the answer to a command on a connection that was made at a time, or that none came: who was killed cannot answer, and nobody else may fail to.
func (k *soak) answered(what string, connected, began time.Time, err error) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	k.answers++
	if err != nil {
		if !k.away && k.killed.Before(connected) {
			k.t.Errorf("%s, during %q, failed after %v although nobody killed the server: %v", what, k.doing, now.Sub(began), err)
			return
		}
		now = k.killed
	}
	if began.Before(k.back) { // it was asked before it was ready
		began = k.back
	}
	if now.Sub(began) > switchLimit {
		k.long = append(k.long, wait{span: span{began, now}, what: what, meanwhile: k.doing})
	}
}

// switchLine is what the server logs of a switch.
var switchLine = regexp.MustCompile(`time=(\S+) .*msg="a view was switched to another generation".* pause=(\S+)`)

// switches are those that the server logged. What clients wait for at most is what its projectors stood still for.
func (k *soak) switches() (all []wait) {
	for _, line := range switchLine.FindAllStringSubmatch(k.s.out.String(), -1) {
		at, err := time.Parse(time.RFC3339, line[1])
		pause, wrong := time.ParseDuration(line[2])
		if err = cmp.Or(err, wrong); err != nil {
			k.t.Fatal(err)
		}
		all = append(all, wait{span: span{at.Add(-pause), at}, what: "a switch"})
	}
	return all
}

// judge tells the longest waits. When strict they may not be longer than the machine's limits.
func (k *soak) judge(strict bool) {
	k.t.Helper()
	switches := k.switches()
	k.t.Logf("%d answers, %d switches; the machine itself stood still %d times", k.answers, len(switches), len(k.machine.all))
	if strict && len(switches) == 0 {
		k.t.Error("no view was switched, or the server does not say so")
	}
	// It matters what the processors do beside it: rebuilding, and what all clients want.
	for _, all := range [][]wait{k.long, switches} {
		for i, w := range all {
			all[i].stalled, all[i].speed = k.machine.within(w.from, w.to), k.machine.speed(w.from, w.to)
		}
	}
	times := time.Duration(ofShared)
	if os.Getenv("STREAMPOST_TEST_PAUSES") != "" {
		times = 1
	}
	k.longest(k.long, times*pauseLimit, strict)
	k.longest(switches, times*switchLimit, strict)
}

func (k *soak) longest(all []wait, limit time.Duration, strict bool) {
	k.t.Helper()
	slices.SortFunc(all, func(a, b wait) int { return cmp.Compare(b.net(), a.net()) })
	for _, w := range all[:min(len(all), 10)] {
		tell := k.t.Logf
		if strict && w.net() > limit {
			tell = k.t.Errorf
		}
		tell("%s took %v, of which the machine stood still for %v; processors had %.0f %% of their speed; %s", w.what, w.to.Sub(w.from).Round(time.Millisecond), w.stalled.Round(time.Millisecond),
			100*w.speed, w.meanwhile)
	}
}
