package failover

import (
	"cmp"
	"math"
	"time"
)

// Suspicion says how silence becomes suspicion. Zero fields take the defaults in their comments.
type Suspicion struct {
	Beat      time.Duration // how often a node renews its lease: 500 ms
	Threshold float64       // phi from which on a node counts as gone: 8
	Pause     time.Duration // silence that is expected of a node now and then, on top of its usual interval: 1 s
	Deviation time.Duration // the least standard deviation of intervals that is believed: 500 ms
	Window    int           // intervals that are remembered: 100
}

func (s *Suspicion) setDefaults() {
	s.Beat = cmp.Or(s.Beat, 500*time.Millisecond)
	s.Threshold = cmp.Or(s.Threshold, 8)
	s.Pause = cmp.Or(s.Pause, time.Second)
	s.Deviation = cmp.Or(s.Deviation, 500*time.Millisecond)
	s.Window = cmp.Or(s.Window, 100)
}

// Detector turns the beats of one node into a suspicion that grows with its silence: phi, the negative decimal logarithm of the chance that a beat is
// still to come, by the intervals that were seen (Hayashibara, Défago, Yared and Katayama, The phi accrual failure detector, SRDS 2004). Phi of 8 is wrong
// once in 10^8 beats, if intervals are what they were. All times are those of one clock, the observer's, so that clocks of nodes do not matter.
type Detector struct {
	cfg       Suspicion
	last      time.Time
	intervals []float64 // seconds, a ring
	next      int
}

// NewDetector begins with a node that is heard now.
func NewDetector(cfg Suspicion, now time.Time) *Detector {
	cfg.setDefaults()
	return &Detector{cfg: cfg, last: now}
}

// Beat takes a beat that was seen now.
func (d *Detector) Beat(now time.Time) {
	interval := now.Sub(d.last).Seconds()
	if len(d.intervals) < d.cfg.Window {
		d.intervals = append(d.intervals, interval)
	} else {
		d.intervals[d.next] = interval
		d.next = (d.next + 1) % len(d.intervals)
	}
	d.last = now
}

// Resume takes a beat after a time in which nobody could have been heard, or the node was away: how long that was says nothing of its habits.
func (d *Detector) Resume(now time.Time) { d.last = now }

// Silence is how long ago the last beat was seen.
func (d *Detector) Silence(now time.Time) time.Duration { return now.Sub(d.last) }

// maxPhi bounds phi, which has no other bound.
const maxPhi = 100

// Phi is the suspicion now, between 0 and maxPhi.
func (d *Detector) Phi(now time.Time) float64 {
	mean, deviation := d.habit()
	late := (d.Silence(now).Seconds() - mean - d.cfg.Pause.Seconds()) / deviation
	chance := math.Erfc(late/math.Sqrt2) / 2 // that a normally distributed interval is longer
	if chance <= 0 {
		return maxPhi
	}
	return min(-math.Log10(chance), maxPhi)
}

// habit is the mean and the standard deviation of intervals, in seconds. A node that has not been seen long enough counts as one that keeps to Beat.
func (d *Detector) habit() (mean, deviation float64) {
	mean, deviation = d.cfg.Beat.Seconds(), d.cfg.Deviation.Seconds()
	if len(d.intervals) < minIntervals {
		return mean, deviation
	}
	sum, squares := 0.0, 0.0
	for _, i := range d.intervals {
		sum += i
	}
	n := float64(len(d.intervals))
	for _, i := range d.intervals {
		squares += (i - sum/n) * (i - sum/n)
	}
	return max(mean, sum/n), max(deviation, math.Sqrt(squares/n))
}

// minIntervals is how many intervals make a habit.
const minIntervals = 5
