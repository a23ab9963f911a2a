package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/streampost/streampost/domain"
)

// provider is an issuer in this process.
type provider struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	issuer  string // as its metadata has it
	down    bool
	fetches atomic.Int64 // of keys
}

var now = time.Unix(1_800_000_000, 0)

func newProvider(t testing.TB) *provider {
	p := &provider{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.issuer, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
	})
	p.Server = httptest.NewServer(mux)
	p.issuer = p.URL
	t.Cleanup(p.Close)
	return p
}

// signer is a key of the provider.
func (p *provider) signer(id string, algorithm jose.SignatureAlgorithm) jose.Signer {
	p.t.Helper()
	var private, public any
	var err error
	switch algorithm {
	case jose.RS256, jose.PS256:
		var key *rsa.PrivateKey
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			private, public = key, key.Public()
		}
	case jose.ES256:
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			private, public = key, key.Public()
		}
	case jose.EdDSA:
		public, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.keys = append(p.keys, jose.JSONWebKey{Key: public, KeyID: id, Use: "sig"})
	p.mu.Unlock()
	return signerOf(p.t, algorithm, private, id)
}

func signerOf(t testing.TB, algorithm jose.SignatureAlgorithm, key any, id string) jose.Signer {
	t.Helper()
	options := &jose.SignerOptions{}
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claims are those of a good token, with changes; nil takes one away.
func (p *provider) claims(changes map[string]any) map[string]any {
	all := map[string]any{
		"iss": p.URL, "aud": []string{"mail", "other"}, "sub": "42", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "email": "alice@example.org", "email_verified": true,
	}
	for name, value := range changes {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

func (p *provider) token(s jose.Signer, changes map[string]any) string {
	p.t.Helper()
	text, err := jwt.Signed(s).Claims(p.claims(changes)).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p *provider) relying(c Config) *Issuer {
	p.t.Helper()
	c.Issuer, c.Audience = p.URL, []string{"mail"}
	if c.Now == nil {
		c.Now = func() time.Time { return now }
	}
	i, err := New(c)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(i.Close)
	return i
}

func TestTokens(t *testing.T) {
	p := newProvider(t)
	rs := p.signer("rsa", jose.RS256)
	i := p.relying(Config{})
	for name, c := range map[string]struct {
		changes map[string]any
		ok      bool
	}{
		"good":                      {nil, true},
		"one audience":              {map[string]any{"aud": "mail"}, true},
		"another audience":          {map[string]any{"aud": "webmail"}, false},
		"no audience":               {map[string]any{"aud": nil}, false},
		"another issuer":            {map[string]any{"iss": p.URL + "/"}, false},
		"no issuer":                 {map[string]any{"iss": nil}, false},
		"expired":                   {map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}, false},
		"expired within the skew":   {map[string]any{"exp": now.Add(-30 * time.Second).Unix()}, true},
		"never expires":             {map[string]any{"exp": nil}, false},
		"not yet":                   {map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}, false},
		"not yet, within the skew":  {map[string]any{"nbf": now.Add(30 * time.Second).Unix()}, true},
		"issued in the future":      {map[string]any{"iat": now.Add(time.Hour).Unix()}, false},
		"no address":                {map[string]any{"email": nil}, false},
		"an address that is none":   {map[string]any{"email": 42}, false},
		"unverified":                {map[string]any{"email_verified": false}, false},
		"unverified, in words":      {map[string]any{"email_verified": "false"}, false},
		"verification is not said":  {map[string]any{"email_verified": nil}, true},
		"times that are no numbers": {map[string]any{"exp": "tomorrow"}, false},
	} {
		address, err := i.Address(t.Context(), p.token(rs, c.changes))
		if c.ok != (err == nil) || c.ok != (address == "alice@example.org") || err != nil && !domain.Is(err, domain.Denied) {
			t.Errorf("%s: %q, %v", name, address, err)
		}
	}
	i = p.relying(Config{Claim: "preferred_username", Domain: "example.net"})
	if address, err := i.Address(t.Context(), p.token(rs, map[string]any{"preferred_username": "bob", "email_verified": false})); address != "bob@example.net" || err != nil {
		t.Errorf("%q, %v", address, err)
	}
	for name, ok := range map[string]bool{"bob@example.net": true, "bob@EXAMPLE.net": true, "alice@example.org": false, "alice@example.org@example.net.": false, "bob@sub.example.net": false, "bob@": false} {
		if address, err := i.Address(t.Context(), p.token(rs, map[string]any{"preferred_username": name})); (err == nil) != ok || ok != (address == name) || !ok && !domain.Is(err, domain.Denied) {
			t.Errorf("%s: %q, %v", name, address, err)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	p := newProvider(t)
	signers := map[string]jose.Signer{}
	for _, a := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA} {
		signers[string(a)] = p.signer(string(a), a)
	}
	i, narrow := p.relying(Config{}), p.relying(Config{Algorithms: []string{"ES256"}})
	for name, s := range signers {
		if _, err := i.Address(t.Context(), p.token(s, nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := narrow.Address(t.Context(), p.token(s, nil)); (err == nil) != (name == "ES256") {
			t.Errorf("%s where ES256 is allowed: %v", name, err)
		}
	}
	for _, algorithm := range []string{"none", "HS256", ""} {
		if _, err := New(Config{Issuer: p.URL, Audience: []string{"mail"}, Algorithms: []string{algorithm}}); !domain.Is(err, domain.Invalid) {
			t.Errorf("the algorithm %q can be configured: %v", algorithm, err)
		}
	}
	// A forger knows the public key, and signs with it as if it were a secret; or says that no signature is needed.
	public, err := x509.MarshalPKIXPublicKey(p.keys[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{p.token(signerOf(t, jose.HS256, public, "RS256"), nil)}
	body, err := json.Marshal(p.claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	forged = append(forged, part(`{"alg":"none"}`)+"."+part(string(body))+".", part(`{"alg":"none","kid":"RS256"}`)+"."+part(string(body))+".",
		part(`{"alg":"RS256","kid":"RS256"}`)+"."+part(string(body))+".", "", ".", "..", "x", strings.Repeat("a.", 5000))
	stranger := newProvider(t)
	forged = append(forged, p.token(stranger.signer("RS256", jose.RS256), nil), p.token(stranger.signer("", jose.ES256), nil))
	good := strings.Split(p.token(signers["RS256"], nil), ".")
	forged = append(forged, good[0]+"."+part(strings.Replace(string(body), "alice", "admin", 1))+"."+good[2])
	for _, token := range forged {
		if address, err := i.Address(t.Context(), token); !domain.Is(err, domain.Denied) {
			t.Errorf("%.80q is %q, %v", token, address, err)
		}
	}
}

// TestKeysAreRotated: a new key is found at once, and tokens that anybody makes up do not have the issuer asked again and again.
func TestKeysAreRotated(t *testing.T) {
	p := newProvider(t)
	old := p.signer("old", jose.ES256)
	at := now
	i := p.relying(Config{Now: func() time.Time { return at }})
	good := func(s jose.Signer) error {
		_, err := i.Address(t.Context(), p.token(s, map[string]any{"exp": at.Add(time.Hour).Unix()}))
		return err
	}
	for range 10 {
		if err := good(old); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("keys were fetched %d times for 10 tokens", n)
	}
	at = at.Add(time.Minute)
	fresh := p.signer("fresh", jose.ES256)
	if err := good(fresh); err != nil {
		t.Errorf("a new key: %v", err)
	}
	for n := range 10 {
		if err := good(signerOf(t, jose.HS256, []byte(strings.Repeat("x", 32)), fmt.Sprint(n))); !domain.Is(err, domain.Denied) {
			t.Error(err)
		}
		if err := good(newProvider(t).signer(fmt.Sprint(n), jose.ES256)); !domain.Is(err, domain.Denied) {
			t.Error(err)
		}
	}
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("keys were fetched %d times", n)
	}
	p.mu.Lock()
	p.keys = p.keys[1:]
	p.mu.Unlock()
	at = at.Add(2 * time.Hour)
	if err := good(old); !domain.Is(err, domain.Denied) {
		t.Errorf("a key that was taken back: %v", err)
	}
	if err := good(fresh); err != nil {
		t.Error(err)
	}
}

// TestTheIssuerIsAway: those whose keys are known still come in, for a while; others are told that it is not their fault.
func TestTheIssuerIsAway(t *testing.T) {
	p := newProvider(t)
	s := p.signer("one", jose.ES256)
	at := now
	i := p.relying(Config{Now: func() time.Time { return at }})
	try := func() error {
		_, err := i.Address(t.Context(), p.token(s, map[string]any{"exp": at.Add(time.Hour).Unix()}))
		return err
	}
	p.down = true
	for range 3 { // of which the first asks, and the others know
		if err := try(); !domain.Is(err, domain.Unavailable) {
			t.Errorf("without any keys: %v", err)
		}
	}
	p.down, at = false, at.Add(time.Minute)
	if err := try(); err != nil {
		t.Fatal(err)
	}
	p.down, at = true, at.Add(23*time.Hour)
	if err := try(); err != nil {
		t.Errorf("the issuer is away for hours: %v", err)
	}
	at = at.Add(2 * time.Hour)
	if err := try(); !domain.Is(err, domain.Unavailable) {
		t.Errorf("the issuer is away for a day: %v", err)
	}
	if fetched, failed := i.Stats(); fetched != 1 || failed != 3 {
		t.Errorf("%d fetches, %d failed", fetched, failed)
	}
	// Somebody else's metadata are no metadata.
	p.down, p.issuer, at = false, "https://id.example.org", at.Add(time.Hour)
	if err := try(); !domain.Is(err, domain.Unavailable) {
		t.Errorf("another's metadata: %v", err)
	}
}

func TestConfigurations(t *testing.T) {
	for _, c := range []Config{
		{}, {Issuer: "https://id.example.org"}, {Issuer: "http://id.example.org", Audience: []string{"mail"}}, {Issuer: "id.example.org", Audience: []string{"mail"}},
		{Issuer: "https://id.example.org/?x=y", Audience: []string{"mail"}},
	} {
		if _, err := New(c); !domain.Is(err, domain.Invalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	i, err := New(Config{Issuer: "https://id.example.org/realms/mail/", Audience: []string{"mail"}, Scope: "mail"})
	if err != nil {
		t.Fatal(err)
	}
	if url, scope := i.Configuration(); url != "https://id.example.org/realms/mail/.well-known/openid-configuration" || scope != "mail" {
		t.Errorf("clients are told %s, %s", url, scope)
	}
}
