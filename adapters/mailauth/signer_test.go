package mailauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// ring has the keys of example.com, or an error.
type ring struct {
	keys []door.SigningKey
	err  error
}

func (r ring) SigningKeys(_ context.Context, host string) ([]door.SigningKey, error) {
	if host != "example.com" && host != "xn--bcher-kva.example" {
		return nil, r.err
	}
	for i := range r.keys {
		r.keys[i].Domain = host
	}
	return r.keys, r.err
}

var keys = sync.OnceValues(func() ([]door.SigningKey, [2]string) {
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	public, short, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(long.Public())
	if err != nil {
		panic(err)
	}
	return []door.SigningKey{{Selector: "long", Key: crypto.Signer(long)}, {Selector: "short", Key: short}},
		[2]string{"v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)}
})

func opens(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// TestSignaturesVerify: what is signed here passes there, and no change of what matters does.
func TestSignaturesVerify(t *testing.T) {
	all, records := keys()
	counted := map[string]int{}
	s := &Signer{Keys: ring{keys: all}, Count: func(outcome string) { counted[outcome]++ }}
	w := newWorld(t, nil, `_dmarc.example.com. TXT "v=DMARC1; p=reject"`)
	for _, host := range []string{"example.com", "xn--bcher-kva.example"} {
		w.TXT("long._domainkey."+host, records[0])
		w.TXT("short._domainkey."+host, records[1])
	}
	for _, text := range []string{
		"From: Boss <boss@example.com>\nTo: a@b.example\nReply-To: a@c.example\nSubject: money\nContent-Type: text/plain\n\nNow.\n\n\n", "From: boss@example.com\nSubject: only a header\n", "no field\nFrom\u00a0: x@y.example\nFrom: boss@example.com\n\nx\n",
		"From: boss@example.com\n\n", "From: boss@bücher.example\n\nx", "Received: x\n\ty\nFrom:\n boss@EXAMPLE.com\nx-long: " + strings.Repeat("y", 50_000) + "\n\n" + strings.Repeat("body \t line\n", 50_000),
	} {
		mail := strings.ReplaceAll(text, "\n", "\r\n")
		fields, err := s.Sign(t.Context(), []string{"other.example", "Example.com", "bücher.example"}, opens(mail))
		if err != nil || strings.Count(fields, "DKIM-Signature:") != 2 || !strings.HasSuffix(fields, "\r\n") {
			t.Fatalf("%q, %v", fields, err)
		}
		signed := strings.ReplaceAll(fields, "\r\n", "\n") + text
		want := "spf=none dkim=pass dkim=pass dmarc=pass accept"
		if strings.Contains(text, "bücher") {
			want = "spf=none dkim=pass dkim=pass dmarc=none accept"
		}
		for name, changed := range map[string]string{
			"as it is": signed, "with a trace": "Received: from x\nList-Id: <y>\n" + signed, "of a list": "Sender: list@x.example\nReply-To: list@x.example\nIn-Reply-To: <1@x>\nReferences: <1@x>\n" + signed, "with more blank lines": signed + "\n",
		} {
			if name != "as it is" && !strings.Contains(text, "\n\n") {
				continue
			}
			if got := w.verify(arrival("", changed)); got != want {
				t.Errorf("%.40q %s: %s", text, name, got)
			}
		}
		if !strings.Contains(text, "money") {
			continue
		}
		for name, changed := range map[string]string{
			"the body": strings.Replace(signed, "Now.", "Never.", 1), "a subject": strings.Replace(signed, "money", "honey", 1), "a second From": strings.Replace(signed, "From: B", "From: x@example.com\nFrom: B", 1),
			"a Cc": strings.Replace(signed, "From: B", "Cc: x@y.example\nFrom: B", 1), "a Reply-To that was there": strings.Replace(signed, "a@c.example", "x@c.example", 1), "another Content-Type": strings.Replace(signed, "text/plain", "text/html", 1),
		} {
			if got := w.verify(arrival("", changed)); got != "spf=none dkim=fail dkim=fail dmarc=fail refuse" {
				t.Errorf("with %s changed: %s", name, got)
			}
		}
	}
	if counted["signed"] != 6 {
		t.Errorf("%v", counted)
	}
}

// TestWhatIsNotSigned: messages of others, of nobody and of several; and nothing is lost or said to be signed where it cannot be told.
func TestWhatIsNotSigned(t *testing.T) {
	all, _ := keys()
	for _, c := range []struct {
		text, outcome string
		keys          ring
	}{
		{"From: a@other.example\r\n\r\n", "foreign", ring{keys: all}},
		{"From: a@keyless.example\r\n\r\n", "keyless", ring{keys: all}},
		{"Subject: x\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: a@example.com\r\nFrom: b@example.com\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: a@example.com, b@other.example\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: a@example.com, b@example.com\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: ceo@bank.example\x01, a@example.com\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: us: a@example.com;\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: a@-x.example.com\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: @example.com\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: a@example.com\r\nX: " + strings.Repeat("y", 3000) + "\r\n\r\n", "unsignable", ring{keys: all}},
		{"From: a@example.com\r\n\r\n" + strings.Repeat("\r\n", 100), "unsignable", ring{keys: all}},
	} {
		got := ""
		s := &Signer{Keys: c.keys, Header: 2000, Blank: 100, Count: func(outcome string) { got = outcome }}
		if fields, err := s.Sign(t.Context(), []string{"example.com", "keyless.example"}, opens(c.text)); fields != "" || err != nil || got != c.outcome {
			t.Errorf("%.60q: %q, %v, %s, want %s", c.text, fields, err, got, c.outcome)
		}
	}
	s := &Signer{Keys: ring{err: domain.Errorf(domain.Unavailable, "away")}}
	if _, err := s.Sign(t.Context(), []string{"example.com"}, opens("From: a@example.com\r\n\r\n")); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
	s.Keys = ring{keys: all}
	broken := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("From: a@example.com\r\n\r\nbody"), iotest.ErrReader(errors.New("the disk is gone")))), nil
	}
	if fields, err := s.Sign(t.Context(), []string{"example.com"}, broken); fields != "" || !domain.Is(err, domain.Unavailable) {
		t.Errorf("%q, %v", fields, err)
	}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if fields, err := s.Sign(cut, []string{"example.com"}, opens("From: a@example.com\r\n\r\nbody")); fields != "" || !domain.Is(err, domain.Unavailable) {
		t.Errorf("%q, %v", fields, err)
	}
}
