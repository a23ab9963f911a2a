package health

import (
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Load measures how much of the CPUs' time this process takes. It may be used by several goroutines.
type Load struct {
	mu   sync.Mutex
	at   time.Time
	used time.Duration // until at
	load float64
}

// NewLoad begins to measure.
func NewLoad() *Load { return &Load{at: time.Now(), used: cpuTime()} }

// loadWindow is the shortest time over which a load means something.
const loadWindow = 100 * time.Millisecond

// Now gives the share of all CPUs' time, from 0 to 1, since somebody last asked.
func (l *Load) Now() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if past := now.Sub(l.at); past >= loadWindow {
		used := cpuTime()
		l.load = min(1, (used-l.used).Seconds()/past.Seconds()/float64(runtime.GOMAXPROCS(0)))
		l.at, l.used = now, used
	}
	return l.load
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
