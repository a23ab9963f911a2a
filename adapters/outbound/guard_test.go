package outbound

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/dane"
	"github.com/streampost/streampost/domain/mtasts"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/tlsrpt"
)

// policies has one for example.net.
type policies struct {
	policy *mtasts.Policy
	err    error
}

func (p policies) Policy(context.Context, string) (*mtasts.Policy, error) { return p.policy, p.err }

// seen collects how TLS went.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) observe(o tlsrpt.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := string(o.Failure)
	if what == "" {
		what = "good"
	}
	s.all = append(s.all, o.Policy.Kind+" "+what)
}

// secured is a peer that speaks TLS with a certificate for names, and what to trust.
func secured(t *testing.T, more string, names ...string) (*peer, *x509.CertPool, *x509.Certificate) {
	t.Helper()
	config, pool := certificate(t, names...)
	p := newPeer(t, map[string][]string{"EHLO": {"250-peer" + more + "\r\n250 STARTTLS"}})
	p.tls = config
	c, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return p, pool, c
}

func plain(t *testing.T) *peer { t.Helper(); return newPeer(t, nil) }

func sts(mode mtasts.Mode, mx ...string) policies {
	return policies{policy: &mtasts.Policy{Mode: mode, MX: mx, MaxAge: time.Hour}}
}

// TestPoliciesOfMTASTS: what is enforced is obeyed or waits, and never goes in clear text; what is tested is told.
func TestPoliciesOfMTASTS(t *testing.T) {
	good, roots, _ := secured(t, "", "mx1.example.net", "mx2.example.net")
	other, _, _ := secured(t, "", "mx1.example.net", "mx2.example.net") // whose certificate nobody trusts
	alien, aliens, _ := secured(t, "", "elsewhere.example")
	broken := newPeer(t, map[string][]string{"EHLO": {"250-peer\r\n250 STARTTLS"}})
	for _, c := range []struct {
		what  string
		p     policies
		hosts []*peer
		roots *x509.CertPool
		want  string
		saw   string
		took  *peer
	}{
		{"a good host", sts(mtasts.Enforce, "mx1.example.net"), []*peer{good}, roots, "bob relayed 2.0.0", "sts good", good},
		{"by a pattern", sts(mtasts.Enforce, "*.example.net"), []*peer{good}, roots, "bob relayed 2.0.0", "sts good", good},
		{"another host", sts(mtasts.Enforce, "mx9.example.net"), []*peer{good}, roots, "unreachable; bob deferred 4.7.5", "sts validation-failure", nil},
		{"the second of two", sts(mtasts.Enforce, "mx2.example.net"), []*peer{other, good}, roots, "bob relayed 2.0.0", "sts validation-failure; sts good", good},
		{"without TLS", sts(mtasts.Enforce, "mx1.example.net"), []*peer{plain(t)}, roots, "unreachable; bob deferred 4.7.5", "sts starttls-not-supported", nil},
		{"without TLS, and one with it", sts(mtasts.Enforce, "*.example.net"), []*peer{plain(t), good}, roots, "bob relayed 2.0.0", "sts starttls-not-supported; sts good", good},
		{"a handshake that breaks", sts(mtasts.Enforce, "mx1.example.net"), []*peer{broken}, roots, "unreachable; bob deferred 4.7.5", "sts validation-failure", nil},
		{"an authority that nobody trusts", sts(mtasts.Enforce, "mx1.example.net"), []*peer{other}, roots, "unreachable; bob deferred 4.7.5", "sts certificate-not-trusted", nil},
		{"a certificate for another name", sts(mtasts.Enforce, "mx1.example.net"), []*peer{alien}, aliens, "unreachable; bob deferred 4.7.5", "sts certificate-host-mismatch", nil},
		{"testing, good", sts(mtasts.Testing, "mx1.example.net"), []*peer{good}, roots, "bob relayed 2.0.0", "sts good", good},
		{"testing, another host", sts(mtasts.Testing, "mx9.example.net"), []*peer{good}, roots, "bob relayed 2.0.0", "sts validation-failure", good},
		{"testing, without TLS", sts(mtasts.Testing, "mx1.example.net"), []*peer{plain(t)}, roots, "bob relayed 2.0.0", "sts starttls-not-supported", nil},
		{"testing, an authority that nobody trusts", sts(mtasts.Testing, "mx1.example.net"), []*peer{other}, roots, "bob relayed 2.0.0", "sts certificate-not-trusted", other},
		{"testing, a handshake that breaks", sts(mtasts.Testing, "mx1.example.net"), []*peer{broken}, roots, "bob relayed 2.0.0", "sts validation-failure", broken},
		{"none", sts(mtasts.None), []*peer{other}, roots, "bob relayed 2.0.0", "no-policy-found good", other},
		{"no policy", policies{}, []*peer{plain(t)}, roots, "bob relayed 2.0.0", "no-policy-found starttls-not-supported", nil},
		{"one that cannot be had", policies{err: &tlsrpt.Problem{Type: tlsrpt.STSFetch, Err: errors.New("404")}}, []*peer{other}, roots, "bob relayed 2.0.0", "sts sts-policy-fetch-error; no-policy-found good", other},
	} {
		saw, before := &seen{}, 0
		if c.took != nil {
			before = len(c.took.got())
		}
		s := newSender(t, to(c.hosts...), func(cfg *Config) { cfg.Policies, cfg.Roots, cfg.Observe = c.p, c.roots, saw.observe })
		if got := send(t, s, mail()); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if got := strings.Join(saw.all, "; "); got != c.saw {
			t.Errorf("%s was told as %s, want %s", c.what, got, c.saw)
		}
		if c.took != nil && len(c.took.got()) != before+1 {
			t.Errorf("%s: it went elsewhere", c.what)
		}
	}
	if len(alien.got()) > 0 {
		t.Error("a host under a false name has mail")
	}
}

