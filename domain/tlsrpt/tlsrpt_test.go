package tlsrpt_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/tlsrpt"
)

func TestWhoWantsReports(t *testing.T) {
	for texts, want := range map[string]string{
		"v=TLSRPTv1; rua=mailto:tls@example.net":                                                                        "[tls@example.net] [] true",
		"x|v=TLSRPTv1 ;rua=mailto:a%2bb@example.net?subject=x , https://example.net/v1/tlsrpt;ext=1":                    "[a+b@example.net] [https://example.net/v1/tlsrpt] true",
		"v=TLSRPTv1;rua=mailto:a@b.example,mailto:c@b.example,mailto:d@b.example,mailto:e@b.example,mailto:f@b.example": "[a@b.example c@b.example d@b.example e@b.example] [] true",
		"v=TLSRPTv1; rua=mailto:tls@example.net|v=TLSRPTv1; rua=mailto:tls@example.net":                                 "[] [] false", "v=TLSRPTv12; rua=mailto:tls@example.net": "[] [] false", "v=TLSRPTv1; rua=mailto:": "[] [] false",
		"v=TLSRPTv1; rua=http://example.net/,ftp:x,mailto:x y@z,mailto:a%0d%0a@example.net": "[] [] false", "v=TLSRPTv1; x=1": "[] [] false", "": "[] [] false",
	} {
		p, found := tlsrpt.ParseRecord(strings.Split(texts, "|"))
		if got := fmt.Sprintf("%v %v %v", p.Mail, p.Web, found); got != want {
			t.Errorf("%s: %s, want %s", texts, got, want)
		}
	}
}

var day = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// read takes a report out of its message, as its receiver does.
func read(t *testing.T, text []byte) (header mail.Header, file string, report map[string]any) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind, with, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || with["report-type"] != "tlsrpt" {
		t.Fatal(kind, with, err)
	}
	parts := multipart.NewReader(m.Body, with["boundary"])
	if _, err := parts.NextPart(); err != nil {
		t.Fatal(err)
	}
	part, err := parts.NextPart()
	if err != nil || part.Header.Get("Content-Type") != "application/tlsrpt+gzip" {
		t.Fatal(part, err)
	}
	unpacked, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, part))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(unpacked).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Error(err)
	}
	return m.Header, part.FileName(), report
}

