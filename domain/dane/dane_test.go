package dane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/dane"
)

var now = time.Unix(1.7e9, 0)

type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func issue(t *testing.T, by *issuer, ca bool, until time.Time, names ...string) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: rand.Text()}, DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: until, IsCA: ca, BasicConstraintsValid: true,
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key}
}

func record(usage, selector, matching uint8, c *x509.Certificate) dane.Record {
	data := c.Raw
	if selector == dane.Key {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case dane.SHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case dane.SHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return dane.Record{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

func TestWhichCertificatesAreGood(t *testing.T) {
	root := issue(t, nil, true, now.Add(time.Hour))
	middle := issue(t, root, true, now.Add(time.Hour))
	leaf := issue(t, middle, false, now.Add(time.Hour), "mx.example.net")
	late := issue(t, middle, false, now.Add(-time.Minute), "mx.example.net")
	other := issue(t, nil, true, now.Add(time.Hour), "mx.example.net")
	noCA := issue(t, nil, false, now.Add(time.Hour), "x")
	under := issue(t, noCA, false, now.Add(time.Hour), "mx.example.net")
	chain := []*x509.Certificate{leaf.cert, middle.cert, root.cert}
	for _, c := range []struct {
		what    string
		records []dane.Record
		chain   []*x509.Certificate
		names   []string
		want    bool
	}{
		{"the server's own", []dane.Record{record(3, 0, 0, leaf.cert)}, chain, nil, true},
		{"its digest", []dane.Record{record(3, 0, 1, leaf.cert)}, chain, nil, true},
		{"that of its key", []dane.Record{record(3, 1, 2, leaf.cert)}, chain, nil, true},
		{"its key", []dane.Record{record(3, 1, 0, leaf.cert)}, chain, nil, true},
		{"one of two", []dane.Record{record(3, 1, 1, other.cert), record(3, 1, 1, leaf.cert)}, chain, nil, true},
		{"its own, too old", []dane.Record{record(3, 1, 1, late.cert)}, []*x509.Certificate{late.cert}, nil, true},
		{"another's", []dane.Record{record(3, 1, 1, other.cert)}, chain, []string{"mx.example.net"}, false},
		{"an authority's as its own", []dane.Record{record(3, 1, 1, middle.cert)}, chain, []string{"mx.example.net"}, false},
		{"an authority", []dane.Record{record(2, 0, 1, middle.cert)}, chain, []string{"mx.example.net"}, true},
		{"the root", []dane.Record{record(2, 1, 1, root.cert)}, chain, []string{"example.net", "mx.example.net"}, true},
		{"an authority that is not shown", []dane.Record{record(2, 1, 1, root.cert)}, chain[:2], []string{"mx.example.net"}, false},
		{"an authority, with a certificate for another name", []dane.Record{record(2, 1, 1, root.cert)}, chain, []string{"mx.example.com"}, false},
		{"an authority, with a certificate that is too old", []dane.Record{record(2, 1, 1, root.cert)}, []*x509.Certificate{late.cert, middle.cert, root.cert}, []string{"mx.example.net"}, false},
		{"an authority that has not signed it", []dane.Record{record(2, 1, 1, other.cert)}, []*x509.Certificate{leaf.cert, middle.cert, other.cert}, []string{"mx.example.net"}, false},
		{"one that is no authority", []dane.Record{record(2, 1, 1, noCA.cert)}, []*x509.Certificate{under.cert, noCA.cert}, []string{"mx.example.net"}, false},
		{"the server's own as an authority", []dane.Record{record(2, 1, 1, other.cert)}, []*x509.Certificate{other.cert}, []string{"mx.example.net"}, false},
		{"no chain", []dane.Record{record(3, 1, 1, leaf.cert)}, nil, nil, false},
		{"no record", nil, chain, nil, false},
		{"a wrong strong digest beside a right weak one", []dane.Record{record(3, 1, 1, leaf.cert), record(3, 1, 2, other.cert)}, chain, nil, false},
	} {
		err := dane.Verify(dane.Usable(c.records), c.chain, c.names, now)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestUsable(t *testing.T) {
	c := issue(t, nil, true, now.Add(time.Hour)).cert
	bad := []dane.Record{
		record(0, 0, 1, c), record(1, 1, 1, c), record(4, 1, 1, c), {3, 2, 1, make([]byte, 32)}, {3, 1, 3, make([]byte, 32)}, {3, 1, 1, make([]byte, 31)}, {3, 1, 2, make([]byte, 32)},
		{3, 0, 0, []byte("x")}, {3, 1, 0, nil},
	}
	if got := dane.Usable(bad); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := dane.Usable(append(bad, record(2, 1, 1, c))); len(got) != 1 || got[0].String()[:6] != "2 1 1 " {
		t.Errorf("%v", got)
	}
}

// FuzzRecord: nobody is authenticated by what DNS may hold unless it is the certificate's.
func FuzzRecord(f *testing.F) {
	f.Add(uint8(3), uint8(1), uint8(1), make([]byte, 32))
	f.Add(uint8(2), uint8(0), uint8(0), []byte{0x30, 0})
	f.Fuzz(func(t *testing.T, usage, selector, matching uint8, data []byte) {
		c := &x509.Certificate{Raw: []byte("whole"), RawSubjectPublicKeyInfo: []byte("key")}
		r := dane.Record{Usage: usage, Selector: selector, Matching: matching, Data: data}
		for _, u := range dane.Usable([]dane.Record{r}) {
			if matching == dane.Exact && dane.Verify([]dane.Record{u}, []*x509.Certificate{c, c}, []string{"a.example"}, now) == nil {
				t.Errorf("%s authenticates", u)
			}
		}
	})
}
