package metrics_test

import (
	"net/http/httptest"
	"os"
	"regexp"
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
	m.Restored(1)
	m.Purged(2)
	m.Noticed("mail", true)
	m.Collected(3, 4)
	m.BlobsLost(0, 1)
	m.TaskEnded("log-verify", "completed", time.Second)
	m.SnapshotMade(5, time.Second, true)
	m.Promoted("operator", "promoted")
	m.Attempted("relayed", time.Second)
	m.Reported("failed")
	m.Undeliverable()
	m.Looped("servers")
	m.OutboundConnected(true)
	m.OutboundReused()
	m.OutboundFailed()
	m.PolicyLookedFor("fetched")
	m.Secured("sts", "successful")
	m.TLSReport("mailed")
	m.Verified("spf", "pass")
	m.Decided("accept")
	m.Signed("signed")
	m.Listed("bl.example", "clear")
	m.Named("reverse", "pass")
	m.Gated("list")
	m.Filtered("rspamd", "accept", time.Second)
	m.Greylisted("waiting")
	m.Warned(90)
	m.Posted("crm", "sent", time.Second)
	m.Learnt("spam", "learnt")
	m.Exported(2)
	m.Published()
	m.Sieve("filed", 3, time.Second)
	m.Processed("park")
	m.StepCalled("scan", "answered", time.Second)
	m.Scrape(func() []metrics.Sample {
		return slices.Concat([]metrics.Sample{metrics.LogHead("DIRECTORY", 7), metrics.Nodes(3), metrics.Repairs(1, 2)[0], metrics.DiskFree(1), metrics.TasksOpen("log-verify", "waiting", 1)}, metrics.Copy("DIRECTORY", 0, true, false, false, true), metrics.Replicas(1, 2), metrics.Lag("mailboxes", "ACCOUNTS_0", 2, 0.5, true), metrics.Door(1, 2, 3, 4, 5, 8, 6, 7), metrics.Order(1, 2), metrics.Audit(1, time.Unix(1, 0)), metrics.Blobs(1, 2, 3, 4, 5), metrics.BlobCache(1, 2, 3, 4, 5, 6), metrics.S3(1, 2, 3), metrics.Search(1, 2, 3, 4, 5, 6), metrics.Hydrations(1, 2), metrics.ArchiveLag("DIRECTORY", 1, 2), metrics.Archive(1, 2, 3, 4, 5, 6),
			metrics.Queue("outgoing", 4, 1, 1, 2, 1, 100, time.Second, true), []metrics.Sample{metrics.QueueBytes("outgoing", 6), metrics.TraceDropped(1), metrics.OutboundResting(1)}, metrics.Parked("error", 1, 2, time.Second), metrics.Spool(1, time.Second),
			metrics.Views(1, time.Millisecond, 2, 0, 3), metrics.Counts(2, 0, 3), []metrics.Sample{metrics.ViewBytes("mailboxes", "ACCOUNTS_0", 8), metrics.Generations("mailboxes", "ACCOUNTS_0", "live", 1)},
			metrics.Listener("opensearch-1", 1, 2, 3, 4, true), []metrics.Sample{metrics.DeadLetters("opensearch-1", 5)}, metrics.OpenSearch(1, 2, 3, 4, 5, 6), metrics.Extracts(1, 2, 3, 4, 5, 6, 7, true), metrics.Logins(1, 2, 3, 4, 5, 6, 7, 8, 9), metrics.Issuer(1, 2), metrics.Failover(true, time.Second, 1), metrics.Suspicion("mail1", "live", 0.5))
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

// Every metric that has a name is in the list of all, which the documentation and the scraper go by.
func TestAllNamesAreListed(t *testing.T) {
	source, err := os.ReadFile("names.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, d := range metrics.All() {
		listed[d.Name] = true
	}
	names := regexp.MustCompile(`Desc\{"(streampost_\w+)"`).FindAllSubmatch(source, -1)
	for _, name := range names {
		if !listed[string(name[1])] {
			t.Errorf("%s is not in All", name[1])
		}
	}
	if len(names) != len(listed) {
		t.Errorf("%d names and %d in All", len(names), len(listed))
	}
}
