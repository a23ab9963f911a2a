package projections_test

import (
	"crypto/rand"
	"os"
	"testing"
)

// harms is what may happen to a view file.
var harms = map[string]func(t *testing.T, path string){
	"deleted":               func(t *testing.T, path string) { check(t, os.Remove(path)) },
	"emptied":               func(t *testing.T, path string) { check(t, os.Truncate(path, 0)) },
	"cut off in its header": func(t *testing.T, path string) { check(t, os.Truncate(path, 60)) },
	"cut in half": func(t *testing.T, path string) {
		info, err := os.Stat(path)
		check(t, err)
		check(t, os.Truncate(path, info.Size()/2))
	},
	"not a database": func(t *testing.T, path string) { check(t, os.WriteFile(path, make([]byte, 100_000), 0o600)) },
	"pages overwritten": func(t *testing.T, path string) {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		check(t, err)
		info, err := file.Stat()
		check(t, err)
		first := int64(3 * 8192)
		if info.Size() <= first { // the rest is in the write-ahead log still
			first = 0
		}
		noise := make([]byte, info.Size()-first)
		_, _ = rand.Read(noise)
		_, err = file.WriteAt(noise, first)
		check(t, err)
		check(t, file.Close())
	},
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
