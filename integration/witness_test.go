package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/streams/nodes"
)

// TestClusterWitness: two nodes wait, and say for what. A witness is what they wait for: then one of the two may be killed, and mail comes in on the
// other. The witness has a copy of the log and nothing to read it with. In the end a node takes its place.
func TestClusterWitness(t *testing.T) {
	waits(t)
	all := formed(t, 4, "blobs.kind=jetstream")
	first, second, third, fourth := all[0], all[1], all[2], all[3]
	for _, s := range all {
		s.env = []string{"STREAMPOST_AS_VERSION=v1.2.3"}
	}
	all = all[:3]
	first.launch("")
	second.join()
	for deadline := time.Now().Add(3 * time.Minute); !strings.Contains(first.out.String(), "serve --witness"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("two nodes do not say what they lack:\n%s", first.out.String())
		}
	}
	third.flags = append(third.flags, "--witness")
	third.join()
	first.ready("")
	second.ready("")
	whole(t, all)
	for _, n := range first.standing().Nodes {
		if want := n.Node == "node3"; want != (n.Role == nodes.Witness) || len(n.Replicas) == 0 {
			t.Errorf("%s has the role %s and %d copies of streams", n.Node, n.Role, len(n.Replicas))
		}
	}
	if out := first.run("log", "repair", "--all", "--dry-run"); !strings.Contains(out, " 0 of them bad") {
		t.Errorf("of copies that are whole it is said\n%s", out)
	}
	second.kill(syscall.SIGKILL)
	began := time.Now()
	if got := first.within("a witness and one node go on", "k1"); got != "" {
		t.Fatal(got)
	}
	t.Logf("after one of two nodes was killed, the other and the witness went on after %v", time.Since(began).Round(time.Millisecond))
	second.env = []string{"STREAMPOST_AS_VERSION=v1.4.0"}
	if out, err := second.try(append([]string{"serve", "--port-offset", fmt.Sprint(second.offset)}, second.flags...)...); err == nil || !strings.Contains(out, "more than one minor version apart") {
		t.Errorf("a node that is two minor versions ahead: %v\n%s", err, out)
	}
	second.env = first.env
	second.join()
	second.ready("")
	whole(t, all)
	if got := second.imap("SELECT INBOX", "FETCH 1 (FLAGS)"); !strings.Contains(got, "k1") {
		t.Errorf("the node that comes back shows %s", got)
	}
	for _, name := range []string{"keys", "views"} {
		if files, err := os.ReadDir(filepath.Join(third.data, name)); err == nil && len(files) > 0 {
			t.Errorf("the witness has %v in %s", files, name)
		}
	}
	third.kill(syscall.SIGTERM)
	if got := second.within("two nodes do without the witness", "k2"); got != "" {
		t.Error(got)
	}
	if out, err := first.try("cluster", "remove", "node3"); err == nil || !strings.Contains(out, "the log has 3 copies, and 2 nodes would be there") {
		t.Errorf("removing a node that is needed: %v, %s", err, out)
	}
	if out := first.run("cluster", "remove", "node3", "--force"); !strings.Contains(out, "That is 2 nodes for 3 copies of the log") {
		t.Errorf("after a node was removed:\n%s", out)
	}
	fourth.env = []string{"STREAMPOST_AS_VERSION=v1.3.0"} // one minor version ahead
	fourth.join()
	fourth.ready("")
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if found := first.standing().Findings; len(found) == 1 && strings.Contains(found[0], "node4 runs version v1.3.0, and this one v1.2.3") {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after three minutes the cluster finds %q", found)
		}
	}
	if got := fourth.imap("SELECT INBOX", "FETCH 1 (FLAGS)"); !strings.Contains(got, "k1") || !strings.Contains(got, "k2") {
		t.Errorf("the node that takes the witness's place shows %s", got)
	}
}
