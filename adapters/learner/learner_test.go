package learner

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/learning"
	"github.com/streampost/streampost/streams/listen"
)

const message = "Subject: x\r\n\r\nBuy now.\r\n"

// controller answers as rspamd's does: 208 (404 in newer versions) for what it has learnt, 204 for what it does not want, 403 for a wrong password.
type controller struct {
	learnt map[string]bool
	status int // of the next answers, if not 0
	seen   string
}

func (c *controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.seen = fmt.Sprintf("%s %s %d %s %s", r.Method, r.URL.Path, r.ContentLength, r.Header.Get("Content-Type"), r.Header.Get("Deliver-To"))
	what := strings.TrimPrefix(r.URL.Path, "/learn")
	switch {
	case r.Header.Get("Password") != "q1":
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error":"Unauthorized"}`)
	case c.status == http.StatusNoContent:
		w.WriteHeader(c.status)
	case c.status != 0 && c.status != http.StatusNotFound:
		w.WriteHeader(c.status)
		_, _ = io.WriteString(w, `{"error":"secret words"}`)
	case c.learnt[what+string(body)]:
		w.WriteHeader(max(c.status, http.StatusAlreadyReported))
		_, _ = fmt.Fprintf(w, `{"error":"<id@example.org> has been already learned as %s, ignore it"}`, what)
	default:
		c.learnt[what+string(body)] = true
		_, _ = io.WriteString(w, `{"success":true}`)
	}
}

func TestRspamd(t *testing.T) {
	double := &controller{learnt: map[string]bool{}}
	server := httptest.NewServer(double)
	defer server.Close()
	c := New(Config{URL: server.URL + "/", Rspamd: true, Password: "q1", Time: time.Minute})
	defer c.Close()
	learn := func(v learning.Verdict) (bool, error) {
		return c.Learn(t.Context(), v, "alice@example.org", strings.NewReader(message), int64(len(message)))
	}
	if known, err := learn(learning.Spam); known || err != nil {
		t.Errorf("%v, %v", known, err)
	}
	if double.seen != "POST /learnspam 24 message/rfc822 alice@example.org" {
		t.Error(double.seen)
	}
	for _, status := range []int{0, http.StatusNotFound} {
		double.status = status
		if known, err := learn(learning.Spam); !known || err != nil {
			t.Errorf("a second time: %v, %v", known, err)
		}
	}
	double.status = 0
	if known, err := learn(learning.Ham); known || err != nil || !strings.HasPrefix(double.seen, "POST /learnham ") {
		t.Errorf("%v, %v, %s", known, err, double.seen)
	}
	double.status = http.StatusNoContent
	if known, err := learn(learning.Ham); !known || err != nil {
		t.Errorf("what it does not want: %v, %v", known, err)
	}
	double.status = http.StatusInternalServerError
	if _, err := learn(learning.Ham); err == nil || listen.IsOutage(err) || !strings.Contains(err.Error(), "500") || strings.Contains(err.Error(), "words") {
		t.Errorf("a failure: %v", err)
	}
	double.status = http.StatusRequestEntityTooLarge
	if _, err := learn(learning.Ham); !domain.Is(err, domain.TooLarge) {
		t.Errorf("too large: %v", err)
	}
	c.cfg.Password = "q2"
	if _, err := learn(learning.Ham); !listen.IsOutage(err) || !domain.Is(err, domain.Denied) {
		t.Errorf("a wrong password: %v", err)
	}
	server.Close()
	if _, err := learn(learning.Ham); !listen.IsOutage(err) || strings.Contains(err.Error(), "learnham") {
		t.Errorf("it is away: %v", err)
	}
}

func TestAnyOtherFilter(t *testing.T) {
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = r.Method + " " + r.URL.Path + " " + r.Header.Get("Streampost-Learn") + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Streampost-Account") + " " + string(body)
		if r.URL.Path != "/x" {
			http.Redirect(w, r, "/x", http.StatusFound)
		}
	}))
	defer server.Close()
	c := New(Config{URL: server.URL + "/x", Password: "token", Time: time.Minute})
	if _, err := c.Learn(t.Context(), learning.Spam, "alice@example.org", strings.NewReader(message), int64(len(message))); err != nil || seen != "POST /x spam Bearer token alice@example.org "+message {
		t.Errorf("%q, %v", seen, err)
	}
	c.cfg.URL = server.URL + "/y"
	if _, err := c.Learn(t.Context(), learning.Spam, "alice@example.org", strings.NewReader(message), int64(len(message))); err == nil {
		t.Error("a redirect was followed")
	}
}
