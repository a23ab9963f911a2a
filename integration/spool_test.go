package integration

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/queue"
)

// spoolCrashPoints are those on the way of a message that steps have to ask a hook about. twice says that the client may send it again, because it had no 250 for what was durable.
var spoolCrashPoints = []struct {
	name  string
	twice bool
}{{"processing.accept:4", false}, {"queue.published:12", true}, {"queue.synced:11", true}, {"queue.spool-claimed:3", false}, {"processing.result:3", false}, {"outgoing.claimed:3", false}}

// TestKilledWhileMailIsProcessed: whatever was answered with 250 comes to each of its recipients, and to a mailbox here once, whenever the server dies while the message is put on the spool, a hook is asked, and what it says is done.
func TestKilledWhileMailIsProcessed(t *testing.T) {
	t.Parallel()
	peer := newSink(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hook := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	go func() { _ = hook.Serve(l) }()
	t.Cleanup(func() { _ = hook.Close() })
	s := idleServer(t)
	steps := "root: All -> HTTP url=http://" + l.Addr().String() + " onError=propagate,root: All -> ToProcessor processor=transport"
	s.flags = []string{"--set", "outbound.routes=example.net " + peer.Addr().String(), "--set", "pipeline.steps=" + steps, "--set", "outbound.retry_first=1s"}
	s.start("")
	s.kill(syscall.SIGKILL)
	accepted, mayBeTwice := map[string]bool{}, map[string]bool{}
	for n, point := range spoolCrashPoints {
		var sent []string
		alive := s.start(point.name)
	sending:
		for i := 0; alive; i++ {
			id := fmt.Sprintf("s%d-%d", n, i)
			sent = append(sent, id)
			if submit(s.addr(1587), id, "yes@example.net", "bob@example.org") {
				accepted[id] = true
				if i < 200 {
					continue
				}
			}
			s.dies(point.name, 2*time.Minute)
			break sending
		}
		if point.twice {
			for _, id := range sent {
				mayBeTwice[id] = true
			}
		}
	}
	s.start("")
	spool := func() bool {
		return strings.Contains(s.run("queue", "list", "--queue", "spool"), "@") || strings.Contains(s.run("queue", "list"), "@")
	}
	for deadline := time.Now().Add(3 * time.Minute); spool(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("mail is still on its way: %s", s.run("queue", "list"))
		}
	}
	here := map[string]int{}
	for _, e := range envelopesOf(t, s.addr(1143), "bob@example.org") {
		here[strings.TrimSuffix(strings.Trim(e.MessageID, "<>"), "@laptop")]++
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	for id := range accepted {
		if n := here[id]; n == 0 || n > 1 && !mayBeTwice[id] {
			t.Errorf("message %s came to bob %d times", id, n)
		}
		if peer.took[id+"@laptop"] == 0 { // twice, where the server died between a peer's 250 and its own note of it: see TestKilledWhileMailLeaves
			t.Errorf("message %s never left", id)
		}
	}
	if len(accepted) < 3 {
		t.Errorf("only %d messages were accepted", len(accepted))
	}
	for _, name := range queue.Repositories {
		if out := s.run("parked", "list", name); strings.Contains(out, "@") {
			t.Errorf("some were parked: %s", out)
		}
	}
	s.run("blob", "gc", "--dry-run")
}
