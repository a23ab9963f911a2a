package projectiontest

import (
	"context"
	"log/slog"
	"time"

	"github.com/streampost/streampost/projections"
)

// T is what Run and Settle need of a test; *testing.T, *testing.B and *rapid.T have it.
type T interface {
	Helper()
	Fatal(args ...any)
	Cleanup(f func())
	Context() context.Context
}

// Run projects a log into views until the test ends. The views are closed by whoever opened them, after that.
func Run(t T, log *Log, views projections.Views, all ...projections.Projection) *projections.Runner {
	t.Helper()
	runner := projections.NewRunner(projections.Config{
		Log: log, Views: views, Projections: all, Limits: projections.Limits{BackoffMin: time.Millisecond}, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = runner.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return runner
}

// Settle waits until the views show all of the log.
func Settle(t T, log *Log, runner *projections.Runner) {
	t.Helper()
	for _, stream := range log.Streams() {
		head, err := log.Head(t.Context(), stream)
		if err == nil {
			err = runner.Wait(t.Context(), stream, head)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Live names the generation of a projection that readers see, for tests that change rows behind the projectors' back.
func Live(t T, runner *projections.Runner, stream, projection string) projections.Generation {
	t.Helper()
	for _, s := range runner.Status(t.Context()) {
		if s.Stream == stream && s.Name == projection && s.Serves() && s.Generation > 0 {
			return projections.Generation{Stream: stream, Projection: projection, Number: s.Generation}
		}
	}
	t.Fatal("projection " + projection + " has no rows in stream " + stream)
	return projections.Generation{}
}
