package outbound

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func addresses(all ...string) (parsed []netip.Addr) {
	for _, a := range all {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	return parsed
}

func TestFamiliesTakeTurns(t *testing.T) {
	all := addresses("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2")
	for families, want := range map[Families]string{
		IPv6First: "[2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3]", IPv4First: "[192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2 2001:db8::3]",
		IPv6Only: "[2001:db8::1 2001:db8::2 2001:db8::3]", IPv4Only: "[192.0.2.1 192.0.2.2]",
	} {
		if got := fmt.Sprint(families.order(all)); got != want {
			t.Errorf("%d: %s, want %s", families, got, want)
		}
	}
}

// TestWhereMailComesFrom: each sender's domain has its address, a route has its own, and sessions are not shared between them.
func TestWhereMailComesFrom(t *testing.T) {
	up := newPeer(t, nil)
	n := to(up)
	n.extra = map[string][]netip.Addr{"mx1.example.net": addresses("2001:db8::9")}
	at := n.address("mx1.example.net").String()
	sources := map[string][]netip.Addr{"example.org": addresses("192.0.2.1"), "both.example": addresses("192.0.2.2", "2001:db8::2"), "six.example": addresses("2001:db8::6"), "": addresses("192.0.2.7")}
	var route *Route
	families := IPv6First
	for _, c := range []struct {
		what, sender  string
		route         *Route
		families      Families
		want, dialled string
	}{
		{"one family", "alice@example.org", nil, IPv6First, "bob relayed 2.0.0", "192.0.2.1 " + at},
		{"both", "alice@Both.example", nil, IPv6First, "bob relayed 2.0.0", "2001:db8::2 2001:db8::9; 192.0.2.2 " + at},
		{"the other family", "alice@six.example", nil, IPv6First, "unreachable; bob deferred 4.4.1", "2001:db8::6 2001:db8::9"},
		{"a family that is not wanted", "alice@six.example", nil, IPv4Only, "unreachable; bob deferred 4.4.4", ""},
		{"a domain without one", "alice@example.com", nil, IPv4First, "bob relayed 2.0.0", at},
		{"the null sender", "", nil, IPv6First, "bob relayed 2.0.0", "192.0.2.7 " + at},
		{"a route's own", "alice@example.org", &Route{Hosts: []string{"mx1.example.net"}, Sources: addresses("192.0.2.8")}, IPv6First, "bob relayed 2.0.0", "192.0.2.8 " + at},
		{"a route without", "alice@example.org", &Route{Hosts: []string{"mx1.example.net"}}, IPv6First, "bob relayed 2.0.0", "192.0.2.1 " + at},
	} {
		route, families, n.dialled = c.route, c.families, nil
		s := newSender(t, n, func(cfg *Config) {
			cfg.SourcesFor, cfg.Families = func(domain string) []netip.Addr { return sources[domain] }, families
			cfg.RouteFor = func(string) *Route { return route }
		})
		e := mail()
		e.Sender = c.sender
		if got := send(t, s, e); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if got := strings.Join(n.dialled, "; "); got != c.dialled {
			t.Errorf("%s: dialled %s, want %s", c.what, got, c.dialled)
		}
	}
	route, n.dialled = nil, nil
	s := newSender(t, n, func(cfg *Config) { cfg.SourcesFor = func(domain string) []netip.Addr { return sources[domain] } })
	for _, sender := range []string{"alice@example.org", "", "bob@example.org"} {
		e := mail()
		if e.Sender = sender; send(t, s, e) != "bob relayed 2.0.0" {
			t.Error("it does not arrive")
		}
	}
	if got := strings.Join(n.dialled, "; "); got != "192.0.2.1 "+at+"; 192.0.2.7 "+at {
		t.Error(got)
	}
}

// TestASourceThatIsNotOurs is this server's fault, and nobody else's.
func TestASourceThatIsNotOurs(t *testing.T) {
	up := newPeer(t, nil)
	s := newSender(t, to(), func(cfg *Config) {
		cfg.Dial = nil
		cfg.RouteFor = func(string) *Route {
			return &Route{Hosts: []string{up.address.String()}, Sources: addresses("192.0.2.1")}
		}
	})
	if got := send(t, s, mail()); got != "unreachable; bob deferred 4.3.5" {
		t.Error(got)
	}
	s = newSender(t, to(), func(cfg *Config) {
		cfg.Dial = nil
		cfg.RouteFor = func(string) *Route {
			return &Route{Hosts: []string{up.address.String()}, Sources: addresses("127.0.0.1")}
		}
	})
	if got := send(t, s, mail()); got != "bob relayed 2.0.0" {
		t.Error(got)
	}
}

// TestSendersAreMarked on the way out only: whom the queue knows stays the same.
func TestSendersAreMarked(t *testing.T) {
	up := newPeer(t, nil)
	s := newSender(t, to(up), func(cfg *Config) { cfg.Mark = func(sender string) string { return "prvs=" + sender } })
	if got := send(t, s, mail()); got != "bob relayed 2.0.0" {
		t.Error(got)
	}
	if got := up.heard("MAIL"); len(got) != 1 || !strings.HasPrefix(got[0], "MAIL FROM:<prvs=alice@example.org> ") {
		t.Errorf("%q", got)
	}
}