// TestAPolicyIsNotForRoutes: the operator knows better.
func TestAPolicyIsNotForRoutes(t *testing.T) {
	saw := &seen{}
	s := newSender(t, to(plain(t)), func(cfg *Config) {
		cfg.Policies, cfg.Observe = sts(mtasts.Enforce, "mx9.example.net"), saw.observe
		cfg.RouteFor = func(string) *Route { return &Route{Hosts: []string{"mx1.example.net"}} }
	})
	if got := send(t, s, mail()); got != "bob relayed 2.0.0" || len(saw.all) > 0 {
		t.Error(got, saw.all)
	}
}

func key(c *x509.Certificate) dane.Record {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return dane.Record{Usage: dane.EndEntity, Selector: dane.Key, Matching: dane.SHA256, Data: sum[:]}
}

// signed has DNS vouch for the exchangers, their addresses and the certificates of mx1.
func signed(n *names, records ...dane.Record) *names {
	n.signed = map[string]bool{"example.net": true, "mx1.example.net": true, "mx2.example.net": true}
	n.tlsa = map[string][]dane.Record{"_25._tcp.mx1.example.net": records}
	return n
}

// TestDANE: a host has the certificate that DNS names, as far as DNS itself can be believed.
func TestDANE(t *testing.T) {
	good, _, own := secured(t, "", "whatever.example")
	other, roots, others := secured(t, "", "mx1.example.net")
	wrong, unusable := key(others), dane.Record{Usage: 1, Selector: 1, Matching: 1, Data: make([]byte, 32)}
	anchor := dane.Record{Usage: dane.TrustAnchor, Selector: dane.Whole, Matching: dane.Exact, Data: own.Raw}
	for _, c := range []struct {
		what   string
		names  *names
		change func(*names)
		p      policies
		want   string
		saw    string
	}{
		{"its own", signed(to(good), key(own)), nil, policies{}, "bob relayed 2.0.0", "tlsa good"},
		{"another", signed(to(good), wrong), nil, policies{}, "unreachable; bob deferred 4.7.5", "tlsa validation-failure"},
		{"an authority that is not shown", signed(to(good), anchor), nil, policies{}, "unreachable; bob deferred 4.7.5", "tlsa validation-failure"},
		{"another, and a second host", signed(to(good, other), wrong), nil, policies{}, "bob relayed 2.0.0", "tlsa validation-failure; no-policy-found good"},
		{"no TLS", signed(to(plain(t)), key(own)), nil, policies{}, "unreachable; bob deferred 4.7.5", "tlsa starttls-not-supported"},
		{"records that cannot be used", signed(to(good), unusable), nil, policies{}, "bob relayed 2.0.0", "no-policy-found good"},
		{"records that cannot be used, and no TLS", signed(to(plain(t)), unusable), nil, policies{}, "unreachable; bob deferred 4.7.5", "no-policy-found starttls-not-supported"},
		{"no records", signed(to(plain(t))), nil, policies{}, "bob relayed 2.0.0", "no-policy-found starttls-not-supported"},
		{"records that nobody has validated", signed(to(good), wrong), func(n *names) { n.forged = true }, policies{}, "bob relayed 2.0.0", "no-policy-found good"},
		{"exchangers that nobody has validated", signed(to(good), wrong), func(n *names) { delete(n.signed, "example.net") }, policies{}, "bob relayed 2.0.0", "no-policy-found good"},
		{"an address that nobody has validated", signed(to(good), wrong), func(n *names) { delete(n.signed, "mx1.example.net") }, policies{}, "bob relayed 2.0.0", "no-policy-found good"},
		{"records that are kept back", signed(to(good)), func(n *names) { n.errors["_25._tcp.mx1.example.net"] = errLater }, policies{}, "unreachable; bob deferred 4.7.5", "tlsa dnssec-invalid"},
		{"no such name", signed(to(good)), func(n *names) { n.errors["_25._tcp.mx1.example.net"] = domain.Errorf(domain.NotFound, "no") }, policies{}, "bob relayed 2.0.0", "no-policy-found good"},
		{"a domain without exchangers", to(), func(n *names) {
			n.hosts["example.net"], n.signed = good, map[string]bool{"example.net": true}
			n.tlsa = map[string][]dane.Record{"_25._tcp.example.net": {key(own)}}
		}, policies{}, "bob relayed 2.0.0", "tlsa good"},
		{"good by DANE, not by MTA-STS", signed(to(good), key(own)), nil, sts(mtasts.Enforce, "mx9.example.net"), "bob relayed 2.0.0", "tlsa good"},
		{"good by MTA-STS, not by DANE", signed(to(other), key(own)), nil, sts(mtasts.Enforce, "mx1.example.net"), "unreachable; bob deferred 4.7.5", "tlsa validation-failure"},
		{"MTA-STS beside records that cannot be used", signed(to(good), unusable), nil, sts(mtasts.Enforce, "mx1.example.net"), "unreachable; bob deferred 4.7.5", "sts certificate-host-mismatch"},
		{"MTA-STS in testing beside records that cannot be used", signed(to(plain(t)), unusable), nil, sts(mtasts.Testing, "mx1.example.net"), "unreachable; bob deferred 4.7.5", "sts starttls-not-supported"},
	} {
		if c.change != nil {
			c.change(c.names)
		}
		saw := &seen{}
		s := newSender(t, c.names, func(cfg *Config) { cfg.Policies, cfg.Roots, cfg.Observe = c.p, roots, saw.observe })
		if got := send(t, s, mail()); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		if got := strings.Join(saw.all, "; "); got != c.saw {
			t.Errorf("%s was told as %s, want %s", c.what, got, c.saw)
		}
	}
}

