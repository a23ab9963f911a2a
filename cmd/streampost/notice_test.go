package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/metrics"
)

// TestWebhook: a notice is posted as JSON to the configured site and to no other, and the log does not tell the URL.
func TestWebhook(t *testing.T) {
	var got notice
	var kind string
	elsewhere := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook/s3cret", func(_ http.ResponseWriter, r *http.Request) {
		kind = r.Header.Get("Content-Type")
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/moved/s3cret", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere/s3cret", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/elsewhere/", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	mux.HandleFunc("/full/s3cret", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInsufficientStorage) })
	served := httptest.NewServer(mux)
	defer served.Close()
	gone := httptest.NewServer(mux)
	gone.Close()

	n := notice{Event: "replica-initialised", Operation: operation, Failed: 1, Subject: "s", Text: "t", Details: map[string]int{"accounts": 2}}
	notify := func(hook string) string {
		var log bytes.Buffer
		c := &core{cfg: &config.Config{}, log: slog.New(slog.NewTextHandler(&log, nil)), metrics: metrics.New()}
		c.cfg.Cluster.Notify.Webhook = config.Secret(hook)
		c.notify(t.Context(), n)
		if strings.Contains(log.String(), "s3cret") {
			t.Errorf("the log tells the URL:\n%s", &log)
		}
		return log.String()
	}
	if log := notify(served.URL + "/hook/s3cret?key=s3cret"); strings.Contains(log, "not told") {
		t.Error(log)
	}
	if got.Event != n.Event || got.Operation != operation || got.Failed != 1 || got.Subject != "s" || got.Text != "t" || got.Node == "" || got.Details == nil || kind != "application/json" {
		t.Errorf("it got %s: %+v", kind, got)
	}
	if log := notify(served.URL + "/moved/s3cret"); !strings.Contains(log, "307 Temporary Redirect, and redirects are not followed") || elsewhere > 0 {
		t.Errorf("redirected %d times:\n%s", elsewhere, log)
	}
	if log := notify(served.URL + "/full/s3cret"); !strings.Contains(log, "507 Insufficient Storage") || !strings.Contains(log, "to="+served.URL) {
		t.Error(log)
	}
	withPassword := strings.Replace(gone.URL, "://", "://user:s3cret@", 1)
	if log := notify(withPassword + "/hook/s3cret"); !strings.Contains(log, "way=webhook to="+gone.URL) || !strings.Contains(log, "refused") {
		t.Error(log)
	}
	if log := notify("http://[s3cret"); !strings.Contains(log, "cluster.notify.webhook is not a URL") {
		t.Error(log)
	}
}
