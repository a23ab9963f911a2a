package natsd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestACrashWhileACopyIsFilledAnew: the process dies when the first of several directories is in quarantine. The next start finishes that, and the others
// fill the copy.
func TestACrashWhileACopyIsFilledAnew(t *testing.T) {
	t.Parallel()
	c := formed(t, 3)
	js := c.stream("LOG", 3, 0)
	insist(t, js, "LOG.a", 100, strings.Repeat("x", 100_000))
	c.whole("LOG", 100, 0, 1, 2)
	c.stop(1)
	c.damage(1, "LOG")
	c.places[1].Failpoint = func(name string) {
		if name == "refill.moved" {
			panic("crash")
		}
	}
	victim := c.start(1)
	eventually(t, "node2 has its copy, with a hole", func() bool { r := c.copyOf(1, "LOG"); return r.Leader != "" && r.Lacks() > 0 })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it did not crash")
			}
			victim.Die()
		}()
		t.Error(victim.Refill(t.Context(), these("LOG")))
	}()
	kept, err := filepath.Glob(filepath.Join(c.places[1].Dir, "quarantine", "*.new"))
	if err != nil || len(kept) != 1 {
		t.Errorf("after the crash these are on their way into quarantine: %v, %v", kept, err)
	}
	if stream, err := os.Stat(filepath.Join(c.places[1].Dir, "jetstream", "$G", "streams", "LOG")); err != nil || !stream.IsDir() {
		t.Errorf("the stream is no longer in its place: %v", err)
	}
	c.places[1].Failpoint = nil
	c.start(1)
	c.whole("LOG", 100, 0, 1, 2)
	if kept, err := os.ReadDir(filepath.Join(c.places[1].Dir, "quarantine")); err != nil || len(kept) != 2 || kept[0].Name() != "LOG" {
		t.Errorf("the bad copy and that of its group are not in quarantine: %v, %v", kept, err)
	}
}