// TestTheHostIsNamed: a host that has several certificates is told which one is meant (SNI).
func TestTheHostIsNamed(t *testing.T) {
	p, _, own := secured(t, "", "x")
	var asked string
	chosen := p.tls.Certificates[0]
	p.tls = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { asked = h.ServerName; return &chosen, nil }}
	if got := send(t, newSender(t, signed(to(p), key(own))), mail()); got != "bob relayed 2.0.0" || asked != "mx1.example.net" {
		t.Error(got, asked)
	}
}

// TestWhatSendersDemandOfTheWay: verified TLS to a host that promises it to the next (RFC 8689), or just that the message arrives.
func TestWhatSendersDemandOfTheWay(t *testing.T) {
	willing, roots, own := secured(t, "\r\n250-REQUIRETLS", "mx1.example.net", "mx2.example.net")
	unable, _, _ := secured(t, "", "mx1.example.net")
	unable.tls = willing.tls
	forged, _, _ := secured(t, "\r\n250-REQUIRETLS", "mx1.example.net")
	enforce := sts(mtasts.Enforce, "*.example.net")
	route := &Route{Hosts: []string{"mx1.example.net"}}
	for _, c := range []struct {
		what  string
		tls   string
		names *names
		p     policies
		route *Route
		want  string
	}{
		{"MTA-STS vouches", queue.TLSRequired, to(willing), enforce, nil, "bob relayed 2.0.0"},
		{"MTA-STS in testing vouches", queue.TLSRequired, to(willing), sts(mtasts.Testing, "mx1.example.net"), nil, "bob relayed 2.0.0"},
		{"and not for others", queue.TLSRequired, to(willing), sts(mtasts.Testing, "mx2.example.net"), nil, "bob deferred 4.7.5"},
		{"DNSSEC vouches", queue.TLSRequired, signed(to(willing)), policies{}, nil, "bob relayed 2.0.0"},
		{"DANE vouches", queue.TLSRequired, signed(to(willing), key(own)), policies{}, nil, "bob relayed 2.0.0"},
		{"nobody vouches", queue.TLSRequired, to(willing), policies{}, nil, "bob failed 5.7.30"},
		{"a host that promises nothing", queue.TLSRequired, to(unable), enforce, nil, "bob failed 5.7.30"},
		{"one of two", queue.TLSRequired, to(unable, willing), enforce, nil, "bob relayed 2.0.0"},
		{"the other is away", queue.TLSRequired, to(unable, nil), enforce, nil, "bob deferred 4.4.1"},
		{"a certificate that nobody trusts", queue.TLSRequired, signed(to(forged)), policies{}, nil, "bob deferred 4.7.5"},
		{"no TLS", queue.TLSRequired, signed(to(plain(t))), policies{}, nil, "bob deferred 4.7.5"},
		{"a route", queue.TLSRequired, to(willing), policies{}, route, "bob relayed 2.0.0"},
		{"a route without TLS", queue.TLSRequired, to(plain(t)), policies{}, route, "bob deferred 4.7.5"},
		{"never mind", queue.TLSOptional, to(plain(t)), enforce, nil, "bob relayed 2.0.0"},
		{"never mind a certificate", queue.TLSOptional, signed(to(forged), key(own)), enforce, nil, "bob relayed 2.0.0"},
		{"never mind another host", queue.TLSOptional, to(willing), sts(mtasts.Enforce, "mx9.example.net"), nil, "bob relayed 2.0.0"},
	} {
		s := newSender(t, c.names, func(cfg *Config) {
			cfg.Policies, cfg.Roots, cfg.TLS = c.p, roots, &tls.Config{RootCAs: roots}
			cfg.RouteFor = func(string) *Route { return c.route }
		})
		e := mail()
		e.TLS = c.tls
		if got := send(t, s, e); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	promised := 0
	for _, line := range willing.heard("MAIL") {
		if slices.Contains(strings.Fields(line), "REQUIRETLS") {
			promised++
		}
	}
	if promised != 6 || len(unable.got()) > 0 {
		t.Errorf("%d messages asked for the promise, %d went without", promised, len(unable.got()))
	}
	e := mail()
	e.TLS, e.Domain = queue.TLSRequired, "[192.0.2.9]"
	if got := send(t, newSender(t, to(willing)), e); got != "bob failed 5.7.30" {
		t.Error(got)
	}
}
