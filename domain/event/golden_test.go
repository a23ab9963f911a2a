package event

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of events and fields that have none yet; existing ones are never written")

// goldenOf is a transaction with one event, all fields set.
func goldenOf(name string) *Transaction {
	return &Transaction{ID: [16]byte{1, 2, 3, 15: 16}, At: 1_700_000_000_123, Actor: "imap:alice@example.org", Events: []Event{sample(name)}}
}

// TestGolden decodes what every version has written. testdata/v1 holds, for each event, a transaction's octets and what they say. When an
// event gets a field, its octets of before stay, and a directory v2 gets the new ones.
func TestGolden(t *testing.T) {
	if *update {
		for _, name := range names() {
			writeNew(t, name)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "v*", "*.bin"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		octets, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file[:len(file)-len(".bin")] + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		tx, err := Unmarshal(octets)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := text(tx); got != string(want) {
			t.Errorf("%s says now\n%s\nand said\n%s", file, got, want)
		}
		seen[filepath.Base(file)] = true
	}
	for _, name := range names() {
		if !seen[name+".bin"] {
			t.Errorf("%s has no golden file: run go test -update", name)
			continue
		}
		// The newest file of an event is what Marshal writes today, so nothing changes unnoticed.
		newest := ""
		for _, file := range files {
			if filepath.Base(file) == name+".bin" {
				newest = file
			}
		}
		if octets, _ := os.ReadFile(newest); !reflect.DeepEqual(octets, Marshal(goldenOf(name))) {
			t.Errorf("%s is no longer what Marshal writes: the encoding changed, or a field was added and needs its own golden file", newest)
		}
	}
}

// writeNew writes an event's next golden file, unless the newest one says what Marshal writes.
func writeNew(t *testing.T, name string) {
	t.Helper()
	octets := Marshal(goldenOf(name))
	for version := 1; ; version++ {
		file := filepath.Join("testdata", fmt.Sprintf("v%d", version), name)
		switch old, err := os.ReadFile(file + ".bin"); {
		case err == nil && bytes.Equal(old, octets):
			return
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			t.Fatal(err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file+".bin", octets, 0o644),
			os.WriteFile(file+".txt", []byte(text(goldenOf(name))), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
}
