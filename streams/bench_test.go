package streams_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// BenchmarkCommit measures durable appends: our sync against the server's, for several numbers of shards and of accounts that append at
// once, each waiting for its own. docs/measurements.md, "Commit", has the figures.
func BenchmarkCommit(b *testing.B) {
	for _, mode := range []string{"group", "always"} {
		for _, shardCount := range []int{1, 4, 16} {
			for _, writers := range []int{1, 16, 64, 256} {
				b.Run(fmt.Sprintf("mode=%s/shards=%d/writers=%d", mode, shardCount, writers), func(b *testing.B) {
					options := []func(*node){shards(shardCount)}
					if mode == "always" {
						options = append(options, always)
					}
					benchmarkCommit(b, startNode(b, options...), writers)
				})
			}
		}
	}
}

func benchmarkCommit(b *testing.B, n *node, count int) {
	all := make([]*writer, count)
	for i := range all {
		all[i] = n.writer()
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	latencies := make([][]time.Duration, count)
	var wg sync.WaitGroup
	b.ResetTimer()
	for i, w := range all {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				w.append("imap:alice@example.org")
				latencies[i] = append(latencies[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	times := slices.Sorted(slices.Values(slices.Concat(latencies...)))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}

// BenchmarkFollow measures the replay of small flag changes, decrypted and decoded.
func BenchmarkFollow(b *testing.B) {
	n := startNode(b, shards(1))
	const accounts = 256
	all := make([]*writer, accounts)
	for i := range all {
		all[i] = n.writer()
	}
	var wg sync.WaitGroup
	for i, w := range all {
		wg.Go(func() {
			for range (b.N + accounts - 1 - i) / accounts {
				t := note("imap:alice@example.org")
				t.Events = []event.Event{&event.FlagsChanged{}}
				at, err := n.log.Append(b.Context(), w.id, w.at, t)
				if err != nil {
					b.Error(err)
					return
				}
				w.at = at
			}
		})
	}
	wg.Wait()
	done := errors.New("all read")
	before := cpuTime(b)
	b.ResetTimer()
	left := b.N
	err := n.log.Follow(b.Context(), "ACCOUNTS_0", 0, func(batch []streams.Entry) error {
		if left -= len(batch); left <= 0 {
			return done
		}
		return nil
	})
	b.StopTimer()
	if !errors.Is(err, done) {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op") // says more where others use the machine
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
