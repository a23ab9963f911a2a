package streams_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// TestNoAnswerInTime: with no time at all to wait for acknowledgements, every outcome is unknown at first, and each is found out.
func TestNoAnswerInTime(t *testing.T) {
	for name, mode := range map[string]func(*node){"group": func(*node) {}, "always": always} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, mode)
			alice := n.writer()
			n.stop()
			n.config.Limits.Publish = time.Nanosecond
			if err := n.start(); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				alice.append("settled")
			}
			_, err := n.log.Append(deadline(t), alice.id, streams.Position{}, note("stale"))
			wantKind(t, err, domain.Conflict)
			if got, err := n.notes(alice.id); err != nil || len(got) != 20 {
				t.Errorf("the log has %d entries, %v", len(got), err)
			}
		})
	}
}

// TestConnectionCuts appends and follows through a connection that is cut again and again, and wants every entry once.
func TestConnectionCuts(t *testing.T) {
	ctx := deadline(t)
	server, err := natsd.Start(ctx, natsd.Config{Dir: filepath.Join(t.TempDir(), "log"), Sync: natsd.SyncAlways, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close(ctx) }()
	wire := newCutter(t, server.Address())
	outside, err := natsd.Dial(ctx, natsd.ExternalConfig{URL: "nats://" + wire.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outside.Close(ctx) }()
	master, err := streams.LoadMaster(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	log, err := streams.Open(ctx, streams.Config{
		Conn: outside.Conn(), Master: master, Topology: streams.Topology{Shards: 1}, Limits: streams.Limits{Publish: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close(ctx) }()
	n := &node{t: t, log: log}

	const writers, each, cuts = 4, 60, 5
	done := errors.New("all seen")
	followed := make(chan error, 1)
	seen := map[domain.AccountID]domain.Tx{}
	progress := make(chan int, writers*each)
	go func() {
		total := 0
		followed <- log.Follow(ctx, "ACCOUNTS_0", 0, func(batch []streams.Entry) error {
			for _, e := range batch {
				if e.Tx != seen[e.Account]+1 {
					t.Errorf("account %s: transaction %d follows %d", e.Account, e.Tx, seen[e.Account])
				}
				seen[e.Account] = e.Tx
				total++
				progress <- total
			}
			if total == writers*each {
				return done
			}
			return nil
		})
	}()
	var wg sync.WaitGroup
	for range writers {
		w := n.writer()
		wg.Go(func() {
			for range each {
				w.append("x")
			}
		})
	}
	for over := false; !over; {
		select {
		case total := <-progress:
			if total%(writers*each/cuts) == 0 {
				wire.cut()
			}
		case err := <-followed:
			if over = true; !errors.Is(err, done) {
				t.Errorf("Follow ended with %v", err)
			}
		}
	}
	wg.Wait()
	report, err := log.Verify(ctx, streams.VerifyOptions{Keys: true}, nil)
	if err != nil || len(report.Findings) != 0 || report.Entries != writers*each {
		t.Errorf("verify gives %+v, %v", report, err)
	}
}

// cutter is a TCP relay whose connections can be cut at once.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l}
	t.Cleanup(func() { _ = l.Close(); c.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		}
	}()
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// TestCancelledAppendIsNotBegun: a caller who gives up before its turn leaves nothing behind.
func TestCancelledAppend(t *testing.T) {
	n := startNode(t)
	alice := n.writer()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	at, err := n.log.Append(ctx, alice.id, alice.at, note("given up"))
	if err == nil {
		alice.at = at // it was taken into a round before its caller looked
	} else {
		wantKind(t, err, domain.Unavailable)
	}
	alice.append("goes on")
}

func TestClosedLogRefuses(t *testing.T) {
	modes(t, func(t *testing.T, n *node) {
		alice := n.writer()
		log := n.log
		if err := log.Close(deadline(t)); err != nil {
			t.Fatal(err)
		}
		_, err := log.Append(deadline(t), alice.id, alice.at, note("late"))
		wantKind(t, err, domain.Unavailable)
	})
}
