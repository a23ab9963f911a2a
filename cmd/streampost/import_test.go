package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// TestAnImportThatIsStuckCanBeInterrupted: a file system that gives no answer keeps the walk, but not the user.
func TestAnImportThatIsStuckCanBeInterrupted(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	patience = time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	stuck := make(chan struct{})
	defer close(stuck)
	var out bytes.Buffer
	c := &ImportFlags{Path: t.TempDir(), Account: "alice@example.org", State: filepath.Join(t.TempDir(), "state")}
	err := c.run(&Globals{URL: server.URL, Token: "token"}, &Env{Context: ctx, Stdout: &out, Stderr: &out}, "", func(*importer) error {
		interrupt()
		<-stuck
		return nil
	})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("%v", err)
	}
}
