// Package memory balances the server's memory against processor time. It is the one place where the collector is set.
//
// A busy server collects seldom, since memory is what it has and CPUs are what it lacks: with GOGC=200 a delivery takes a tenth less time than with 50.
// One that is not busy collects often, and one that has become idle gives back what the burst took: an idle server stays below 80 MB even after
// password hashes have taken 19 MiB each.
package memory

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	busyPercent = 200 // GOGC while more than busyLoad of the CPUs' time is in use
	calmPercent = 50  // and otherwise
	busyLoad    = 0.25
	idleLoad    = 0.05
	idleAfter   = 3 // looks in a row at which no more than idleLoad was in use
	look        = time.Second
)

// Keep does so until ctx ends. load gives the share of all CPUs' time in use. Who sets GOGC decides on that himself.
func Keep(ctx context.Context, load func() float64) error {
	collect := debug.SetGCPercent
	if os.Getenv("GOGC") != "" {
		collect = func(int) int { return 0 }
	}
	return keep(ctx, load, collect, debug.FreeOSMemory)
}

func keep(ctx context.Context, load func() float64, collect func(percent int) int, free func()) error {
	collect(calmPercent)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for busy, idle := false, 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		used := load()
		if is := used > busyLoad; is != busy {
			busy = is
			percent := calmPercent
			if busy {
				percent = busyPercent
			}
			collect(percent)
		}
		switch {
		case used > idleLoad:
			idle = 0
		case idle < idleAfter:
			if idle++; idle == idleAfter {
				free()
			}
		}
	}
}
