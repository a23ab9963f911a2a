package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview/storetest"
)

// A server that has lost its rows takes those of accounts with a snapshot from there, and folds the rest. Nobody sees another mailbox than before.
func TestRowsComeBackFromSnapshots(t *testing.T) {
	t.Parallel()
	s := demoServer(t)
	for i := range 12 {
		if answer := s.deliver(fmt.Sprintf("message %d", i)); !strings.HasPrefix(answer, "250") {
			t.Fatal(answer)
		}
	}
	s.imap("CREATE Work", "SELECT INBOX", `STORE 1:4 +FLAGS (\Seen own-keyword)`, "MOVE 2 Work", `STORE 4 +FLAGS (\Deleted)`, "EXPUNGE")
	s.run("snapshot", "make", "alice@example.org")
	s.deliver("after the snapshot")
	s.imap("SELECT INBOX", `STORE 1 -FLAGS (\Seen)`, "COPY 5 Work")
	look := func() string {
		text := s.seen()
		for _, mailbox := range []string{"INBOX", "Work"} {
			text += modSeqs(s.imap("ENABLE CONDSTORE", "SELECT "+mailbox)) + modSeqs(s.imap("ENABLE CONDSTORE", "SELECT "+mailbox, "FETCH 1:* (UID FLAGS MODSEQ)"))
		}
		return text
	}
	before := look()
	if !strings.Contains(before, "MODSEQ (") || !strings.Contains(before, "HIGHESTMODSEQ") {
		t.Fatalf("a client learns\n%s", before)
	}
	s.kill(syscall.SIGTERM)
	s.loseViews()
	s.start("")
	s.hydrated(1)
	if after := look(); after != before {
		t.Errorf("a client learns\n%s\nand before the rows were lost\n%s", after, before)
	}
	s.clean()

	// One that cannot be used costs time and nothing else.
	s.kill(syscall.SIGTERM)
	s.loseViews()
	files, err := filepath.Glob(filepath.Join(s.data, "snapshots", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			if err := os.Truncate(file, info.Size()-10); err != nil {
				t.Fatal(err)
			}
			damaged++
		}
	}
	if damaged == 0 {
		t.Fatal("there is no file of a snapshot")
	}
	s.start("")
	s.hydrated(0)
	if after := look(); after != before {
		t.Errorf("without a snapshot a client learns\n%s\nand before\n%s", after, before)
	}
	s.clean()
}

// modSeqs are the lines of a dialogue that tell of modification sequences.
func modSeqs(said string) string {
	var text strings.Builder
	for line := range strings.Lines(said) {
		if strings.Contains(line, "MODSEQ") {
			text.WriteString(line)
		}
	}
	return text.String()
}

// loseViews leaves the server, which must not run, without any rows.
func (s *server) loseViews() {
	s.t.Helper()
	if storetest.Postgres() {
		s.views = storetest.URL(s.t, s.t.TempDir())
		return
	}
	if err := os.RemoveAll(filepath.Join(s.data, "views")); err != nil {
		s.t.Fatal(err)
	}
}

// hydrated fails unless so many accounts have taken their rows from snapshots since the server began.
func (s *server) hydrated(want int) {
	s.t.Helper()
	answer, err := http.Get("http://" + s.addr(8000) + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^streampost_snapshot_hydrations_total\{outcome="used"\} (\d+)`).FindSubmatch(text)
	if found == nil || string(found[1]) != fmt.Sprint(want) {
		s.t.Errorf("%d accounts should have taken the rows of their snapshots: %q", want, found)
	}
}
