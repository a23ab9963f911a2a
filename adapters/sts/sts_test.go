package sts_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/dns"
	"github.com/streampost/streampost/adapters/dns/dnstest"
	"github.com/streampost/streampost/adapters/sts"
	"github.com/streampost/streampost/domain/tlsrpt"
	"github.com/streampost/streampost/integration/leaks"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// world is DNS, a web server for example.com and a clock.
type world struct {
	t     *testing.T
	names *dnstest.Server
	web   *httptest.Server
	roots *x509.CertPool

	mu      sync.Mutex
	now     time.Time
	serve   http.HandlerFunc
	fetched int
	dialled []string
	kept    []byte
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, names: dnstest.Start(t, "mta-sts.example.com. A 192.0.2.7"), now: time.Unix(1e9, 0), roots: x509.NewCertPool()}
	w.web = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.fetched++
		serve := w.serve
		w.mu.Unlock()
		serve(rw, r)
	}))
	w.web.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.web.StartTLS()
	t.Cleanup(w.web.Close)
	w.roots.AddCert(w.web.Certificate())
	return w
}

func (w *world) cache(change ...func(*sts.Config)) *sts.Cache {
	w.t.Helper()
	resolver, err := dns.New(dns.Config{Servers: []string{w.names.Addr}, Timeout: time.Minute})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := sts.Config{
		Resolver: resolver, Roots: w.roots, Clock: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			w.mu.Lock()
			w.dialled = append(w.dialled, address)
			w.mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, w.web.Listener.Addr().String())
		},
		Load: func() ([]byte, error) { return w.kept, nil }, Save: func(b []byte) error { w.kept = b; return nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := sts.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// policy has the web server give one from now on.
func (w *world) policy(text string) {
	w.answer(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(rw, text)
	})
}

func (w *world) answer(f http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve = f
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// record has DNS name an id from now on.
func (w *world) record(id string) {
	w.names.Remove("_mta-sts.example.com")
	if id != "" {
		w.names.TXT("_mta-sts.example.com", "v=STSv1; id="+id)
	}
}

// says checks what a cache says, and how often the web server was asked.
func (w *world) says(c *sts.Cache, what, want string, fetched int) {
	w.t.Helper()
	p, err := c.Policy(w.t.Context(), "example.com")
	got := "none"
	if p != nil {
		got = fmt.Sprint(p.Mode, " ", p.MX)
	}
	var problem *tlsrpt.Problem
	if errors.As(err, &problem) {
		got += " " + string(problem.Type)
	} else if err != nil {
		got += " error"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got != want || w.fetched != fetched {
		w.t.Errorf("%s: %s after %d fetches, want %s after %d (%v)", what, got, w.fetched, want, fetched, err)
	}
}

const (
	enforced = "version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 604800\n"
	tested   = "version: STSv1\nmode: testing\nmx: *.example.com\nmax_age: 604800\n"
)

func TestAPolicyIsFetchedOnceAndHolds(t *testing.T) {
	w := newWorld(t)
	c := w.cache()
	w.policy(enforced)
	w.says(c, "without a record", "none", 0)
	w.record("1")
	w.says(c, "soon after", "none", 0)
	w.later(10 * time.Minute)
	w.says(c, "the record is looked at again", "enforce [mx.example.com]", 1)
	if w.dialled[0] != "192.0.2.7:443" {
		t.Error(w.dialled)
	}
	w.says(c, "it is known", "enforce [mx.example.com]", 1)
	w.later(time.Hour)
	w.says(c, "with the same id", "enforce [mx.example.com]", 1)
	w.policy(tested)
	w.record("2")
	w.says(c, "a new id is not seen at once", "enforce [mx.example.com]", 1)
	w.later(time.Hour)
	w.says(c, "a new id", "testing [*.example.com]", 2)
	w.later(24 * time.Hour)
	w.says(c, "the same id a day later", "testing [*.example.com]", 3)
	w.record("")
	w.later(time.Hour)
	w.says(c, "the record is gone", "testing [*.example.com]", 3)
	w.names.Let("_mta-sts.example.com", dnstest.ServFail)
	w.later(time.Hour)
	w.says(c, "DNS cannot tell", "testing [*.example.com] error", 3)
	w.later(7 * 24 * time.Hour)
	w.says(c, "its time has run out", "none error", 3)
}

// TestAFailureReplacesNothing: a policy holds on while the web server has none that can be taken, and nobody learns one from it.
func TestAFailureReplacesNothing(t *testing.T) {
	w := newWorld(t)
	known := w.cache()
	w.policy(enforced)
	w.record("1")
	w.says(known, "at first", "enforce [mx.example.com]", 1)
	fetched := 1
	for what, c := range map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"not found": {http.NotFound, "sts-policy-fetch-error"},
		"elsewhere": {func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/elsewhere", http.StatusFound) }, "sts-policy-fetch-error"},
		"nothing":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "sts-policy-fetch-error"},
		"another type": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(rw, tested)
		}, "sts-policy-invalid"},
		"no policy": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(rw, "hello")
		}, "sts-policy-invalid"},
		"without an end": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(rw, tested+strings.Repeat("\n", 70_000))
		}, "sts-policy-invalid"},
		"another's policy": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(rw, "version: STSv1\nmode: enforce\nmax_age: 9")
		}, "sts-policy-invalid"},
	} {
		w.answer(c.serve)
		w.later(11 * time.Minute)
		w.record(fmt.Sprint(fetched + 1))
		fetched++
		w.says(known, what, "enforce [mx.example.com] "+c.want, fetched)
		fetched++
		w.says(w.cache(func(cfg *sts.Config) { cfg.Load = nil }), what+", at the first contact", "none "+c.want, fetched)
	}
	w.policy(tested)
	w.says(w.cache(func(c *sts.Config) { c.Roots = x509.NewCertPool(); c.Load = nil }), "a certificate that nobody trusts", "none sts-webpki-invalid", fetched)
	w.names.Remove("mta-sts.example.com")
	w.names.Add(t, "mta-sts.example.com. A 127.0.0.1")
	before := len(w.dialled)
	w.says(w.cache(func(c *sts.Config) { c.Load = nil }), "a web server that says it is this machine", "none sts-policy-fetch-error", fetched)
	if len(w.dialled) != before {
		t.Error("it was asked")
	}
	w.names.Let("mta-sts.example.com", dnstest.ServFail)
	w.says(w.cache(func(c *sts.Config) { c.Load = nil }), "a web server without address", "none sts-policy-fetch-error", fetched)
	w.names.TXT("_mta-sts.example.com", "x")
	w.names.Remove("_mta-sts.example.com")
	w.names.TXT("_mta-sts.example.com", "v=STSv1; id=-")
	w.says(w.cache(func(c *sts.Config) { c.Load = nil }), "a record without id", "none sts-policy-invalid", fetched)
}

