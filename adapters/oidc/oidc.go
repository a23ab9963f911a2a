// Package oidc believes the access tokens of one OpenID Connect issuer (OpenID Connect Core 1.0, Discovery 1.0; RFC 7519, RFC 9068). It is the Tokens
// of adapters/sasl.
//
// A token is a signed JWT. Nobody is asked about a single one: the issuer's public keys are fetched, kept and fetched again from time to time, so that
// an issuer that is away for a while keeps nobody out whose token is still good.
//
// What makes a token good:
//   - It is signed with an algorithm that was configured, and all of those are asymmetric: "none", and an HMAC with a public key, are no signatures.
//   - A key of the issuer fits, of the same id if the token names one.
//   - iss is the issuer, aud names one of the audiences, exp is there and to come, nbf and iat are past, give or take the skew.
//   - A claim holds the address, and where that is email, the issuer does not say that nobody has verified it.
package oidc

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"golang.org/x/sync/singleflight"
)

// Config is what an Issuer works with. Issuer and Audience are needed; zero fields take the defaults.
type Config struct {
	Issuer     string   // its URL, as the claim iss has it
	Audience   []string // of which a token names at least one
	Algorithms []string // DefaultAlgorithms
	Claim      string   // that holds the address: email
	Domain     string   // put behind a claim's value that has no @; others are refused; may be empty
	Scope      string   // what clients are told to ask for: openid email
	TLS        *tls.Config

	Skew    time.Duration    // between clocks: 1 min
	Refresh time.Duration    // after which keys are fetched again: 1 h
	Keep    time.Duration    // for which keys are good while the issuer is away: 24 h
	Pause   time.Duration    // at least, between two fetches that tokens with unknown keys cause: 30 s
	Timeout time.Duration    // of a fetch: 10 s
	Now     func() time.Time // time.Now
}

// Algorithms are those that may be configured; all but the last are common.
var Algorithms = []string{"RS256", "ES256", "PS256", "EdDSA", "RS384", "RS512", "ES384", "ES512", "PS384", "PS512"}

// DefaultAlgorithms are those that are taken when nobody said which.
var DefaultAlgorithms = Algorithms[:4]

// Issuer checks the tokens of one issuer. Its methods may be called at the same time.
type Issuer struct {
	cfg        Config
	algorithms []jose.SignatureAlgorithm
	discovery  string
	http       *http.Client

	keys   atomic.Pointer[keySet] // nil before the first fetch
	tried  atomic.Int64           // when the last fetch began, in Unix nanoseconds
	flight singleflight.Group

	fetched, failed atomic.Uint64
}

// New makes an Issuer, without asking it. Errors: domain.Invalid.
func New(c Config) (*Issuer, error) {
	base, err := url.Parse(c.Issuer)
	if err != nil || !private(base) || base.RawQuery != "" || base.Fragment != "" { // Discovery 1.0 section 3, on "issuer".
		return nil, domain.Errorf(domain.Invalid, "%q is not the https URL of an OpenID Connect issuer", c.Issuer)
	}
	if len(c.Audience) == 0 {
		return nil, domain.Errorf(domain.Invalid, "tokens without an audience would be those of any other service as well")
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = DefaultAlgorithms
	}
	i := &Issuer{discovery: strings.TrimSuffix(c.Issuer, "/") + "/.well-known/openid-configuration"}
	for _, name := range c.Algorithms {
		if !slices.Contains(Algorithms, name) {
			return nil, domain.Errorf(domain.Invalid, "%q is not one of the signature algorithms %s", name, strings.Join(Algorithms, ", "))
		}
		i.algorithms = append(i.algorithms, jose.SignatureAlgorithm(name))
	}
	c.Claim = cmp.Or(c.Claim, "email")
	c.Scope = cmp.Or(c.Scope, "openid email")
	c.Skew = cmp.Or(c.Skew, time.Minute)
	c.Refresh = cmp.Or(c.Refresh, time.Hour)
	c.Keep = cmp.Or(c.Keep, 24*time.Hour)
	c.Pause = cmp.Or(c.Pause, 30*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	i.cfg = c
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c.TLS
	i.http = &http.Client{Transport: transport, Timeout: c.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return i, nil
}

// private reports whether nobody can change what comes from a URL on its way: it is https, or on this machine.
func private(u *url.URL) bool {
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname()))
}

// Close ends idle connections.
func (i *Issuer) Close() { i.http.CloseIdleConnections() }

// Configuration is where clients find the issuer, and what they ask it for (RFC 7628 section 3.2.2).
func (i *Issuer) Configuration() (url, scope string) { return i.discovery, i.cfg.Scope }

// Stats counts fetches of keys.
func (i *Issuer) Stats() (fetched, failed uint64) { return i.fetched.Load(), i.failed.Load() }

// Address gives the address of a token's owner. Errors: domain.Denied for a token that is not good; domain.Unavailable when the issuer's keys cannot be
// had.
func (i *Issuer) Address(ctx context.Context, token string) (string, error) {
	parsed, err := jwt.ParseSigned(token, i.algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return "", denied("the token is no JWT that is signed with %v", i.cfg.Algorithms)
	}
	keys, err := i.keysFor(ctx, parsed.Headers[0].KeyID, parsed.Headers[0].Algorithm)
	if err != nil {
		return "", err
	}
	var known jwt.Claims
	var all map[string]any
	verified := false
	for _, key := range keys {
		if parsed.Claims(key.Key, &known, &all) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return "", denied("no key of the issuer fits the token's signature")
	}
	if known.Expiry == nil { // RFC 9068 section 2.2 requires it, and without it a token that was lost would be good for ever.
		return "", denied("the token has no time of expiry")
	}
	expected := jwt.Expected{Issuer: i.cfg.Issuer, AnyAudience: i.cfg.Audience, Time: i.cfg.Now()}
	if err := known.ValidateWithLeeway(expected, i.cfg.Skew); err != nil {
		return "", denied("%v", err)
	}
	return i.address(all)
}

// address reads the claim that maps to an account.
func (i *Issuer) address(claims map[string]any) (string, error) {
	address, _ := claims[i.cfg.Claim].(string)
	if address == "" {
		return "", denied("the token has no claim %s", i.cfg.Claim)
	}
	if verified, said := claims["email_verified"]; i.cfg.Claim == "email" && said && verified != true && verified != "true" {
		return "", denied("the issuer has not verified the address %.100q", address)
	}
	if i.cfg.Domain == "" {
		return address, nil
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address + "@" + i.cfg.Domain, nil
	}
	ours, _ := directory.NormalDomain(i.cfg.Domain)
	if its, err := directory.NormalDomain(address[at+1:]); err != nil || its != ours { // Names that users of the issuer may choose must not reach accounts of others.
		return "", denied("the token is for %.100q, which is not in the domain %s", address, i.cfg.Domain)
	}
	return address, nil
}

func denied(format string, args ...any) error { return domain.Errorf(domain.Denied, format, args...) }
