// Package learner speaks to spam filters that learn by HTTP: the controller of rspamd, and anything that takes a message by POST.
//
// Invariants:
//   - rspamd: 200 with success, 208, and what says that the message was learnt as the same already, are success, and so is 204: the filter does not want it.
//   - A filter that cannot be reached, or lets nobody in, is away as a whole; other answers are about the message.
//   - Nothing of an answer is shown, for it may quote the message.
package learner

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/learning"
	"github.com/streampost/streampost/streams/listen"
)

// Config is a spam filter.
type Config struct {
	URL      string
	Rspamd   bool   // its controller; otherwise one POST of message/rfc822 to the URL
	Password string // of the controller, or a bearer token
	Roots    *x509.CertPool
	Time     time.Duration // for one message
}

// HeaderLearn tells a filter that is not rspamd what the message is.
const HeaderLearn = "Streampost-Learn"

// Bounds of what a filter is given and says.
const (
	connections = 4
	maxAnswer   = 16 << 10
)

// Client is a spam filter. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
}

// New makes a Client.
func New(cfg Config) *Client {
	transport := &http.Transport{
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswer,
		TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
	}
	return &Client{cfg, &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Learn is of learning.Learner.
func (c *Client) Learn(ctx context.Context, v learning.Verdict, address string, message io.Reader, size int64) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Time)
	defer cancel()
	target := c.cfg.URL
	if c.cfg.Rspamd {
		target = strings.TrimRight(target, "/") + "/learn" + v.String() // https://docs.rspamd.com/developers/protocol
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, io.NopCloser(message))
	if err != nil {
		return false, listen.Outage(domain.Errorf(domain.Invalid, "listeners.learning.url is no URL"))
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "message/rfc822")
	req.Header.Set("User-Agent", "Streampost")
	if c.cfg.Rspamd {
		req.Header.Set("Deliver-To", address) // whose statistics it is, where rspamd keeps those of users
		if c.cfg.Password != "" {
			req.Header.Set("Password", c.cfg.Password)
		}
	} else {
		req.Header.Set(HeaderLearn, v.String())
		req.Header.Set("Streampost-Account", address)
		if c.cfg.Password != "" {
			req.Header.Set("Authorization", "Bearer "+c.cfg.Password)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return false, listen.Outage(domain.Wrap(domain.Unavailable, err, "the spam filter cannot be reached"))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return false, listen.Outage(domain.Wrap(domain.Unavailable, err, "read the spam filter's answer"))
	}
	switch status := resp.StatusCode; {
	case status == http.StatusAlreadyReported, c.cfg.Rspamd && strings.Contains(string(answer), "already learned as "+v.String()): // Versions differ in its status: 208 or 404.
		return true, nil
	case status >= 200 && status < 300:
		return status == http.StatusNoContent && c.cfg.Rspamd, nil
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return false, listen.Outage(&domain.Error{Kind: domain.Denied, Msg: "the spam filter does not let this server in", Hint: "check listeners.learning.password, and from where it takes requests"})
	case status == http.StatusRequestEntityTooLarge:
		return false, domain.Errorf(domain.TooLarge, "the spam filter answers %d: the message is too large for it", status)
	default:
		return false, domain.Errorf(domain.Unavailable, "the spam filter answers %d %s", status, http.StatusText(status))
	}
}
