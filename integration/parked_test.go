package integration

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/projections/parking"
)

// parkedCrashPoints are those on the way of parked mail that is moved and processed again.
var parkedCrashPoints = []string{"parking.change:2", "queue.published:3", "processing.result:3", "outgoing.result:2"}

// submitNull sends a message with the null sender as alice.
func submitNull(t *testing.T, addr, id, to string) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(3 * time.Minute))
	c := &lmtpClient{nc, bufio.NewReader(nc)}
	if !c.answer("220") || !c.ask("250", "EHLO laptop") || !c.ask("235", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice@example.org\x00"+password))) ||
		!c.ask("250", "MAIL FROM:<>") || !c.ask("250", "RCPT TO:<"+to+">") || !c.ask("354", "DATA") || !c.ask("250", "Subject: "+id+"\r\nMessage-ID: <"+id+"@laptop>\r\n\r\nHello.\r\n.") {
		t.Fatalf("message %s was not accepted", id)
	}
}

// TestKilledWhileParkedMailIsMoved: a message is in one place at all times, whenever the server dies while it is moved, processed again and parked anew; and it leaves once.
func TestKilledWhileParkedMailIsMoved(t *testing.T) {
	t.Parallel()
	const mails = 8
	peer := newSink(t)
	s := idleServer(t)
	s.flags = []string{"--set", "outbound.routes=example.net " + peer.Addr().String()}
	s.start("")
	for n := range mails {
		submitNull(t, s.addr(1587), fmt.Sprint(n), fmt.Sprintf("no%d@example.net", n))
	}
	parked := func() (n int) {
		var all []parking.Standing
		if err := json.Unmarshal([]byte(s.run("parked", "count", "--json")), &all); err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			n += r.Size
		}
		return n
	}
	settled := func() {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); parked() != mails; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d messages are parked", parked(), mails)
			}
		}
		if queued := s.run("queue", "list"); strings.Contains(queued, "@") {
			t.Fatalf("some are parked and queued as well: %s", queued)
		}
	}
	settled()
	s.kill(syscall.SIGKILL)
	for _, point := range parkedCrashPoints {
		alive := s.start(point)
	working:
		for i := 0; alive; i++ {
			for _, order := range []string{"parked move dead --all --to lot", "parked reprocess lot --all"} {
				if _, err := s.try(strings.Fields(order)...); err != nil {
					break working
				}
			}
			if i == 100 {
				t.Errorf("crash point %s was not reached", point)
				break
			}
		}
		s.dies(point, 2*time.Minute)
	}
	s.start("")
	settled()
	peer.mu.Lock()
	peer.forgiving = true
	peer.mu.Unlock()
	s.run("parked", "reprocess", "dead", "--all")
	s.run("parked", "reprocess", "lot", "--all")
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		peer.mu.Lock()
		left := mails - len(peer.took)
		peer.mu.Unlock()
		if left == 0 && !strings.Contains(s.run("queue", "list"), "@") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages have not left", left)
		}
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	for id, n := range peer.took {
		if n != 1 {
			t.Errorf("message %s left %d times", id, n)
		}
	}
	if n := parked(); n != 0 {
		t.Errorf("%d messages are still parked", n)
	}
}
