package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/integration/ports"
	"github.com/streampost/streampost/ops/cluster"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/streams/nodes"
)

// TestAStandingCopyIsFoundOut: one that calls itself current and has not what its leader had at the look before, three times in a row. One that is just
// behind, or says that it catches up, is not.
func TestAStandingCopyIsFoundOut(t *testing.T) {
	own := nodes.Replica{Stream: "LOG", Leader: "b", First: 1, Last: 10, Entries: 10, Current: true, Log: true}
	head := domain.Seq(10)
	c := &copies{
		own:    func() ([]nodes.Replica, error) { return []nodes.Replica{own}, nil },
		placed: func(context.Context) ([]natsd.Placement, error) { return nil, nil },
		head:   func(context.Context, string) (domain.Seq, error) { return head, nil },
	}
	look := func(what string, wantStale, wantBad bool) {
		t.Helper()
		bad, err := c.look(t.Context())
		all, _ := c.replicas()
		if err != nil || bad != wantBad || all[0].Stale != wantStale {
			t.Errorf("%s: bad for long %v, stale %v, %v", what, bad, all[0].Stale, err)
		}
	}
	look("all is well", false, false)
	for range 9 { // the leader is ahead at every look, and the copy follows
		head += 5
		look("it follows", false, false)
		own.Last, own.Entries = uint64(head), uint64(head)
	}
	head += 5
	look("the leader moves on", false, false)
	look("it stands, once", false, false)
	look("it stands, twice", false, false)
	look("it stands, three times", true, false)
	look("it still stands", true, false)
	look("it has been bad for long", true, true)
	own.Current = false
	look("it catches up now", false, false)
	own.Current, own.Last, own.Entries = true, uint64(head), uint64(head)-3
	look("it has a hole", false, false)
	look("it has a hole, twice", false, false)
	look("it has had a hole for long", false, true)
}

// trio starts three nodes of a cluster, as far as copies of the log are concerned.
func trio(t *testing.T) (all []*core, start func(n int)) {
	t.Helper()
	all = make([]*core, 3)
	secret := cluster.New()
	var addresses []string
	for range all {
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", ports.Free(t)))
	}
	dir := t.TempDir()
	start = func(n int) {
		t.Helper()
		certificates, err := secret.TLS()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("node%d", n+1)
		c := &core{cfg: &config.Config{Data: filepath.Join(dir, name)}, log: slog.New(slog.DiscardHandler)}
		c.cfg.Streams.Replicas = 3
		if c.nats, err = natsd.Start(t.Context(), natsd.Config{
			Dir: c.cfg.Data, Cluster: &natsd.Cluster{Node: name, Listen: addresses[n], Seeds: addresses, TLS: certificates},
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.nats.Close(context.Background()) })
		c.nodes = nodes.New(nodes.Config{Conn: c.nats.Conn(), Node: name, Key: secret.Key("test"), Logger: c.log})
		c.copies = copiesOf(c.nats)
		if err := errors.Join(c.nodes.AnswerRepair(c.repairOwn), c.nodes.Answer(func(context.Context) nodes.Status {
			replicas, _ := c.copies.replicas() // what cannot be told is not there
			return nodes.Status{Replicas: replicas}
		})); err != nil {
			t.Fatal(err)
		}
		all[n] = c
	}
	for n := range all {
		start(n)
	}
	return all, start
}

