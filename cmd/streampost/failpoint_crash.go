//go:build failpoints

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// failpoint kills the process at a named step, for tests of what survives: STREAMPOST_CRASH="log.published:3" is the third time that it gets
// there. The process dies by SIGKILL, as if the power went.
func failpoint() func(string) {
	name, count, _ := strings.Cut(os.Getenv("STREAMPOST_CRASH"), ":")
	if name == "" {
		return nil
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		n = 1
	}
	var left atomic.Int64
	left.Store(n)
	return func(at string) {
		if at == name && left.Add(-1) == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal may take a moment; nothing may happen after this step
		}
	}
}
