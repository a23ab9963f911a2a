package failover

import (
	"math/rand/v2"
	"testing"
	"time"
)

var begin = time.Unix(1_700_000_000, 0)

// TestSuspicionGrowsWithSilence and falls with the next beat.
func TestSuspicionGrowsWithSilence(t *testing.T) {
	d, now := NewDetector(Suspicion{}, begin), begin
	for range 50 {
		now = now.Add(time.Second)
		d.Beat(now)
	}
	last := -1.0
	for silence := 500 * time.Millisecond; silence < 20*time.Second; silence += 500 * time.Millisecond {
		phi := d.Phi(now.Add(silence))
		if phi < last || phi > maxPhi {
			t.Errorf("phi is %v after %v, and was %v before", phi, silence, last)
		}
		last = phi
	}
	for silence, gone := range map[time.Duration]bool{0: false, time.Second: false, 3 * time.Second: false, 5 * time.Second: true, time.Hour: true} {
		if phi := d.Phi(now.Add(silence)); (phi >= 8) != gone {
			t.Errorf("phi is %v after %v", phi, silence)
		}
	}
	d.Beat(now.Add(6 * time.Second))
	if phi := d.Phi(now.Add(7 * time.Second)); phi > 1 {
		t.Errorf("phi is %v a second after the node was heard again", phi)
	}
}

// TestJitterIsNoSilence: beats that come late by the load of a machine, for hours, raise no suspicion, and are still found missing soon.
func TestJitterIsNoSilence(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	d, now := NewDetector(Suspicion{}, begin), begin
	for beat := range 20_000 {
		interval := time.Second + time.Duration(random.NormFloat64()*float64(200*time.Millisecond))
		if beat%100 == 99 { // the collector, a slow disk
			interval += 2 * time.Second
		}
		now = now.Add(max(interval, 0))
		if phi := d.Phi(now); phi >= 8 {
			t.Fatalf("beat %d is %v late, and phi is %v", beat, interval, phi)
		}
		d.Beat(now)
	}
	if phi := d.Phi(now.Add(8 * time.Second)); phi < 8 {
		t.Errorf("phi is %v after eight seconds of silence", phi)
	}
}

// TestAnUnsteadyNodeIsGivenTime, as much as it was seen to take.
func TestAnUnsteadyNodeIsGivenTime(t *testing.T) {
	steady, unsteady := NewDetector(Suspicion{}, begin), NewDetector(Suspicion{}, begin)
	a, b := begin, begin
	for beat := range 100 {
		a, b = a.Add(time.Second), b.Add(time.Duration(1+beat%5)*time.Second)
		steady.Beat(a)
		unsteady.Beat(b)
	}
	if one, other := steady.Phi(a.Add(6*time.Second)), unsteady.Phi(b.Add(6*time.Second)); one < 8 || other >= 8 {
		t.Errorf("after six seconds phi is %v of the steady one, and %v of the other", one, other)
	}
}

// TestTimeInWhichNobodyWasHeard is no habit of a node.
func TestTimeInWhichNobodyWasHeard(t *testing.T) {
	d, now := NewDetector(Suspicion{}, begin), begin
	for range 20 {
		now = now.Add(time.Second)
		d.Beat(now)
	}
	before, _ := d.habit()
	now = now.Add(time.Minute)
	d.Resume(now)
	if after, _ := d.habit(); after != before {
		t.Errorf("the habit was %v and is %v", before, after)
	}
	if phi := d.Phi(now.Add(time.Second)); phi > 1 {
		t.Errorf("phi is %v", phi)
	}
}
