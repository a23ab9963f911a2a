package mailauth

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// Keys and a message of RFC 8463 appendix A, and the key of RFC 6376 appendix C.
const (
	joesEd25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	joesRSA     = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"

	joesMessage = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
`
)

// slow is how long silent name servers are waited for. What others answer has to come within a third of it, on a busy machine too.
const slow = 3 * time.Second

// world is DNS, and a Verifier that asks it.
type world struct {
	*dnstest.Server
	t *testing.T
	v *Verifier
}

func newWorld(t *testing.T, change func(*Config), records ...string) *world {
	t.Helper()
	w := &world{Server: dnstest.Start(t, records...), t: t}
	resolver, err := dns.New(dns.Config{Servers: []string{w.Addr}, Timeout: time.Minute, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Resolver: resolver, ID: "mx.example.org", Policy: Policy{Reject: authres.Refuse, Quarantine: authres.Junk}, Sample: func() int { return 50 }, Limits: Limits{Time: time.Minute}}
	if change != nil {
		change(&cfg)
	}
	if w.v, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// arrival is a message from 192.0.2.1, with the line ends of mail.
func arrival(from, text string) *authres.Arrival {
	text = strings.ReplaceAll(text, "\n", "\r\n")
	header, rest := text, ""
	if i := strings.Index(text, "\r\n\r\n"); i >= 0 {
		header, rest = text[:i+2], text[i+2:]
	}
	sender, _ := delivery.Unquoted(from)
	return &authres.Arrival{ID: "1", Address: "192.0.2.1", Helo: "mail.example.net", Sender: sender, Header: []byte(header), Rest: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(rest)), nil }}
}

// verify gives the results in one line, and the action.
func (w *world) verify(a *authres.Arrival) string {
	w.t.Helper()
	verdict := w.v.Verify(w.t.Context(), a)
	_, value, _ := strings.Cut(verdict.Top, ":")
	id, methods, err := authres.Parse(value)
	if err != nil || id != "mx.example.org" {
		w.t.Fatalf("%s: %v", verdict.Top, err)
	}
	var all []string
	for _, m := range methods {
		all = append(all, m.Name+"="+string(m.Result))
	}
	return strings.Join(append(all, verdict.Action.String()), " ")
}

func TestPublishedSignatures(t *testing.T) {
	w := newWorld(t, nil)
	w.TXT("brisbane._domainkey.football.example.com", joesEd25519)
	w.TXT("test._domainkey.football.example.com", joesRSA)
	for change, want := range map[string]string{
		"":                             "spf=none dkim=pass dkim=pass dmarc=none accept",
		"Joe.\n|Joe.\n\n\n":            "spf=none dkim=pass dkim=pass dmarc=none accept", // relaxed: blank lines at the end
		"We lost|We won":               "spf=none dkim=fail dkim=fail dmarc=none accept",
		"ready?|done?":                 "spf=none dkim=fail dkim=fail dmarc=none accept",
		"s=brisbane|s=nobody":          "spf=none dkim=permerror dkim=pass dmarc=none accept",
		"a=ed25519|a=rsa":              "spf=none dkim=permerror dkim=pass dmarc=none accept",
		"sha256; c|sha1; c":            "spf=none dkim=permerror dkim=pass dmarc=none accept", // RFC 8301 section 3.1
		"q=dns/txt; s|l=5; s":          "spf=none dkim=fail dkim=pass dmarc=none accept",      // a length is not believed
		"d=football|d=other":           "spf=none dkim=permerror dkim=pass dmarc=none accept",
		"From: J|From: x@y.z\nFrom: J": "spf=none dkim=fail dkim=fail dmarc=none dmarc=none accept", // signed twice, so that none can be added
	} {
		old, new, _ := strings.Cut(change, "|")
		if got := w.verify(arrival("joe@football.example.com", strings.Replace(joesMessage, old, new, 1))); got != want {
			t.Errorf("%q: %s, want %s", change, got, want)
		}
	}
}

// TestKeys that are missing, broken, withdrawn, weak, several, or not for subdomains, and name servers that do not tell.
func TestKeys(t *testing.T) {
	short := "v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ=="
	for key, want := range map[string]string{
		joesRSA: "pass", joesRSA + "; t=y:s": "pass", joesRSA + "; h=sha256": "pass", joesRSA + "; s=other": "permerror", joesRSA + "; h=sha1": "permerror", strings.Replace(joesRSA, "p=", "q=", 1): "permerror",
		"v=DKIM1; p=": "permerror", short: "permerror", "v=DKIM2; p=x": "permerror", joesRSA + "; n=" + strings.Repeat("x", 2000): "permerror",
		"ServFail": "temperror", "Two": "permerror", "Loop": "permerror",
	} {
		w := newWorld(t, nil)
		name := "test._domainkey.football.example.com"
		switch key {
		case "ServFail":
			w.Let(name, dnstest.ServFail)
		case "Loop":
			w.Let(name, dnstest.Loop)
		case "Two":
			w.TXT(name, joesRSA)
			w.TXT(name, joesEd25519)
		default:
			w.TXT(name, key)
		}
		_, text, _ := strings.Cut(joesMessage, "dp1Q1Dw==\n")
		if got := w.verify(arrival("", text)); got != "spf=none dkim="+want+" dmarc=none accept" {
			t.Errorf("%.60s: %s, want %s", key, got, want)
		}
	}
	w := newWorld(t, nil)
	w.TXT("test._domainkey.football.example.com", joesRSA+"; t=s")
	_, text, _ := strings.Cut(joesMessage, "dp1Q1Dw==\n")
	text = strings.Replace(text, "i=@football", "i=@sub.football", 1)
	if got := w.verify(arrival("", text)); got != "spf=none dkim=fail dmarc=none accept" { // the tag is signed as well
		t.Error(got)
	}
}

const spoof = "From: Boss <boss@example.com>\nSubject: money\n\nNow.\n"

// TestPolicies: what follows where the author's domain stands behind a message, and where it does not (RFC 7489).
func TestPolicies(t *testing.T) {
	for _, c := range []struct{ dns, from, text, want string }{
		{"", "x@other.example", spoof, "spf=none dkim=none dmarc=none accept"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "x@other.example", spoof, "spf=none dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=quarantine"`, "x@other.example", spoof, "spf=none dkim=none dmarc=fail junk"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=none"`, "x@other.example", spoof, "spf=none dkim=none dmarc=fail accept"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject; pct=50"`, "x@other.example", spoof, "spf=none dkim=none dmarc=fail junk"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject; pct=51"`, "x@other.example", spoof, "spf=none dkim=none dmarc=fail refuse"},
		// SPF of the same organization passes; of another it does not help; strictly, only the very domain does.
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"|bounce.example.com. TXT "v=spf1 ip4:192.0.2.1 -all"`, "x@bounce.example.com", spoof, "spf=pass dkim=none dmarc=pass accept"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"|other.example. TXT "v=spf1 ip4:192.0.2.1 -all"`, "x@other.example", spoof, "spf=pass dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject; aspf=s"|bounce.example.com. TXT "v=spf1 ip4:192.0.2.1 -all"`, "x@bounce.example.com", spoof, "spf=pass dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"|mail.example.net. TXT "v=spf1 a -all"|mail.example.net. A 192.0.2.1`, "", strings.ReplaceAll(spoof, "example.com", "mail.example.net"), "spf=pass dkim=none dmarc=none accept"},
		// Subdomains have the policy of their organization, or sp.
		{`_dmarc.example.com. TXT "v=DMARC1; p=none; sp=reject"`, "", strings.ReplaceAll(spoof, "@example", "@a.b.example"), "spf=none dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject; sp=none"|_dmarc.a.b.example.com. TXT "v=DMARC1; p=quarantine"`, "", strings.ReplaceAll(spoof, "@example", "@a.b.example"), "spf=none dkim=none dmarc=fail junk"},
		{`_dmarc.co.uk. TXT "v=DMARC1; p=reject"`, "", strings.ReplaceAll(spoof, "example.com", "a.example.co.uk"), "spf=none dkim=none dmarc=none accept"},
		// Several authors, in one field or in several: each counts.
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "", "From: a@other.example\n" + spoof, "spf=none dkim=none dmarc=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "", "From: a@other.example,\n b@example.com\n\nx\n", "spf=none dkim=none dmarc=none dmarc=fail refuse"},
		{"", "", "From: a@a.example, a@b.example, a@c.example, a@d.example, a@e.example, a@f.example\n\nx\n", "spf=none dkim=none dmarc=none dmarc=none dmarc=none dmarc=none dmarc=none dmarc=permerror junk"},
		{"", "", "Subject: nobody\n\nx\n", "spf=none dkim=none dmarc=permerror junk"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "", "From: boss@EXAMPLE.com.\n\nx\n", "spf=none dkim=none dmarc=fail refuse"},
		{`_dmarc.xn--bcher-kva.example. TXT "v=DMARC1; p=reject"`, "", "From: boss@Bücher.example\n\nx\n", "spf=none dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "", "no field\nFrom\t:\n\t<boss@example.com>\n\nx\n", "spf=none dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "", "From: friends: a@other.example, (x) boss@example.com;\n\nx\n", "spf=none dkim=none dmarc=none dmarc=fail refuse"},
		// Records that are none, several, or broken.
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"|_dmarc.example.com. TXT "v=DMARC1; p=none"`, "", spoof, "spf=none dkim=none dmarc=none accept"},
		{`_dmarc.example.com. TXT "v=spf1 -all"|_dmarc.example.com. TXT "v=DMARC1; p=reject"`, "", spoof, "spf=none dkim=none dmarc=fail refuse"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=sometimes"`, "", spoof, "spf=none dkim=none dmarc=permerror accept"},
		{`_dmarc.example.com. CNAME p.example.net.|p.example.net. TXT "v=DMARC1; p=reject"`, "", spoof, "spf=none dkim=none dmarc=fail refuse"},
		// What cannot be told now refuses nothing, if it concerns the author; a stranger's broken DNS saves nobody.
		{`servfail _dmarc.example.com`, "", spoof, "spf=none dkim=none dmarc=temperror accept"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"|servfail example.com`, "x@example.com", spoof, "spf=temperror dkim=none dmarc=temperror accept"},
		{`_dmarc.example.com. TXT "v=DMARC1; p=reject"|servfail other.example`, "x@other.example", spoof, "spf=temperror dkim=none dmarc=fail refuse"},
		{`_dmarc.football.example.com. TXT "v=DMARC1; p=reject"|servfail test._domainkey.football.example.com`, "", joesMessage, "spf=none dkim=permerror dkim=temperror dmarc=temperror accept"},
	} {
		w := newWorld(t, nil)
		for r := range strings.SplitSeq(c.dns, "|") {
			if name, broken := strings.CutPrefix(r, "servfail "); broken {
				w.Let(name, dnstest.ServFail)
			} else if r != "" {
				w.Add(t, r)
			}
		}
		if got := w.verify(arrival(c.from, c.text)); got != c.want {
			t.Errorf("%s, from %s:\n%s\nwant\n%s", c.dns, c.from, got, c.want)
		}
	}
}

