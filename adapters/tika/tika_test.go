package tika_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/tika"
	"github.com/streampost/streampost/adapters/tika/tikatest"
	"github.com/streampost/streampost/domain"
)

func client(t *testing.T, url string, limit time.Duration) *tika.Client {
	c, err := tika.New(tika.Config{URL: url, Time: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func extract(t *testing.T, c *tika.Client, mediaType, name, content string, most int64) (string, bool, error) {
	t.Helper()
	return c.Extract(t.Context(), mediaType, name, strings.NewReader(content), most)
}

// A file goes to the server with its type and name, whatever its name is made of.
func TestExtract(t *testing.T) {
	s := tikatest.New(t)
	c := client(t, s.URL+"/", 0)
	for _, name := range []string{"plan.pdf", `Übersicht "2026".pdf`, "", "a\r\nX-Evil: 1.pdf"} {
		text, more, err := extract(t, c, "application/pdf", name, "TEXT:quarterly figures", 1000)
		if err != nil || more || strings.TrimSpace(text) != "quarterly figures" {
			t.Errorf("%q: %q, %v, %v", name, text, more, err)
		}
		files := s.Files()
		if got := files[len(files)-1]; got != (tikatest.File{Type: "application/pdf", Name: name, Content: "TEXT:quarterly figures"}) {
			t.Errorf("the server got %+v", got)
		}
	}
	if text, _, err := extract(t, c, "application/pdf", "", "TEXT:", 1000); text != "" || err != nil {
		t.Errorf("an empty file: %q, %v", text, err)
	}
}

// It is told apart whose fault a failure is: the file's, nobody knows, or the server's.
func TestFaults(t *testing.T) {
	s := tikatest.New(t)
	c := client(t, s.URL, 0)
	for _, test := range []struct {
		fault func(http.ResponseWriter, *http.Request) bool
		want  domain.Kind
	}{
		{tikatest.Status(415), domain.Invalid},
		{tikatest.Status(422), domain.Invalid},
		{tikatest.Status(413), domain.TooLarge},
		{tikatest.Status(500), domain.Internal},
		{tikatest.Status(503), domain.Unavailable},
		{tikatest.Status(429), domain.Unavailable},
		{tikatest.Status(401), domain.Unavailable},
		{tikatest.Status(404), domain.Unavailable},
		{func(w http.ResponseWriter, _ *http.Request) bool { // another service, or a page that asks to log in
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<h1>Welcome")
			return true
		}, domain.Unavailable},
		{func(w http.ResponseWriter, _ *http.Request) bool { // a file at which it falls over
			panic(http.ErrAbortHandler)
		}, domain.Internal},
		{func(w http.ResponseWriter, _ *http.Request) bool { // the same in the middle of its answer
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "beginning")
			return true
		}, domain.Internal},
	} {
		s.Fault(test.fault)
		text, _, err := extract(t, c, "application/pdf", "a.pdf", "TEXT:x", 1000)
		if !domain.Is(err, test.want) || text != "" {
			t.Errorf("want %v, got %v with %q", test.want, err, text)
		}
	}
	s.Fault(nil)
	if _, _, err := extract(t, c, "application/pdf", "a.pdf", "damaged", 1000); !domain.Is(err, domain.Invalid) {
		t.Errorf("a damaged file: %v", err)
	}
	if _, _, err := extract(t, c, "application/pdf", "a.pdf", "TEXT:x", 1000); err != nil {
		t.Errorf("the server is well again: %v", err)
	}
}

// A server that is not there is away; that one hangs may be the file's fault; being stopped is nobody's.
func TestNoAnswer(t *testing.T) {
	s := tikatest.New(t)
	s.Fault(tikatest.Hang)
	if _, _, err := extract(t, client(t, s.URL, time.Second), "application/pdf", "", "TEXT:x", 10); !domain.Is(err, domain.Internal) {
		t.Errorf("it hangs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool { cancel(); return tikatest.Hang(w, r) })
	if _, _, err := client(t, s.URL, time.Minute).Extract(ctx, "application/pdf", "", strings.NewReader("TEXT:x"), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("it was stopped: %v", err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if _, _, err := extract(t, client(t, gone.URL, 0), "application/pdf", "", "TEXT:x", 10); !domain.Is(err, domain.Unavailable) {
		t.Errorf("it is not there: %v", err)
	}
	strange := httptest.NewTLSServer(s)
	defer strange.Close()
	if _, _, err := extract(t, client(t, strange.URL, 0), "application/pdf", "", "TEXT:x", 10); !domain.Is(err, domain.Unavailable) {
		t.Errorf("nobody knows who signed its certificate: %v", err)
	}
	for _, url := range []string{"", "tika:9998", "ftp://tika", "http://"} {
		if _, err := tika.New(tika.Config{URL: url}); !domain.Is(err, domain.Invalid) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// Of an endless answer as much is read as is wanted, and content goes nowhere else when the server says so.
func TestBounded(t *testing.T) {
	s := tikatest.New(t)
	c := client(t, s.URL, 0)
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "text/plain")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, "babble "); err != nil {
				break
			}
		}
		return true
	})
	if text, more, err := extract(t, c, "application/pdf", "", "TEXT:x", 10); text != "babble bab" || !more || err != nil {
		t.Errorf("%q, %v, %v", text, more, err)
	}
	elsewhere := tikatest.New(t)
	s.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, elsewhere.URL+"/tika", http.StatusTemporaryRedirect)
		return true
	})
	if _, _, err := extract(t, c, "application/pdf", "", "TEXT:x", 10); !domain.Is(err, domain.Unavailable) || len(elsewhere.Files()) > 0 {
		t.Errorf("redirected: %v, %v", err, elsewhere.Files())
	}
}
