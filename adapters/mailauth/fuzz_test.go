package mailauth

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
)

// echo answers every question with what it was given, but knows keys of football.example.com only.
type echo struct{ texts []string }

func (e echo) TXT(_ context.Context, name string) ([]string, error) {
	if _, host, isKey := strings.Cut(name, "._domainkey."); isKey && host != "football.example.com" {
		return nil, domain.Errorf(domain.NotFound, "no key")
	}
	return e.texts, nil
}
func (e echo) MX(context.Context, string) ([]delivery.Exchanger, error) {
	return []delivery.Exchanger{{Host: "a.example", Preference: 1}, {}}, nil
}
func (e echo) Values(_ context.Context, _, kind string) ([]string, error) {
	return map[string][]string{"A": {"192.0.2.9"}, "AAAA": {"2001:db8::9"}}[kind], nil
}
func (e echo) PTR(context.Context, netip.Addr) ([]string, error) {
	return nil, domain.Errorf(domain.NotFound, "no name")
}

// FuzzVerify gives the packages that others made whatever a sender can: a message, the texts of its names, and what it said before. None panics, in whatever goroutine, the field that
// tells of it can be read, and nobody's signature passes but that of who has a key.
func FuzzVerify(f *testing.F) {
	header, rest, _ := strings.Cut(strings.ReplaceAll(joesMessage, "\n", "\r\n"), "\r\n\r\n")
	f.Add(header+"\r\n", "\r\n"+rest, joesRSA, "joe@football.example.com", "mail.example")
	f.Add(header+"\r\n", "\r\n"+rest, joesEd25519+"; t=s:y; h=sha256; s=*; n=x", "", "[192.0.2.1]")
	f.Add(" "+header+"\r\n"+strings.ReplaceAll(bogus, "\n", "\r\n"), "\r\n"+rest, joesEd25519, "", "h")
	f.Add(strings.ReplaceAll(strings.ReplaceAll(bogus, "\n", "\r\n")+header, "DKIM-Signature:", "DKIM-Signature\u00a0:"), "\r\n"+rest, joesEd25519, "", "h")
	for _, spf := range []string{"v=spf1 a mx ptr include:b.example exists:%{ir}.%{v}.%{d2r-}.x ip4:192.0.2.0/24//64 ip6:::/0 ?all redirect=c.example exp=%{h}", "v=spf1 a:%{l1r+-}.%{s}//129 -mx/33 ~all", "v=DMARC1; p=reject; pct=7; sp=none; adkim=s"} {
		f.Add("From: \"a\" <x@y.example>, <@b:c@d>\r\nDKIM-Signature: v=1; a=rsa-sha256; d=y.example; s=x; h=from; bh=; b=;\r\n", "\r\nx", spf, "\"a b\"@y.example", "h")
	}
	f.Fuzz(func(t *testing.T, header, rest, text, from, helo string) {
		v, err := New(Config{Resolver: echo{strings.Split(text, "\n")}, ID: "mx.example.org", Sample: func() int { return 0 }, Limits: Limits{Time: time.Minute}})
		if err != nil {
			t.Fatal(err)
		}
		sender, err := delivery.Unquoted(from)
		if err != nil {
			return
		}
		verdict := v.Verify(t.Context(), &authres.Arrival{
			ID: "1", Address: "192.0.2.1", Helo: helo, Sender: sender, Header: []byte(header), Rest: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(rest)), nil },
		})
		_, value, found := strings.Cut(verdict.Top, ":")
		id, methods, err := authres.Parse(value)
		if !found || err != nil || id != "mx.example.org" || len(methods) < 3 || methods[0].Name != "spf" {
			t.Errorf("%q: %v", verdict.Top, err)
		}
		for _, m := range methods {
			if m.Name == "dkim" && m.Result == authres.Pass && m.Properties[0].Value != "football.example.com" {
				t.Errorf("%q of %q", verdict.Top, header)
			}
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(verdict.Top, "\r\n"), "\r\n\t") {
			if strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("%q has a line end of its own", verdict.Top)
			}
		}
		if kept, removed := authres.Trusted(verdict.Header, "mx.example.org"); removed > 0 || len(kept) != len(verdict.Header) {
			t.Errorf("%q still claims to be ours", verdict.Header)
		}
	})
}
