package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/lifecycle"
)

// TestAnArchiveThatIsNotThere yet does not stop the start, and is used when it is there. A restore, which needs it, is told at once.
func TestAnArchiveThatIsNotThere(t *testing.T) {
	place := filepath.Join(t.TempDir(), "place")
	if err := os.WriteFile(place, nil, 0o600); err != nil { // where a directory should be
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	c := &core{cfg: &config.Config{}, log: log, group: lifecycle.New(log), restoring: true}
	if _, err := c.archiveBuckets(t.Context(), inDirectory, place); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a restore is told %v", err)
	}
	c.restoring = false
	b, err := c.archiveBuckets(t.Context(), inDirectory, place)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.group.Stop(time.Minute); err != nil {
			t.Error(err)
		}
	}()
	try := func() error {
		_, opened := b.Keys.Open(t.Context(), domain.BlobID{1})
		_, deleted := b.Segments.Delete(t.Context(), domain.BlobID{1}, time.Time{})
		listed := b.Segments.List(t.Context(), func(domain.BlobID, int64, time.Time) error { return nil })
		upload, err := b.Segments.Create(t.Context())
		if err == nil {
			_, err = upload.Write([]byte("archived"))
			err = errors.Join(err, upload.Commit(context.Background(), domain.BlobID{2}))
		}
		if domain.Is(opened, domain.NotFound) {
			opened = nil
		}
		return errors.Join(opened, deleted, listed, err)
	}
	if err := try(); err == nil {
		t.Error("something is stored nowhere")
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
