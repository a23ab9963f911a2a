package delivery

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct {
		in     string
		local  string
		domain string
		out    string // what String gives, if it differs from in
	}{
		{in: "alice@example.org", local: "alice", domain: "example.org"},
		{in: "user+tag@example.org", local: "user+tag", domain: "example.org"},
		{in: "!#$%&'*+-/=?^_`{|}~@example.org", local: "!#$%&'*+-/=?^_`{|}~", domain: "example.org"},
		{in: `"john doe"@example.org`, local: "john doe", domain: "example.org"},
		{in: `"a@b"@example.org`, local: "a@b", domain: "example.org"},
		{in: `"a\"\\b"@example.org`, local: `a"\b`, domain: "example.org"},
		{in: `"plain"@example.org`, local: "plain", domain: "example.org", out: "plain@example.org"},
		{in: `"a..b"@example.org`, local: "a..b", domain: "example.org"},
		{in: "a@[192.0.2.1]", local: "a", domain: "[192.0.2.1]"},
		{in: "a@[IPv6:2001:db8::1]", local: "a", domain: "[IPv6:2001:db8::1]"},
		{in: "a@[IPv6:::ffff:192.0.2.1]", local: "a", domain: "[IPv6:::ffff:192.0.2.1]"},
		{in: "a@[x-tag:content]", local: "a", domain: "[x-tag:content]"},
		{in: "a@localhost", local: "a", domain: "localhost"},
		{in: "пример@пример.рф", local: "пример", domain: "пример.рф"},
		{in: "a@host_name.example.org", local: "a", domain: "host_name.example.org"},
	} {
		a, err := ParseAddress(c.in)
		if err != nil || a.Local != c.local || a.Domain != c.domain {
			t.Errorf("%s: %+v, %v", c.in, a, err)
			continue
		}
		if out := a.String(); out != c.in && out != c.out {
			t.Errorf("%s became %s", c.in, out)
		}
	}
}

func TestMalformedAddresses(t *testing.T) {
	for _, s := range []string{
		"", "alice", "@example.org", "alice@", "a b@example.org", "a..b@example.org", ".a@example.org", "a.@example.org", "a@b@example.org",
		`"unfinished@example.org`, `"a"b@example.org`, `"a\`, "a@example..org", "a@.org", "a@-x.org", "a@x-.org", "a@exa mple.org", "a@[1.2.3]",
		"a@[1.2.3.256]", "a@[1.2.3.4", "a@[]", "a@[IPv6:1::2::3]", "a@[IPv6:12345::]", "a@[IPv6:1:2:3:4:5:6:7:8:9]", "a@[IPv6:1:2:3]", "a@[tag:]", "a@[tag:a]b]",
		"a\x00b@example.org", "\"a\x01b\"@example.org", "a@ex\xffample.org", "\xff@example.org", "\"\xff\"@example.org", `""@example.org`,
		strings.Repeat("a", MaxLocal+1) + "@example.org", "a@" + strings.Repeat("a.", MaxDomain/2) + "aa",
	} {
		if a, err := ParseAddress(s); !domain.Is(err, domain.Invalid) {
			t.Errorf("%q was read as %+v (%v)", s, a, err)
		}
	}
}

func TestNullPath(t *testing.T) {
	if p := (Address{}).Path(); p != "<>" {
		t.Errorf("the null path is %s", p)
	}
}

func TestUnquoted(t *testing.T) {
	for in, want := range map[string]Address{
		"":                   {},
		"a@b@example.org":    {"a@b", "example.org"},
		"a..b.@example.org":  {"a..b.", "example.org"},
		"john doe@b.example": {"john doe", "b.example"},
	} {
		if got, err := Unquoted(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
}

func TestKey(t *testing.T) {
	for in, want := range map[string]string{
		"Alice@Example.ORG":           "alice@example.org",
		"a@XN--Bcher-Kva.example":     "a@bücher.example",
		"a@BU\u0308CHER.example":      "a@bücher.example",
		"a@xn--e1afmkfd.xn--p1ai":     "a@пример.рф",
		"a@xn--.example":              "a@xn--.example",
		"a@xn--99999999.example":      "a@xn--99999999.example",
		"a@[IPV6:2001:DB8::1]":        "a@[ipv6:2001:db8::1]",
		"a@xn--fiqs8s":                "a@中国",
		"a@xn--mgbaam7a8h.example":    "a@امارات.example",
		"a@faß.example":               "a@faß.example",
		"a@xn--fa-hia.example":        "a@faß.example",
		"a@xn--ls8h.la":               "a@xn--ls8h.la", // An emoji is no letter: no valid U-label.
		"a@xn--strae-oqa.xn--a-.test": "a@straße.xn--a-.test",
	} {
		a, err := Unquoted(in)
		if err != nil {
			a = Address{Local: "a", Domain: strings.TrimPrefix(in, "a@")} // Not a domain that a client may send, but Key must not mind.
		}
		if got := a.Key(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b", `"a b"@c`, "a@[IPv6:::1]", "a@xn--bcher-kva", `"\""@x`, "é@ü.de", "<@a:b@c>", "<>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := Unquoted(s); err == nil && !u.IsNull() {
			again, err := ParseAddress(u.String())
			if err != nil || again != u {
				t.Fatalf("%q: %+v as text is %q, which reads as %+v (%v)", s, u, u, again, err)
			}
		}
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q keeps control characters", s)
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Fatalf("%q: %+v reads back as %+v (%v)", s, a, again, err)
		}
		if k := a.Key(); (Address{a.Local, strings.ToLower(a.Domain)}).Key() != k {
			t.Fatalf("%q: key %q depends on the domain's case", s, k)
		}
	})
}
