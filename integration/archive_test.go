package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClusterRestored: a cluster loses the log on all three nodes, and gets it back from the archive while two of the nodes wait. One node archives at a
// time, and when it is killed another goes on. It takes half a minute, most of which is the turn of a dead node.
func TestClusterRestored(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_ARCHIVE") == "" {
		t.Skip("STREAMPOST_TEST_ARCHIVE is not set")
	}
	shared := t.TempDir()
	all := startNodes(t, "archive.kind=directory", "archive.directory="+filepath.Join(shared, "archive"), "archive.every=200ms", "blobs.kind=directory", "blobs.directory_is_shared=true", "blobs.directory="+filepath.Join(shared, "blobs"))
	whole(t, all)
	for i, s := range all {
		s.accepts(fmt.Sprint("mail to node ", i))
	}
	archived := func(s *server) {
		t.Helper()
		out := ""
		for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if out, _ = s.try("log", "verify", "--archive", "alice@example.org"); strings.Contains(out, " 0 entries not archived yet, 0 damaged") {
				return
			}
		}
		t.Fatalf("not everything is archived: %s", out)
	}
	archived(all[0])
	holders := 0
	for i, s := range all {
		if strings.Contains(s.run("doctor"), "the log is archived") {
			holders++
			s.kill(syscall.SIGKILL)
			other := all[(i+1)%3]
			other.accepts("after the archiver died")
			archived(other)
			break
		}
	}
	if holders != 1 {
		t.Fatal("nobody archives")
	}
	for _, s := range all {
		s.kill(syscall.SIGTERM)
	}
	for _, s := range all {
		if err := os.RemoveAll(filepath.Join(s.data, "log")); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range all[1:] {
		s.join()
	}
	if out := all[0].run(append([]string{"log", "restore"}, asSettings(all[0].flags, all[0].offset)...)...); !strings.Contains(out, "are restored") {
		t.Errorf("log restore says %s", out)
	}
	all[0].join()
	for _, s := range all {
		s.ready("")
	}
	whole(t, all)
	for _, s := range all {
		s.subjects("mail to node 0", "mail to node 1", "mail to node 2", "after the archiver died")
	}
	if out := all[1].run("log", "verify"); !strings.Contains(out, " 0 damaged") {
		t.Errorf("the log says %s", out)
	}
	all[1].accepts("after the restore")
	archived(all[2])
}

// asSettings gives the flags of a server to a command that opens its data directory, which knows them as keys of the configuration.
func asSettings(flags []string, offset int) (all []string) {
	all = []string{"--set", fmt.Sprint("port_offset=", offset)}
	for i := 0; i+1 < len(flags); i += 2 {
		switch name, value := flags[i], flags[i+1]; name {
		case "--set":
			all = append(all, name, value)
		case "--join":
			all = append(all, "--set", "cluster.join="+value)
		}
	}
	return all
}
