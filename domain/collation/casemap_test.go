package collation

import (
	"cmp"
	"testing"

	"pgregory.net/rapid"
)

// RFC 5051 section 2.
func TestCasemap(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int // of a and b
	}{
		{"", "", 0},
		{"abc", "ABC", 0},
		{"a_", "aB", 1}, // "_" lies after the capitals
		{"\u00e9", "E\u0301", 0},
		{"\u00e9", "e", 1},
		{"\ufb01x", "\ufb01X", 0},           // a ligature is decomposed, but into small letters
		{"\u01c6", "\u01c4", 0},             // the digraph has a title case of its own
		{"\u03c3", "\u03c2", 0},             // both sigmas
		{"\u00df", "SS", 1},                 // no simple mapping
		{"\uff21", "a", 0},                  // full width
		{"\u0430\u0431", "\u0410\u0411", 0}, // Cyrillic
		{"z", "\u4e00", -1},
		{"\xff", "\xff", 0}, // no UTF-8
	} {
		if got := cmp.Compare(Casemap(test.a), Casemap(test.b)); got != test.want {
			t.Errorf("%q and %q compare as %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestCasemapIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-zA-Z0-9 \[\]_~]*`).Draw(t, "ascii")
		if once := Casemap(s); Casemap(once) != once || len(once) != len(s) {
			t.Fatalf("%q becomes %q and then %q", s, once, Casemap(once))
		}
	})
}