// TestPoliciesAreKept by the node, and fetched again before their time runs out, if somebody uses them.
func TestPoliciesAreKept(t *testing.T) {
	w := newWorld(t)
	c := w.cache()
	w.policy(enforced)
	w.record("1")
	w.says(c, "at first", "enforce [mx.example.com]", 1)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.names.Let("_mta-sts.example.com", dnstest.Refused)
	c = w.cache()
	w.says(c, "after a restart", "enforce [mx.example.com] error", 1)
	w.names.Let("_mta-sts.example.com", dnstest.Honest)
	w.later(25 * time.Hour)
	c.Refresh(t.Context())
	w.says(c, "a day later", "enforce [mx.example.com]", 2)
	w.later(31 * 24 * time.Hour)
	c.Refresh(t.Context())
	w.kept = []byte("{")
	w.says(w.cache(), "nobody has used it, and the file is damaged", "enforce [mx.example.com]", 3)
}

// TestWhatIsKnownIsBounded: what holds is not pushed out by others.
func TestWhatIsKnownIsBounded(t *testing.T) {
	w := newWorld(t)
	c := w.cache(func(c *sts.Config) { c.Limits.Domains = 3 })
	w.policy(enforced)
	w.record("1")
	w.says(c, "at first", "enforce [mx.example.com]", 1)
	for n := range 10 {
		if p, err := c.Policy(t.Context(), fmt.Sprintf("d%d.example.net", n)); p != nil || err != nil {
			t.Error(p, err)
		}
	}
	w.says(c, "it is known", "enforce [mx.example.com]", 1)
}

// TestManyAskAtOnce: the web server is asked once.
func TestManyAskAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.cache()
	w.policy(enforced)
	w.record("1")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if p, err := c.Policy(t.Context(), "example.com"); p == nil || err != nil {
				t.Error(p, err)
			}
		})
	}
	all.Wait()
	w.says(c, "afterwards", "enforce [mx.example.com]", 1)
}

func TestReportsArePosted(t *testing.T) {
	w := newWorld(t)
	c := w.cache()
	var got string
	w.answer(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
		rw.WriteHeader(http.StatusCreated)
	})
	if err := c.Post(t.Context(), "https://mta-sts.example.com/v1/tls", []byte("packed")); err != nil || got != "POST /v1/tls application/tlsrpt+gzip packed" {
		t.Error(got, err)
	}
	w.answer(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	for _, url := range []string{"https://mta-sts.example.com/", "https://nowhere.example.com/", "http://mta-sts.example.com/", "https://user@mta-sts.example.com/", "https:// /", "https://127.0.0.1/", "https://[::1]/"} {
		if err := c.Post(t.Context(), url, nil); err == nil {
			t.Errorf("%s takes it", url)
		}
	}
	if w.fetched != 2 {
		t.Errorf("the web server was asked %d times", w.fetched)
	}
}
