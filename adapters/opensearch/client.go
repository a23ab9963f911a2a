package opensearch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/opensearch-project/opensearch-go/v4"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/listen"
)

// Limits bound the work. Zero fields mean the defaults in their comments.
type Limits struct {
	Request   time.Duration // for one request to the cluster; 30 s
	Answer    time.Duration // for one question; 3 s
	Bulk      int           // octets that one bulk request begins to be sent at; 2 MiB
	Documents int           // of one bulk request; 500
	Readers   int           // messages that are read at the same time; 4
	Terms     int           // grams of one needle that are looked up; 24
	Found     int           // messages that one search may find before it answers nothing, at most 10,000
	Column    int           // octets of a subject or a list of addresses, beyond which the message is read instead; 8,000
	Failures  int           // in a row, after which the circuit opens; 3
	Open      time.Duration // how long it stays open at first, doubling up to 30 times as long; 1 s
	Sweep     time.Duration // how often accounts that expunged something are swept; 10 min
}

func (l Limits) withDefaults() Limits {
	set(&l.Request, 30*time.Second)
	set(&l.Answer, 3*time.Second)
	set(&l.Bulk, 2<<20)
	set(&l.Documents, 500)
	set(&l.Readers, 4)
	set(&l.Terms, 24)
	set(&l.Found, 10_000)
	set(&l.Column, 8_000)
	set(&l.Failures, 3)
	set(&l.Open, time.Second)
	set(&l.Sweep, 10*time.Minute)
	return l
}

func set[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// maxAnswer bounds what is read of an answer, in octets.
const maxAnswer = 64 << 20

// client speaks to the cluster behind a circuit breaker.
type client struct {
	os      *opensearch.Client
	limits  Limits
	logger  *slog.Logger
	breaker breaker
}

func newClient(cfg *Config) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = cfg.Limits.Request
	if cfg.TLS != nil {
		transport.TLSClientConfig = cfg.TLS
	} else {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	os, err := opensearch.NewClient(opensearch.Config{
		Addresses: cfg.URLs, Username: cfg.User, Password: cfg.Password, Transport: transport,
		DisableRetry: true, HealthCheckMaxRetries: -1, // when to try again is for the listener and the breaker to say
	})
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "use OpenSearch")
	}
	return &client{os: os, limits: cfg.Limits, logger: cfg.Logger, breaker: breaker{failures: cfg.Limits.Failures, first: cfg.Limits.Open}}, nil
}

// answerError is what OpenSearch says is wrong. Its reason is never kept: it may quote the document.
type answerError struct {
	Error struct {
		Type string `json:"type"`
	} `json:"error"`
}

// refused is an answer that is not a success.
type refused struct {
	status int
	kind   string
}

func (r *refused) Error() string {
	return fmt.Sprintf("OpenSearch answered %d %s", r.status, r.kind)
}

// isRefused reports whether OpenSearch refused with one of some types of error.
func isRefused(err error, kinds ...string) bool {
	r, ok := err.(*refused)
	if !ok {
		return false
	}
	for _, k := range kinds {
		if r.kind == k {
			return true
		}
	}
	return false
}

// do sends a request; body may be nil. The answer is read into out, unless that is nil. Errors: *refused; those of listen.Outage when the cluster
// is away or asks for patience; ctx's.
func (c *client) do(ctx context.Context, method, path string, body []byte, out any) error {
	if err := c.breaker.allow(); err != nil {
		return listen.Outage(err)
	}
	status, answer, err := c.send(ctx, method, path, body)
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil:
		c.fail(err)
		return listen.Outage(domain.Wrap(domain.Unavailable, err, "OpenSearch cannot be reached"))
	case status == http.StatusTooManyRequests, status >= 500, status == http.StatusRequestTimeout:
		r := &refused{status: status, kind: kindOf(answer)}
		c.fail(r)
		return listen.Outage(domain.Wrap(domain.Unavailable, r, "OpenSearch takes no requests"))
	}
	c.breaker.succeed()
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return listen.Outage(&domain.Error{
			Kind: domain.Denied, Msg: "OpenSearch does not let this server in", Hint: "check search.opensearch.user, its password and its permissions",
			Err: &refused{status: status, kind: kindOf(answer)},
		})
	case status >= 300:
		return &refused{status: status, kind: kindOf(answer)}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return listen.Outage(domain.Wrap(domain.Unavailable, err, "read OpenSearch's answer"))
	}
	return nil
}

func (c *client) send(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Request)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, path, reader)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if strings.HasPrefix(path, "/_bulk") {
			req.Header.Set("Content-Type", "application/x-ndjson")
		}
	}
	resp, err := c.os.Stream(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

func kindOf(answer []byte) string {
	var e answerError
	if err := json.Unmarshal(answer, &e); err != nil || e.Error.Type == "" {
		return "without a type"
	}
	return e.Error.Type
}

func (c *client) fail(err error) {
	if opened := c.breaker.fail(); opened > 0 {
		c.logger.Warn("OpenSearch is away: nothing is asked of it for a while", "for", opened, "err", err)
	}
}

// breaker stops requests while they would only fail.
type breaker struct {
	failures int
	first    time.Duration

	mu    sync.Mutex
	count int
	until time.Time
}

var errOpen = domain.Errorf(domain.Unavailable, "OpenSearch is away")

func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); now.Before(b.until) {
		return errOpen
	} else if b.count >= b.failures {
		b.until = now.Add(b.first) // one request finds out; the others wait for it
	}
	return nil
}

// fail counts a failure, and says for how long it opened the circuit.
func (b *breaker) fail() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count++; b.count < b.failures {
		return 0
	}
	d := b.first << min(b.count-b.failures, 5)
	b.until = time.Now().Add(d)
	return d
}

func (b *breaker) succeed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count, b.until = 0, time.Time{}
}

func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count >= b.failures
}
