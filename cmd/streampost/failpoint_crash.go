//go:build failpoints

package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
)

// failpoint kills the process at a named step, for tests of what survives: STREAMPOST_CRASH="log.published:3" is the third time that it gets
// there. The process dies by SIGKILL, as if the power went.
func failpoint() func(string) {
	name, count, _ := strings.Cut(os.Getenv("STREAMPOST_CRASH"), ":")
	if name == "" {
		return nil
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		n = 1
	}
	var left atomic.Int64
	left.Store(n)
	return func(at string) {
		if at == name && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal may take a moment; nothing may happen after this step
		}
	}
}

// asVersion is the version that this process takes itself for, as another build would: STREAMPOST_AS_VERSION="v1.3.0".
func asVersion() string { return os.Getenv("STREAMPOST_AS_VERSION") }

// versioned raises the version of projections, as an upgrade to another build does: STREAMPOST_VERSIONS="counters:1" adds 1 to that of counters.
func versioned(all []projections.Projection) []projections.Projection {
	name, add, _ := strings.Cut(os.Getenv("STREAMPOST_VERSIONS"), ":")
	n, err := strconv.Atoi(add)
	for i, p := range all {
		if p.Name() == name && err == nil {
			all[i] = later{p, n}
		}
	}
	return all
}

// later is a projection of a later version.
type later struct {
	projections.Projection
	by int
}

func (l later) Version() int { return l.Projection.Version() + l.by }

// later appends an event that this process knows and others do not, as a later build does, to the log of an account, and dies then:
// STREAMPOST_LATER="alice@example.org".
func (c *core) later(ctx context.Context) error {
	name := os.Getenv("STREAMPOST_LATER")
	if name == "" {
		return nil
	}
	event.Learn()
	found, err := c.directory.Lookup(ctx, name)
	if err != nil {
		return err
	}
	at, err := c.streams.Last(ctx, found.ID)
	if err != nil {
		return err
	}
	if _, err := c.streams.Append(ctx, found.ID, at, &event.Transaction{ID: [16]byte{9}, At: 1, Events: []event.Event{new(event.OfLater)}}); err != nil {
		return err
	}
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}