// TestPoliciesOfThisServer: what a configuration makes of the same results.
func TestPoliciesOfThisServer(t *testing.T) {
	policy := `_dmarc.example.com. TXT "v=DMARC1; p=reject"`
	for _, c := range []struct {
		policy Policy
		dns    []string
		broken string
		want   authres.Action
	}{
		{Policy{}, []string{policy}, "", authres.Accept},
		{Policy{Reject: authres.Junk}, []string{policy}, "", authres.Junk},
		{Policy{SPFFail: authres.Refuse}, []string{`other.example. TXT "v=spf1 -all"`}, "", authres.Refuse},
		{Policy{SPFFail: authres.Junk}, []string{`other.example. TXT "v=spf1 -all"`}, "", authres.Junk},
		{Policy{}, []string{`other.example. TXT "v=spf1 -all"`}, "", authres.Accept},
		{Policy{TempError: authres.Later}, nil, "_dmarc.example.com", authres.Later},
		{Policy{TempError: authres.Later}, nil, "other.example", authres.Accept},
		{Policy{TempError: authres.Later, SPFFail: authres.Refuse}, nil, "other.example", authres.Later},
	} {
		w := newWorld(t, func(cfg *Config) { cfg.Policy = c.policy }, c.dns...)
		w.Let(c.broken, dnstest.ServFail)
		if got := w.v.Verify(t.Context(), arrival("x@other.example", spoof)); got.Action != c.want {
			t.Errorf("%+v: %v, want %v", c, got.Action, c.want)
		}
	}
}

