//go:build !linux

package natsd

import "os"

// datasync makes a file durable.
func datasync(f *os.File) error { return f.Sync() }

// flock relies on the lock that the server's command holds on the whole data directory.
func flock(*os.File) error { return nil }
