package door

import (
	"math/rand/v2"
	"testing"
)

// A filter never denies a key that it was given, takes few others for known, and says when it is full.
func TestKeyFilter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, maxKnownKeys} {
		f := newKeyFilter(n)
		var given []uint64
		for f.add(random.Uint64()) {
			if given = append(given, 0); len(given) > 100*(n+filterRoom) {
				t.Fatal("it is never full")
			}
		}
		if len(given) < n+filterRoom {
			t.Errorf("made for %d keys, it was full with %d", n, len(given))
		}
		f = newKeyFilter(n)
		for i := range given {
			given[i] = random.Uint64()
			f.add(given[i])
		}
		for _, key := range given {
			if !f.has(key) {
				t.Fatalf("key %x was given, and is denied", key)
			}
		}
		wrong := 0
		for range 10_000 {
			if f.has(random.Uint64()) {
				wrong++
			}
		}
		if wrong > 100 {
			t.Errorf("of 10,000 keys that %d others were not, %d are taken for known", len(given), wrong)
		}
	}
}
