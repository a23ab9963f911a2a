package listen

import (
	"math/rand/v2"
	"time"
)

// Limits bounds what a consumer keeps and how long it waits. A zero field means its default.
type Limits struct {
	Window   int           // messages of one stream that were delivered and are not acknowledged; 4096
	Memory   int64         // octets of those that are held; more are read again when it is their turn; 16 MiB
	Parallel int           // lanes of one stream that work at once; 32
	AckWait  time.Duration // after which the server delivers again what nobody extends; 1 min
	Takeover time.Duration // after which another process takes over from one that fell silent; 30 s
	Request  time.Duration // for one answer of the server; 5 s
	Drain    time.Duration // how long Close waits for handlers that ignore their context; 10 s
}

func (l Limits) withDefaults() Limits {
	set(&l.Window, 4096)
	set(&l.Memory, 16<<20)
	set(&l.Parallel, 32)
	set(&l.AckWait, time.Minute)
	set(&l.Takeover, 30*time.Second)
	set(&l.Request, 5*time.Second)
	set(&l.Drain, 10*time.Second)
	return l
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Retry says how often an entry is tried and how long the pauses are. A zero field means its default.
type Retry struct {
	Attempts int           // in all; 8
	First    time.Duration // the pause before the second attempt; 100 ms
	Max      time.Duration // the longest pause; 30 s
}

func (r Retry) withDefaults() Retry {
	set(&r.Attempts, 8)
	set(&r.First, 100*time.Millisecond)
	set(&r.Max, 30*time.Second)
	return r
}

// pause is how long to wait after the n-th failure, n from 1: doubling, at most Max, and up to half of it random, so that lanes that failed
// together do not come back together.
func (r Retry) pause(n int) time.Duration {
	d := r.Max
	if n-1 < 30 {
		d = min(r.First<<(n-1), r.Max)
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}
