package sts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"

	"github.com/streampost/streampost/domain/mtasts"
	"github.com/streampost/streampost/domain/tlsrpt"
)

func (c *Cache) newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: c.dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: &tls.Config{RootCAs: c.cfg.Roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // RFC 8461 section 3.3: redirections are not followed.
	}
}

// fetch gets a policy (RFC 8461 section 3.3). Errors: *tlsrpt.Problem.
func (c *Cache) fetch(ctx context.Context, name string) (p mtasts.Policy, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+name+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return p, &tlsrpt.Problem{Type: tlsrpt.STSFetch, Err: err}
	}
	answer, err := c.client.Do(request)
	if err != nil {
		kind := tlsrpt.STSFetch
		var certificate *tls.CertificateVerificationError
		if errors.As(err, &certificate) {
			kind = tlsrpt.STSWebPKI
		}
		return p, &tlsrpt.Problem{Type: kind, Err: err}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return p, &tlsrpt.Problem{Type: tlsrpt.STSFetch, Err: fmt.Errorf("the web server says %s", answer.Status)}
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil || kind != "text/plain" { // RFC 8461 section 3.2: what users may put there is often something else.
		return p, &tlsrpt.Problem{Type: tlsrpt.STSInvalid, Err: fmt.Errorf("the web server says that the policy is %.80q, not text/plain", answer.Header.Get("Content-Type"))}
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, mtasts.MaxText+1))
	if err != nil {
		return p, &tlsrpt.Problem{Type: tlsrpt.STSFetch, Err: err}
	}
	if p, err = mtasts.ParsePolicy(string(text)); err != nil {
		return p, &tlsrpt.Problem{Type: tlsrpt.STSInvalid, Err: err}
	}
	return p, nil
}

// dial connects to a web server. Whoever sends mail has this server ask for names, so that addresses of this machine and of its links are left alone.
func (c *Cache) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := c.cfg.Resolver.Addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	last := fmt.Errorf("the host %s has no address", host)
	for _, a := range slices.Clip(addresses)[:min(len(addresses), 4)] {
		a = a.Unmap().WithZone("")
		if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
			continue
		}
		conn, err := c.cfg.Dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}
