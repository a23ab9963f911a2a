package door

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"
)

// attempts is a dialogue with guesses at a clock of its own.
type attempts struct {
	*guesses
	now time.Time
}

func newAttempts(limits Guessing) *attempts {
	return &attempts{newGuesses(limits), time.Unix(1_000_000, 0)}
}

// fail waits as it is told and guesses wrongly.
func (a *attempts) fail(source, login string) time.Duration {
	wait, refused := a.admit(a.now, source, login)
	if refused {
		return -1
	}
	a.now = a.now.Add(wait)
	a.guesses.fail(a.now, source, login)
	return wait
}

func TestGuessingGetsSlower(t *testing.T) {
	a := newAttempts(Guessing{})
	for i, want := range []time.Duration{0, 0, 0, 1, 2, 4, 8, 15, 15} {
		// A botnet: every guess comes from elsewhere.
		if got := a.fail(fmt.Sprint("bot", i), "Alice@example.org"); got != want*time.Second {
			t.Errorf("guess %d waits %v, want %v s", i, got, int(want))
		}
	}
	if wait, _ := a.admit(a.now, "elsewhere", "bob@example.org"); wait != 0 {
		t.Errorf("bob waits %v for what was guessed about alice", wait)
	}
	a.now = a.now.Add(3 * time.Hour)
	if wait, _ := a.admit(a.now, "elsewhere", "alice@example.org"); wait != 0 {
		t.Errorf("after three hours a login waits %v", wait)
	}
}

func TestOneSourceGuessesManyAccounts(t *testing.T) {
	a := newAttempts(Guessing{})
	for i := range 30 {
		if wait := a.fail("mallory", fmt.Sprint("user", i)); wait != 0 {
			t.Fatalf("guess %d waits %v", i, wait)
		}
	}
	if wait := a.fail("mallory", "one more"); wait < time.Second/2 {
		t.Errorf("the 31st guess from one source waits %v", wait)
	}
	for i := range 100 {
		if wait := a.fail("", fmt.Sprint("user", i)); wait != 0 { // no source to count
			t.Fatalf("guess %d without a source waits %v", i, wait)
		}
	}
}

// TestGuessesAtTheSameTime: connections side by side are no way around the delay.
func TestGuessesAtTheSameTime(t *testing.T) {
	a := newAttempts(Guessing{})
	for range 5 {
		a.fail("mallory", "alice")
	}
	let := 0
	for range 1000 {
		if _, refused := a.admit(a.now, "mallory", "alice"); !refused {
			let++
		}
	}
	if let < 1 || let > 10 {
		t.Errorf("%d of 1000 attempts at the same time may wait", let)
	}
}

func TestAUserIsNotKeptOut(t *testing.T) {
	a := newAttempts(Guessing{})
	a.fail("home", "alice")
	a.succeed("home", "alice")
	for range 8 {
		a.fail("mallory", "alice")
	}
	if wait, refused := a.admit(a.now, "home", "alice"); wait != 0 || refused {
		t.Errorf("alice at home waits %v (%v) for mallory", wait, refused)
	}
	if wait, _ := a.admit(a.now, "mallory", "alice"); wait == 0 {
		t.Error("mallory does not wait")
	}
}

// TestAUserAtAKnownPlaceIsNotKeptOut: the place was known before anybody guessed, and guesses come all at once.
func TestAUserAtAKnownPlaceIsNotKeptOut(t *testing.T) {
	a := newAttempts(Guessing{})
	a.succeed("home", "alice@example.org")
	for i := range 50 {
		a.fail(fmt.Sprint("bot", i), "alice@example.org")
	}
	for range 1000 {
		a.admit(a.now, "elsewhere", "alice@example.org")
	}
	if wait, refused := a.admit(a.now, "home", "Alice@Example.org"); wait != 0 || refused {
		t.Errorf("alice at home waits %v (%v)", wait, refused)
	}
	if _, refused := a.admit(a.now, "elsewhere", "alice@example.org"); !refused {
		t.Error("one more of a thousand attempts may wait")
	}
}

func TestBlocks(t *testing.T) {
	a := newAttempts(Guessing{})
	for i := range 40 {
		a.fail("mallory", fmt.Sprint("user", i%30))
	}
	for range 3 {
		a.fail("", "Alice@example.org")
	}
	a.fail("", "bob@example.org") // may err once
	got := fmt.Sprint(a.blocks(a.now))
	want := "[{mallory true 3" // and alice, and nobody else; time has passed while mallory waited
	if len(a.blocks(a.now)) != 2 || got[:len(want)] != want {
		t.Errorf("blocked: %s", got)
	}
	if !a.clear("ALICE@example.org") || a.clear("alice@example.org") || !a.clear("mallory") || len(a.blocks(a.now)) != 0 {
		t.Errorf("cleared, and blocked: %v", a.blocks(a.now))
	}
	if wait, _ := a.admit(a.now, "mallory", "alice@example.org"); wait != 0 {
		t.Errorf("after clearing, an attempt waits %v", wait)
	}
}

func TestGuessesAreBounded(t *testing.T) {
	a := newAttempts(Guessing{Remembered: 100})
	for i := range 1000 {
		a.fail(fmt.Sprint("bot", i), fmt.Sprint("user", i))
	}
	for i := range 1000 {
		a.succeed(fmt.Sprint("home", i), fmt.Sprint("user", i))
	}
	if len(a.failed.byKey) != 100 || a.failed.order.Len() != 100 || len(a.known.byKey) != 100 {
		t.Errorf("%d, %d and %d are remembered", len(a.failed.byKey), a.failed.order.Len(), len(a.known.byKey))
	}
}

// TestAKeptNameIsNoPartOfALine, in which a password may follow.
func TestAKeptNameIsNoPartOfALine(t *testing.T) {
	for line, want := range map[string]int{"alice": 5, strings.Repeat("ä", 400): longestName, "x" + strings.Repeat("ä", 400): longestName - 1, strings.Repeat("\x80", 400): longestName - utf8.UTFMax} {
		got := shortened(line)
		if len(got) != want || utf8.ValidString(got) != utf8.ValidString(line) || unsafe.StringData(got) == unsafe.StringData(line) {
			t.Errorf("of %.10q are kept %d octets, want %d", line, len(got), want)
		}
	}
}
