package netline

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// TCP itself finds half-open connections, and keeps those of clients behind a NAT open.
func TestKeepAlive(t *testing.T) {
	options := make(chan [4]int, 1)
	l := listen(t, Config{Limits: Limits{KeepAlive: 90 * time.Second}}, func(c *Conn) {
		raw, err := c.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		var got [4]int
		_ = raw.Control(func(fd uintptr) {
			got[0], _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
			for i, option := range []int{syscall.TCP_KEEPIDLE, syscall.TCP_KEEPINTVL, syscall.TCP_KEEPCNT} {
				got[i+1], _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option)
			}
		})
		options <- got
	})
	dial(t, l)
	if got := <-options; got != [4]int{1, 90, 30, 4} {
		t.Errorf("the options are %v", got)
	}
}
