package imap

import (
	"bufio"
	"fmt"
	"net"
	"testing"
)

// BenchmarkLogin is a connection, LOGIN with a password that was used before, and LOGOUT, on 8 connections at a time. integration/bench measures the same
// from outside, beside others.
func BenchmarkLogin(b *testing.B) {
	s := start(b)
	s.dial().cmd("LOGIN %s %s", alice, password).ok()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := net.Dial("tcp", s.plain)
			if err != nil {
				b.Error(err)
				return
			}
			r := bufio.NewReader(c)
			said := func() {
				if _, err := r.ReadString('\n'); err != nil {
					b.Error(err)
				}
			}
			said()
			fmt.Fprintf(c, "a LOGIN %s %s\r\n", alice, password)
			said()
			fmt.Fprint(c, "b LOGOUT\r\n")
			said()
			said()
			_ = c.Close()
		}
	})
}
