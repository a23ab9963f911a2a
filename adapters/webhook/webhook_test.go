package webhook

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

const oldKey, newKey = "an old key of more than 24 octets", "a new key of more than 24 octets"

// receiver is the other side: it notes what it takes, and answers as it is told.
type receiver struct {
	t      *testing.T
	url    string
	file   string // with the secrets
	mu     sync.Mutex
	got    []string // webhook-id
	bodies []string
	answer func(id string) (status int, retryAfter string)
	now    time.Time
}

func open(t *testing.T, change func(*Hook)) (*receiver, *Webhook) {
	t.Helper()
	r := &receiver{t: t, now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), file: filepath.Join(t.TempDir(), "secret"), answer: func(string) (int, string) { return 204, "" }}
	r.secrets(oldKey)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	h := Hook{Name: "crm", URL: r.url + "/s3cret", Secret: r.file, Timeout: time.Minute, Attempts: 3, Private: true}
	if change != nil {
		change(&h)
	}
	h.Source.Address = func(_ context.Context, id domain.AccountID) (string, error) { return string(id) + "@example.org", nil }
	w, err := New(h, Config{Now: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return r, w
}

func (r *receiver) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *receiver) secrets(lines ...string) {
	if err := os.WriteFile(r.file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *receiver) answers(f func(id string) (int, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// verify is what a receiver with one key does.
func verify(key string, q *http.Request, body []byte) bool {
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(mac, q.Header.Get("webhook-id")+"."+q.Header.Get("webhook-timestamp")+"."+string(body))
	return slices.Contains(strings.Fields(q.Header.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	id := q.Header.Get("webhook-id")
	if err != nil || q.Method != http.MethodPost || q.URL.Path != "/s3cret" || q.Header.Get("webhook-timestamp") != "1796040000" && r.now.Minute() == 0 {
		r.t.Errorf("%s %s %v %v", q.Method, q.URL, q.Header, err)
	}
	status, after := r.answer(id)
	if status == 204 {
		if !verify(oldKey, q, body) && !verify(newKey, q, body) {
			r.t.Errorf("%s is not signed: %v", id, q.Header)
		}
		r.got, r.bodies = append(r.got, id), append(r.bodies, string(body))
	}
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	if status == 302 {
		w.Header().Set("Location", r.url+"/elsewhere")
	}
	w.WriteHeader(status)
	if status != 204 {
		_, _ = io.WriteString(w, "the receiver's words")
	}
}

func (r *receiver) took(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.got, want) {
		r.t.Errorf("the receiver took %q, want %q", r.got, want)
	}
	r.got = nil
}

func entry(tx domain.Tx, events ...event.Event) streams.Entry {
	if events == nil {
		events = []event.Event{&event.MailboxCreated{Mailbox: 2, Name: "a"}}
	}
	return streams.Entry{Account: "alice", Stream: "ACCOUNTS_0", Seq: domain.Seq(tx), Tx: tx, Transaction: &event.Transaction{At: 1, Actor: "imap:alice@example.org", Events: events}}
}

func TestEventsAreSentInOrderAndSigned(t *testing.T) {
	r, w := open(t, func(h *Hook) { h.Source.Events.Kinds = []string{"Mailbox*"} })
	two := entry(2, &event.MailboxCreated{Mailbox: 2, Name: "a"}, &event.KeywordCreated{Name: "x"}, &event.MailboxDeleted{Mailbox: 2})
	if done, err := w.handle(t.Context(), []streams.Entry{entry(1), two}); done != 2 || err != nil {
		t.Fatal(done, err)
	}
	var item feed.Item
	if err := json.Unmarshal([]byte(r.bodies[0]), &item); err != nil || item.Type != "MailboxCreated" || item.Address != "alice@example.org" || item.ID != "alice/1/0" {
		t.Errorf("%s, %v", r.bodies[0], err)
	}
	r.took("alice/1/0", "alice/2/0", "alice/2/2")

	// While secrets change, both sign; a receiver that knows one of them is content.
	r.secrets(newKey, oldKey)
	both := 0
	for _, key := range []string{oldKey, newKey} {
		keys, err := readSecrets(r.file)
		if err != nil {
			t.Fatal(err)
		}
		q := &http.Request{Header: http.Header{}}
		q.Header.Set("webhook-id", "x")
		q.Header.Set("webhook-timestamp", "1")
		q.Header.Set("webhook-signature", strings.Join(sign(keys, "x", "1", []byte("body")), " "))
		if verify(key, q, []byte("body")) && !verify(key, q, []byte("body.")) {
			both++
		}
	}
	if both != 2 {
		t.Errorf("%d of two keys verify", both)
	}
	r.secrets("whsec_" + base64.StdEncoding.EncodeToString([]byte(newKey)))
	if _, err := w.handle(t.Context(), []streams.Entry{entry(3)}); err != nil {
		t.Fatal(err)
	}
	r.took("alice/3/0")
}

// TestFailures: what is about the receiver waits, what may be about the event is tried again and then a dead letter, and what was sent is not sent again.
func TestFailures(t *testing.T) {
	r, w := open(t, nil)
	three := entry(1, &event.MailboxCreated{Mailbox: 2}, &event.MailboxCreated{Mailbox: 3}, &event.MailboxCreated{Mailbox: 4})
	for _, status := range []int{302, 400, 404, 500, 503} {
		r.answers(func(id string) (int, string) {
			if id == "alice/1/1" {
				return status, ""
			}
			return 204, ""
		})
		done, err := w.handle(t.Context(), []streams.Entry{three})
		if done != 0 || err == nil || listen.IsOutage(err) || !strings.Contains(err.Error(), http.StatusText(status)) || strings.Contains(err.Error(), "words") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%d: %d, %v", status, done, err)
		}
		if domain.KindOf(err) != domain.Unavailable { // of the others a listener makes dead letters at once
			t.Errorf("%d: no retry", status)
		}
	}
	r.took("alice/1/0") // and not once for each attempt
	r.answers(func(string) (int, string) { return 204, "" })
	if done, err := w.handle(t.Context(), []streams.Entry{three}); done != 1 || err != nil {
		t.Fatal(done, err)
	}
	r.took("alice/1/1", "alice/1/2")
	if done, err := w.handle(t.Context(), []streams.Entry{three}); done != 1 || err != nil { // a redelivery of a whole transaction sends all of it
		t.Fatal(done, err)
	}
	r.took("alice/1/0", "alice/1/1", "alice/1/2")

	// Patience is given: nothing is sent until it is over.
	for _, date := range []bool{false, true} {
		asked, after := 0, "120"
		if date {
			after = r.clock().Add(2 * time.Minute).Format(http.TimeFormat)
		}
		r.answers(func(string) (int, string) { asked++; return cmp.Or(429*(asked&1), 503), after })
		for range 3 {
			if _, err := w.handle(t.Context(), []streams.Entry{entry(2)}); !listen.IsOutage(err) {
				t.Errorf("no patience: %v", err)
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times in spite of Retry-After", asked)
		}
		r.pass(121 * time.Second)
		r.answers(func(string) (int, string) { return 204, "" })
		if _, err := w.handle(t.Context(), []streams.Entry{entry(2)}); err != nil {
			t.Error(err)
		}
		r.took("alice/2/0")
	}

	// A receiver that is gone gets nothing more, until a ping finds it back.
	asked := 0
	r.answers(func(string) (int, string) { asked++; return 410, "" })
	for range 3 {
		if _, err := w.handle(t.Context(), []streams.Entry{entry(3)}); !listen.IsOutage(err) || !strings.Contains(err.Error(), "410") {
			t.Errorf("it is not gone: %v", err)
		}
	}
	if s := w.State(); asked != 1 || !s.Gone || s.Site != r.url || s.Listener != "webhook-crm-1" || s.Secrets != 1 {
		t.Errorf("asked %d times, %+v", asked, s)
	}
	if a := w.Ping(t.Context()); a.Status != 410 || a.Problem == "" {
		t.Errorf("%+v", a)
	}
	r.answers(func(string) (int, string) { return 204, "" })
	if a := w.Ping(t.Context()); a.Status != 204 || a.Problem != "" {
		t.Errorf("%+v", a)
	}
	if _, err := w.handle(t.Context(), []streams.Entry{entry(3)}); err != nil {
		t.Error(err)
	}
}

// TestWhereAHookMayLead: neither names nor redirects lead to this machine or its neighbours, unless that is said.
func TestWhereAHookMayLead(t *testing.T) {
	r, w := open(t, func(h *Hook) { h.Private, h.URL = false, strings.Replace(h.URL, "127.0.0.1", "localhost", 1) })
	if _, err := w.handle(t.Context(), []streams.Entry{entry(1)}); !listen.IsOutage(err) || !errors.Is(err, errPrivate) {
		t.Errorf("a name of this machine: %v", err)
	}
	r.took()
	for _, a := range []string{"127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "fe80::1", "fd00::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "100.64.0.1", "224.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "255.255.255.255"} {
		if public(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for public", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not taken for public", a)
		}
	}
}

func TestTLSIsVerified(t *testing.T) {
	r, _ := open(t, nil)
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for _, c := range []struct {
		roots *x509.CertPool
		ok    bool
	}{{roots, true}, {x509.NewCertPool(), false}} {
		_, w := open(t, func(h *Hook) { h.URL, h.Roots, h.Secret = server.URL+"/s3cret", c.roots, r.file })
		if a := w.Ping(t.Context()); (a.Problem == "") != c.ok {
			t.Errorf("%+v", a)
		}
	}
}

func TestWhatIsWrongWithAHook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := func() Hook { r, _ := open(t, nil); return Hook{Name: "x", URL: r.url, Secret: r.file} }
	for want, change := range map[string]func(*Hook){
		"needs 24":          func(h *Hook) { h.Secret = file },
		"no such file":      func(h *Hook) { h.Secret += "s" },
		"its URL is none":   func(h *Hook) { h.URL = "ftp://s3cret" },
		"no event is named": func(h *Hook) { h.Source.Events.Kinds = []string{"Nothing"} },
	} {
		h := good()
		change(&h)
		if _, err := New(h, Config{}); !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", want, err)
		}
	}
}
