package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/ops/cluster"
)

// TestClusterGrows: a server that stands alone becomes the first node of three while mail comes in. Nothing that was accepted is missing or there twice, the
// log is whole, every UID is the same message as before, and all nodes have the same rows, also one that loses its own.
func TestClusterGrows(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Skip("STREAMPOST_TEST_REPLICAS is not set")
	}
	first := idleServer(t)
	first.flags = append(first.flags, "--set", "cluster.node=node1", "--set", "cluster.listen=127.0.0.1:6222")
	first.start("")
	if out, err := first.try("cluster", "grow"); err == nil || !strings.Contains(out, "blob copy --to jetstream") {
		t.Fatalf("blobs in a directory: %v, %s", err, out)
	}
	for i := range 20 {
		first.accepts(fmt.Sprint("before ", i))
	}
	first.run("blob", "copy", "--to", "jetstream")
	first.kill(syscall.SIGTERM)
	first.run("blob", "copy", "--to", "jetstream")
	first.flags = append(first.flags, "--set", "blobs.kind=jetstream")
	first.join()
	first.ready("")
	if out, err := first.tryWith(nil, append([]string{"cluster", "grow"}, first.sets()...)...); err != nil || !strings.Contains(out, cluster.File) {
		t.Fatalf("cluster grow says %v\n%s", err, out)
	}
	secret, err := os.ReadFile(filepath.Join(first.data, cluster.File))
	if err != nil {
		t.Fatal(err)
	}
	all := []*server{first}
	for n := 2; n <= 3; n++ {
		s := idleServer(t)
		s.flags = append(s.flags, "--set", fmt.Sprintf("cluster.node=node%d", n), "--set", "cluster.listen=127.0.0.1:6222", "--set", "blobs.kind=jetstream", "--join", first.addr(6222))
		if err := os.MkdirAll(s.data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.data, cluster.File), secret, 0o600); err != nil {
			t.Fatal(err)
		}
		s.join()
		all = append(all, s)
	}
	load := newLoad(first)
	for w := range 3 {
		load.on(first, w)
	}
	load.wait(50)
	began := time.Now()
	first.kill(syscall.SIGTERM)
	first.join()
	load.wait(1)
	t.Logf("the restart was a pause of %v", time.Since(began).Round(time.Millisecond))
	for _, s := range all {
		s.ready("")
	}
	load.wait(50)
	began = time.Now()
	t.Logf("%s after %v", first.run("cluster", "grow"), time.Since(began).Round(time.Millisecond))
	load.wait(50)
	if out := all[1].run("cluster", "grow"); !strings.Contains(out, "0 streams got more") {
		t.Errorf("growing again: %s", out)
	}
	whole(t, all)
	first.kill(syscall.SIGKILL) // who once had the only copy
	for w := 3; w < 6; w++ {
		load.on(all[w%2+1], w)
	}
	load.wait(50)
	first.join()
	first.ready("")
	load.end()
	whole(t, all)
	first.run("snapshot", "make", "alice@example.org")
	third := all[2] // whose rows are lost takes what it can from the snapshot that another node made
	third.kill(syscall.SIGTERM)
	third.loseViews()
	third.join()
	third.ready("")
	third.hydrated(1)
	same(t, all)
	for _, s := range all {
		s.clean()
		remember(t, load.seen, s.addr(1143), "alice@example.org")
	}
}

// sets are the flags of serve that other commands have too.
func (s *server) sets() (flags []string) {
	for i := 0; i+1 < len(s.flags); i++ {
		if s.flags[i] == "--set" {
			flags = append(flags, s.flags[i], s.flags[i+1])
		}
	}
	return flags
}
