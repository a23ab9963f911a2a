package outbound

import (
	"net/netip"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
)

func TestWhichHost(t *testing.T) {
	gone := domain.Errorf(domain.NotFound, "the domain does not exist")
	up, other := newPeer(t, nil), newPeer(t, nil)
	busy := newPeer(t, map[string][]string{"": {"421 4.3.2 busy"}})
	grey := newPeer(t, map[string][]string{"RCPT": {"450 4.7.1 greylisted"}})
	no := newPeer(t, map[string][]string{"RCPT": {"550 5.1.1 who?"}})
	for _, c := range []struct {
		name   string
		names  *names
		change func(*names)
		want   string
		took   *peer
	}{
		{"the best", to(up, other), nil, "bob relayed 2.0.0", up},
		{"the next, where nobody listens", to(nil, other), nil, "bob relayed 2.0.0", other},
		{"the next, where the best is busy", to(busy, other), nil, "bob relayed 2.0.0", other},
		{"the next, where the best says later", to(grey, other), nil, "bob relayed 2.0.0", other},
		{"none but the one that said no", to(no, other), nil, "bob failed 5.1.1", nil},
		{"nobody", to(nil, nil), nil, "unreachable; bob deferred 4.4.1", nil},
		{"all say later", to(grey, grey), nil, "bob deferred 4.7.1", nil},
		{"no MX but an address", to(), func(n *names) { n.hosts["example.net"] = up }, "bob relayed 2.0.0", up},
		{"neither", to(), nil, "unreachable; bob failed 5.1.2", nil},
		{"no such domain", to(), func(n *names) { n.errors["MX example.net"] = gone }, "unreachable; bob failed 5.1.2", nil},
		{"DNS does not answer", to(), func(n *names) { n.errors["MX example.net"] = errLater }, "unreachable; bob deferred 4.4.3", nil},
		{"DNS does not know the host's address", to(up), func(n *names) { n.errors["mx1.example.net"] = errLater }, "unreachable; bob deferred 4.4.3", nil},
		{"or that of one", to(up, other), func(n *names) { n.errors["mx1.example.net"] = errLater }, "bob relayed 2.0.0", other},
		{"a host without address", to(up), func(n *names) { delete(n.hosts, "mx1.example.net") }, "unreachable; bob failed 5.4.4", nil},
		{"a host that says it is this machine", to(up), func(n *names) { n.local = map[string]bool{"mx1.example.net": true} }, "unreachable; bob failed 5.4.4", nil},
		{"a host that is an address", to(up), func(n *names) { n.mx["example.net"][0].Host = n.address("mx1.example.net").String() }, "unreachable; bob failed 5.4.4", nil},
		{"null MX", to(), func(n *names) { n.mx["example.net"] = []delivery.Exchanger{{}} }, "unreachable; bob failed 5.1.10", nil},
		{"this server is the best", to(up), func(n *names) {
			n.mx["example.net"] = []delivery.Exchanger{{Host: "MAIL.example.org", Preference: 5}, {Host: "mx1.example.net", Preference: 5}}
		}, "unreachable; bob failed 5.4.6", nil},
		{"this server is a spare", to(up, other), func(n *names) {
			n.mx["example.net"] = append(n.mx["example.net"][:1], delivery.Exchanger{Host: "mail.example.org", Preference: 15}, n.mx["example.net"][1])
		}, "bob relayed 2.0.0", up},
		{"this server by its address", to(up), func(n *names) { n.hosts["self.example.net"] = up; n.mx["example.net"][0].Host = "self.example.net" }, "unreachable; bob failed 5.4.6", nil},
	} {
		if c.change != nil {
			c.change(c.names)
		}
		before := 0
		if c.took != nil {
			before = len(c.took.got())
		}
		s := newSender(t, c.names, func(cfg *Config) {
			cfg.Self = func(a netip.AddrPort) bool { return a.Addr() == c.names.address("self.example.net") }
		})
		if got := send(t, s, mail()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if c.took != nil && len(c.took.got()) != before+1 {
			t.Errorf("%s: it went elsewhere", c.name)
		}
	}
}

// TestRoutesShareNoSessions whose demands differ, and a redirection meets those of the domain's route.
func TestRoutesShareNoSessions(t *testing.T) {
	up := newPeer(t, nil)
	var route Route
	s := newSender(t, to(up), func(c *Config) { c.RouteFor = func(string) *Route { return &route } })
	for _, c := range []struct {
		route Route
		via   string
		want  string
	}{
		{Route{}, "", "bob relayed 2.0.0"},
		{Route{TLS: Required}, "", "unreachable; bob deferred 4.7.5"},
		{Route{}, "mx1.example.net", "bob relayed 2.0.0"},
		{Route{TLS: Verified}, "mx1.example.net", "unreachable; bob deferred 4.7.5"},
	} {
		e := mail()
		route, e.Via = c.route, c.via
		route.Hosts = []string{"mx1.example.net"}
		if got := send(t, s, e); got != c.want {
			t.Errorf("%+v by %q: %s", c.route, c.via, got)
		}
	}
}

func TestRoutes(t *testing.T) {
	up, other := newPeer(t, nil), newPeer(t, nil)
	n := to(up)
	n.hosts["relay.example.com"] = other
	route := &Route{Hosts: []string{"mx9.example.com:26", "relay.example.com:587"}}
	s := newSender(t, n, func(c *Config) {
		c.RouteFor = func(domain string) *Route {
			if domain == "example.net" {
				return route
			}
			return nil
		}
	})
	if got := send(t, s, mail()); got != "bob relayed 2.0.0" || len(other.got()) != 1 {
		t.Error(got)
	}
	route = &Route{Hosts: []string{"nowhere.example.com"}}
	if got := send(t, s, mail()); got != "unreachable; bob deferred 4.4.4" {
		t.Error(got)
	}
	e := mail()
	e.Via = "mx1.example.net"
	if got := send(t, s, e); got != "bob relayed 2.0.0" || len(up.got()) != 1 {
		t.Error(got)
	}
	e.Domain, e.Via = "[192.0.2.9]", ""
	if got := send(t, s, e); got != "unreachable; bob deferred 4.4.1" {
		t.Error(got)
	}
	e.Domain = "[127.0.0.1]"
	if got := send(t, s, e); got != "unreachable; bob failed 5.1.2" {
		t.Error(got)
	}
	e.Domain = "[future:x]"
	if got := send(t, s, e); got != "unreachable; bob failed 5.1.2" {
		t.Error(got)
	}
}
