package pipeline_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/pipeline"
)

// TestALongFieldIsReadOnce lets many steps look at a field of 1 MiB in lines of three octets, which costs memory in proportion to its length.
func TestALongFieldIsReadOnce(t *testing.T) {
	text := "X-Long: a\r\n" + strings.Repeat(" \r\n", 1<<20/3) + " b\r\nX-Spam-Flag: YES\r\n"
	lines := make([]string, 50, 51)
	for n := range lines {
		lines[n] = "root: HasHeader=X-None -> Null"
	}
	p := compile(t, append(lines, "root: IsMarkedAsSpam -> ToRepository repository=spam", "root: All -> Null")...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := told(p.Advance(mail(), world{header: text}, nil))
	runtime.ReadMemStats(&after)
	if want := "park in spam (spam) alice@example.org,nobody@example.org,dave@example.net"; got != want {
		t.Errorf("the mail has %q, not %q", got, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("%d octets of memory were taken for a header of %d", used, len(text))
	}
	for name, value := range pipeline.Fields(text, nil) {
		if name == "X-Long" && (!strings.HasPrefix(value, "a ") || !strings.HasSuffix(value, " b")) {
			t.Error("the long field is not unfolded")
		}
	}
}