func TestAReport(t *testing.T) {
	var c tlsrpt.Counts
	sts := tlsrpt.Policy{Kind: tlsrpt.STS, Domain: "example.net", Lines: []string{"version: STSv1"}, Hosts: []string{"*.example.net"}}
	for _, s := range []tlsrpt.Session{
		{Policy: sts}, {Policy: sts}, {Policy: sts, Failure: tlsrpt.NotTrusted, Host: "mx1.example.net", Address: "192.0.2.1", Reason: "who?"},
		{Policy: sts, Failure: tlsrpt.NoSTARTTLS, Host: "mx2.example.net"}, {Policy: sts, Failure: tlsrpt.NoSTARTTLS, Host: "mx2.example.net"},
		{Policy: tlsrpt.Policy{Kind: tlsrpt.TLSA, Domain: "example.net", Lines: []string{"3 1 1 AB"}}}, {Policy: tlsrpt.Policy{Kind: tlsrpt.NoPolicy, Domain: "example.com"}},
	} {
		if !c.Add(day, &s) {
			t.Errorf("%+v is not counted", s)
		}
	}
	if got := fmt.Sprint(c.Before(day), c.Before(day.Add(12*time.Hour)), c.Domains("2026-11-30")); got != "[] [2026-11-30] [example.com example.net]" {
		t.Error(got)
	}
	start, _ := tlsrpt.Begin("2026-11-30")
	r := tlsrpt.Report{
		Submitter: "mail.example.org", From: delivery.Address{Local: "postmaster", Domain: "mail.example.org"}, ID: "1234", Domain: "example.net", Start: start, Day: c.Days["2026-11-30"], Now: day.Add(24 * time.Hour),
	}
	packed, err := r.Packed()
	if err != nil {
		t.Fatal(err)
	}
	header, file, report := read(t, r.Message(delivery.Address{Local: "tls", Domain: "example.net"}, packed))
	if header.Get("Subject") != "Report Domain: example.net Submitter: mail.example.org Report-ID: <1234>" || header.Get("TLS-Report-Domain") != "example.net" || header.Get("TLS-Report-Submitter") != "mail.example.org" {
		t.Errorf("%v", header)
	}
	if file != "mail.example.org!example.net!1795996800!1796083199!1234.json.gz" {
		t.Error(file)
	}
	text, _ := json.Marshal(report)
	const want = `{"contact-info":"postmaster@mail.example.org","date-range":{"end-datetime":"2026-11-30T23:59:59Z","start-datetime":"2026-11-30T00:00:00Z"},"organization-name":"mail.example.org","policies":[` +
		`{"failure-details":[{"failed-session-count":2,"receiving-mx-hostname":"mx2.example.net","result-type":"starttls-not-supported"},` +
		`{"failed-session-count":1,"failure-reason-code":"who?","receiving-ip":"192.0.2.1","receiving-mx-hostname":"mx1.example.net","result-type":"certificate-not-trusted"}],` +
		`"policy":{"mx-host":["*.example.net"],"policy-domain":"example.net","policy-string":["version: STSv1"],"policy-type":"sts"},"summary":{"total-failure-session-count":3,"total-successful-session-count":2}},` +
		`{"policy":{"policy-domain":"example.net","policy-string":["3 1 1 AB"],"policy-type":"tlsa"},"summary":{"total-failure-session-count":0,"total-successful-session-count":1}}],"report-id":"1234"}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
	c.Remove("2026-11-30", "example.net")
	c.Remove("2026-11-30", "example.com")
	if len(c.Days) != 0 {
		t.Error("a day without domains stays")
	}
}

// TestCountsAreBounded, whatever peers make up, and nothing that is counted is lost for it.
func TestCountsAreBounded(t *testing.T) {
	c := tlsrpt.Counts{Most: 1 << 20}
	p := tlsrpt.Policy{Kind: tlsrpt.STS, Domain: "example.net"}
	for n := range 1000 {
		c.Add(day, &tlsrpt.Session{Policy: p, Failure: tlsrpt.NotTrusted, Host: fmt.Sprint(n, strings.Repeat("x", 1000)), Reason: strings.Repeat("é", 1000)})
	}
	sum := c.Days["2026-11-30"].Domains["example.net"][0]
	total := 0
	for _, d := range sum.Details {
		total += d.Count
	}
	if len(sum.Details) > 60 || total != 1000 || sum.Bad != 1000 || len(sum.Details[0].Host) > 255 {
		t.Errorf("%d details of %d sessions", len(sum.Details), total)
	}
	for n := range 100 {
		p.Lines = []string{fmt.Sprint(n)}
		c.Add(day, &tlsrpt.Session{Policy: p})
	}
	if n := len(c.Days["2026-11-30"].Domains["example.net"]); n > 20 {
		t.Errorf("%d policies", n)
	}
	full := 0
	for n := range 200 {
		p := tlsrpt.Policy{Kind: tlsrpt.STS, Domain: fmt.Sprintf("d%d.example.net", n)}
		for range 100 {
			p.Lines = append(p.Lines, strings.Repeat("x", 300))
		}
		if !c.Add(day, &tlsrpt.Session{Policy: p}) {
			full++
		}
	}
	text, err := json.Marshal(&c)
	if err != nil || full == 0 || len(text) > 2<<20 {
		t.Errorf("%d octets, %d sessions not counted, %v", len(text), full, err)
	}
	again := tlsrpt.Counts{Most: c.Most}
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if again.Measure(); again.Add(day, &tlsrpt.Session{Policy: tlsrpt.Policy{Domain: "new.example.net"}}) {
		t.Error("what was read again knows no bound")
	}
	for _, name := range again.Domains("2026-11-30") {
		again.Remove("2026-11-30", name)
	}
	if !again.Add(day, &tlsrpt.Session{Policy: tlsrpt.Policy{Domain: "new.example.net"}}) {
		t.Error("there is no room after all was removed")
	}
}

// FuzzRecord: addresses are whole, and few.
func FuzzRecord(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:tls%40x@example.net,https://example.net/")
	f.Fuzz(func(t *testing.T, text string) {
		p, found := tlsrpt.ParseRecord([]string{text})
		if found != (len(p.Mail)+len(p.Web) > 0) || len(p.Mail)+len(p.Web) > 4 {
			t.Errorf("%+v, %v", p, found)
		}
		for _, a := range p.Mail {
			if strings.ContainsAny(a.String(), "\r\n") {
				t.Errorf("%q", a.String())
			}
		}
	})
}
