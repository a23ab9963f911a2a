package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

func resolver(t *testing.T, servers ...string) *Resolver {
	t.Helper()
	r, err := New(Config{Servers: servers, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	server := dnstest.Start(t, "example.net. MX 10 mx1.example.net.", "example.net. MX 20 MX2.example.net.", "null.example.net. MX 0 .", "mx1.example.net. A 192.0.2.1", "mx1.example.net. AAAA 2001:db8::1",
		"mx2.example.net. A 192.0.2.2", "long.example.net. MX 5 mx1.example.net.", "xn--bcher-kva.example. MX 10 mx1.example.net.", "txt.example.net. TXT x")
	server.Let("servfail.example.net", dnstest.ServFail)
	server.Let("long.example.net", dnstest.Cut)
	r := resolver(t, server.Addr)
	for name, want := range map[string]string{
		"example.net": "[{mx1.example.net 10} {MX2.example.net 20}] <nil>", "null.example.net": "[{ 0}] <nil>", "long.example.net": "[{mx1.example.net 5}] <nil>", "bücher.example": "[{mx1.example.net 10}] <nil>",
		"txt.example.net": "[] <nil>", "nothing.example.net": "[] not_found", "servfail.example.net": "[] unavailable", "a..b": "[] not_found", strings.Repeat("x", 70) + ".net": "[] not_found",
	} {
		got, err := r.MX(t.Context(), name)
		slices.SortFunc(got, func(a, b delivery.Exchanger) int { return int(a.Preference) - int(b.Preference) })
		if told := fmt.Sprint(got, " ", kind(err)); told != want {
			t.Errorf("%s: %s, want %s", name, told, want)
		}
	}
	for name, want := range map[string]string{
		"mx1.example.net": "[2001:db8::1 192.0.2.1] <nil>", "mx2.example.net": "[192.0.2.2] <nil>", "txt.example.net": "[] <nil>", "nothing.example.net": "[] not_found", "servfail.example.net": "[] unavailable",
	} {
		got, err := r.Addresses(t.Context(), name)
		if told := fmt.Sprint(got, " ", kind(err)); told != want {
			t.Errorf("%s: %s, want %s", name, told, want)
		}
	}
}

// TestSpellingsOfAQuestion: the same octets are the same name, however they are written; nothing else is.
func TestSpellingsOfAQuestion(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.example.", "a.example.", true}, {`a\.b.example.`, `a\046b.example.`, true}, {`a\@b.example.`, "a@b.example.", true}, {`\097.example.`, "a.example.", true},
		{`a\.b.example.`, "a.b.example.", false}, {"a.example.", "b.example.", false}, {"a.example.", "A.example.", false}, {"a..b.", "a..b.", false},
	} {
		question := func(name string) dns.Question {
			return dns.Question{Name: name, Qtype: dns.TypeA, Qclass: dns.ClassINET}
		}
		if got := same(question(c.a), question(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
	if same(dns.Question{Name: "a.", Qtype: dns.TypeA}, dns.Question{Name: "a.", Qtype: dns.TypeTXT}) {
		t.Error("types are compared as well")
	}
}

func kind(err error) string {
	switch {
	case err == nil:
		return "<nil>"
	case domain.Is(err, domain.NotFound):
		return "not_found"
	case domain.Is(err, domain.Unavailable):
		return "unavailable"
	}
	return err.Error()
}

// TestTheNextServerIsAsked where one does not know, and one that answers another question is not believed.
func TestTheNextServerIsAsked(t *testing.T) {
	var asked atomic.Int32
	bad := dnstest.Serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if asked.Add(1)%2 == 1 {
			m.Rcode = dns.RcodeRefused
		} else {
			m.Question[0].Name = "other.example."
		}
		_ = w.WriteMsg(m)
	})
	good := dnstest.Start(t, "example.net. MX 10 mx1.example.net.").Addr
	for range 2 {
		if got, err := resolver(t, bad, good).MX(t.Context(), "example.net"); err != nil || len(got) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := resolver(t, bad).MX(t.Context(), "example.net"); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolver(t, good).MX(gaveUp, "example.net"); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
}
