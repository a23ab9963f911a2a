package admission

import (
	"encoding/binary"
	"time"
)

// Greylisting says for how long a sender that nobody has heard of is put off: those who send mail come again, and many who send nothing else do not (RFC 6647).
type Greylisting struct {
	Delay  time.Duration // for which the first try and those soon after it are put off
	Window time.Duration // within which a client has to come again
	Keep   time.Duration // for which one that came again is known, from its last mail on
	Prove  int           // of a network that came again so often everybody passes; 0: never
}

// Grey is what is remembered of a triple of network, sender and recipient, or of a network.
type Grey struct {
	First  int64 // when it came for the first time, in seconds of Unix
	Used   int64 // when it was last written down that it came
	Passed int   // how often it passed
}

// Verdict is what becomes of a triple that comes.
type Verdict struct {
	Pass   bool
	Wait   time.Duration // until it passes, if it comes again
	Proved bool          // this is the first time that it passes: its network has proved itself once more
	Keep   time.Duration // for which the new state is to be kept; 0: it need not be written down
}

// refresh is how often at most it is written down that somebody who is known has come.
const refresh = 24 * time.Hour

// Triple decides about a triple: old is what is known of it, nil if nothing is. It gives the new state.
func (g *Greylisting) Triple(now time.Time, old *Grey) (Grey, Verdict) {
	at := now.Unix()
	switch {
	case old == nil || old.Passed == 0 && (at-old.First > int64(g.Window/time.Second) || at < old.First):
		return Grey{First: at, Used: at}, Verdict{Wait: g.Delay, Keep: g.Window}
	case old.Passed == 0 && at-old.First < int64(g.Delay/time.Second):
		return *old, Verdict{Wait: g.Delay - time.Duration(at-old.First)*time.Second}
	case old.Passed == 0:
		return Grey{First: old.First, Used: at, Passed: 1}, Verdict{Pass: true, Proved: true, Keep: g.Keep}
	case at-old.Used >= int64(refresh/time.Second):
		return Grey{First: old.First, Used: at, Passed: old.Passed + 1}, Verdict{Pass: true, Keep: g.Keep}
	}
	return *old, Verdict{Pass: true}
}

// Network decides whether everybody of a network passes, and gives what is to be known of it after that; keep is 0 where nothing is new. proved says that one of it has proved itself just now.
func (g *Greylisting) Network(now time.Time, old *Grey, proved bool) (next Grey, pass bool, keep time.Duration) {
	at := now.Unix()
	if old == nil {
		old = &Grey{First: at}
	}
	next = *old
	pass = g.Prove > 0 && old.Passed >= g.Prove
	if proved {
		next.Passed++
	}
	if g.Prove > 0 && (proved || pass && at-old.Used >= int64(refresh/time.Second)) {
		next.Used, keep = at, g.Keep
	}
	return next, pass, keep
}

// Bytes is the state as a store keeps it.
func (g *Grey) Bytes() []byte {
	b := []byte{1} // the version
	b = binary.AppendVarint(b, g.First)
	b = binary.AppendVarint(b, g.Used)
	return binary.AppendUvarint(b, uint64(g.Passed))
}

// ReadGrey reads what Bytes has written; nil for what it has not.
func ReadGrey(b []byte) *Grey {
	if len(b) == 0 || b[0] != 1 {
		return nil
	}
	b = b[1:]
	var g Grey
	for _, field := range []*int64{&g.First, &g.Used} {
		v, n := binary.Varint(b)
		if n <= 0 {
			return nil
		}
		*field, b = v, b[n:]
	}
	passed, n := binary.Uvarint(b)
	if n <= 0 || passed > 1<<31 {
		return nil
	}
	g.Passed = int(passed)
	return &g
}
