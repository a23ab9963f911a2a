package integration

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readiness is what /readyz says, once it says some text. The server need not be ready.
func (s *server) readiness(text string) string {
	s.t.Helper()
	last := ""
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer, err := http.Get("http://" + s.addr(8000) + "/readyz")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if last = string(body); err == nil && strings.Contains(last, text) {
			return last
		}
	}
	s.t.Fatalf("/readyz never says %q, but %s\n%s", text, last, tail(s.out.Bytes(), 8<<10))
	return ""
}

// TestOlderThanTheLog starts a build on a log to which a later one added an event that this one does not know. It projects no further than that, says so
// and what to do, and serves what was projected before; what it cannot know it refuses for the time being.
func TestOlderThanTheLog(t *testing.T) {
	t.Parallel()
	s := idleServer(t)
	s.flags = []string{"--set", "streams.shards=1"}
	s.start("")
	for _, subject := range []string{"one", "two"} {
		if answer := s.deliver(subject); answer[0] != '2' {
			t.Fatal(answer)
		}
	}
	before := s.imap("SELECT INBOX", "FETCH 1:* (UID ENVELOPE)")
	s.kill(syscall.SIGTERM)
	s.env = []string{"STREAMPOST_LATER=bob@example.org"}
	if s.start("none") {
		t.Fatal("the later build did not end")
	}
	s.env = nil
	s.launch("")
	const newer = "written by a newer version of Streampost"
	if report := s.readiness(newer); !strings.Contains(report, "install that version") || !strings.Contains(report, "has stopped") {
		t.Errorf("/readyz says %s", report)
	}
	out, err := s.try("doctor")
	if err == nil || !strings.Contains(out, newer) || !strings.Contains(out, "install that version") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	if out := s.run("projection", "list"); strings.Count(out, "stopped") < 5 || !strings.Contains(out, "live") {
		t.Errorf("projections:\n%s", out)
	}
	// What was projected before is served, also that of others in the same stream.
	if after := s.imap("SELECT INBOX", "FETCH 1:* (UID ENVELOPE)"); after != before {
		t.Errorf("alice saw\n%s\nand sees\n%s", before, after)
	}
	// Mail is accepted, since the log is the queue, and can be read as far as no row is needed.
	if answer := s.deliver("three"); answer[0] != '2' {
		t.Error(answer)
	}
	if answer := s.imap("SELECT INBOX", "FETCH 9 (UID FLAGS)"); !strings.Contains(answer, "UID 9") {
		t.Error(answer)
	}
	if answer := s.imap("SELECT INBOX", "FETCH 9 (ENVELOPE)"); !strings.Contains(answer, "a2 NO [UNAVAILABLE]") {
		t.Error(answer)
	}
	// Of the account whose log cannot be read to its end nobody knows the state.
	if answer := s.imapAs("bob@example.org", "SELECT INBOX"); !strings.Contains(answer, "a1 NO [UNAVAILABLE]") {
		t.Error(answer)
	}
}