// TestAMissingCopyIsFoundOut: one that is placed here and is not there, or takes no part in what the others agree on, at three looks in a row.
func TestAMissingCopyIsFoundOut(t *testing.T) {
	part := nodes.Replica{Stream: "LOG", Leader: "b", First: 1, Last: 10, Entries: 10, Current: true, Log: true, Group: "G"}
	alone := part
	alone.Group = ""
	here := natsd.Placement{Stream: "LOG", Group: "G", Want: 3, Leader: "b", Copies: []natsd.PlacedCopy{{Node: "b"}, {Node: "a"}}}
	elsewhere := natsd.Placement{Stream: "OTHER", Group: "H", Want: 3, Leader: "b", Copies: []natsd.PlacedCopy{{Node: "b"}, {Node: "c"}}}
	single := natsd.Placement{Stream: "SINGLE", Want: 1, Leader: "a", Copies: []natsd.PlacedCopy{{Node: "a"}}}
	var own []nodes.Replica
	var away error
	c := &copies{
		node: "a", own: func() ([]nodes.Replica, error) { return own, nil },
		placed: func(context.Context) ([]natsd.Placement, error) {
			return []natsd.Placement{here, elsewhere, single}, away
		},
	}
	look := func(what, want string, all ...nodes.Replica) {
		t.Helper()
		own = all
		if _, err := c.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, _ := c.replicas()
		bad := ""
		for _, r := range found {
			if r.Bad() != "" {
				bad += r.Stream + " " + r.Bad()
			}
		}
		if bad != want {
			t.Errorf("%s: %q, want %q", what, bad, want)
		}
	}
	for _, missing := range [][]nodes.Replica{nil, {alone}} {
		look("it is there", "", part)
		look("it is missing, once", "", missing...)
		look("it is missing, twice", "", missing...)
		look("it is missing for long", "LOG is missing", missing...)
		away = errors.New("nobody leads the cluster")
		look("nobody tells", "LOG is missing", missing...)
		away = nil
		look("it is back", "", part)
	}
}

// TestClusterRepairsItself: a copy with a hole, and one of which the state of its group cannot be read, are filled anew without an order, where the
// configuration says so.
func TestClusterRepairsItself(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_REPLICAS") == "" {
		t.Skip("STREAMPOST_TEST_REPLICAS is not set")
	}
	t.Parallel()
	all, start := trio(t)
	js, err := jetstream.New(all[0].nats.Conn())
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after 3 minutes it is not so that %s: the copies are %+v, %+v, %+v", what, all[0].own(t, "LOG"), all[1].own(t, "LOG"), all[2].own(t, "LOG"))
			}
		}
	}
	until("there is a stream", func() bool {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}, Replicas: 3, DenyDelete: true, DenyPurge: true})
		return err == nil
	})
	for i := range 100 { // more than one block file
		until("a message is stored", func() bool { // once, however often that has to be tried while the stream elects a leader
			_, err := js.Publish(t.Context(), "log", bytes.Repeat([]byte("x"), 100_000), jetstream.WithMsgID(fmt.Sprint(i)))
			return err == nil
		})
	}
	whole := func() bool {
		good := 0
		for _, c := range all {
			if r := c.own(t, "LOG"); r.Current && r.Last == 100 && r.Bad() == "" && r.Group != "" {
				good++
			}
		}
		return good == 3
	}
	until("all copies are whole", whole)
	spoil := func(n int, pattern string) {
		t.Helper()
		c := all[n]
		if err := c.nats.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(c.dir(), "jetstream", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("there is nothing to spoil: %v", err)
		}
		for _, file := range files {
			octets, err := os.ReadFile(file)
			if err == nil {
				octets[len(octets)/2] ^= 1
				err = os.WriteFile(file, octets, 0o600)
			}
			_ = os.Remove(filepath.Join(filepath.Dir(file), "index.db"))
			if err != nil {
				t.Fatal(err)
			}
		}
		start(n)
		c = all[n]
		c.cfg.Cluster.Repair, c.copies.every = true, 20*time.Millisecond
		watching, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.watchCopies(watching) }()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		until("the copy is repaired", func() bool { return c.copies.repaired.Load() == 1 })
		until("all copies are whole again", whole)
	}
	spoil(1, filepath.Join("$G", "streams", "LOG", "msgs", "1.blk"))
	spoil(2, filepath.Join("$SYS", "_js_", "S-*", "snapshots", "*"))
}

