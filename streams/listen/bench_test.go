package listen_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// BenchmarkRedeliver gives b.N dead letters of 500 accounts to their listener again, and checks that each account's come in order. Before that it
// makes them, which says how fast entries are handled and become dead letters.
func BenchmarkRedeliver(b *testing.B) {
	p, ctx := newPost(b), context.Background()
	const count = 500
	var working atomic.Bool
	var mu sync.Mutex
	last := map[domain.AccountID]domain.Seq{}
	disorder := 0
	listener := listen.Listener{Name: "bench", Version: 1, Batch: 32, Handle: func(_ context.Context, entries []streams.Entry) (int, error) {
		if !working.Load() {
			return 0, domain.Errorf(domain.Invalid, "not yet")
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range entries {
			if entries[i].Seq <= last[entries[i].Account] {
				disorder++
			}
			last[entries[i].Account] = entries[i].Seq
		}
		return len(entries), nil
	}}
	var ids []domain.AccountID
	for range count {
		ids = append(ids, p.account())
	}
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			var at streams.Position
			for n := i; n < b.N; n += count {
				t := &event.Transaction{At: 1, Events: []event.Event{&event.DomainAdded{Name: "example.org"}}}
				var err error
				if at, err = p.log.Append(ctx, id, at, t); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	p.must(p.listeners.Add(ctx, listener))
	for {
		if n, err := p.listeners.Count(ctx); err != nil || n >= uint64(b.N) {
			break
		}
	}
	working.Store(true)
	b.ResetTimer()
	done, err := p.listeners.Redeliver(ctx, listen.Selection{}, nil)
	b.StopTimer()
	if err != nil || done.Successful != uint64(b.N) || disorder > 0 {
		b.Errorf("redelivered %+v, %d out of order, %v", done, disorder, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}
