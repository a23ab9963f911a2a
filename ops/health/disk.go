package health

import (
	"context"
	"fmt"
	"syscall"
)

// Space is the free room on a file system.
type Space struct {
	Free, Total           uint64 // octets, as an unprivileged process sees them
	FreeInodes, AllInodes uint64 // AllInodes is 0 where the file system does not count them
}

// FreeSpace looks at the file system that holds a directory.
func FreeSpace(dir string) (Space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return Space{}, fmt.Errorf("look at the free space of %s: %w", dir, err)
	}
	return Space{s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), s.Ffree, s.Files}, nil
}

// Disk checks that a directory's file system has room: degraded below one tenth, unhealthy below the reserve (octets).
func Disk(dir string, reserve uint64) Check {
	return Check{Name: "disk", Look: func(context.Context) (Status, string) {
		s, err := FreeSpace(dir)
		switch {
		case err != nil:
			return Unhealthy, err.Error()
		case s.Free < reserve:
			return Unhealthy, fmt.Sprintf("only %d MiB are free in %s", s.Free>>20, dir)
		case s.AllInodes > 0 && s.FreeInodes < 1000:
			return Unhealthy, fmt.Sprintf("only %d inodes are free in %s", s.FreeInodes, dir)
		case s.Free < s.Total/10:
			return Degraded, fmt.Sprintf("%d MiB of %d MiB are free in %s", s.Free>>20, s.Total>>20, dir)
		}
		return Healthy, ""
	}}
}

// Room tells whether a directory's file system has more free octets than a reserve. It looks anew each time, which takes about a microsecond:
// in a second, many messages can fill what is reserved. It may be used by several goroutines.
type Room struct {
	dir     string
	reserve uint64
}

// NewRoom makes a Room.
func NewRoom(dir string, reserve uint64) *Room { return &Room{dir: dir, reserve: reserve} }

// Check gives an error, which is a syscall.ENOSPC, while there is no more than the reserve.
func (r *Room) Check() error {
	space, err := FreeSpace(r.dir)
	if err == nil && space.Free < r.reserve {
		err = fmt.Errorf("only %d MiB are free in %s, of which %d MiB are reserved: %w", space.Free>>20, r.dir, r.reserve>>20, syscall.ENOSPC)
	}
	return err
}