// dir is where a node keeps its copies.
func (c *core) dir() string { return c.cfg.Data }

// TestLogRepair: a copy with a hole is filled anew by a command to another node. While a third one is away, it is left.
func TestLogRepair(t *testing.T) {
	t.Parallel()
	all, start := trio(t)
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(3 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after 3 minutes it is not so that %s: the copies are %+v, %+v, %+v", what, all[0].own(t, "LOG"), all[1].own(t, "LOG"), all[2].own(t, "LOG"))
			}
		}
	}
	js, err := jetstream.New(all[0].nats.Conn())
	if err != nil {
		t.Fatal(err)
	}
	until("there is a stream", func() bool {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}, Replicas: 3, DenyDelete: true, DenyPurge: true})
		return err == nil
	})
	for i := range 100 { // more than one block file
		until("a message is stored", func() bool { // once, however often that has to be tried while the stream elects a leader
			_, err := js.Publish(t.Context(), "log", bytes.Repeat([]byte("x"), 100_000), jetstream.WithMsgID(fmt.Sprint(i)))
			return err == nil
		})
	}
	repair := func(n int, order webadmin.RepairOrder) (sum webadmin.LogRepair, told []nodes.Repaired) {
		t.Helper()
		sum, err := all[n].repairLog(t.Context(), order, func(one nodes.Repaired) { told = append(told, one) })
		if err != nil {
			t.Fatal(err)
		}
		return sum, told
	}
	whole := func() bool {
		sum, _ := repair(0, webadmin.RepairOrder{DryRun: true})
		good := 0
		for _, c := range all {
			if r := c.own(t, "LOG"); r.Current && r.Last == 100 && r.Bad() == "" {
				good++
			}
		}
		return sum.Copies == 3 && sum.Bad == 0 && len(sum.Silent) == 0 && good == 3
	}
	until("all copies are whole", whole)

	if err := all[1].nats.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(t.TempDir()), "*", "node2", "jetstream", "$G", "streams", "LOG", "msgs", "1.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the block files are %v, %v", files, err)
	}
	octets, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	octets[len(octets)/2] ^= 1
	if err := errors.Join(os.WriteFile(files[0], octets, 0o600), os.Remove(filepath.Join(filepath.Dir(files[0]), "index.db"))); err != nil {
		t.Fatal(err)
	}
	start(1)
	until("node2 has a hole", func() bool { r := all[1].own(t, "LOG"); return r.Leader != "" && r.Bad() != "" })

	if err := all[2].nats.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	until("a third node is missed", func() bool {
		sum, told := repair(0, webadmin.RepairOrder{Stream: "LOG"})
		return sum.Bad == 1 && sum.Refused == 1 && strings.Contains(told[0].Refused, "1 other nodes have a whole and current one, and 2 must")
	})
	start(2)
	until("it is there again", func() bool { return all[2].own(t, "LOG").Current })
	if _, err := all[0].repairLog(t.Context(), webadmin.RepairOrder{Node: "nobody"}, nil); !domain.Is(err, domain.NotFound) {
		t.Errorf("on nobody: %v", err)
	}
	if _, err := all[0].repairLog(t.Context(), webadmin.RepairOrder{Stream: "NONE"}, nil); !domain.Is(err, domain.NotFound) {
		t.Errorf("of no stream: %v", err)
	}
	until("the copy is repaired", func() bool {
		sum, told := repair(0, webadmin.RepairOrder{})
		return sum.Repaired == 1 && told[0].Node == "node2" && told[0].Done && strings.HasPrefix(told[0].Bad, "lacks ")
	})
	until("all copies are whole again", whole)
}

// own is a node's own copy of a stream.
func (c *core) own(t *testing.T, stream string) nodes.Replica {
	t.Helper()
	all, err := c.copies.replicas()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Stream == stream {
			return r
		}
	}
	return nodes.Replica{}
}
