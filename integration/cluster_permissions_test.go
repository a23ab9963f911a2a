package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/streampost/streampost/integration/ports"
)

// TestClusterPermissions: a user of an external cluster of three servers has exactly the permissions that the operator's guide lists. With these the log, the
// blobs and the archive are kept in three copies, everything works, also after whoever led the log was killed, and no server refuses anything.
func TestClusterPermissions(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Skip("STREAMPOST_TEST_REPLICAS is not set")
	}
	const shards = 1
	var routes []string
	ports := []int{ports.Free(t), ports.Free(t), ports.Free(t)}
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	var all []*natsProcess
	for i, port := range ports {
		n := newNATS(t, fmt.Sprintf("cluster { name: mail, listen: \"127.0.0.1:%d\", routes: [%s] }\nauthorization { users = [%s] }", port, strings.Join(routes, ", "), member(t, "one", "one", shards)))
		n.name = fmt.Sprintf("outside-%d", i+1)
		n.launch()
		all = append(all, n)
	}
	for _, n := range all {
		n.ready("?js-meta-only=true")
	}
	s := external(t, append(clusterFlags(all), append(settings("user=one", "password=one's password", "prefix=one"), "--set", "archive.kind=jetstream")...)...)
	s.start("")
	s.accepts("to one")
	operate(t, s)
	victim := leader(t, all, "one_ACCOUNTS_0")
	victim.kill()
	s.eventually("without " + victim.name)
	victim.launch()
	victim.ready("")
	s.subjects("without " + victim.name)
	s.kill(syscall.SIGTERM)
	for _, n := range all {
		said, err := os.ReadFile(filepath.Join(n.dir, "nats.log"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(said)) {
			if strings.Contains(line, "Violation") {
				t.Errorf("a permission is missing: %s", line)
			}
		}
	}
}
