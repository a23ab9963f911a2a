//go:build !linux

package blobfs

import "os"

// datasync makes a file's octets durable.
func datasync(f *os.File) error { return f.Sync() }
