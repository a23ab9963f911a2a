package export

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/projections/telling"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// desk is an export that can be stopped and begun again.
type desk struct {
	t    *testing.T
	cfg  Config
	x    *Export
	stop context.CancelFunc
	done chan error
}

func begin(t *testing.T, change func(*Config)) *desk {
	t.Helper()
	d := &desk{t: t, cfg: Config{Directory: filepath.Join(t.TempDir(), "export"), Size: 1 << 20, Age: time.Hour, Source: telling.Source{Address: func(_ context.Context, id domain.AccountID) (string, error) { return string(id) + "@example.org", nil }}}}
	if change != nil {
		change(&d.cfg)
	}
	d.start()
	t.Cleanup(func() { d.end() })
	return d
}

func (d *desk) start() {
	d.t.Helper()
	var err error
	if d.x, err = New(d.cfg); err != nil {
		d.t.Fatal(err)
	}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(context.Background())
	d.done = make(chan error, 1)
	go func() { d.done <- d.x.Run(ctx) }()
}

func (d *desk) end() {
	d.t.Helper()
	d.stop()
	if d.done != nil {
		if err := <-d.done; err != nil {
			d.t.Error(err)
		}
	}
	d.done = nil
}

func entry(id domain.AccountID, n int) streams.Entry {
	return streams.Entry{Account: id, Stream: "ACCOUNTS_0", Seq: domain.Seq(n), Tx: domain.Tx(n), Transaction: &event.Transaction{At: 1, Events: []event.Event{&event.MailboxCreated{Mailbox: 2, Name: "Lists"}, &event.MailboxDeleted{Mailbox: 2}}}}
}

func (d *desk) give(entries ...streams.Entry) {
	d.t.Helper()
	if done, err := d.x.handle(d.t.Context(), entries); done != len(entries) || err != nil {
		d.t.Fatal(done, err)
	}
}

func (d *desk) files(pattern string) []string {
	d.t.Helper()
	names, err := filepath.Glob(filepath.Join(d.cfg.Directory, pattern))
	if err != nil {
		d.t.Fatal(err)
	}
	return names
}

// has checks that all files together have these events.
func (d *desk) has(want ...string) {
	d.t.Helper()
	var ids []string
	for _, name := range d.files("*") {
		f, err := os.Open(name)
		if err != nil {
			d.t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var item feed.Item
			if err := json.Unmarshal(s.Bytes(), &item); err != nil {
				d.t.Fatalf("%s: %s: %v", name, s.Text(), err)
			}
			ids = append(ids, item.ID)
		}
		_ = f.Close()
	}
	if !slices.Equal(ids, want) {
		d.t.Errorf("the files have %q, want %q", ids, want)
	}
}

func TestEachEventIsWrittenOnce(t *testing.T) {
	d := begin(t, nil)
	d.give(entry("alice", 1), entry("alice", 2))
	want := []string{"alice/1/0", "alice/1/1", "alice/2/0", "alice/2/1"}
	d.has(want...)
	d.give(entry("alice", 2)) // once more within the process
	d.has(want...)
	d.end()

	// A crash leaves a part of what was being written, and the log gives again what was not acknowledged.
	part := d.files("*.part")[0]
	f, err := os.OpenFile(part, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	next, err := new(feed.Selection).Items(feed.Place{Account: "alice", Stream: "ACCOUNTS_0", Seq: 3, Tx: 3}, entry("alice", 3).Transaction, nil)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(next[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "%s\n%s\x00\x00\n\x00\x00", line, line[:20]); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	d.start()
	d.give(entry("alice", 1), entry("alice", 2), entry("alice", 3))
	d.has(append(want, "alice/3/0", "alice/3/1")...)
}

func TestFilesAreFull(t *testing.T) {
	now, mu := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), sync.Mutex{}
	d := begin(t, func(c *Config) {
		c.Size = 1000
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	var want []string
	for n := range 5 { // of some 500 octets each
		d.give(entry("alice", n+1))
		want = append(want, fmt.Sprintf("alice/%d/0", n+1), fmt.Sprintf("alice/%d/1", n+1))
	}
	d.has(want...)
	if whole, part := d.files("*.ndjson"), d.files("*.part"); len(whole) < 2 || len(part) != 1 || !strings.HasSuffix(whole[0], "/events-20261130T120000.000Z.ndjson") {
		t.Errorf("%q, %q", whole, part)
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	d.end()
	d.start()
	d.give(entry("alice", 3)) // looks at what is there; its events lie in a file that is full
	for deadline := time.Now().Add(time.Minute); len(d.files("*.part")) > 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	if part := d.files("*.part"); len(part) != 0 {
		t.Errorf("%q is older than an hour", part)
	}
	d.has(want...)
}

// TestADiskThatFails is nobody's dead letter: the listener waits, and nothing is lost or written twice.
func TestADiskThatFails(t *testing.T) {
	d := begin(t, nil)
	if err := os.WriteFile(d.cfg.Directory, nil, 0o600); err != nil { // where the directory should be
		t.Fatal(err)
	}
	if done, err := d.x.handle(t.Context(), []streams.Entry{entry("alice", 1)}); done != 0 || !listen.IsOutage(err) {
		t.Errorf("%d, %v", done, err)
	}
	if err := os.Remove(d.cfg.Directory); err != nil {
		t.Fatal(err)
	}
	d.give(entry("alice", 1))
	d.has("alice/1/0", "alice/1/1")
}

func TestAccountsShareASync(t *testing.T) {
	d := begin(t, nil)
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			if _, err := d.x.handle(t.Context(), []streams.Entry{entry(domain.AccountID(fmt.Sprintf("a%02d", n)), n+1)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var lines int
	for _, name := range d.files("*") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(text), "\n")
	}
	if lines != 80 {
		t.Errorf("%d lines of 80", lines)
	}
}
