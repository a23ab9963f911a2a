package gate

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
)

// TestNamesOfAddresses: the result of each is one of RFC 8601 section 2.7.3, and what is refused for it is what is configured.
func TestNamesOfAddresses(t *testing.T) {
	server := dnstest.Start(t,
		"1.2.0.192.in-addr.arpa. PTR mail.example.net.", "mail.example.net. A 192.0.2.9", "mail.example.net. A 192.0.2.1", "mail.example.net. AAAA 2001:db8::1",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mail.example.net.",
		"2.2.0.192.in-addr.arpa. PTR mail.example.net.",
		"3.2.0.192.in-addr.arpa. PTR nowhere.example.net.",
		"4.2.0.192.in-addr.arpa. PTR six.example.net.", "six.example.net. AAAA 2001:db8::4",
		"6.2.0.192.in-addr.arpa. PTR broken.example.net.", "6.2.0.192.in-addr.arpa. PTR mail.example.net.",
		"7.2.0.192.in-addr.arpa. PTR broken.example.net.", "7.2.0.192.in-addr.arpa. PTR seven.example.net.", "seven.example.net. A 192.0.2.7",
		`8.2.0.192.in-addr.arpa. PTR a\032b\;c.example.net.`,
	)
	for i := range 50 {
		server.Add(t, "9.2.0.192.in-addr.arpa. PTR n"+strings.Repeat("x", i)+".example.net.")
	}
	server.Let("5.2.0.192.in-addr.arpa", dnstest.ServFail)
	server.Let("broken.example.net", dnstest.ServFail)
	strictness := map[string]admission.Strictness{"report": {}, "missing": {Nameless: true}, "refuse": {Nameless: true, Mismatch: true}}
	gates := map[string]*Gate{}
	for name, s := range strictness {
		gates[name] = gated(t, server.Addr, func(c *Config) { c.Reverse, c.Strict = true, s })
	}
	for address, want := range map[string]struct {
		result  authres.Result
		refused string // by whom
	}{
		"192.0.2.1": {authres.Pass, ""}, "2001:db8::1": {authres.Pass, ""}, "192.0.2.2": {authres.Fail, "refuse"}, "192.0.2.3": {authres.PermError, "missing refuse"}, "192.0.2.4": {authres.PermError, "missing refuse"},
		"192.0.2.5": {authres.TempError, ""}, "192.0.2.6": {authres.TempError, ""}, "192.0.2.7": {authres.Pass, ""}, "192.0.2.8": {authres.PermError, "missing refuse"}, "192.0.2.9": {authres.PermError, "missing refuse"},
		"192.0.2.200": {authres.PermError, "missing refuse"},
	} {
		for name, g := range gates {
			o := g.Client(t.Context(), client(address))
			if len(o.Methods) != 1 || o.Methods[0].Name != "iprev" || o.Methods[0].Result != want.result || o.Methods[0].Properties[0].Value != address {
				t.Errorf("%s: %+v", address, o.Methods)
			}
			if refused := o.Refusal != nil; refused != strings.Contains(want.refused, name) || refused && (o.Refusal.Code != 550 || o.Refusal.Enhanced != [3]int{5, 7, 25} || !strings.Contains(o.Refusal.Text, "["+address+"]")) {
				t.Errorf("%s with %s: %+v", address, name, o.Refusal)
			}
		}
	}
	if n := server.Asked("n" + strings.Repeat("x", 40) + ".example.net"); n > 0 {
		t.Error("more names are looked at than the bound allows")
	}
}

// TestNamesThatDecideNothing keep nobody waiting for long, and do not wait for lists.
func TestNamesThatDecideNothing(t *testing.T) {
	for name, s := range map[string]admission.Strictness{"report": {Helo: true}, "missing": {Nameless: true}, "refuse": {Nameless: true, Mismatch: true}} {
		var left time.Duration
		g, err := New(Config{
			ID: "mx.example.org", Reverse: true, Strict: s, Limits: Limits{Time: time.Hour, Open: 1},
			Resolver: stub(func(ctx context.Context, _, _ string) ([]string, error) {
				until, _ := ctx.Deadline()
				left = time.Until(until)
				return nil, domain.Errorf(domain.Unavailable, "no")
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		g.open <- struct{}{} // a list that does not answer
		g.Client(t.Context(), client("192.0.2.1"))
		if short := left <= inPassing; short != (name == "report") || left == 0 {
			t.Errorf("%s: it is waited for %v", name, left)
		}
	}
}

func TestNamesInGreetings(t *testing.T) {
	var noted counts
	for _, strict := range []bool{false, true} {
		g, err := New(Config{ID: "mx.example.org", Own: []string{"mx.example.org"}, Helo: true, Strict: admission.Strictness{Helo: strict}, Named: func(check, result string) { noted.note(check, result) }})
		if err != nil {
			t.Fatal(err)
		}
		for helo, want := range map[string]string{
			"mail.example.net": "", "mail.example.net.": "", "[192.0.2.1]": "", "müller.example": "", "xn--mller-kva.example": "", "mail_1.example.net": "",
			"[192.0.2.2]": admission.HeloOther, "[IPv6:2001:db8::1]": admission.HeloOther, "[IPv6:::ffff:192.0.2.1]": "", "[192.0.2.1": admission.HeloMalformed, "[]": admission.HeloMalformed, "[fe80::1%eth0]": admission.HeloMalformed,
			"MX.Example.ORG": admission.HeloOurs, "mx.example.org.": admission.HeloOurs, "localhost": admission.HeloBare, "": admission.HeloMalformed, "a b": admission.HeloMalformed, "-": admission.HeloMalformed,
			"\xff.example": admission.HeloMalformed, "a..b": admission.HeloMalformed, strings.Repeat("x", 5000): admission.HeloMalformed, "\r\n550": admission.HeloMalformed,
		} {
			c := client("192.0.2.1")
			c.Helo = helo
			o := g.Client(t.Context(), c)
			if refused := o.Refusal != nil; refused != (strict && want != "") || refused && (o.Refusal.Why != "helo" || strings.ContainsFunc(o.Refusal.Text, func(r rune) bool { return r < ' ' || r > '~' })) {
				t.Errorf("%q: %+v", helo, o.Refusal)
			}
			result := want
			if want == "" {
				result = "good"
			}
			if got := noted.taken(); got != "helo "+result || len(o.Methods) > 0 {
				t.Errorf("%q: %s", helo, got)
			}
		}
	}
}
