package integration

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/streampost/streampost/adapters/opensearch/opensearchtest"
	"github.com/streampost/streampost/adapters/tika/tikatest"
)

// attach delivers a message with a file.
func (s *server) attach(subject, mediaType, name, content string) {
	s.t.Helper()
	s.sendText("From: carol@example.net\r\nTo: alice@example.org\r\nSubject: " + subject + "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nenclosed\r\n--b\r\nContent-Type: " +
		mediaType + "; name=" + name + "\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(content)) + "\r\n--b--\r\n")
}

// tikaServer is a demo server that sends attachments to a URL. Its inbox is so full that SEARCH asks the index.
func tikaServer(t *testing.T, url string) *server {
	need(t, "curl")
	s := demoServer(t)
	for n := range 10 {
		s.send(fmt.Sprint("filler ", n), "nothing of interest")
	}
	s.attach("zwischenstand", "application/pdf", "early.pdf", file("zebrafish habitat"))
	s.kill(syscall.SIGTERM)
	s.env = []string{"STREAMPOST_SEARCH_TIKA_URL=" + url}
	s.start("")
	return s
}

// file is one that the double reads, or, with STREAMPOST_TIKA_URL, any Tika.
func file(text string) string {
	if os.Getenv("STREAMPOST_TIKA_URL") != "" {
		return tikatest.PDF(text)
	}
	return "TEXT:" + text
}

// found waits until a search finds so many messages.
func (s *server) found(t *testing.T, key string, want int) {
	t.Helper()
	s.until("SEARCH "+key, func() bool { return s.finds(t, key) == want })
}

// What attachments say is found in mail that came before Tika was configured and after, as part of the body; the rows are what the log says; and when
// Tika is given up, nothing of it is left.
func TestTika(t *testing.T) {
	t.Parallel()
	url := os.Getenv("STREAMPOST_TIKA_URL")
	if url == "" {
		url = tikatest.New(t).URL
	}
	s := tikaServer(t, url)
	s.found(t, "BODY zebrafish", 1)
	s.attach("bericht", "application/pdf", "late.pdf", file("zebrafish offspring"))
	s.found(t, "TEXT ebrafish", 2)
	for key, want := range map[string]int{
		"BODY offspring": 1, "SUBJECT bericht BODY zebrafish": 1, "SUBJECT bericht BODY habitat": 0, "SUBJECT zebrafish": 0, "HEADER Subject zebrafish": 0, "TEXT late.pdf": 1, "BODY enclosed": 2,
		"SUBJECT zwischenstand NOT BODY zebrafish": 0, "BODY zebrafishoffspring": 0,
	} {
		if n := s.finds(t, key); n != want {
			t.Errorf("SEARCH %s finds %d, want %d", key, n, want)
		}
	}
	s.run("projection", "verify", "--all")
	s.run("search", "reindex", "--account", "alice@example.org", "--check")
	s.run("projection", "rebuild", "--projection", "extracts")
	s.found(t, "BODY zebrafish", 2)
	for _, env := range [][]string{s.env, nil} {
		s.kill(syscall.SIGTERM)
		s.env = env
		s.start("")
		if files, err := filepath.Glob(filepath.Join(s.data, "views", "*extracts*")); err != nil || s.views == "" && (len(files) > 0) != (env != nil) {
			t.Errorf("with %v there are the files %v, %v", env, files, err)
		}
		if env != nil {
			s.found(t, "BODY zebrafish", 2)
		} else if n := s.finds(t, "BODY zebrafish"); n > 0 {
			t.Errorf("without Tika SEARCH finds %d", n)
		}
	}
}

// While Tika is away mail comes, is found by what it says itself, and what it brings along waits.
func TestTikaAway(t *testing.T) {
	t.Parallel()
	tika := tikatest.New(t)
	tika.Fault(tikatest.Status(503))
	s := tikaServer(t, tika.URL)
	s.attach("bericht", "application/pdf", "late.pdf", "TEXT:zebrafish offspring")
	s.found(t, "BODY enclosed", 2)
	s.readiness("attachments of at least")
	if up := s.metric("streampost_extract_up"); up != 0 {
		t.Errorf("streampost_extract_up is %v", up)
	}
	if n := s.finds(t, "BODY zebrafish"); n != 0 {
		t.Errorf("SEARCH finds %d messages by attachments that nobody read", n)
	}
	tika.Fault(nil)
	s.found(t, "BODY zebrafish", 2)
	if up := s.metric("streampost_extract_up"); up != 1 {
		t.Errorf("streampost_extract_up is %v", up)
	}
}

// With a cluster that answers, what attachments say is found all the same, though the cluster knows nothing of it.
func TestTikaBesideOpenSearch(t *testing.T) {
	t.Parallel()
	tika := tikatest.New(t)
	s := searchServer(t, opensearchtest.New(t).URL)
	s.kill(syscall.SIGTERM)
	s.env = append(s.env, "STREAMPOST_SEARCH_TIKA_URL="+tika.URL)
	s.start("")
	for n := range 10 {
		s.send(fmt.Sprint("filler ", n), "nothing of interest")
	}
	s.attach("bericht", "application/pdf", "late.pdf", "TEXT:zebrafish offspring")
	s.send("plain", "zebrafish, too")
	s.found(t, "BODY zebrafish", 2)
	s.asked(t, "BODY zebrafish", 2)
	s.asked(t, "TEXT offspring", 1)
	s.asked(t, "SUBJECT zebrafish", 0)
}
