package memory

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Collecting follows the load, and memory is given back once for each time that the server becomes idle.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		load, freed := 0.0, 0
		var percents []int
		done := make(chan error)
		go func() {
			done <- keep(ctx, func() float64 { return load }, func(p int) int { percents = append(percents, p); return 0 }, func() { freed++ })
		}()
		spend := func(d time.Duration, at float64) {
			load = at
			time.Sleep(d)
			synctest.Wait()
		}
		spend(2500*time.Millisecond, 0)
		if freed != 0 {
			t.Error("memory is given back before the server is known to be idle")
		}
		spend(time.Minute, 0)
		spend(time.Minute, 0.5)
		if freed != 1 || !slices.Equal(percents, []int{50, 200}) {
			t.Errorf("idle, then busy: given back %d times, collected at %v", freed, percents)
		}
		spend(time.Minute, 0.1)
		spend(2*time.Second, 0)
		spend(time.Minute, 0.1)
		if freed != 1 || !slices.Equal(percents, []int{50, 200, 50}) {
			t.Errorf("calm, and idle for a moment: given back %d times, collected at %v", freed, percents)
		}
		spend(time.Minute, 0)
		if freed != 2 {
			t.Errorf("idle again: given back %d times", freed)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
