// Package tlsrpt counts how TLS went with other servers, and makes the reports about it that their domains ask for (SMTP TLS Reporting, RFC 8460).
//
// It asks nobody, sends nothing and keeps no time. Invariants: counts are bounded, whatever names and errors peers make up; a report has the counts of one day, one
// domain and one of our nodes.
package tlsrpt

// Type is what was wrong (RFC 8460 section 4.3).
type Type string

// The types that this server can tell apart.
const (
	NoSTARTTLS         Type = "starttls-not-supported"
	HostMismatch       Type = "certificate-host-mismatch"
	CertificateExpired Type = "certificate-expired"
	NotTrusted         Type = "certificate-not-trusted"
	ValidationFailure  Type = "validation-failure"
	TLSAInvalid        Type = "tlsa-invalid"
	DNSSECInvalid      Type = "dnssec-invalid"
	STSFetch           Type = "sts-policy-fetch-error"
	STSInvalid         Type = "sts-policy-invalid"
	STSWebPKI          Type = "sts-webpki-invalid"
)

// Problem is an error with its type.
type Problem struct {
	Type Type
	Err  error
}

func (p *Problem) Error() string { return p.Err.Error() }
func (p *Problem) Unwrap() error { return p.Err }

// Kinds of policies (RFC 8460 section 4.4).
const (
	TLSA     = "tlsa"
	STS      = "sts"
	NoPolicy = "no-policy-found"
)

// Policy is what a session had to obey. Its zero value is for sessions that no report is about.
type Policy struct {
	Kind   string
	Domain string
	Lines  []string // as its owner has published it
	Hosts  []string // patterns of an sts policy
}

// Session is how TLS went with a host once.
type Session struct {
	Policy  Policy
	Failure Type   // empty: it went well
	Host    string // empty where it did not come to that
	Address string // its IP address
	Reason  string // in words
}
