package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// The audit's pace. Proving an entry takes some ten microseconds, so it uses about one hundredth of a CPU, and more only where the log is so
// long that a pass would otherwise not end in time.
const (
	auditDelay = time.Minute // after the start, when there is other work
	auditRate  = 1000        // entries a second
)

// audit verifies the log again and again while the server runs: views that are ahead of an entry never read it again, so damage in it would
// be noticed when it is needed, which is too late. What it finds goes to the server's log, /healthz, /readyz, doctor and the metrics.
type audit struct {
	verify func(context.Context, streams.VerifyOptions, func(done, total uint64)) (*streams.Report, error)
	every  time.Duration // from the beginning of a pass to that of the next
	log    *slog.Logger
	now    func() time.Time
	pause  func(context.Context, time.Duration) error

	mu      sync.Mutex
	damage  int       // findings of the last whole pass, or of this one when they are more
	example string    // one of them
	ended   time.Time // of the last whole pass
}

func (c *core) newAudit() *audit {
	return &audit{verify: c.streams.Verify, every: c.cfg.Streams.VerifyEvery, log: c.log, now: time.Now, pause: projections.Pause}
}

// run makes passes until ctx ends. It never fails: that the log cannot be read just now is others' to say.
func (a *audit) run(ctx context.Context) error {
	for wait := auditDelay; a.pause(ctx, wait) == nil; {
		begun := a.now()
		if err := a.pass(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("the verification of the log did not come to its end: it is tried again", "err", err)
			wait = 10 * auditDelay
			continue
		}
		wait = max(auditDelay, a.every-a.now().Sub(begun))
	}
	return nil
}

// pass verifies everything once, slowly.
func (a *audit) pass(ctx context.Context) error {
	begun, found := a.now(), 0
	report, err := a.verify(ctx, streams.VerifyOptions{Keys: true, Found: func(f streams.Finding) {
		found++
		a.log.Error("the log is damaged", "stream", f.Stream, "account", f.Account, "tx", f.Tx, "seq", f.Seq, "found", f.What)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.damage, a.example = max(a.damage, found), f.Error()
	}}, func(done, total uint64) {
		rate := max(auditRate, float64(total)/a.every.Seconds())
		due := begun.Add(time.Duration(float64(done) / rate * float64(time.Second)))
		if early := due.Sub(a.now()); early > 0 {
			_ = a.pause(ctx, early) // what ends with ctx is the walk
		}
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended = a.now(); found == 0 {
		a.damage, a.example = 0, ""
	}
	a.log.Debug("the log was verified", "entries", report.Entries, "findings", found, "took", a.ended.Sub(begun))
	return nil
}

// look is the audit's part of the health checks.
func (a *audit) look(context.Context) (health.Status, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.damage == 0 {
		return health.Healthy, ""
	}
	return health.Degraded, fmt.Sprintf("the log is damaged in %d places, run streampost log verify: %s", a.damage, a.example)
}

func (a *audit) samples() []metrics.Sample {
	a.mu.Lock()
	defer a.mu.Unlock()
	return metrics.Audit(a.damage, a.ended)
}

// damaged says what the audit has found; empty when nothing.
func (c *core) damaged(ctx context.Context) string {
	if c.audit == nil {
		return ""
	}
	_, cause := c.audit.look(ctx)
	return cause
}
