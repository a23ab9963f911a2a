package outbound

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAnAddressThatRests: a host that several domains share is not waited for by each of them; one tries whether it is back.
func TestAnAddressThatRests(t *testing.T) {
	up := newPeer(t, nil)
	names := to(up)
	var down atomic.Bool
	var dials atomic.Int32
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	s := newSender(t, names, func(c *Config) {
		c.Clock, c.Limits.Failures, c.Limits.Messages = func() time.Time { return now }, 2, 1
		c.Dial = func(ctx context.Context, source netip.Addr, network, address string) (net.Conn, error) {
			dials.Add(1)
			if down.Load() {
				return nil, &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
			}
			return names.dial(ctx, source, network, address)
		}
	})
	const away = "unreachable; bob deferred 4.4.1"
	down.Store(true)
	for range 4 {
		if got := send(t, s, mail()); got != away {
			t.Fatal(got)
		}
	}
	if n := dials.Load(); n != 2 || s.Resting() != 1 {
		t.Errorf("%d connections, %d rest", n, s.Resting())
	}
	now = now.Add(2 * time.Minute)
	_, _ = send(t, s, mail()), send(t, s, mail()) // the first tries, and its failure makes the rest longer
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
	down.Store(false)
	if got := send(t, s, mail()); !strings.Contains(got, away) {
		t.Errorf("%s", got)
	}
	now = now.Add(2 * time.Minute)
	if got := send(t, s, mail()); got != "bob relayed 2.0.0" || s.Resting() != 0 {
		t.Errorf("%s", got)
	}
	down.Store(true)
	_, _, _ = send(t, s, mail()), send(t, s, mail()), send(t, s, mail())
	down.Store(false)
	if s.Wake(); send(t, s, mail()) != "bob relayed 2.0.0" {
		t.Error("an operator's order does not wake it")
	}
}

func TestTheBreakerForgets(t *testing.T) {
	s := newSender(t, to(), func(c *Config) { c.Limits.Resting, c.Limits.Failures = 2, 1 })
	for _, a := range []string{"a:25", "b:25", "a:25", "c:25"} {
		s.breaker.leave(a, false)
	}
	if s.Resting() != 2 || s.breaker.enter("b:25") != nil || s.breaker.enter("a:25") == nil {
		t.Errorf("%d rest", s.Resting())
	}
}
