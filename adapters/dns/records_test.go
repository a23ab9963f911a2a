package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain"
)

// TestTexts: what a name says, in whatever shape it comes, is told whole, or it is said why not.
func TestTexts(t *testing.T) {
	s := dnstest.Start(t, `two.example. TXT "v=spf1 " "-all"`, `two.example. TXT "other"`, `mail.example. A 192.0.2.1`, `alias.example. CNAME two.example.`,
		`a.example. CNAME b.example.`, `b.example. CNAME a.example.`, `quoted.example. TXT "a\"b\\c\200"`,
		`b.example. TXT "not asked for"`, `a\\.b.example. TXT "a label that ends with a backslash"`, `a\@b\;c\(.example. TXT "odd"`)
	s.TXT("long.example", strings.Repeat("x", 3000)) // which needs TCP
	s.TXT("huge.example", strings.Repeat("x", 9000))
	for i := range 101 {
		s.TXT("many.example", fmt.Sprint(i))
	}
	for name, way := range map[string]dnstest.Behaviour{
		"servfail.example": dnstest.ServFail, "refused.example": dnstest.Refused, "cut.example": dnstest.CutAlways, "another.example": dnstest.Other, "loop.example": dnstest.Loop, "garbage.example": dnstest.Garbage,
	} {
		s.TXT(name, "x")
		s.Let(name, way)
	}
	patient, err := New(Config{Servers: []string{s.Addr}, Timeout: time.Minute, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	hasty, err := New(Config{Servers: []string{s.Addr}, Timeout: 200 * time.Millisecond, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"two.example": "[v=spf1 -all other] <nil>", "alias.example": "[v=spf1 -all other] <nil>", "mail.example": "[] <nil>", "none.example": "[] not_found", "quoted.example": "[a\"b\\c\xc8] <nil>",
		`a\.b.example`: "[a label that ends with a backslash] <nil>", `a\046b.example`: "[] not_found", `a\.example`: "[] not_found", "a@b;c(.example": "[odd] <nil>",
		"long.example": "[" + strings.Repeat("x", 3000) + "] <nil>", "huge.example": "[] too_large", "many.example": "[] too_large", "servfail.example": "[] unavailable", "refused.example": "[] unavailable",
		"cut.example": "[] unavailable", "another.example": "[] unavailable", "loop.example": "[] <nil>", "a.example": "[] unavailable", "garbage.example": "[] unavailable",
	} {
		r := patient
		if name == "garbage.example" || name == "another.example" { // for whose answers one waits in vain
			r = hasty
		}
		got, err := r.TXT(t.Context(), name)
		told := kind(err)
		if domain.Is(err, domain.TooLarge) {
			told = "too_large"
		}
		if told = fmt.Sprint(got, " ", told); told != want {
			t.Errorf("%s: %.60s, want %.60s", name, told, want)
		}
	}
}

// TestASilentServer holds nobody longer than the context.
func TestASilentServer(t *testing.T) {
	s := dnstest.Start(t, "silent.example. TXT x")
	s.Let("silent.example", dnstest.Silent)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := New(Config{Servers: []string{s.Addr}, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.TXT(ctx, "silent.example"); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
}

func TestNamesOfAddresses(t *testing.T) {
	s := dnstest.Start(t, "1.2.0.192.in-addr.arpa. PTR mail.example.", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.example.")
	r := resolver(t, s.Addr)
	for address, want := range map[string]string{"192.0.2.1": "[mail.example] <nil>", "::ffff:192.0.2.1": "[mail.example] <nil>", "2001:db8::1": "[six.example] <nil>", "192.0.2.2": "[] not_found"} {
		got, err := r.PTR(t.Context(), netip.MustParseAddr(address))
		if told := fmt.Sprint(got, " ", kind(err)); told != want {
			t.Errorf("%s: %s, want %s", address, told, want)
		}
	}
}

// TestWhatWasValidated: a server is believed that an answer was validated only if it is trusted with that.
func TestWhatWasValidated(t *testing.T) {
	server := dnstest.Start(t, "example.net. MX 10 mx.example.net.", "mx.example.net. A 192.0.2.1", "alias.example.net. CNAME mx.example.com.", "mx.example.com. A 192.0.2.2",
		"_25._tcp.mx.example.net. TLSA 3 1 1 "+strings.Repeat("ab", 32), "_25._tcp.mx.example.net. TLSA 2 0 0 00ff")
	server.Sign("example.net")
	for trust, want := range map[Trust]bool{TrustNone: false, TrustLoopback: true, TrustAll: true} {
		r, err := New(Config{Servers: []string{server.Addr}, Timeout: time.Minute, Trust: trust})
		if err != nil {
			t.Fatal(err)
		}
		if mx, secure, err := r.ValidatedMX(t.Context(), "example.net"); err != nil || len(mx) != 1 || secure != want {
			t.Errorf("%d: MX %v, %v, %v", trust, mx, secure, err)
		}
		if a, secure, err := r.ValidatedAddresses(t.Context(), "mx.example.net"); err != nil || len(a) != 1 || secure != want {
			t.Errorf("%d: addresses %v, %v, %v", trust, a, secure, err)
		}
		if a, secure, err := r.ValidatedAddresses(t.Context(), "alias.example.net"); err != nil || len(a) != 1 || secure {
			t.Errorf("%d: a way through a zone without signatures: %v, %v, %v", trust, a, secure, err)
		}
		all, secure, err := r.TLSA(t.Context(), "_25._tcp.mx.example.net")
		if err != nil || secure != want || len(all) != 2 || all[1].String() != "2 0 0 00FF" {
			t.Errorf("%d: TLSA %v, %v, %v", trust, all, secure, err)
		}
	}
	if (&Resolver{Config{Trust: TrustLoopback}}).trusts("192.0.2.53:53") || !(&Resolver{Config{Trust: TrustLoopback}}).trusts("[::1]:53") {
		t.Error("what is on this machine")
	}
}
