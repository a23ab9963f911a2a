package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/streampost/streampost/domain/delivery"
)

// Report is what one node tells a domain about one day.
type Report struct {
	Submitter string           // the name of this server
	From      delivery.Address // whom to ask
	ID        string           // the same for the same day, domain and node
	Domain    string
	Start     time.Time // of the day
	Day       *Day
	Now       time.Time
}

// The form of a report (RFC 8460 section 4.4).
type (
	reportJSON struct {
		Organization string       `json:"organization-name"`
		Range        rangeJSON    `json:"date-range"`
		Contact      string       `json:"contact-info"`
		ID           string       `json:"report-id"`
		Policies     []policyJSON `json:"policies"`
	}
	rangeJSON struct {
		Start time.Time `json:"start-datetime"`
		End   time.Time `json:"end-datetime"`
	}
	policyJSON struct {
		Policy struct {
			Kind   string   `json:"policy-type"`
			Lines  []string `json:"policy-string,omitempty"`
			Domain string   `json:"policy-domain"`
			Hosts  []string `json:"mx-host,omitempty"`
		} `json:"policy"`
		Summary struct {
			Good int `json:"total-successful-session-count"`
			Bad  int `json:"total-failure-session-count"`
		} `json:"summary"`
		Details []detailJSON `json:"failure-details,omitempty"`
	}
	detailJSON struct {
		Type    Type   `json:"result-type"`
		Host    string `json:"receiving-mx-hostname,omitempty"`
		Address string `json:"receiving-ip,omitempty"`
		Count   int    `json:"failed-session-count"`
		Reason  string `json:"failure-reason-code,omitempty"`
	}
)

// JSON is the report itself.
func (r *Report) JSON() ([]byte, error) {
	out := reportJSON{Organization: r.Submitter, Range: rangeJSON{r.Start.UTC(), r.end()}, Contact: r.From.String(), ID: r.ID}
	for _, s := range r.Day.sorted(r.Domain) {
		var p policyJSON
		p.Policy.Kind, p.Policy.Lines, p.Policy.Domain, p.Policy.Hosts = s.Policy.Kind, s.Policy.Lines, r.Domain, s.Policy.Hosts
		p.Summary.Good, p.Summary.Bad = s.Good, s.Bad
		for _, d := range s.Details {
			p.Details = append(p.Details, detailJSON{d.Type, d.Host, d.Address, d.Count, d.Reason})
		}
		out.Policies = append(out.Policies, p)
	}
	return json.Marshal(out)
}

func (r *Report) end() time.Time { return r.Start.UTC().Add(24*time.Hour - time.Second) }

// Packed is the report as it travels (RFC 8460 section 5.2).
func (r *Report) Packed() ([]byte, error) {
	text, err := r.JSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// MessageID names the message that brings the report.
func (r *Report) MessageID() string { return "<" + r.ID + "@" + r.Submitter + ">" }

// Message is the mail that brings a packed report to an address (RFC 8460 section 5.3).
func (r *Report) Message(to delivery.Address, packed []byte) []byte {
	boundary := "tlsrpt-" + r.ID
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: TLS reports <%s>", r.From)
	line("To: <%s>", to)
	line("Date: %s", delivery.Date(r.Now))
	line("Message-ID: %s", r.MessageID())
	line("Subject: Report Domain: %s", r.Domain)
	line(" Submitter: %s Report-ID: <%s>", r.Submitter, r.ID)
	line("TLS-Report-Domain: %s", r.Domain)
	line("TLS-Report-Submitter: %s", r.Submitter)
	line("TLS-Required: No") // RFC 8460 section 3: what the report is about may be what would keep it back.
	line("Auto-Submitted: auto-generated")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=\"tlsrpt\";")
	line("\tboundary=\"%s\"\r\n", boundary)
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=us-ascii\r\n")
	line("This is a report of %s about TLS with the mail servers of", r.Submitter)
	line("%s from %s to %s (RFC 8460).\r\n", r.Domain, r.Start.UTC().Format(time.RFC3339), r.end().Format(time.RFC3339))
	line("--%s", boundary)
	line("Content-Type: application/tlsrpt+gzip")
	line("Content-Transfer-Encoding: base64")
	line("Content-Disposition: attachment;")
	line("\tfilename=\"%s!%s!%d!%d!%s.json.gz\"\r\n", r.Submitter, r.Domain, r.Start.Unix(), r.end().Unix(), r.ID) // RFC 8460 section 5.1
	for text := base64.StdEncoding.EncodeToString(packed); text != ""; {
		n := min(len(text), 76)
		line("%s", text[:n])
		text = text[n:]
	}
	line("--%s--", boundary)
	return b.Bytes()
}

// Begin is the beginning of a day by its date. ok is false for what is no date.
func Begin(date string) (t time.Time, ok bool) {
	t, err := time.Parse(time.DateOnly, date)
	return t, err == nil && strings.TrimSpace(date) == date
}
