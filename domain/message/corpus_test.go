package message

import (
	"os"
	"path/filepath"
	"testing"
)

// corpus gives the real messages to test with, by name. They are looked for where STREAMPOST_CORPUS says, or beside the repository.
func corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	dir := os.Getenv("STREAMPOST_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.eml"))
	if len(names) == 0 {
		tb.Skip("no corpus of messages: set STREAMPOST_CORPUS to a directory of .eml files")
	}
	mails := make(map[string][]byte, len(names))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		mails[filepath.Base(name)] = text
	}
	return mails
}
