package hook_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/hook"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections/processing"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// server answers with each of some handlers in turn, the last one again and again.
func server(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) (url string, asked func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[min(n, len(answers)-1)]
		n++
		mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func text(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func client(t *testing.T) *hook.Client {
	c := hook.New(2, func() time.Time { return time.Unix(1000, 0) })
	t.Cleanup(c.Close)
	return c
}

func TestAHookIsAsked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var q processing.Request
		if err := json.Unmarshal(body, &q); err != nil || q.Sender != "alice@example.org" || !slices.Equal(q.Recipients, []string{"bob@example.net"}) || q.Header != "Subject: hello\r\n" {
			t.Errorf("%s, %v", body, err)
		}
		if got, want := r.Header.Get(hook.HeaderSignature), hook.Sign([]byte("0123456789abcdef"), time.Unix(1000, 0), body); got != want || !strings.HasPrefix(got, "t=1000,v1=") || len(got) != 74 {
			t.Errorf("signed with %s", got)
		}
		if r.Header.Get(hook.HeaderKey) != "k-1" || r.Method != http.MethodPost {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		text(`{"action":"park","repository":"virus","cause":"eicar","header":[{"name":"X-A","value":"b"}],"attributes":{"seen":"1"}}`)(w, r)
	})
	reply, err := client(t).Ask(t.Context(), processing.Destination{URL: url, Timeout: time.Minute, Secret: file}, &processing.Request{
		Key: "k-1", Sender: "alice@example.org", Recipients: []string{"bob@example.net"}, Header: "Subject: hello\r\n",
	})
	if err != nil || reply.Action != "park" || reply.Repository != "virus" || reply.Header[0].Value != "b" || reply.Attributes["seen"] != "1" {
		t.Errorf("%+v, %v", reply, err)
	}
}

func TestWhatAHookMayAnswer(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []func(http.ResponseWriter, *http.Request)
		asked   int
		kind    domain.Kind
		ok      bool
	}{
		{"nothing", []func(http.ResponseWriter, *http.Request){status(204)}, 1, 0, true},
		{"an empty body", []func(http.ResponseWriter, *http.Request){status(200)}, 1, domain.Invalid, false},
		{"null", []func(http.ResponseWriter, *http.Request){text("null")}, 1, domain.Invalid, false},
		{"a list", []func(http.ResponseWriter, *http.Request){text("[]")}, 1, domain.Invalid, false},
		{"half an object", []func(http.ResponseWriter, *http.Request){text(`{"action":"drop"`)}, 1, domain.Invalid, false},
		{"two objects", []func(http.ResponseWriter, *http.Request){text(`{} {"action":"drop"}`)}, 1, domain.Invalid, false},
		{"an object and more", []func(http.ResponseWriter, *http.Request){text("{}}")}, 1, domain.Invalid, false},
		{"an object between spaces", []func(http.ResponseWriter, *http.Request){text(" \r\n{}\n")}, 1, 0, true},
		{"late", []func(http.ResponseWriter, *http.Request){status(503), status(429), text("{}")}, 3, 0, true},
		{"never", []func(http.ResponseWriter, *http.Request){status(500)}, 3, domain.Unavailable, false},
		{"no", []func(http.ResponseWriter, *http.Request){status(404)}, 1, domain.Unavailable, false},
		{"elsewhere", []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }}, 1, domain.Unavailable, false},
		{"another language", []func(http.ResponseWriter, *http.Request){text("<html>")}, 1, domain.Invalid, false},
		{"unknown words", []func(http.ResponseWriter, *http.Request){text(`{"akshun":"park"}`)}, 1, domain.Invalid, false},
		{"too much", []func(http.ResponseWriter, *http.Request){text(`{"text":"` + strings.Repeat("a", 1<<20) + `"}`)}, 1, domain.Invalid, false},
	} {
		url, asked := server(t, c.answers...)
		_, err := client(t).Ask(t.Context(), processing.Destination{URL: url, Timeout: time.Minute, Retries: 2}, &processing.Request{})
		if (err == nil) != c.ok || err != nil && !domain.Is(err, c.kind) || asked() != c.asked {
			t.Errorf("%s: %v after %d questions", c.name, err, asked())
		}
	}
}

func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, file + ".none"} {
		if _, err := hook.ReadSecret(f); !domain.Is(err, domain.Invalid) {
			t.Errorf("%s: %v", f, err)
		}
	}
}
