package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/listen"
)

// The headers of a request, as the Standard Webhooks specification names them.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

func (w *Webhook) client() *http.Client {
	dialer := &net.Dialer{Timeout: w.hook.Timeout, KeepAlive: time.Minute}
	if !w.hook.Private {
		dialer.Control = refusePrivate // after the name was looked up, so that no name leads around it
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: idle,
			TLSHandshakeTimeout: w.hook.Timeout, MaxResponseHeaderBytes: maxAnswer, TLSClientConfig: &tls.Config{RootCAs: w.hook.Roots, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errPrivate says that a URL leads where it may not.
var errPrivate = &domain.Error{
	Kind: domain.Denied, Msg: "the URL leads to an address of this machine or of a private network",
	Hint: "if that is meant, add the word private to the webhook",
}

// special are networks beside those that netip knows which no public server is in: RFC 6890 and its successors in the registry of IANA, and prefixes in which an
// address of IPv4 is hidden (RFC 6052, RFC 3056, RFC 4380).
var special = func() (all []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}()

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() { // Global unicast is neither loopback, link-local, multicast nor unspecified.
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

func refusePrivate(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !public(at.Addr()) {
		return errPrivate
	}
	return nil
}

// ready says why the receiver gets nothing now; nil when it does.
func (w *Webhook) ready() error {
	if w.gone.Load() {
		return listen.Outage(&domain.Error{
			Kind: domain.Denied, Msg: "webhook " + w.hook.Name + ": the receiver says that it is gone (410)",
			Hint: "take the hook out of the configuration, or mend the receiver and run streampost webhook test " + w.hook.Name,
		})
	}
	if until := time.Unix(0, w.until.Load()); w.cfg.Now().Before(until) {
		return listen.Outage(domain.Errorf(domain.Unavailable, "webhook %s: the receiver wants nothing before %s", w.hook.Name, until.UTC().Format(time.RFC3339)))
	}
	return nil
}

// refused is an answer that is no success.
type refused struct {
	status     int
	retryAfter string
}

func (r *refused) Error() string {
	return fmt.Sprintf("the receiver answers %d %s", r.status, http.StatusText(r.status))
}

// post sends an event and says what its failure means: those of listen.Outage are about the receiver as a whole.
func (w *Webhook) post(ctx context.Context, id string, body []byte) error {
	began := w.cfg.Now()
	_, err := w.once(ctx, id, body)
	outcome := "sent"
	var r *refused
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errPrivate) || domain.Is(err, domain.Invalid): // of the configuration: events have no part in it
		outcome, err = "failed", listen.Outage(err)
	case !errors.As(err, &r):
		outcome = "failed"
	case r.status == http.StatusGone:
		w.gone.Store(true)
		outcome, err = "gone", w.ready()
		w.cfg.Logger.Warn("a webhook's receiver is gone: nothing more is sent to it", "webhook", w.hook.Name, "site", w.site)
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
		outcome = "refused"
		if wait := patience(r.retryAfter, w.cfg.Now()); wait > 0 {
			w.until.Store(w.cfg.Now().Add(wait).UnixNano())
			outcome, err = "patience", w.ready()
		}
	default:
		outcome = "refused"
	}
	w.cfg.Count(w.hook.Name, outcome, w.cfg.Now().Sub(began))
	return err
}

// patience reads Retry-After (RFC 9110 section 10.2.3); 0 for none.
func patience(text string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxPatience)
}

// once sends one request. Errors: *refused, errPrivate, domain.Invalid for secrets that cannot be read, domain.Unavailable when there is no answer.
func (w *Webhook) once(ctx context.Context, id string, body []byte) (status int, err error) {
	keys, err := readSecrets(w.hook.Secret)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, w.hook.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.hook.URL, bytes.NewReader(body))
	if err != nil {
		return 0, domain.Errorf(domain.Invalid, "webhook %s: its URL is none", w.hook.Name)
	}
	at := strconv.FormatInt(w.cfg.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Streampost")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderTimestamp, at)
	req.Header.Set(HeaderSignature, strings.Join(sign(keys, id, at, body), " "))
	resp, err := w.http.Do(req)
	if err != nil {
		if errors.Is(err, errPrivate) {
			return 0, errPrivate
		}
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // without the URL
		}
		return 0, domain.Wrap(domain.Unavailable, err, "webhook "+w.hook.Name+": send to "+w.site)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, domain.Wrap(domain.Unavailable, &refused{resp.StatusCode, resp.Header.Get("Retry-After")}, "webhook "+w.hook.Name)
	}
	return resp.StatusCode, nil
}
