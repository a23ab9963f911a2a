package integration

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/projections/replicas"
)

// replicaStates asks a node for the states of alice's replicas.
func replicaStates(s *server) (states map[string]replicas.State) {
	s.t.Helper()
	states = map[string]replicas.State{}
	out, err := s.try("replica", "status", "alice@example.org", "--json")
	var all []replicas.Account
	if json.Unmarshal([]byte(out), &all) != nil || len(all) != 1 {
		s.t.Fatalf("replica status says %v\n%s", err, out)
	}
	for _, r := range all[0].Replicas {
		states[r.Destination] = r.State
	}
	return states
}

// awaitState waits until alice's replica on a node is in a state.
func awaitState(s *server, node string, want replicas.State) {
	s.t.Helper()
	var got replicas.State
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = replicaStates(s)[node]; got == want {
			return
		}
	}
	s.t.Fatalf("after three minutes the replica on %s is %s and not %s", node, got, want)
}

// TestReplicas: an operation initialises replicas, in Carbonio's words; a paused one is resumed whatever came meanwhile; one whose node dies is unavailable and
// comes back; and in the end the nodes have the same mailboxes. It takes half a minute of three processes, so it runs where STREAMPOST_TEST_REPLICAS is set; what
// it shows of package replicas and of the command line, their own tests show without processes.
func TestReplicas(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Skip("STREAMPOST_TEST_REPLICAS is not set: this test did not run")
	}
	waits(t)
	all := startNodes(t)
	whole(t, all)
	if out := all[0].run("ha", "setAccountDestination", "node2", "10", "accounts", "alice@example.org,bob@example.org", "--sync"); !strings.Contains(out, "2 replicas of 2 accounts follow the log") {
		t.Errorf("setAccountDestination says\n%s", out)
	}
	if out, err := all[1].try("replica", "set", "node9", "10", "alice@example.org"); err == nil || !strings.Contains(out, `no node "node9"`) {
		t.Errorf("an unknown node: %v\n%s", err, out)
	}
	all[1].run("replica", "set", "node3", "20", "*@example.org", "--auto", "--wait")
	all[1].run("replica", "pause", "alice@example.org", "--destination", "node3")
	awaitState(all[0], "node3", replicas.Paused)
	for range 20 {
		if got := all[0].imap("SELECT INBOX", "STORE 1 +FLAGS.SILENT (paused)", "COPY 1 INBOX"); !strings.Contains(got, "a3 OK ") {
			t.Fatalf("COPY is answered %s", got)
		}
	}
	all[0].run("replica", "resume", "--all", "--wait")
	awaitState(all[0], "node3", replicas.Streaming)

	all[2].kill(syscall.SIGKILL)
	awaitState(all[0], "node3", replicas.Unavailable)
	if states := replicaStates(all[1]); states["node2"] != replicas.Streaming {
		t.Errorf("with node3 dead, the states are %v", states)
	}
	all[2].join()
	all[2].ready("")
	awaitState(all[0], "node3", replicas.Streaming)
	whole(t, all)
	if out := all[0].run("replica", "verify"); !strings.Contains(out, "compared on node1, node2, node3: 0 accounts differ") {
		t.Errorf("replica verify says\n%s", out)
	}
	if out := all[0].run("replica", "test"); strings.Contains(out, "problem") {
		t.Errorf("replica test says\n%s", out)
	}
}
