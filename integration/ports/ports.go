// Package ports finds room on loopback for servers that tests start.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// defaults are the ports of a server that nobody has configured.
var defaults = []int{1143, 1993, 1025, 1587, 1465, 1124, 1110, 1995, 1419, 8000, 6222}

// FreeOffset finds a port offset at which none of the default ports is taken, and keeps other tests, in this process or another, from taking one of them
// until the test ends: a server that is started again finds its ports as it left them.
func FreeOffset(t testing.TB) int {
	t.Helper()
	for range 50 {
		offset := 10_000 + rand.IntN(14_000) // below the ports that connections take for their own end
		var all []int
		for _, port := range defaults {
			all = append(all, port+offset)
		}
		if take(t, all...) {
			return offset
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

// Free finds one port in the same way, beyond those that connections take for their own end.
func Free(t testing.TB) int {
	t.Helper()
	for range 200 {
		if port := 61_000 + rand.IntN(4_500); take(t, port) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// take keeps ports for a test, if all of them are free.
func take(t testing.TB, all ...int) bool {
	kept, err := keep(all)
	if err != nil || !free(all) {
		give(kept)
		return false
	}
	t.Cleanup(func() { give(kept) })
	return true
}

func free(all []int) bool {
	for _, port := range all {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// keep locks a file for each port. The locks end with their process, too.
func keep(all []int) (kept []*os.File, err error) {
	dir := filepath.Join(os.TempDir(), "streampost-test-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	for _, port := range all {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return kept, err
		}
		kept = append(kept, f)
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			return kept, err
		}
	}
	return kept, nil
}

func give(kept []*os.File) {
	for _, f := range kept {
		_ = f.Close()
	}
}
