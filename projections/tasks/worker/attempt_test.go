package worker

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/task"
)

// What is said of a failure is text that every view store takes.
func TestShortened(t *testing.T) {
	for text, want := range map[string]string{
		"as it is": "as it is", "zero\x00octet": "zero\uFFFDoctet", "\xff": "\uFFFD",
		strings.Repeat("ä", task.MaxText): strings.Repeat("ä", task.MaxText/2), strings.Repeat("\x00", task.MaxText): strings.Repeat("\uFFFD", task.MaxText/3),
	} {
		if got := shortened(text); got != want {
			t.Errorf("%.20q becomes %.20q (%d octets)", text, got, len(got))
		}
	}
}
