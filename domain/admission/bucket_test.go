package admission

import (
	"encoding/binary"
	"testing"
	"time"
)

func key(n int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

func TestBuckets(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := Buckets{Hourly: 60, Most: 3}
	take := func(k, n int) (taken int, wait time.Duration) {
		for range n {
			w, ok := b.Take(now, key(k))
			if !ok {
				return taken, w
			}
			taken++
		}
		return taken, 0
	}
	if taken, wait := take(1, 100); taken != 60 || wait != time.Minute {
		t.Errorf("%d, then %v", taken, wait)
	}
	if taken, _ := take(2, 1); taken != 1 {
		t.Error("one key takes from another")
	}
	now = now.Add(90 * time.Second)
	if taken, wait := take(1, 100); taken != 1 || wait != 30*time.Second {
		t.Errorf("%d, then %v", taken, wait)
	}
	now = now.Add(-time.Hour) // a clock that is set back gives nobody anything
	if taken, _ := take(1, 1); taken != 0 {
		t.Errorf("%d", taken)
	}
	now = now.Add(25 * time.Hour)
	if taken, _ := take(1, 100); taken != 60 {
		t.Errorf("%d after a day", taken)
	}
	b.Return(now, key(1))
	if taken, _ := take(1, 2); taken != 1 {
		t.Errorf("%d were put back", taken)
	}
	b.Lose(now, key(3), 1000)
	now = now.Add(61 * time.Minute)
	if taken, _ := take(3, 100); taken != 1 {
		t.Errorf("%d after an hour of debt", taken)
	}
	take(1, 60)
	for n := range 3 {
		take(10+n, 1)
	}
	if taken, _ := take(1, 60); b.Len() != 3 || len(b.by) != 3 || taken < 59 {
		t.Errorf("%d buckets, %d tokens in one that was forgotten", b.Len(), taken)
	}
}
