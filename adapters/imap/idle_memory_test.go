package imap

import (
	"runtime"
	"strings"
	"testing"

	"github.com/streampost/streampost/projections/door/doortest"
)

// TestIdleConnectionsAreSmall bounds the memory of a connection in IDLE, that of this test's own side included.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const connections = 100
	for _, x := range []struct {
		name    string
		tls     bool
		allowed uint64
	}{{"plain", false, 64 << 10}, {"TLS", true, 128 << 10}} { // both ends of TLS have buffers.
		t.Run(x.name, func(t *testing.T) {
			s := start(t, withTLS(t))
			s.deliver("INBOX", mail(1))
			if x.tls {
				s.plain = s.listen(true)
			}
			idle := func() *client {
				c := s.connect()
				if x.tls {
					c.startTLS()
				}
				c.expect("* OK ...")
				c.cmd("LOGIN %s %s", alice, password).ok()
				c.cmd("SELECT INBOX").ok()
				c.cmd("FETCH 1 (FLAGS BODY.PEEK[])").ok()
				c.begin("IDLE")
				c.expect("+ idling")
				return c
			}
			used := func() uint64 {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc + m.StackInuse
			}
			one := idle() // what is made once is made now.
			before := used()
			for range connections {
				idle()
			}
			each := (used() - before) / connections
			t.Logf("a connection takes %d octets", each)
			if each > x.allowed {
				t.Errorf("allowed are %d", x.allowed)
			}
			s.deliver("INBOX", mail(2))
			one.expect("* 2 EXISTS")
		})
	}
}

func BenchmarkSelect50000(b *testing.B) {
	s := start(b)
	stored, err := s.Accounts.Ingest(b.Context(), strings.NewReader(mail(1)))
	if err != nil {
		b.Fatal(err)
	}
	for range 50_000 {
		if _, err := doortest.Add(b.Context(), s.Accounts, s.account, "INBOX", stored); err != nil {
			b.Fatal(err)
		}
	}
	c := s.login()
	c.cmd("SELECT INBOX").ok()
	for b.Loop() {
		c.cmd("SELECT INBOX").ok()
	}
}
