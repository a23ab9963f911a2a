// Package cluster holds what the nodes of a cluster share: one secret, from which everything else follows that they prove to each other.
//
// It exists so that forming a cluster takes one file of one line. Whoever has the secret can make certificates that every node trusts, read what
// the nodes tell each other, and ask for the master keys: keep it as you keep them. The certificates of the routes are made at each start
// and live as long as the process; there is nothing to renew.
package cluster

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Secret is what every node of a cluster knows and nobody else.
type Secret [32]byte

// File is the secret's name in a data directory.
const File = "cluster.secret"

// New draws a secret.
func New() (s Secret) {
	_, _ = rand.Read(s[:]) // it never fails
	return s
}

// Parse reads a secret as Reveal writes it.
func Parse(text string) (s Secret, err error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != len(s) {
		return s, errors.New("a cluster secret is 32 octets in base64, 44 characters") // never the value itself
	}
	return Secret(raw), nil
}

// Reveal is the secret as Parse reads it.
func (s Secret) Reveal() string { return base64.StdEncoding.EncodeToString(s[:]) }

// Format keeps the secret out of logs.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

// Load reads the secret of a data directory. The error is fs.ErrNotExist where there is none.
func Load(dir string) (Secret, error) {
	name := filepath.Join(dir, File)
	info, err := os.Stat(name)
	if err != nil {
		return Secret{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Secret{}, fmt.Errorf("%s can be read by others (mode %04o): chmod 600 %s", name, mode, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return Secret{}, err
	}
	s, err := Parse(string(text))
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Save writes the secret of a data directory, durably and readable by its owner only. It replaces nothing: fs.ErrExist.
func (s Secret) Save(dir string) error {
	f, err := os.CreateTemp(dir, File+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(s.Reveal() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, File)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Exists tells whether a data directory has a secret.
func Exists(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Key derives a key for one purpose (RFC 5869).
func (s Secret) Key(purpose string) [32]byte {
	key, err := hkdf.Key(sha256.New, s[:], nil, "streampost cluster "+purpose, 32)
	if err != nil {
		panic(err) // the length is right
	}
	return [32]byte(key)
}

// name is what every certificate of a cluster is made out to: nodes trust the authority, wherever they reach each other.
const name = "node.streampost.internal"

// TLS is the configuration of both ends of a connection between nodes: TLS 1.3 with certificates of the authority that the secret makes.
func (s Secret) TLS() (*tls.Config, error) {
	seed := s.Key("authority")
	signer := ed25519.NewKeyFromSeed(seed[:])
	// Every node makes the same authority. It has no end and no beginning: clocks may be wrong, and the secret decides who is in.
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Streampost cluster"}, NotBefore: time.Unix(0, 0), NotAfter: forever,
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("make the authority of the cluster: %w", err)
	}
	if authority, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make the authority of the cluster: %w", err)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the node: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the node: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Unix(0, 0), NotAfter: forever,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, authority, public, signer); err != nil {
		return nil, fmt.Errorf("make the certificate of the node: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      roots, ServerName: name,
		ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// forever is the end of time as X.509 writes it (RFC 5280 section 4.1.2.5).
var forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
