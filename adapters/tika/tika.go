// Package tika asks an Apache Tika server for the text in files: PUT /tika with a file gives its text. It is the Extractor of projections/extracts.
//
// Content goes to the configured URL and nowhere else: redirections are not followed and proxies of the environment are not used. What the server
// says about a failure is never kept, because it may quote the file.
//
// Invariants:
//   - Time, and the octets that are read of an answer, are bounded. A server that hangs or babbles costs one request.
//   - Whether the server is away or a file is at fault is told apart: only what says nothing about the file is domain.Unavailable.
package tika

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
)

// Config is what a Client works with. URL is needed.
type Config struct {
	URL  string        // of the server, such as http://127.0.0.1:9998
	TLS  *tls.Config   // nil: authorities of the operating system
	Time time.Duration // for one file; a minute
}

// Client asks one server.
type Client struct {
	url  string
	time time.Duration
	http *http.Client
}

// New makes a Client. Errors: domain.Invalid.
func New(c Config) (*Client, error) {
	base, err := url.Parse(c.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, domain.Errorf(domain.Invalid, "%q is not the URL of a Tika server", c.URL)
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.Time <= 0 {
		c.Time = time.Minute
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.TLSClientConfig = nil, c.TLS
	return &Client{
		url:  base.JoinPath("tika").String(),
		time: c.Time,
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Extract gives the text in a file, at most most octets, and tells whether there is more. Errors: domain.Invalid when the server finds none: it
// does not know the type (415), or the file is damaged or locked (422); domain.Unavailable when it is away or lets nobody in; domain.Internal when it
// failed with this file. Errors of ctx stay as they are.
func (c *Client) Extract(ctx context.Context, mediaType, name string, file io.Reader, most int64) (string, bool, error) {
	limited, cancel := context.WithTimeout(ctx, c.time)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodPut, c.url, file)
	if err != nil {
		return "", false, err
	}
	req.Header.Set("Accept", "text/plain; charset=utf-8")
	req.Header.Set("Content-Type", mediaType)
	if name != "" {
		// RFC 6266 section 4.3: a name beyond ASCII goes in filename*.
		req.Header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return "", false, c.blame(ctx, err)
	}
	defer answer.Body.Close()
	switch status := answer.StatusCode; {
	case status == http.StatusNoContent:
		return "", false, nil
	case status == http.StatusOK:
	case status == http.StatusUnsupportedMediaType, status == http.StatusUnprocessableEntity:
		return "", false, domain.Errorf(domain.Invalid, "Tika finds no text: it answered %d", status)
	case status == http.StatusRequestEntityTooLarge:
		return "", false, domain.Errorf(domain.TooLarge, "Tika does not take so large a file")
	case status == http.StatusInternalServerError:
		return "", false, domain.Errorf(domain.Internal, "Tika failed: it answered 500")
	default: // too busy, a gateway's word, no permission, or no Tika at all
		return "", false, domain.Errorf(domain.Unavailable, "Tika takes no files: it answered %d", status)
	}
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind != "text/plain" {
		return "", false, domain.Errorf(domain.Unavailable, "what answers is no Tika server: it sent no plain text")
	}
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(answer.Body, most+1))
	switch {
	case n > most:
		return text.String()[:most], true, nil
	case err != nil:
		return "", false, c.blame(ctx, err)
	}
	return text.String(), false, nil
}

// blame says what it means that no answer came, or a part of one. A server to which no connection is made is away; one that ends the connection, or takes
// too long, may do so because of the file.
func (c *Client) blame(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // without the URL, which may hold a password
	}
	var op *net.OpError
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op) && op.Op == "dial", errors.As(err, &unknown):
		return domain.Wrap(domain.Unavailable, err, "Tika cannot be reached")
	case errors.Is(err, context.DeadlineExceeded):
		return domain.Errorf(domain.Internal, "Tika did not answer within %s", c.time)
	}
	return domain.Wrap(domain.Internal, fmt.Errorf("read the answer: %w", err), "Tika gave no answer")
}
