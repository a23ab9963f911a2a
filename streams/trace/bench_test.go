package trace_test

import (
	"context"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain/trace"
	store "github.com/streampost/streampost/streams/trace"
)

// BenchmarkAdd is what a step costs, with its share of what is published later.
func BenchmarkAdd(b *testing.B) {
	server, err := natsd.Start(b.Context(), natsd.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close(context.Background()) })
	l, err := store.New(store.Config{Conn: server.Conn(), Node: "mail1", Keep: time.Hour, Size: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	ids := [...]string{"<a@x>", "<b@x>", "<c@x>", "<d@x>", "<e@x>", "<f@x>", "<g@x>"}
	b.ReportAllocs()
	for n := range b.N {
		l.Add(trace.Record{
			Event: trace.Delivered, MessageID: ids[n%len(ids)], Transfer: "kd1qa276-1", From: "alice@example.org", To: []string{"bob@example.org"}, Account: "ecieabhsf0ai4u66", Mailbox: 1, UID: 7, Tx: 9, Octets: 5000,
		})
		if n%1000 == 999 {
			if err := store.Flush(l, b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
