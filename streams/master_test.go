package streams

import (
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/streampost/streampost/domain"
)

// TestKeyFileErrors: what keeps a master key from being read is named as what it is, with its file.
func TestKeyFileErrors(t *testing.T) {
	for cause, want := range map[syscall.Errno]string{
		syscall.EACCES: "this user may not use it",
		syscall.EPERM:  "this user may not use it",
		syscall.EROFS:  "the file system is read-only",
		syscall.ENOSPC: "the disk is full",
		syscall.EIO:    "read a master key",
	} {
		err := keyFileError(&fs.PathError{Op: "open", Path: "/data/keys/master-1.key", Err: cause}, "read a master key")
		if text := err.Error(); !domain.Is(err, domain.Unavailable) || !strings.Contains(text, want) || !strings.Contains(text, "/data/keys/master-1.key") {
			t.Errorf("%v reads %q, want %q and the file", cause, text, want)
		}
	}
}
