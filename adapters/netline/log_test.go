package netline

import (
	"strings"
	"testing"
)

func TestForLog(t *testing.T) {
	for text, want := range map[string]string{"alice": "alice", "a\xffb": "a?b", "x" + strings.Repeat("ä", 1000): "x" + strings.Repeat("ä", 99) + "?"} {
		if got := ForLog(text); got != want {
			t.Errorf("of %.20q is logged %q", text, got)
		}
	}
}
