package blobfs

import (
	"errors"
	"os"
	"syscall"
)

// datasync makes a file's octets, and what is needed to find them, durable.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
