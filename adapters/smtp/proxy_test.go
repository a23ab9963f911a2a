package smtp

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// TestProxy: behind a proxy the client's own address is in Received, with TLS and without, and whoever comes through it is not on this machine.
func TestProxy(t *testing.T) {
	const header = "PROXY TCP4 198.51.100.7 192.0.2.25 4000 25\r\n"
	proxies := func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} }
	s := start(t, Submission, proxies)
	c := s.dial()
	c.send(header)
	c.expect("220 ")
	c.do("EHLO client.example.net", "250 ")
	c.do(plainAuth("alice@example.org", "secret"), "538 5.7.11") // in the clear, through somebody else's network

	raw, err := net.Dial("tcp", s.implicit.String())
	if err != nil {
		t.Fatal(err)
	}
	newClient(t, raw).send(header)
	c = newClient(t, tls.Client(raw, &tls.Config{InsecureSkipVerify: true}))
	c.expect("220 ")
	c.do("EHLO client.example.net", "250 ")
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	c.envelope("alice@example.org", "bob@example.org")
	c.send(dots("Subject: x\r\n\r\ny\r\n"))
	c.expect("250 ")
	if got := s.only(s.bob, "INBOX"); !strings.Contains(got, "[198.51.100.7]") || strings.Contains(got, "127.0.0.1") {
		t.Errorf("%s", got)
	}

	// From this machine, which is no proxy now, a header is a lie.
	c = start(t, MX, func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }).dial()
	c.expect("220 ")
	c.do(strings.TrimSuffix(header, "\r\n"), "421 4.7.0")
	c.expectEnd()
}
