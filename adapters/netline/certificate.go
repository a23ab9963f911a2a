package netline

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
)

// Certificate is a certificate chain and its key from two PEM files, which can be read again while connections are being made.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads the two files. Errors: domain.Invalid with a hint.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again; new handshakes use what it found. After an error the certificate stays as it is.
func (c *Certificate) Reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		e := domain.Wrap(domain.Invalid, err, "reading the TLS certificate "+c.certFile+" with the key "+c.keyFile)
		e.Hint = "both must be PEM files that this process can read, and the key must belong to the first certificate"
		return e
	}
	c.current.Store(&pair)
	return nil
}

// Leaf is the server's own certificate.
func (c *Certificate) Leaf() *x509.Certificate { return c.current.Load().Leaf }

// Fingerprint is the SHA-256 of the certificate in hexadecimal digits, by which a person can compare a self-signed one.
func (c *Certificate) Fingerprint() string {
	sum := sha256.Sum256(c.Leaf().Raw)
	return hex.EncodeToString(sum[:])
}

// Config makes the configuration of a TLS server. minVersion is tls.VersionTLS12 or tls.VersionTLS13; 0 means TLS 1.2 (RFC 8996 forbids less).
func (c *Certificate) Config(minVersion uint16) *tls.Config {
	return &tls.Config{
		MinVersion: max(minVersion, tls.VersionTLS12),
		// A session that is resumed asks for no certificate, so that the connection is told of it here.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c.show(hello)
			return nil, nil
		},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return c.show(hello), nil },
	}
}

// show gives the certificate to a client, and lets the connection know which one that is, see Conn.Certificate.
func (c *Certificate) show(hello *tls.ClientHelloInfo) *tls.Certificate {
	current := c.current.Load()
	if below := Of(hello.Conn); below != nil {
		below.certificate.Store(current.Leaf)
	}
	return current
}

// selfSignedLife is long, since nobody renews a certificate that clients have accepted by hand.
const selfSignedLife = 10 * 365 * 24 * time.Hour

// SelfSigned gives the certificate kept in dir (cert.pem and key.pem, mode 0600), and makes one for the host names and IP addresses first if there
// is none or it has expired. Errors: domain.Unavailable if the directory cannot be written, domain.Invalid if what is in it cannot be read.
func SelfSigned(dir string, hosts ...string) (*Certificate, error) {
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := os.Stat(certFile); err == nil {
		c, err := LoadCertificate(certFile, keyFile)
		if err != nil || time.Now().Before(c.Leaf().NotAfter) {
			return c, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, domain.Wrap(domain.Unavailable, err, "looking for "+certFile)
	}
	certDER, keyDER, err := selfSign(time.Now(), hosts)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "making a self-signed certificate")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "making the certificate's directory")
	}
	// The certificate comes last, so that a crash in between leaves none and the next start makes both.
	if err := writePEM(keyFile, "PRIVATE KEY", keyDER); err != nil {
		return nil, err
	}
	if err := writePEM(certFile, "CERTIFICATE", certDER); err != nil {
		return nil, err
	}
	return LoadCertificate(certFile, keyFile)
}

func selfSign(now time.Time, hosts []string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "streampost"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // So that a client can be told to trust the file itself.
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return cert, key, err
}

// writePEM replaces a file whole: nobody ever sees half a key.
func writePEM(path, kind string, der []byte) error {
	tmp := path + ".new"
	_ = os.Remove(tmp)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "writing "+path)
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "writing "+path)
	}
	return nil
}
