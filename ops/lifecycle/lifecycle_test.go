package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/ops/lifecycle"
)

func TestStopsInReverse(t *testing.T) {
	g := lifecycle.New(slog.New(slog.DiscardHandler))
	var mu sync.Mutex
	var order []string
	note := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
	part := func(name string) lifecycle.Part {
		return lifecycle.Part{
			Name: name,
			Run:  func(ctx context.Context) error { <-ctx.Done(); note(name + " ran"); return ctx.Err() },
			Stop: func(context.Context) error { note(name + " drained"); return nil },
		}
	}
	g.Start(part("log"))
	g.Start(part("views"))
	g.Start(part("imap"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	if want := []string{"imap drained", "imap ran", "views drained", "views ran", "log drained", "log ran"}; !slices.Equal(order, want) {
		t.Error(order)
	}
}

func TestFailureOfOnePartEndsWait(t *testing.T) {
	g := lifecycle.New(slog.New(slog.DiscardHandler))
	g.Start(lifecycle.Part{Name: "log"})
	g.Start(lifecycle.Part{Name: "imap", Run: func(context.Context) error { return errors.New("no more sockets") }})
	if err := g.Wait(context.Background()); err == nil || err.Error() != "imap: no more sockets" {
		t.Error(err)
	}
	if err := g.Stop(time.Minute); err != nil {
		t.Error(err)
	}
}

func TestBoundHolds(t *testing.T) {
	g := lifecycle.New(slog.New(slog.DiscardHandler))
	closed := false
	g.Start(lifecycle.Part{Name: "log", Stop: func(context.Context) error { closed = true; return nil }})
	forever := make(chan struct{})
	defer close(forever)
	g.Start(lifecycle.Part{Name: "imap", Run: func(context.Context) error { <-forever; return nil }})
	err := g.Stop(time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "stop imap: it did not finish in time") {
		t.Error(err)
	}
	if !closed {
		t.Error("the log stays open because imap hangs")
	}
}

func TestRunsOutliveTheStopsOfTheirStep(t *testing.T) {
	g := lifecycle.New(slog.New(slog.DiscardHandler))
	running, drained := make(chan struct{}), make(chan struct{})
	ended := false
	g.Start(
		lifecycle.Part{Name: "server", Stop: func(context.Context) error {
			close(drained)
			return nil
		}},
		lifecycle.Part{Name: "socket of the server", Run: func(ctx context.Context) error {
			close(running)
			<-ctx.Done()
			select {
			case <-drained:
			default:
				t.Error("the socket ended before the server was drained")
			}
			ended = true
			return nil
		}},
	)
	<-running
	if err := g.Stop(time.Minute); err != nil || !ended {
		t.Errorf("stop: %v, ended %v", err, ended)
	}
}
