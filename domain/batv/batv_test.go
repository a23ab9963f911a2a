package batv_test

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/batv"
	"github.com/streampost/streampost/domain/delivery"
	"pgregory.net/rapid"
)

const day = int64(86_400)

var secret = batv.Secret("ours")

func TestMarks(t *testing.T) {
	alice := delivery.Address{Local: "Alice.B", Domain: "example.org"}
	now := 20_990 * day // the numbers of days begin anew meanwhile
	marked := secret.Mark(alice, now)
	if !strings.HasPrefix(marked.Local, "prvs=0011") || !strings.HasSuffix(marked.Local, "=Alice.B") || marked.Domain != "example.org" {
		t.Fatal(marked)
	}
	if again := secret.Mark(marked, now); again != marked {
		t.Error("it is marked twice:", again)
	}
	for after, want := range map[int64]bool{-1: true, 0: true, 1: true, 21: true, 22: false, 500: false, -2: false} {
		if plain, ok := secret.Unmark(marked, now+after*day); ok != want || ok && plain != alice {
			t.Errorf("after %d days: %v, %v", after, plain, ok)
		}
	}
	shouted := delivery.Address{Local: strings.ToUpper(marked.Local), Domain: "EXAMPLE.org"}
	if plain, ok := secret.Unmark(shouted, now); !ok || plain.Local != "ALICE.B" {
		t.Error(plain, ok)
	}
	for what, a := range map[string]delivery.Address{
		"another's": batv.Secret("theirs").Mark(alice, now), "for another name": {Local: strings.Replace(marked.Local, "Alice", "alicia", 1), Domain: "example.org"},
		"for another domain": {Local: marked.Local, Domain: "example.net"}, "with another key": {Local: strings.Replace(marked.Local, "prvs=0", "prvs=1", 1), Domain: "example.org"},
		"none": alice, "cut off": {Local: "prvs=0011abcdef=", Domain: "example.org"}, "no number": {Local: "prvs=0x11abcdef=a", Domain: "example.org"},
	} {
		if plain, ok := secret.Unmark(a, now); ok || plain != a {
			t.Errorf("%s: %v, %v", what, plain, ok)
		}
	}
	long := delivery.Address{Local: strings.Repeat("l", 60), Domain: "example.org"}
	if secret.Mark(long, now) != long || !secret.Mark(delivery.Address{}, now).IsNull() {
		t.Error("an address that is too long, or none, has a mark")
	}
}

// TestThereAndBack for any address, and nothing else.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := delivery.Address{Local: rapid.StringMatching(`[a-zA-Z0-9=+.-]{1,70}`).Draw(t, "local"), Domain: "example.org"}
		now := rapid.Int64Range(0, 100_000*day).Draw(t, "now")
		marked := secret.Mark(a, now)
		if marked == a {
			return
		}
		if plain, ok := secret.Unmark(marked, now+rapid.Int64Range(0, 21).Draw(t, "later")*day); !ok || plain != a || len(marked.Local) > 64 {
			t.Fatalf("%v became %v", a, plain)
		}
		changed := []byte(marked.Local)
		changed[rapid.IntRange(5, 14).Draw(t, "at")] ^= 1
		if _, ok := secret.Unmark(delivery.Address{Local: string(changed), Domain: "example.org"}, now); ok {
			t.Fatalf("%s is taken", changed)
		}
	})
}
