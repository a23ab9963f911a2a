package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClusterDamagedCopy: the disk of a node that was killed changes a bit in the middle of what it kept. Either the node gets the entries anew by itself,
// or it says that they are missing. Then its log is gone, and it gets all of it from the others, while mail comes in there.
func TestClusterDamagedCopy(t *testing.T) {
	waits(t)
	all := startNodes(t)
	whole(t, all)
	load := newLoad(all[0])
	for w := range 6 {
		load.on(all[w%2], w)
	}
	load.wait(200)
	victim := all[2]
	victim.kill(syscall.SIGKILL)
	load.wait(50)
	damaged := 0
	blocks, err := filepath.Glob(filepath.Join(victim.data, "log", "jetstream", "$G", "streams", "ACCOUNTS_*", "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range blocks {
		octets, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(octets) < 10_000 {
			continue
		}
		octets[len(octets)/2] ^= 1
		if err := os.WriteFile(name, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	if damaged == 0 {
		t.Fatalf("there is nothing to damage among %v", blocks)
	}
	victim.join()
	victim.answers()
	t.Logf("after a flipped bit the cluster finds %q", settled(t, all))
	load.wait(50)
	// What the operator's guide says to do with a damaged copy, and what a new disk amounts to.
	victim.kill(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(victim.data, "log")); err != nil {
		t.Fatal(err)
	}
	victim.join()
	victim.ready("")
	load.wait(50)
	load.end()
	whole(t, all)
	same(t, all)
	victim.clean()
	remember(t, load.seen, victim.addr(1143), "alice@example.org")
}

// settled waits until every copy is whole or known to be damaged, and gives what is said of those.
func settled(t *testing.T, all []*server) []string {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		findings := all[0].standing().Findings
		if !slices.ContainsFunc(findings, func(f string) bool { return !strings.Contains(f, "lacks") }) {
			return findings
		}
		if time.Now().After(deadline) {
			t.Fatalf("after three minutes the cluster finds %q", findings)
		}
	}
}
