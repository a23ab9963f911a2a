package projections

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
)

// A bound on speed makes batches small, so that work and rest alternate quickly; whoever goes away need not wait for the rest.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		perSecond   int
		share       float64
		most, batch int
	}{{0, 0, 4096, 4096}, {0, 1, 4096, 4096}, {1000, 0, 4096, 100}, {5, 0, 4096, 1}, {0, 0.25, 4096, 256}, {100_000, 0.25, 4096, 256}, {0, 0.25, 10, 10}} {
		if got := newPace(c.perSecond, c.share).batch(c.most); got != c.batch {
			t.Errorf("%d entries a second, a share of %g: batches of %d, not %d", c.perSecond, c.share, got, c.batch)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []*pace{newPace(1, 0), newPace(0, 0.001), newPace(0, 0)} {
		if err := p.rest(gone, 3600, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("%d entries a second, a share of %g: %v", p.perSecond, p.share, err)
		}
	}
	if err := newPace(0, 1).rest(t.Context(), 1, time.Hour); err != nil {
		t.Error(err)
	}
}

// Whoever shares a pace shares its bound: two that do 10 entries each of 100 a second wait as if one had done 20.
func TestPaceIsShared(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := newPace(100, 0)
	for i, want := range []time.Duration{90, 190, 290} {
		if got := p.book(now, 10, 10*time.Millisecond); got != want*time.Millisecond {
			t.Errorf("rest %d: %v", i, got)
		}
	}
	if got := p.book(now.Add(time.Hour), 10, 10*time.Millisecond); got != 90*time.Millisecond {
		t.Errorf("after an hour without work: %v", got)
	}
	p = newPace(0, 0.25)
	for i, want := range []time.Duration{30, 70} { // two at the same time, for 10 ms each
		if got := p.book(now, 5, 10*time.Millisecond); got != want*time.Millisecond {
			t.Errorf("share, rest %d: %v", i, got)
		}
	}
}

// Each account's turn comes once in each cycle, whatever the looks are that the cycle is cut into.
func TestDue(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	for i := range 50 {
		id, turns := alias(i), 0
		for at := begin; at.Before(begin.Add(7 * 24 * time.Hour)); at = at.Add(7 * time.Hour) {
			if due(id, at, at.Add(7*time.Hour), 7*24*time.Hour) {
				turns++
			}
		}
		if turns != 1 {
			t.Errorf("account %s had %d turns", id, turns)
		}
		if !due(id, begin, begin.Add(15*24*time.Hour), 7*24*time.Hour) {
			t.Errorf("account %s was left out after a long sleep", id)
		}
	}
}

func alias(n int) domain.AccountID { return domain.NewAccountID([10]byte{byte(n), 7}) }
