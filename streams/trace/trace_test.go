package trace_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/streams"
	store "github.com/streampost/streampost/streams/trace"
)

// TestTheTrace is found again by Message-ID, by any node, in the order of time.
func TestTheTrace(t *testing.T) {
	server, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close(context.Background()) })
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	open := func(node string, secret byte) *store.Log {
		l, err := store.New(store.Config{Conn: server.Conn(), Node: node, Secret: [32]byte{secret}, Keep: time.Hour, Size: 1 << 20, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			<-done
		})
		return l
	}
	a := open("mail1", 1)
	for n := range 500 { // more than a batch, so that the stream is made at once
		a.Add(trace.Record{Event: trace.Accepted, MessageID: fmt.Sprintf("<%d@x>", n), From: "alice@example.org"})
	}
	find := func(l *store.Log, id string, want int) (all []trace.Record) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			all, err := l.Find(t.Context(), id)
			if err == nil && len(all) == want {
				return all
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v, %v", all, err)
			}
		}
	}
	find(a, "7@x", 1)
	b := open("mail2", 1)
	now = now.Add(time.Second)
	b.Add(trace.Record{Event: trace.Delivered, MessageID: "<7@x>", Account: "alice", UID: 5})
	all := find(b, "<7@x>", 2)
	if all[0].Node != "mail1" || all[1].Node != "mail2" || all[1].UID != 5 || all[1].At != now.UnixMilli() {
		t.Errorf("%+v", all)
	}
	find(a, "<7@x>", 2)
	find(a, "<nothing@x>", 0)
	find(open("mail3", 2), "<7@x>", 0)          // another installation's secret opens nothing
	a.Add(trace.Record{Event: trace.Delivered}) // a message without a name cannot be asked for
	idle, err := store.New(store.Config{Conn: server.Conn()})
	if err != nil {
		t.Fatal(err)
	}
	for range 30_000 {
		idle.Add(trace.Record{MessageID: "<7@x>"})
	}
	if idle.Dropped() != 10_000 {
		t.Error("what waits has no bound")
	}
	if idle, err = store.New(store.Config{Conn: server.Conn()}); err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		idle.Add(trace.Record{MessageID: "<7@x>", To: many()})
	}
	if idle.Dropped() < 5_000 {
		t.Error("what waits has no bound of octets")
	}
}

// many are as many recipients as a record names, of names that no compression makes shorter.
func many() (to []string) {
	for range 100 {
		to = append(to, rand.Text()+rand.Text()+rand.Text()+"@x.example")
	}
	return to
}

// TestMuchOfOneMessage goes into as many messages of the stream as it takes, and hinders nothing else. Who asks is told the last of it.
func TestMuchOfOneMessage(t *testing.T) {
	l, _ := start(t)
	const records = 1500
	for n := range records {
		l.Add(trace.Record{Event: trace.Accepted, MessageID: "<much@x>", UID: domain.UID(n), To: many()})
	}
	l.Add(trace.Record{Event: trace.Accepted, MessageID: "<little@x>"})
	if all, err := l.Find(t.Context(), "<little@x>"); err != nil || len(all) != 1 {
		t.Errorf("%d records, %v", len(all), err)
	}
	all, err := l.Find(t.Context(), "<much@x>")
	if err != nil || len(all) != 1000 || all[len(all)-1].UID != records-1 || l.Dropped() > 0 {
		t.Errorf("%d records, %d dropped, %v", len(all), l.Dropped(), err)
	}
}

// TestARemovedStream is made anew by the next record.
func TestARemovedStream(t *testing.T) {
	l, server := start(t)
	l.Add(trace.Record{Event: trace.Accepted, MessageID: "<a@x>"})
	if all, err := l.Find(t.Context(), "<a@x>"); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	js, err := jetstream.New(server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	var names streams.Topology
	if err := js.DeleteStream(t.Context(), names.Stream("TRACE")); err != nil {
		t.Fatal(err)
	}
	if all, err := l.Find(t.Context(), "<a@x>"); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	l.Add(trace.Record{Event: trace.Delivered, MessageID: "<a@x>"})
	if all, err := l.Find(t.Context(), "<a@x>"); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestAShorterTime takes away what is older, also what was written before.
func TestAShorterTime(t *testing.T) {
	l, server := start(t)
	l.Add(trace.Record{Event: trace.Accepted, MessageID: "<a@x>"})
	if all, err := l.Find(t.Context(), "<a@x>"); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	short, err := store.New(store.Config{Conn: server.Conn(), Node: "mail1", Secret: [32]byte{1}, Keep: 200 * time.Millisecond, Size: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		all, err := short.Find(t.Context(), "<a@x>")
		if err == nil && len(all) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, %v", all, err)
		}
	}
}

func start(t *testing.T) (*store.Log, *natsd.Server) {
	t.Helper()
	server, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close(context.Background()) })
	l, err := store.New(store.Config{Conn: server.Conn(), Node: "mail1", Secret: [32]byte{1}, Keep: time.Hour, Size: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return l, server
}
