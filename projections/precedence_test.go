package projections

import (
	"context"
	"testing"
	"time"
)

func TestPrecedence(t *testing.T) {
	var p precedence
	if err := p.wait(t.Context(), 0); err != nil {
		t.Fatalf("with nothing before it: %v", err)
	}
	one, other := p.begin(), p.begin()
	waited := make(chan error)
	go func() { waited <- p.wait(t.Context(), 0) }()
	one()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.wait(gone, 0); err == nil {
		t.Error("it did not wait for the other one")
	}
	if err := p.wait(t.Context(), time.Millisecond); err != nil {
		t.Errorf("it has waited enough: %v", err)
	}
	select {
	case err := <-waited:
		t.Fatalf("it did not wait for the other one: %v", err)
	default:
	}
	other()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

func TestStride(t *testing.T) {
	for _, c := range []struct {
		now, most int
		took      time.Duration
		want      int
	}{
		{4096, 4096, 10 * time.Millisecond, 4096},
		{4096, 4096, time.Second, 2048},
		{128, 4096, time.Second, 128},
		{128, 4096, 200 * time.Millisecond, 128},
		{128, 4096, 50 * time.Millisecond, 256},
		{3000, 4096, 50 * time.Millisecond, 4096},
		{10, 10, time.Second, 10},
	} {
		if got := stride(c.now, c.most, c.took); got != c.want {
			t.Errorf("after %d of at most %d in %v: %d, want %d", c.now, c.most, c.took, got, c.want)
		}
	}
}
