package projections

import "time"

// lull is the pacing of one group: when entries are applied as they come, and when they gather. Decisions and sessions run on states in memory, so
// few ever wait for rows, and one commit for many entries costs little more than one for a single entry. Who does wait ends the lull.
type lull struct {
	g     *group
	q     *queue
	timer *time.Timer // nil outside of a lull
	spent bool        // a lull has just ended: what waits is applied

	// Of projections apart: how long the last batch took, and when it ended.
	took  time.Duration
	since time.Time
}

func (g *group) newLull(q *queue) *lull { return &lull{g: g, q: q} }

// over gives the time at which the lull ends.
func (l *lull) over() <-chan time.Time {
	if l.timer == nil {
		return nil
	}
	return l.timer.C
}

// hurry gives a token when somebody waits for what has gathered.
func (l *lull) hurry() <-chan struct{} {
	if l.timer == nil || l.q.empty() {
		return nil
	}
	return l.g.hurry
}

// lapse ends the lull when its time is over. Projections apart look again, since the CPUs may have become idle or busy meanwhile.
func (l *lull) lapse() {
	if l.g.silent {
		if left := l.apart() - time.Since(l.since); left > 0 {
			l.begin(left)
			return
		}
	}
	l.end()
}

// end ends the lull.
func (l *lull) end() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer, l.spent = nil, true
	signal(l.q.ready)
}

func (l *lull) begin(d time.Duration) {
	l.timer, l.spent = time.NewTimer(min(d, l.g.r.cfg.Limits.LingerMost)), false
}

// allows tells whether what waits may be applied now, and begins a lull if it is the first to wait.
func (l *lull) allows() bool {
	limits := &l.g.r.cfg.Limits
	switch {
	case l.g.silent:
		return l.timer == nil
	case l.spent || l.g.position < l.g.target || l.q.enough(limits.LingerFor):
		return true
	case l.timer == nil:
		l.begin(limits.Linger)
	}
	return false
}

// follow begins the lull after a batch that took some time.
func (l *lull) follow(took time.Duration) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.spent = false
	switch {
	case l.g.silent:
		l.took, l.since = took, time.Now()
		l.begin(l.apart())
	case l.g.position >= l.g.target:
		l.begin(Idle(took, l.g.r.cfg.Limits.LiveShare))
	}
}

// apart is how long a projection apart rests after its last batch.
func (l *lull) apart() time.Duration {
	limits := &l.g.r.cfg.Limits
	share := max(limits.ApartLeast, limits.ApartShare*(1-2*l.g.r.cfg.Load()))
	return Idle(l.took, share/float64(l.g.r.aparts))
}
