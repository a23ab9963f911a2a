package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/smtp"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/opensearch/opensearchtest"
)

// searchServer is a demo server with an index in a cluster.
func searchServer(t *testing.T, url string) *server {
	need(t, "curl")
	s := demoServer(t)
	s.kill(syscall.SIGTERM)
	s.env = []string{"STREAMPOST_SEARCH_OPENSEARCH_URL=" + url, fmt.Sprintf("STREAMPOST_SEARCH_OPENSEARCH_PREFIX=t%d", time.Now().UnixNano()), "STREAMPOST_SEARCH_OPENSEARCH_REPLICAS=0"}
	s.start("")
	return s
}

func (s *server) send(subject, body string) {
	s.t.Helper()
	s.sendText("From: carol@example.net\r\nTo: alice@example.org\r\nSubject: " + subject + "\r\n\r\n" + body + "\r\n")
}

// sendText delivers a message to alice.
func (s *server) sendText(text string) {
	s.t.Helper()
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	c, err := smtp.Dial(s.addr(1025))
	must(err)
	defer c.Close()
	must(c.Mail("carol@example.net"))
	must(c.Rcpt("alice@example.org"))
	w, err := c.Data()
	must(err)
	_, err = io.WriteString(w, text)
	must(err)
	must(w.Close())
}

// finds counts the messages that alice's client finds.
func (s *server) finds(t *testing.T, key string) int {
	found := client(t, "", "curl", "-sS", "imap://"+s.addr(1143)+"/INBOX", "-u", "alice@example.org:"+password, "-X", "UID SEARCH "+key)
	return len(regexp.MustCompile(`\d+`).FindAllString(found, -1))
}

// metric reads one number of the metrics.
func (s *server) metric(line string) (value float64) {
	s.t.Helper()
	answer, err := http.Get("http://" + s.addr(8000) + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, rest, ok := strings.Cut(string(text), "\n"+line+" "); ok {
		_, _ = fmt.Sscan(rest, &value)
	}
	return value
}

func (s *server) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s did not come: %s", what, s.run("listener", "list"))
		}
	}
}

// The cluster answers, which SEARCH shows in nothing but the metrics.
func (s *server) asked(t *testing.T, key string, want int) {
	t.Helper()
	const answered = `streampost_opensearch_queries_total{outcome="answered"}`
	before := s.metric(answered)
	s.until("an answer of the cluster", func() bool {
		if n := s.finds(t, key); n != want {
			t.Fatalf("SEARCH %s finds %d, want %d", key, n, want)
		}
		return s.metric(answered) > before
	})
}

func TestSearchInOpenSearch(t *testing.T) {
	t.Parallel()
	t.Run("double", func(t *testing.T) { searchIn(t, opensearchtest.New(t).URL) })
	t.Run("real", func(t *testing.T) {
		url := os.Getenv("STREAMPOST_OPENSEARCH_URL")
		if url == "" {
			t.Skip("STREAMPOST_OPENSEARCH_URL names no cluster; integration/opensearch/start makes one")
		}
		searchIn(t, url)
	})
}

