package message

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden shows all that is kept of the messages in testdata. Keys are shown because views hold them: other keys would cut threads.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.eml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no messages", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		s := scan(text)
		got := fmt.Sprintf("%s\n%s\n%s\npreview %q\nsent %d\nkeys %x\n", AppendEnvelope(nil, &s.Envelope), AppendStructure(nil, &s.Root, false),
			AppendStructure(nil, &s.Root, true), s.Preview, s.SentAt, s.Keys)
		golden := file[:len(file)-len(".eml")] + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || got != string(want) {
			t.Errorf("%s: %v, got\n%s, want\n%s", file, err, got, want)
		}
	}
}
