package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// authority is a certificate authority with its certificate in dir/name.pem.
type authority struct {
	t         testing.TB
	dir, name string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir, name: name}
	a.cert, a.key = a.issue(name, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	return a
}

// file is the path of what the authority issued under a name: its certificate, or with ".key" its key.
func (a *authority) file(name string) string { return filepath.Join(a.dir, a.name+"."+name) }

// issue makes the certificate name.pem and its key name.key; the first signs itself.
func (a *authority) issue(name string, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	change(template)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// server issues a certificate for 127.0.0.1 and gives the tls section that uses it.
func (a *authority) server(name string, expires time.Time) (section string) {
	a.t.Helper()
	a.issue(a.name+"."+name, func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage, c.NotAfter = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, expires
	})
	return fmt.Sprintf("tls { cert_file: %q, key_file: %q, timeout: 60 }", a.file(name+".pem"), a.file(name+".key"))
}

// client issues a certificate with which a client shows who it is.
func (a *authority) client(name string) {
	a.t.Helper()
	a.issue(a.name+"."+name, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
}

// operator signs accounts and users as NATS's operator mode has them.
type operator struct {
	t       testing.TB
	account nkeys.KeyPair
	config  string // of a server that trusts it
}

// newOperator makes an operator with a system account and one account that has JetStream.
func newOperator(t testing.TB) *operator {
	t.Helper()
	must := func(pair nkeys.KeyPair, err error) (nkeys.KeyPair, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return pair, public
	}
	root, rootID := must(nkeys.CreateOperator())
	_, systemID := must(nkeys.CreateAccount())
	account, accountID := must(nkeys.CreateAccount())
	sign := func(claims jwt.Claims) string {
		t.Helper()
		token, err := claims.Encode(root)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	own := jwt.NewOperatorClaims(rootID)
	own.Name, own.SystemAccount = "test", systemID
	mail := jwt.NewAccountClaims(accountID)
	mail.Name = "mail"
	mail.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	return &operator{t: t, account: account, config: fmt.Sprintf("operator: %s\nresolver: MEMORY\nsystem_account: %s\nresolver_preload: { %s: %s, %s: %s }\n",
		sign(own), systemID, systemID, sign(jwt.NewAccountClaims(systemID)), accountID, sign(mail))}
}

// user writes the credentials of a new user of the account, good until a time, to a file.
func (o *operator) user(file string, expires time.Time) string {
	o.t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		o.t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	claims := jwt.NewUserClaims(public)
	claims.Expires = expires.Unix()
	token, err := claims.Encode(o.account)
	if err != nil {
		o.t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return file
}
