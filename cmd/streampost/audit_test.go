package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/streams"
)

// TestAuditFindsWhatNobodyReads damages an entry that the views have passed: the server starts, and the audit says account and Tx.
func TestAuditFindsWhatNobodyReads(t *testing.T) {
	cfg := config.Default()
	cfg.Data, cfg.Streams.Shards, cfg.Reserve = t.TempDir(), 1, 0
	var said bytes.Buffer
	open := func() *core {
		c, err := newCore(&cfg, slog.New(slog.NewTextHandler(&said, nil)))
		if err == nil {
			err = c.open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	if err := c.directory.AddDomain(t.Context(), "test", "example.org"); err != nil {
		t.Fatal(err)
	}
	alice, err := c.directory.AddAccount(t.Context(), "test", "alice@example.org", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := c.accounts.Do(t.Context(), alice.ID, "test", account.CreateMailbox{Name: name, UIDValidity: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := c.newAudit()
	if err := a.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, cause := a.look(t.Context()); status != health.Healthy {
		t.Fatalf("a sound log is %s: %s", status, cause)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}

	block := filepath.Join(cfg.Data, "log", "jetstream", "$G", "streams", "ACCOUNTS_0", "msgs", "1.blk")
	content, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	content[200] ^= 1 // in the account's first entry
	if err := os.WriteFile(block, content, 0o600); err != nil {
		t.Fatal(err)
	}
	said.Reset()
	c = open()
	defer func() { _ = c.close() }()
	a = c.newAudit()
	if err := a.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, cause := a.look(t.Context())
	if status != health.Degraded || !strings.Contains(cause, "ACCOUNTS_0") {
		t.Errorf("the damaged log is %s: %s", status, cause)
	}
	if text := said.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "account="+string(alice.ID)) || !strings.Contains(text, "tx=1") {
		t.Errorf("the server's log says %s", text)
	}
}

// TestAuditPace: a pass takes no more than its share, and the next one begins a week after it began.
func TestAuditPace(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	ctx, stop := context.WithCancel(t.Context())
	var begun []time.Time
	sound := false
	a := &audit{
		every: 7 * 24 * time.Hour, log: slog.New(slog.DiscardHandler), now: func() time.Time { return now },
		pause: func(ctx context.Context, d time.Duration) error {
			now = now.Add(d)
			return ctx.Err()
		},
		verify: func(_ context.Context, opts streams.VerifyOptions, progress func(done, total uint64)) (*streams.Report, error) {
			switch begun = append(begun, now); len(begun) {
			case 1:
				opts.Found(streams.Finding{Stream: "ACCOUNTS_1", Account: "a", Tx: 7, What: "bad"})
			case 2:
				return nil, domain.Errorf(domain.Unavailable, "not now")
			case 3:
				sound = true
			case 4:
				stop()
			}
			const total = 1_000_000_000 // more than a thousand a second for a week
			for done := uint64(0); done <= total; done += total / 100 {
				progress(done, total)
			}
			return &streams.Report{}, nil
		},
	}
	if err := a.run(ctx); err != nil || !sound || len(begun) != 4 {
		t.Fatalf("%d passes, %v", len(begun), err)
	}
	for i, want := range []time.Duration{7*24*time.Hour + time.Minute, 10 * time.Minute, 7*24*time.Hour + time.Minute} {
		if got := begun[i+1].Sub(begun[i]); got.Round(time.Minute) != want {
			t.Errorf("pass %d begins %v after the one before, want %v", i+2, got, want)
		}
	}
	if status, cause := a.look(ctx); status != health.Healthy {
		t.Errorf("after a whole pass without a finding the log is %s: %s", status, cause)
	}
}
