package idn

import (
	"slices"
	"strings"
	"testing"
)

func TestSpellings(t *testing.T) {
	for name, want := range map[string][]string{
		"Example.ORG":             {"example.org"},
		"localhost":               {"localhost"},
		"ab--c.example":           {"ab--c.example"},
		"BU\u0308CHER.example":    {"bücher.example", "xn--bcher-kva.example"},
		"XN--Bcher-Kva.example":   {"xn--bcher-kva.example", "bücher.example"},
		"xn--e1afmkfd.xn--p1ai":   {"xn--e1afmkfd.xn--p1ai", "пример.рф"},
		"пример.xn--p1ai":         {"пример.xn--p1ai", "пример.рф", "xn--e1afmkfd.xn--p1ai"},
		"faß.example":             {"faß.example", "xn--fa-hia.example"},
		"xn--fa-hia.example":      {"xn--fa-hia.example", "faß.example"},
		"ｅｘａｍｐｌｅ.org":             {"ｅｘａｍｐｌｅ.org", "example.org"},
		"xn--99999999.example":    {"xn--99999999.example"}, // no punycode
		"xn--ls8h.la":             {"xn--ls8h.la"},          // an emoji is no letter
		"xn--.example":            {"xn--.example"},
		"xn--a.example":           {"xn--a.example"},
		"[127.0.0.1]":             {"[127.0.0.1]"},
		"हिन्दी.example":          {"हिन्दी.example", "xn--j2bd4cyah0f.example"},
		"xn--mgbaam7a8h.example":  {"xn--mgbaam7a8h.example", "امارات.example"},
		"a.bücher.xn--4gbrim.org": {"a.bücher.xn--4gbrim.org", "a.bücher.موقع.org", "a.xn--bcher-kva.xn--4gbrim.org"},
	} {
		if got := Spellings(name); !slices.Equal(got, want) {
			t.Errorf("%s is spelt %q, want %q", name, got, want)
		}
	}
}

func TestValid(t *testing.T) {
	for name, want := range map[string]bool{
		"example.org": true, "ab--c.org": true, "bücher.example": true, "xn--bcher-kva.example": true,
		"xn--99999999.example": false, "xn--ls8h.la": false, "a\u0300\u200d.example": false,
	} {
		if Valid(name) != want {
			t.Errorf("%s is valid: %v", name, !want)
		}
	}
}

// TestLongNames are not converted, which would take the square of their length, and stay what they are.
func TestLongNames(t *testing.T) {
	many := strings.Repeat("b\u00fc", 100_000) // one label
	for _, name := range []string{many, many + ".example", "xn--" + strings.Repeat("a", 500_000), strings.Repeat("b\u00fccher.", 10_000) + "example", strings.Repeat("\u4e00", 64) + ".example"} {
		if ASCII(name) != name || Unicode(name) != name {
			t.Errorf("%.20q of %d octets is converted", name, len(name))
		}
	}
	if name := strings.Repeat("\u00fc", 64); Valid(name) {
		t.Error("a label of 64 letters can be registered")
	}
	longest := strings.Repeat(strings.Repeat("\u4e00", 55)+".", 3) + "example" // whose A-labels have fewer octets
	if a := ASCII(longest); a == longest || Unicode(a) != longest {
		t.Errorf("%q becomes %q and %q", longest, a, Unicode(a))
	}
}

func FuzzUnicode(f *testing.F) {
	for _, s := range []string{"Bücher.example", "xn--bcher-kva", "İ.example", "XN--A", "。", "ẞ", "xn--xn---epa", strings.Repeat("e\u0301", 63), strings.Repeat("\u00fc", 600)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		u := Unicode(name)
		if again := Unicode(u); again != u {
			t.Errorf("%q becomes %q and then %q", name, u, again)
		}
		if Valid(u) && Unicode(ASCII(u)) != u {
			t.Errorf("%q becomes %q by way of %q", u, Unicode(ASCII(u)), ASCII(u))
		}
	})
}
