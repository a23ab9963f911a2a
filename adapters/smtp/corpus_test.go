package smtp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpus lists real messages.
func corpus(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("STREAMPOST_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	if len(files) == 0 {
		t.Skip("no corpus: set STREAMPOST_CORPUS")
	}
	return files
}

// onWire reads a file and gives it the line ends that a client sends.
func onWire(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(raw))
	return strings.ReplaceAll(s, "\n", "\r\n")
}

func TestCorpusArrivesUnchanged(t *testing.T) {
	files := corpus(t)
	s := start(t, LMTP)
	c := s.hello()
	for _, f := range files {
		text := onWire(t, f)
		c.envelope("x@example.net", "alice@example.org")
		c.send(dots(text))
		c.expect("250 ")
	}
	got := s.messages(s.alice, "INBOX")
	if len(got) != len(files) {
		t.Fatalf("%d of %d messages", len(got), len(files))
	}
	for i, f := range files {
		want := onWire(t, f)
		if !strings.HasSuffix(want, "\r\n") {
			want += "\r\n" // DATA ends every line.
		}
		if got := s.body(got[i]); got != want {
			t.Errorf("%s was changed", filepath.Base(f))
		}
	}
}
