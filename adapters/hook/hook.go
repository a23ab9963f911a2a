// Package hook asks HTTP hooks of the pipeline what shall become of a message: one POST of JSON, signed if there is a secret, and an answer of JSON (projections/processing).
//
// Invariants:
//   - Any answer but 200 is a failure; 429 and 5xx, and what does not answer, are tried again as often as the step says.
//   - Nothing of an answer is believed beyond maxReply octets, and no redirect is followed: what is signed for one place is not sent to another.
package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/processing"
)

// Bounds of an answer, and of the key of a secret.
const (
	maxReply  = 1 << 20
	maxSecret = 4 << 10
	minSecret = 16
	pause     = 200 * time.Millisecond // before the first repetition, doubled each time
)

// The headers of a request. The signature is "t=" and the Unix time, a comma, "v1=" and the hexadecimal HMAC-SHA256 of the time, a full stop and the body.
const (
	HeaderSignature = "Streampost-Signature"
	HeaderKey       = "Idempotency-Key"
)

// Client asks hooks. It is safe for concurrent use.
type Client struct {
	http *http.Client
	now  func() time.Time
}

// New makes a Client with as many connections to a host at a time. now is the clock; nil means time.Now.
func New(connections int, now func() time.Time) *Client {
	if now == nil {
		now = time.Now
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost, transport.Proxy = connections, connections, nil
	return &Client{&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, now}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask sends a request and gives the answer. Errors: domain.Unavailable when there was none, domain.Invalid when it cannot be understood or the secret cannot be read.
func (c *Client) Ask(ctx context.Context, to processing.Destination, r *processing.Request) (*processing.Reply, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "write a request")
	}
	key, err := ReadSecret(to.Secret)
	if err != nil {
		return nil, err
	}
	wait := pause
	for try := 0; ; try++ {
		reply, again, err := c.once(ctx, to, r.Key, body, key)
		if err == nil || !again || try >= to.Retries || ctx.Err() != nil {
			return reply, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
		wait *= 2
	}
}

// ReadSecret reads the key from a file; none for no file. Errors: domain.Invalid.
func ReadSecret(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "read the secret of a hook")
	}
	if key = bytes.TrimSpace(key); len(key) < minSecret || len(key) > maxSecret {
		return nil, domain.Errorf(domain.Invalid, "the secret in %s has %d octets: %d to %d are wanted", file, len(key), minSecret, maxSecret)
	}
	return key, nil
}

func (c *Client) once(ctx context.Context, to processing.Destination, id string, body, key []byte) (reply *processing.Reply, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, to.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return nil, false, domain.Wrap(domain.Invalid, err, "ask a hook")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "Streampost")
	req.Header.Set(HeaderKey, id)
	if key != nil {
		req.Header.Set(HeaderSignature, Sign(key, c.now(), body))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, true, domain.Wrap(domain.Unavailable, err, "ask a hook")
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, true, domain.Wrap(domain.Unavailable, err, "read the answer of a hook")
	case resp.StatusCode == http.StatusNoContent:
		return &processing.Reply{}, false, nil
	case resp.StatusCode != http.StatusOK:
		later := resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
		return nil, later, domain.Errorf(domain.Unavailable, "the hook %s answers %s", to.URL, resp.Status)
	case len(text) > maxReply:
		return nil, false, domain.Errorf(domain.Invalid, "the hook %s answers with more than %d octets", to.URL, maxReply)
	}
	if reply, err = parse(text); err != nil {
		return nil, false, domain.Wrap(domain.Invalid, err, fmt.Sprintf("the hook %s answers what is not understood", to.URL))
	}
	return reply, false, nil
}

// parse reads exactly one JSON object: what was cut off, or is followed by anything, must not pass for the consent that the empty object is.
func parse(text []byte) (*processing.Reply, error) {
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) { // The white space of RFC 8259 section 2.
		return nil, errors.New("it is no JSON object")
	}
	reply := new(processing.Reply)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(reply); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return reply, nil
}

// Sign makes the value of HeaderSignature.
func Sign(key []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
