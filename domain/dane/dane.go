// Package dane tells whether a server's certificate is one that its domain has published in DNS (DANE for SMTP, RFC 7672; RFC 6698, RFC 7671).
//
// Whether the records came over DNSSEC is for the caller to know: without that they mean nothing. Invariants: records that cannot be used authenticate nobody; of several digests of one thing only the strongest
// counts, so that a weaker one is no way around it.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Certificate usages for mail (RFC 7672 section 3.1).
const (
	TrustAnchor = 2 // DANE-TA: an authority that has to be in the chain
	EndEntity   = 3 // DANE-EE: the server's own
)

// Selectors (RFC 6698 section 2.1.2).
const (
	Whole = 0 // the certificate
	Key   = 1 // its public key
)

// Matching types (RFC 6698 section 2.1.3).
const (
	Exact  = 0
	SHA256 = 1
	SHA512 = 2
)

// Record is a TLSA record (RFC 6698 section 2.1).
type Record struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// String is the record as a zone file and reports have it.
func (r Record) String() string {
	return fmt.Sprintf("%d %d %d %X", r.Usage, r.Selector, r.Matching, r.Data)
}

// usable tells whether a record can authenticate a mail server. Usages 0 and 1 cannot (RFC 7672 section 3.1.3).
func (r *Record) usable() bool {
	if r.Usage != TrustAnchor && r.Usage != EndEntity || r.Selector != Whole && r.Selector != Key {
		return false
	}
	switch r.Matching {
	case SHA256:
		return len(r.Data) == sha256.Size
	case SHA512:
		return len(r.Data) == sha512.Size
	case Exact:
		if r.Selector == Key {
			_, err := x509.ParsePKIXPublicKey(r.Data)
			return err == nil
		}
		_, err := x509.ParseCertificate(r.Data)
		return err == nil
	}
	return false
}

// Usable picks the records that can authenticate a server. Where there are records and none of them can, TLS is demanded all the same, with any certificate (RFC 7672 section 2.2).
func Usable(all []Record) (usable []Record) {
	strongest := map[[2]uint8]bool{} // usage and selector that have a SHA-512
	for _, r := range all {
		if r.usable() && r.Matching == SHA512 {
			strongest[[2]uint8{r.Usage, r.Selector}] = true
		}
	}
	for _, r := range all {
		if r.usable() && (r.Matching != SHA256 || !strongest[[2]uint8{r.Usage, r.Selector}]) { // RFC 7671 section 9
			usable = append(usable, r)
		}
	}
	return usable
}

// matches tells whether a record is about a certificate.
func (r *Record) matches(c *x509.Certificate) bool {
	subject := c.Raw
	if r.Selector == Key {
		subject = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case SHA256:
		sum := sha256.Sum256(subject)
		subject = sum[:]
	case SHA512:
		sum := sha512.Sum512(subject)
		subject = sum[:]
	}
	return bytes.Equal(subject, r.Data)
}

var errNone = errors.New("the certificate is none of those that DNS names (TLSA)")

// Verify checks the chain that a server has shown, its own certificate first, against usable records. With an authority's record the certificate has to be valid at a time and for one of some names; with the server's own, neither
// counts (RFC 7672 section 3.1.1).
func Verify(usable []Record, chain []*x509.Certificate, names []string, now time.Time) error {
	if len(chain) == 0 {
		return errNone
	}
	last := errNone
	for _, r := range usable {
		if r.Usage == EndEntity {
			if r.matches(chain[0]) {
				return nil
			}
			continue
		}
		for _, anchor := range chain[1:] { // RFC 7672 section 3.1.2: the authority is in the chain
			if !r.matches(anchor) {
				continue
			}
			err := issued(anchor, chain, names, now)
			if err == nil {
				return nil
			}
			last = err
		}
	}
	return last
}

// issued tells whether a chain leads from an authority to a certificate for one of some names.
func issued(anchor *x509.Certificate, chain []*x509.Certificate, names []string, now time.Time) (err error) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(anchor)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	for _, name := range names {
		if _, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name, CurrentTime: now}); err == nil {
			return nil
		}
	}
	return err
}
