package main

import (
	"testing"
	"time"
)

func TestANodeIsDeadWhenItIsOutOfSightForLong(t *testing.T) {
	var here []string
	now := time.Unix(0, 0)
	s := newSightings(func() []string { return here })
	s.clock = func() time.Time { return now }
	for _, step := range []struct {
		after time.Duration
		here  []string
		alive bool
	}{
		{0, nil, true}, // never asked for
		{outOfSight - 1, nil, true},
		{1, nil, false},
		{time.Hour, []string{"b"}, true},
		{time.Hour, nil, true}, // out of sight for the first time
		{outOfSight, nil, false},
	} {
		now, here = now.Add(step.after), step.here
		if got := s.alive("b"); got != step.alive {
			t.Errorf("at %v it is alive: %v", now, got)
		}
	}
}
