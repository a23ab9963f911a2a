package metrics_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/ops/metrics"
)

// Every metric of the list can be produced, and nothing else of ours is.
func TestAllMetricsAreServed(t *testing.T) {
	m := metrics.New()
	p := m.Protocol("imap")
	p.Connected()
	p.Connected()
	p.Disconnected()
	p.Refused()
	p.LoggedIn(false)
	p.Answered("SELECT", "OK", time.Millisecond)
	p.Answer(550)
	p.Delivered(2, 10, time.Millisecond)
	m.Round("ACCOUNTS_0", 3, 1, time.Millisecond, time.Millisecond)
	m.Scrape(func() []metrics.Sample {
		return slices.Concat([]metrics.Sample{metrics.LogHead("DIRECTORY", 7), metrics.DiskFree(1)}, metrics.Lag("mailboxes", "ACCOUNTS_0", 2, 0.5, true), metrics.Door(1, 2, 3, 4, 5, 6, 7))
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body := w.Body.String()
	listed := map[string]bool{}
	for _, d := range metrics.All() {
		listed[d.Name] = true
		if !strings.Contains(body, "# TYPE "+d.Name+" "+d.Kind+"\n") {
			t.Errorf("%s is not served as a %s", d.Name, d.Kind)
		}
	}
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE streampost_"); ok && !listed["streampost_"+strings.Fields(name)[0]] {
			t.Errorf("not listed: %s", line)
		}
	}
	if !strings.Contains(body, `streampost_connections{protocol="imap"} 1`) || !strings.Contains(body, `streampost_log_appends_total{stream="ACCOUNTS_0"} 3`) {
		t.Error(body)
	}
}
