package sasl

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"

	"github.com/xdg-go/scram"
)

// bindings are the ways in which an exchange can be tied to the client's TLS connection, so that nobody in between can pass it on: tls-exporter
// (RFC 9266), and tls-server-end-point (RFC 5929 section 4) for clients whose TLS library exports no keys. tls-unique is none of them: TLS 1.3 has no
// such thing and RFC 9266 section 3 wants it no more.
func (c Client) bindings() []scram.ChannelBinding {
	if c.TLS == nil {
		return nil
	}
	var all []scram.ChannelBinding
	// TLS 1.2 without the extended master secret is refused by the library, as RFC 9266 section 4.2 asks.
	if exported, err := scram.NewTLSExporterBinding(c.TLS); err == nil {
		all = append(all, exported)
	}
	if digest := endPoint(c.Certificate); digest != nil {
		all = append(all, scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: digest})
	}
	return all
}

// endPoint hashes a certificate with the hash of its signature, and with SHA-256 instead of MD5 and SHA-1 (RFC 5929 section 4.1). A signature with
// another hash, or none of its own such as Ed25519's, leaves the binding undefined: nil.
func endPoint(certificate *x509.Certificate) []byte {
	if certificate == nil {
		return nil
	}
	switch certificate.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		sum := sha256.Sum256(certificate.Raw)
		return sum[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(certificate.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(certificate.Raw)
		return sum[:]
	}
	return nil
}
