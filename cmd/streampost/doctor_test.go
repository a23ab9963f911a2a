package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now, written time.Time
		err          error
		status, says string
	}{
		{now, now.Add(-time.Hour), nil, "ok", "2026-05-01T11:00:00Z"},
		{now, now.Add(30 * time.Second), nil, "ok", "past"}, // clocks of two machines
		{now, time.Time{}, nil, "ok", "2026-05-01T12:00:00Z"},
		{now, now.Add(time.Hour), nil, "problem", "1h0m0s in the future"},
		{time.Unix(0, 0), time.Time{}, nil, "problem", "it is 1970"},
		{now, time.Time{}, errors.New("gone"), "problem", "gone"},
	} {
		c.now = c.now.UTC()
		if f := clock(c.now, c.written, c.err); f.Status != c.status || !strings.Contains(f.Found, c.says) {
			t.Errorf("at %v, after an entry from %v: %+v", c.now, c.written, f)
		}
	}
}
