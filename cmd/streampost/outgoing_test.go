package main

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/lifecycle"
)

// TestAQueueThatCannotBeOpened puts mail off, and has all blobs kept.
func TestAQueueThatCannotBeOpened(t *testing.T) {
	c := &core{cfg: &config.Config{}}
	if q := c.accepts(); q != nil {
		t.Errorf("without outbound.enabled there is a queue: %v", q)
	}
	c.cfg.Outbound.Enabled = true
	if err := c.accepts().Accept(t.Context(), nil); !domain.Is(err, domain.Unavailable) {
		t.Errorf("mail: %v", err)
	}
	if _, err := c.queued().Claims(t.Context(), make([]domain.BlobID, 1)); !domain.Is(err, domain.Unavailable) {
		t.Errorf("blobs: %v", err)
	}
}

// TestAQueueIsOpenedLater: it is tried again until it opens, and what was opened is stopped in the end. A stop while it is being tried ends that.
func TestAQueueIsOpenedLater(t *testing.T) {
	c := &core{cfg: &config.Config{Drain: time.Minute}, log: slog.New(slog.DiscardHandler)}
	tries, stopped, opened := 0, false, make(chan struct{})
	open := func(_ context.Context, parts *lifecycle.Group) error {
		if tries++; tries < 3 {
			return errQueueClosed
		}
		parts.Start(lifecycle.Part{Name: "test", Stop: func(context.Context) error { stopped = true; return nil }})
		close(opened)
		return nil
	}
	group := lifecycle.New(c.log)
	group.Start(c.queuePart(lifecycle.New(c.log), open, time.Millisecond))
	<-opened
	if err := group.Stop(time.Minute); err != nil || !stopped || tries != 3 {
		t.Errorf("%v after %d tries, stopped: %v", err, tries, stopped)
	}
	group.Start(c.queuePart(lifecycle.New(c.log), open, time.Hour))
	if err := group.Stop(time.Minute); err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

// TestPasswordsOfRoutes go to nobody but the host that they are for.
func TestPasswordsOfRoutes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte("a.example.com ann one\nb.example.com ben two\nc.example.com ann one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for route, user := range map[string]string{
		"x.example a.example.com tls=verify": "ann", "x.example a.example.com c.example.com tls=implicit": "ann", "x.example d.example.com": "",
		"x.example a.example.com b.example.com tls=verify": "refused", "x.example d.example.com a.example.com tls=verify": "refused",
		"x.example a.example.com": "refused", "x.example a.example.com tls=require": "refused", "x.example a.example.com tls=none": "refused",
	} {
		r, err := readRoutes(&config.Outbound{Routes: []string{route}, Passwords: file})
		if domain.Is(err, domain.Invalid) != (user == "refused") || err == nil && r.find("x.example").User != user {
			t.Errorf("%s: %+v, %v", route, r, err)
		}
	}
}

// TestWhereAListenerIs: mail loops if it goes there.
func TestWhereAListenerIs(t *testing.T) {
	for _, c := range []struct {
		listen, at string
		want       bool
	}{
		{"192.0.2.1:25", "192.0.2.1:25", true},
		{"192.0.2.1:25", "[::ffff:192.0.2.1]:25", true},
		{"192.0.2.1:25", "192.0.2.1:26", false},
		{"192.0.2.1:25", "192.0.2.2:25", false},
		{"localhost:25", "192.0.2.2:25", false},
		{"0.0.0.0:25", "127.0.0.1:25", true},
		{":25", "127.0.0.1:25", true},
		{"[::]:25", "[::ffff:127.0.0.1]:25", true},
		{"[::]:25", "0.0.0.0:25", true},
		{"[::]:25", "203.0.113.77:25", false}, // RFC 5737: nobody's
	} {
		if got := listensAt(c.listen, netip.MustParseAddrPort(c.at)); got != c.want {
			t.Errorf("%s at %s: %v", c.listen, c.at, got)
		}
	}
}