func searchIn(t *testing.T, url string) {
	s := searchServer(t, url)
	for i := range 15 {
		s.send(fmt.Sprintf("number %d", i), fmt.Sprintf("the body of number %d tells of marmalade", i))
	}
	s.asked(t, `BODY "marmalade"`, 15)
	s.asked(t, `TEXT "number 7"`, 1)
	out := s.run("search", "reindex", "--opensearch")
	if !strings.Contains(out, " 0 failed") {
		t.Errorf("reindex printed %s", out)
	}
	s.asked(t, `BODY "marmalade"`, 15)
	if out := s.run("search", "reindex", "--opensearch", "--account", "alice@example.org", "--json"); !strings.Contains(out, `"failedReprocessedMailCount":0`) && !strings.Contains(out, `"failedReprocessedMailCount": 0`) {
		t.Errorf("reindex of an account printed %s", out)
	}
	if out := s.run("listener", "list", "--json"); !strings.Contains(out, "opensearch-2") || strings.Contains(out, "opensearch-1") {
		t.Errorf("listeners after the reindex: %s", out)
	}
	// James's scripts index in OpenSearch, where there is one: these messages and the six of the demo.
	if out := s.run("task", "run", "user-reindexing", "account=alice@example.org", "throttle=1000", "--wait", "--json"); !strings.Contains(strings.ReplaceAll(out, " ", ""), `"successfullyReprocessedMailCount":21`) {
		t.Errorf("James's reindexing of a user tells %s", out)
	}
	if out, err := s.try("task", "run", "full-reindexing", "throttle=1000", "--wait"); err == nil || !strings.Contains(out, "messagesPerSecond does not bound") {
		t.Errorf("a bound that nothing heeds is taken: %v %s", err, out)
	}
	// Without the cluster nothing of it is left but what is told.
	s.kill(syscall.SIGTERM)
	s.env = nil
	s.start("")
	if n := s.finds(t, `BODY "marmalade"`); n != 15 {
		t.Errorf("without the index SEARCH finds %d", n)
	}
	s.run("listener", "remove", "opensearch-2")
	if out := s.run("listener", "list", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("listeners are left: %s", out)
	}
	s.clean()
}

func TestOpenSearchAwayAndDeadLetters(t *testing.T) {
	t.Parallel()
	cluster := opensearchtest.New(t)
	s := searchServer(t, cluster.URL)
	cluster.Trouble(func(x *opensearchtest.Trouble) { x.Away = true })
	for i := range 12 {
		s.send(fmt.Sprintf("during the outage %d", i), "marmalade")
	}
	s.until("the outage to be seen", func() bool { return strings.Contains(s.run("listener", "list"), "waiting") })
	if n := s.finds(t, `BODY "marmalade"`); n != 12 {
		t.Errorf("during the outage SEARCH finds %d", n)
	}
	cluster.Trouble(func(x *opensearchtest.Trouble) {
		x.Away = false
		x.Refuse = func(doc map[string]any) bool { return doc["subject"] == "POISON" }
	})
	s.asked(t, `BODY "marmalade"`, 12)
	s.send("poison", "marmalade")
	s.send("after it", "marmalade")
	var groups []struct {
		Listener string
		Count    int
	}
	s.until("a dead letter", func() bool {
		return json.Unmarshal([]byte(s.run("deadletter", "groups", "--json")), &groups) == nil && len(groups) == 1
	})
	s.asked(t, `BODY "marmalade"`, 14)
	out := s.run("deadletter", "list", "--cause", "mapper_parsing", "--account", "alice@example.org")
	letter := regexp.MustCompile(`(?m)^(\d+) +opensearch-1`).FindStringSubmatch(out)
	if letter == nil {
		t.Fatalf("deadletter list printed %s", out)
	}
	if out := s.run("deadletter", "show", letter[1]); !strings.Contains(out, "lmtp") && !strings.Contains(out, "smtp") {
		t.Errorf("deadletter show printed %s", out)
	}
	if out, err := s.try("deadletter", "redeliver", "--all"); err == nil || !strings.Contains(out, "0 redelivered, 1 failed again") {
		t.Errorf("deadletter redeliver printed %s, %v", out, err)
	}
	cluster.Trouble(func(x *opensearchtest.Trouble) { x.Refuse = nil })
	if out := s.run("deadletter", "redeliver", "--listener", "opensearch-1", "--rate", "100"); !strings.Contains(out, "1 redelivered") {
		t.Errorf("deadletter redeliver printed %s", out)
	}
	if out := s.run("deadletter", "groups", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("groups are left: %s", out)
	}
	if out := s.run("deadletter", "drop", "--all"); !strings.Contains(out, "0 dropped") {
		t.Errorf("deadletter drop printed %s", out)
	}
	s.asked(t, `BODY "marmalade"`, 14)
	s.clean()
}
