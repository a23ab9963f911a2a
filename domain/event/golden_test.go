package event

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of events that have none yet; existing ones are never written")

// goldenOf is a transaction with one event, all fields set.
func goldenOf(name string) *Transaction {
	return &Transaction{ID: [16]byte{1, 2, 3, 15: 16}, At: 1_700_000_000_123, Actor: "imap:alice@example.org", Events: []Event{sample(name)}}
}

// TestGolden decodes what every version has written. testdata/v1 holds, for each event, a transaction's octets and what they say. When an
// event gets a field, its octets of before stay, and a directory v2 gets the new ones.
func TestGolden(t *testing.T) {
	if *update {
		for _, name := range names() {
			writeNew(t, filepath.Join("testdata", "v1", name+".bin"), Marshal(goldenOf(name)))
			writeNew(t, filepath.Join("testdata", "v1", name+".txt"), []byte(text(goldenOf(name))))
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

func writeNew(t *testing.T, file string, content []byte) {
	t.Helper()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