// TestSilenceHasAnEnd: name servers that do not answer hold a message for as long as is configured, and no longer; what others say counts.
func TestSilenceHasAnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Limits.Time = slow }, `_dmarc.victim.example. TXT "v=DMARC1; p=reject"`, "evil.example. A 192.0.2.9", "test._domainkey.football.example.com. A 192.0.2.9")
	w.Let("evil.example", dnstest.Silent)
	w.Let("test._domainkey.football.example.com", dnstest.Silent)
	w.Let("brisbane._domainkey.football.example.com", dnstest.Silent)
	head, _, _ := strings.Cut(joesMessage, "From:")
	if got, want := w.verify(arrival("x@evil.example", head+strings.ReplaceAll(spoof, "example.com", "victim.example"))), "spf=temperror dkim=temperror dkim=temperror dmarc=fail refuse"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if got := w.v.Verify(cut, arrival("x@evil.example", spoof)); got.Action != authres.Accept {
		t.Errorf("%+v", got)
	}
}

// TestExpensiveMessages: what a sender can make a signature cost has a bound, and leaves nothing behind.
func TestExpensiveMessages(t *testing.T) {
	w := newWorld(t, nil)
	w.TXT("brisbane._domainkey.football.example.com", joesEd25519)
	w.TXT("test._domainkey.football.example.com", joesRSA)
	one := strings.Replace(joesMessage, "Joe.\n", "", 1)
	for name, c := range map[string]struct{ text, want string }{
		"names without number": {strings.Replace(joesMessage, "h=from", "h="+strings.Repeat("x:", 100)+"from", 1), "spf=none dkim=policy dkim=pass dmarc=none accept"},
		"a huge signature":     {strings.Replace(joesMessage, "q=dns/txt", "z="+strings.Repeat("x", 20_000), 1), "spf=none dkim=pass dkim=policy dmarc=none accept"},
		"names times fields":   {strings.Repeat("DKIM-Signature: h="+strings.Repeat("x:", 99)+"from\n", 4) + strings.Repeat("a: b\n", 500) + spoof, "spf=none dkim=permerror dkim=permerror dkim=permerror dkim=policy dmarc=none accept"},
		"fields":               {strings.Repeat("a: b\n", 2001) + joesMessage, "spf=none dkim=policy dmarc=none accept"},
		"blank lines":          {one + strings.Repeat("\n", 100_000) + "x\n", "spf=none dkim=policy dkim=policy dmarc=none accept"},
		"domains without end":  {strings.Repeat("DKIM-Signature: d="+strings.Repeat("b\u00fc", 5000)+"\n", 50) + spoof, "spf=none" + strings.Repeat(" dkim=permerror", 8) + " dmarc=none accept"},
		"signatures":           {strings.Repeat("DKIM-Signature: x\n", 50) + spoof, "spf=none" + strings.Repeat(" dkim=permerror", 8) + " dmarc=none accept"},
	} {
		if got := w.verify(arrival("", c.text)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	// RFC 7208 section 4.6.4: ten lookups, two of them in vain.
	for i := range 20 {
		w.Add(t, fmt.Sprintf(`s%d.example. TXT "v=spf1 include:s%d.example -all"`, i, i+1))
	}
	w.Add(t, `void.example. TXT "v=spf1 a:a.void.example a:b.void.example a:c.void.example -all"`)
	for _, from := range []string{"x@s0.example", "x@void.example"} {
		if got, want := w.verify(arrival(from, spoof)), "spf=permerror dkim=none dmarc=none accept"; got != want {
			t.Errorf("%s: %s", from, got)
		}
	}
	few := newWorld(t, func(c *Config) { c.Limits.Lookups = 3 }, `mx.example. TXT "v=spf1 mx -all"`, "mx.example. MX 1 a.example.", "mx.example. MX 1 b.example.", "a.example. A 192.0.2.9", "b.example. A 192.0.2.1")
	if got, want := few.verify(arrival("x@mx.example", spoof)), "spf=permerror dkim=none dmarc=none accept"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if w.Asked("s10.example") == 0 || w.Asked("s11.example") > 0 {
		t.Errorf("asked %d and %d times", w.Asked("s10.example"), w.Asked("s11.example"))
	}
}

// TestForgedResultsGo: fields that claim to be from this server do not pass (RFC 8601 section 5); the rest of the header does, octet by octet.
func TestForgedResultsGo(t *testing.T) {
	w := newWorld(t, nil)
	kept := "Authentication-Results: other.example.org; spf=pass\nX: Authentication-Results: mx.example.org\n"
	a := arrival("", "Authentication-Results: mx.example.org; dmarc=pass\n"+kept+"authentication-results :\n (a) MX.Example.ORG;\n dkim=pass\nAuthentication-Results: \"mx.example.org\" 1; spf=pass\n"+spoof)
	before := bytes.Clone(a.Header)
	v := w.v.Verify(t.Context(), a)
	header, _, _ := strings.Cut(spoof, "\n\n")
	if got, want := strings.ReplaceAll(string(v.Header), "\r", ""), kept+header+"\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !bytes.Equal(a.Header, before) {
		t.Error("what came was changed")
	}
}

// TestNameServersOfAnyShape: whatever stands in an answer, there is a result, in time, and no mail is lost for it.
func TestNameServersOfAnyShape(t *testing.T) {
	thousand := `"v=spf1"` + strings.Repeat(` " "`, 1000) + ` "ip4:192.0.2.1" " -all"`
	_, text, _ := strings.Cut(joesMessage, "dp1Q1Dw==\n")
	for way, want := range map[dnstest.Behaviour]string{
		dnstest.Honest: "spf=pass dkim=pass dmarc=pass accept", dnstest.Cut: "spf=pass dkim=pass dmarc=pass accept",
		dnstest.ServFail: "spf=temperror dkim=temperror dmarc=temperror accept", dnstest.Refused: "spf=temperror dkim=temperror dmarc=temperror accept", dnstest.Silent: "spf=temperror dkim=temperror dmarc=temperror accept",
		dnstest.Garbage: "spf=temperror dkim=temperror dmarc=temperror accept", dnstest.Other: "spf=temperror dkim=temperror dmarc=temperror accept", dnstest.CutAlways: "spf=temperror dkim=temperror dmarc=temperror accept",
		dnstest.Loop: "spf=none dkim=permerror dmarc=none accept",
	} {
		w := newWorld(t, func(c *Config) {
			if way != dnstest.Honest && way != dnstest.Cut && way != dnstest.Loop { // of the others nothing is wanted in time
				c.Limits.Time = 200 * time.Millisecond
			}
		}, "football.example.com. TXT "+thousand, `_dmarc.football.example.com. TXT "v=DMARC1; p=reject"`)
		w.TXT("test._domainkey.football.example.com", joesRSA)
		for _, name := range []string{"football.example.com", "test._domainkey.football.example.com", "_dmarc.football.example.com"} {
			w.Let(name, way)
		}
		if got := w.verify(arrival("joe@football.example.com", text)); got != want {
			t.Errorf("%d: %s, want %s", way, got, want)
		}
	}
	// Records without number, and of a size that nobody needs, are permanent errors of who has them.
	w := newWorld(t, nil)
	for i := range 101 {
		w.TXT("many.example", fmt.Sprint("v=spf1 ", i))
	}
	w.TXT("_dmarc.example.com", "v=DMARC1; p=reject; "+strings.Repeat("x", 9000))
	if got := w.verify(arrival("x@many.example", spoof)); got != "spf=permerror dkim=none dmarc=permerror accept" {
		t.Error(got)
	}
}
