package mailauth

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	mdns "github.com/miekg/dns"
	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain/authres"
)

// The bank wants nothing that is not its own. Somebody else has a domain, its key, and its name servers.
const (
	theft = "From: Boss <ceo@bank.example>\nSubject: money\n\nNow.\n"
	bogus = "DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s; h=from; bh=AAAA; b=AAAAAAAA\n"
)

func newBank(t *testing.T, change func(*Config), records ...string) *world {
	w := newWorld(t, change, append(records, `_dmarc.bank.example. TXT "v=DMARC1; p=reject"`, `bank.example. TXT "v=spf1 -all"`)...)
	_, known := keys()
	w.TXT("s._domainkey.evil.example", known[1])
	return w
}

// evil signs a message for evil.example.
func evil(t *testing.T, text string) string {
	t.Helper()
	all, _ := keys()
	signer, err := dkim.NewSigner(&dkim.SignOptions{Domain: "evil.example", Selector: "s", Signer: all[1].Key, HeaderKeys: []string{"From"}, HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(signer, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := signer.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(signer.Signature(), "\r\n", "\n")
}

// TestResultsAreOfTheirSignatures: a signature that passes vouches for the domain in it, however its field is disguised, and for no other one.
func TestResultsAreOfTheirSignatures(t *testing.T) {
	w := newBank(t, nil)
	signature := evil(t, theft)
	for name, want := range map[string]string{
		"DKIM-Signature:": "dkim=pass dkim=permerror", "dkim-signature :": "dkim=pass dkim=permerror",
		" DKIM-Signature:": "dkim=permerror", "\tDKIM-Signature:": "dkim=permerror", "\vDKIM-Signature:": "dkim=permerror", "DKIM-Signature\v:": "dkim=permerror",
		"DKIM-Signature\u00a0:": "dkim=permerror", "\u2003DKIM-Signature:": "dkim=permerror", "DKIM-Signature\u0085 :": "dkim=permerror", "x\n DKIM-Signature:": "dkim=permerror",
	} {
		disguised := strings.Replace(signature, "DKIM-Signature:", name, 1)
		if got := w.verify(arrival("", disguised+bogus+theft)); got != "spf=none "+want+" dmarc=fail refuse" {
			t.Errorf("%q: %s", name, got)
		}
	}
	// A field of a name that only some can read is no author to sign for either.
	if got := w.verify(arrival("", evil(t, "From\u00a0: a@evil.example\n"+theft)+"From\u00a0: a@evil.example\n"+theft)); !strings.HasSuffix(got, "dmarc=fail refuse") {
		t.Error(got)
	}
	for change, want := range map[string]string{"d=evil.example;": "pass", "d=bank.example; d=evil.example;": "permerror", "d=evil.example; d=bank.example;": "permerror", "d=evil.\n example;": "fail", "d\u00a0=evil.example;": "fail", "d=EVIL.example;": "fail"} {
		if got := w.verify(arrival("", strings.Replace(signature, "d=evil.example;", change, 1)+theft)); got != "spf=none dkim="+want+" dmarc=fail refuse" {
			t.Errorf("%q: %s", change, got)
		}
	}
}

// TestNamesOfNobody: a signature whose key has a name that no domain has is a broken one. Nothing is asked, and nothing is said to be temporary.
func TestNamesOfNobody(t *testing.T) {
	w := newBank(t, nil)
	for _, s := range []string{`a\046b`, `a\b`, `a\`, "a\x00", "a\xff", "a..b", strings.Repeat("a", 64), strings.Repeat("a.", 130), "a*b", "a'b", "a`b~{|}", "a#b", "a\x7f", "\u00ad", ".", "", "a/b", "\U0001F600"} {
		if got := w.verify(arrival("", strings.Replace(bogus, "s=s;", "s="+s+";", 1)+theft)); got != "spf=none dkim=permerror dmarc=fail refuse" {
			t.Errorf("s=%q: %s", s, got)
		}
		if got := w.verify(arrival("", strings.Replace(bogus, "d=bank", "d="+s+".bank", 1)+theft)); got != "spf=none dkim=permerror dmarc=fail refuse" {
			t.Errorf("d=%q: %s", s, got)
		}
	}
	// The parts of an address that SPF asks about stay in their label.
	w = newBank(t, nil, `list.example. TXT "v=spf1 exists:%{l}.allow.list.example -all"`, `foo.allow.list.example. A 127.0.0.1`, `allow.list.example. A 127.0.0.1`)
	for local, want := range map[string]string{"foo": "pass", "bar": "fail", `foo\`: "fail", `foo\.x`: "fail", `\`: "fail", `x\046foo`: "fail"} {
		a := arrival("", theft)
		a.Sender.Local, a.Sender.Domain = local, "list.example"
		if got := w.verify(a); got != "spf="+want+" dkim=none dmarc=fail refuse" {
			t.Errorf("%q: %s", local, got)
		}
	}
}

// TestSlowNamesHideNothing: what takes its time is a name of the client's own, and the bank's policy is applied.
func TestSlowNamesHideNothing(t *testing.T) {
	short := func(c *Config) { c.Limits.Time = slow }
	ptr := strings.ReplaceAll(theft, "bank", "ptr")
	records := []string{`ptr.example. TXT "v=spf1 ptr a:mail.ptr.example -all"`, `_dmarc.ptr.example. TXT "v=DMARC1; p=reject"`, "mail.ptr.example. A 192.0.2.200"}
	t.Run("a key", func(t *testing.T) {
		t.Parallel()
		w := newBank(t, short, "slow._domainkey.evil.example. A 192.0.2.9", "1.2.0.192.in-addr.arpa. A 192.0.2.9")
		w.Let("slow._domainkey.evil.example", dnstest.Silent)
		slow := strings.NewReplacer("d=bank", "d=evil", "s=s;", "s=slow;").Replace(bogus)
		if got := w.verify(arrival("", bogus+slow+evil(t, theft)+theft)); got != "spf=none dkim=permerror dkim=temperror dkim=pass dmarc=fail refuse" {
			t.Error(got)
		}
	})
	t.Run("the name of the client's address", func(t *testing.T) {
		t.Parallel()
		w := newBank(t, short, records...)
		w.Let("1.2.0.192.in-addr.arpa", dnstest.Silent)
		if got := w.verify(arrival("x@ptr.example", ptr)); got != "spf=fail dkim=none dmarc=fail refuse" {
			t.Error(got)
		}
	})
	t.Run("the addresses of the client's names", func(t *testing.T) {
		t.Parallel()
		records := slices.Clone(records)
		for i := range 12 {
			records = append(records, fmt.Sprintf("1.2.0.192.in-addr.arpa. PTR s%d.evil.example.", i))
		}
		w := newBank(t, short, append(records, "1.2.0.192.in-addr.arpa. PTR mail.ptr.example.")...)
		for i := range 12 {
			w.Let(fmt.Sprintf("s%d.evil.example", i), dnstest.Silent)
		}
		if got := w.verify(arrival("x@ptr.example", ptr)); got != "spf=fail dkim=none dmarc=fail refuse" {
			t.Error(got)
		}
	})
	t.Run("the bank's own names, which are another matter", func(t *testing.T) {
		t.Parallel()
		w := newBank(t, short)
		w.Let("s._domainkey.bank.example", dnstest.Silent)
		if got := w.verify(arrival("", bogus+theft)); got != "spf=none dkim=temperror dmarc=temperror accept" {
			t.Error(got)
		}
	})
}

// TestAuthorsOfAnyShape: whatever From has, the domain of each address that a program may show counts; and what cannot be read is junk at least.
func TestAuthorsOfAnyShape(t *testing.T) {
	w := newBank(t, nil, `_dmarc.evil.example. TXT "v=DMARC1; p=none"`, `evil.example. TXT "v=spf1 +all"`)
	const refused, junk = "dmarc=fail refuse", "dmarc=permerror junk"
	for from, want := range map[string]string{
		"ceo@bank.example": refused, "ceo@bank.example\x00": refused, "ceo@ba\x00nk.example": refused, "c\x00eo@bank.example": refused, "ceo@bank.example..": refused, "ceo@bank . example": refused, "ceo@BANK.EXAMPLE": refused,
		"<ceo@bank.example": refused, "<@relay.example:ceo@bank.example>": refused, "(c) ceo@(d)bank.example(e)": refused, "ceo@bank\u3002example": junk, "ceo@bank.ex\u00adample": refused, "ceo@\uff42ank.example": refused,
		strings.Repeat("a:;", 49) + "ceo@bank.example": refused, strings.Repeat("a,", 99) + "ceo@bank.example": "dmarc=fail dmarc=permerror refuse",
		strings.Repeat("a:;", 60) + "ceo@bank.example": junk, strings.Repeat("a,", 100) + "ceo@bank.example": junk, "x@evil.example," + strings.Repeat(" ", 70_000) + "ceo@bank.example": junk,
		"ceo@bank.example\v": junk, "ceo@bank.example\x01": junk, "ceo@bank.example/": junk, "ceo@bank.example\xff": junk, "ceo@[bank.example]": junk, "ceo@": junk, "ceo": junk, "": junk, "undisclosed:;": junk, "<>": junk,
		"ceo@-x.bank.example": "dmarc=fail dmarc=permerror refuse", "ceo@a..bank.example": "dmarc=fail dmarc=permerror refuse", "ceo@" + strings.Repeat("a", 64) + ".bank.example": "dmarc=fail dmarc=permerror refuse", "ceo@*.bank.example": "dmarc=fail dmarc=permerror refuse",
		"ceo@e\xff.bank.example": "dmarc=fail dmarc=permerror refuse", "ceo@\U0001F600.bank.example": refused, "ceo@" + strings.Repeat("a.", 10_000) + "bank.example": "dmarc=fail dmarc=permerror refuse", "@bank.example": "dmarc=fail dmarc=permerror refuse",
		"ceo@" + strings.Repeat("b\u00fc", 10_000) + ".bank.example": "dmarc=fail dmarc=permerror refuse",
		"x@evil.example": "dmarc=pass accept", "x@-y.evil.example": "dmarc=pass dmarc=permerror junk", "x@evil.example, ceo": "dmarc=pass dmarc=permerror junk", "Friends: x@evil.example;": "dmarc=pass accept",
	} {
		if got := w.verify(arrival("x@evil.example", "From: "+from+"\nSubject: x\n\nNow.\n")); got != "spf=pass dkim=none "+want {
			t.Errorf("%.60q: %s, want %s", from, got, want)
		}
	}
	if got := w.verify(arrival("x@evil.example", strings.Repeat("From: x@evil.example\n", 6)+"\nNow.\n")); got != "spf=pass dkim=none dmarc=pass dmarc=permerror junk" {
		t.Error(got)
	}
	if n := w.Asked("_dmarc.missing_domain"); n > 0 {
		t.Errorf("a mark was looked up as a domain, %d times", n)
	}
}

// TestOneFamilyOfAddresses: what cannot be told of the client's family is temporary, whatever the other says (RFC 7208 section 5).
func TestOneFamilyOfAddresses(t *testing.T) {
	var broken atomic.Uint32 // the type of questions that are not answered
	addr := dnstest.Serve(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		text := map[uint16]string{mdns.TypeTXT: `six.example. TXT "v=spf1 a -all"`, mdns.TypeA: "six.example. A 192.0.2.1", mdns.TypeAAAA: "six.example. AAAA 2001:db8::1"}[q.Question[0].Qtype]
		rr, err := mdns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if m.Answer = []mdns.RR{rr}; uint32(q.Question[0].Qtype) == broken.Load() {
			m.Answer, m.Rcode = nil, mdns.RcodeServerFailure
		}
		_ = w.WriteMsg(m)
	})
	resolver, err := dns.New(dns.Config{Servers: []string{addr}, Timeout: time.Minute, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	v, err := New(Config{Resolver: resolver, ID: "mx.example.org", Limits: Limits{Time: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		broken uint16
		client string
		want   authres.Result
	}{
		{0, "192.0.2.1", authres.Pass}, {0, "192.0.2.2", authres.Fail}, {0, "2001:db8::1", authres.Pass}, {0, "2001:db8::2", authres.Fail}, {0, "::ffff:192.0.2.1", authres.Pass},
		{mdns.TypeAAAA, "2001:db8::1", authres.TempError}, {mdns.TypeAAAA, "192.0.2.1", authres.Pass}, {mdns.TypeAAAA, "192.0.2.2", authres.Fail}, {mdns.TypeA, "192.0.2.1", authres.TempError},
	} {
		broken.Store(uint32(c.broken))
		a := arrival("x@six.example", theft)
		a.Address = c.client
		if got := v.spf(t.Context(), a).method.Result; got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
