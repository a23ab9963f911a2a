package main

import (
	"testing"

	"github.com/streampost/streampost/domain/zone"
)

// TestRecordsDoNotSteerTheTerminal: what DNS says is shown as it is, unless it has octets that do more than that.
func TestRecordsDoNotSteerTheTerminal(t *testing.T) {
	for text, want := range map[string]string{
		`v=spf1 "x" -all`: `v=spf1 "x" -all`, "10\tmx.b\u00fccher.example": "10 mx.b\u00fccher.example", "v=spf1 \x1b[2J": `"v=spf1 \x1b[2J"`, "a\nb": `"a\nb"`, "\u009b2J": `"\u009b2J"`, "\xff": `"\xff"`, "\u202e": `"\u202e"`,
	} {
		if got := foundText(&zone.Checked{Found: []string{text}}); got != want {
			t.Errorf("%q is shown as %s", text, got)
		}
	}
	if got := foundText(&zone.Checked{Found: []string{"a", "b"}, Why: "two"}); got != "a; b: two" {
		t.Error(got)
	}
}
