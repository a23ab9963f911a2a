package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scriptCrashPoints are those between the queue and the account, when a script sends mail. again says that the account has the message by then, so that the client, who had no answer, brings it twice.
var scriptCrashPoints = []struct {
	name  string
	again bool
}{{"filing.pledged", false}, {"filing.delivered", true}}

var answered = regexp.MustCompile(`(?m)^To: (s[-0-9]+)@example\.net\r$`)

// answers are the Message-IDs of the answers that each sender was sent. The lock is held.
func (s *sink) answers() map[string][]string {
	all := map[string][]string{}
	for answer, text := range s.all {
		if found := answered.FindStringSubmatch(text); found != nil && strings.Contains(text, "\r\nAuto-Submitted: auto-replied\r\n") {
			all[found[1]] = append(all[found[1]], answer)
		}
	}
	return all
}

// TestKilledWhileScriptsSend: a message that was answered with 250 is in the mailbox and was sent on; its sender has one answer, and never a second one, also when the client had to send again.
func TestKilledWhileScriptsSend(t *testing.T) {
	t.Parallel()
	peer := newSink(t)
	s := idleServer(t)
	s.flags = []string{"--set", "outbound.routes=example.net " + peer.Addr().String(), "--set", "outbound.retry_first=1s", "--set", "outbound.retry_most=1s"}
	s.start("")
	script := filepath.Join(t.TempDir(), "main.sieve")
	if err := os.WriteFile(script, []byte(`require ["vacation", "copy"]; vacation :days 7 "away"; redirect :copy "carol@example.net";`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("sieve", "put", "alice@example.org", "main", script, "--activate")
	s.kill(syscall.SIGKILL)
	var sent []string
	again := map[string]bool{}
	deliver := func(id string) bool {
		c := dialLMTP(s.addr(1124))
		if c == nil {
			return false
		}
		defer c.Close()
		return c.ask("250", "MAIL FROM:<"+id+"@example.net>") && c.ask("250", "RCPT TO:<alice@example.org>") && c.ask("354", "DATA") &&
			c.ask("250", "From: "+id+"@example.net\r\nTo: alice@example.org\r\nSubject: "+id+"\r\nMessage-ID: <"+id+"@sender>\r\n\r\nHello.\r\n.")
	}
	for n, point := range scriptCrashPoints {
		alive := s.start(fmt.Sprintf("%s:%d", point.name, 2))
		open := ""
		for i := 0; alive && open == ""; i++ {
			if i == 50 {
				t.Fatalf("crash point %s was not reached", point.name)
			}
			id := fmt.Sprintf("s%d-%d", n, i)
			sent = append(sent, id)
			if !deliver(id) {
				open = id
			}
		}
		<-s.exited
		s.start("")
		if open != "" {
			if again[open] = point.again; !deliver(open) {
				t.Fatalf("%s is refused after a crash at %s", open, point.name)
			}
		}
		s.kill(syscall.SIGKILL)
	}
	s.start("")
	complete := func() (missing string) {
		peer.mu.Lock()
		defer peer.mu.Unlock()
		answers := peer.answers()
		for _, id := range sent {
			switch {
			case len(answers[id]) == 0:
				missing = id + " had no answer"
			case peer.took[id+"@sender"] == 0:
				missing = id + " was not sent on"
			}
		}
		return missing
	}
	deadline := time.Now().Add(3 * time.Minute)
	for missing := complete(); missing != ""; missing = complete() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s", missing, s.run("queue", "list"))
		}
		s.run("queue", "flush", "--all") // What waits for its mark is looked at now.
		time.Sleep(50 * time.Millisecond)
	}
	copies := map[string]int{}
	for _, e := range envelopes(t, s.addr(1143)) {
		copies[e.Subject]++
	}
	for _, id := range sent {
		if n := copies[id]; n != 1 && (n != 2 || !again[id]) {
			t.Errorf("the mailbox has %s %d times", id, n)
		}
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	more := 0
	for _, id := range sent {
		most := 1
		if again[id] {
			most = 2
		}
		more += max(peer.took[id+"@sender"]-most, 0)
	}
	all := 0
	for id, answers := range peer.answers() {
		if len(answers) > 1 {
			t.Errorf("%s had %d answers", id, len(answers))
		}
		for _, answer := range answers {
			all += peer.took[answer] - 1
		}
	}
	if doubt := s.inDoubt(); more+all > doubt { // A message that is on its way to the peer while the process dies may come to it twice.
		t.Errorf("%d messages and %d answers came too often, and of %d attempts the server did not know the end", more, all, doubt)
	}
	s.clean()
}
