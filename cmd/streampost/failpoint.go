//go:build !failpoints

package main

// failpoint is nil in production: see failpoint_crash.go.
func failpoint() func(string) { return nil }
