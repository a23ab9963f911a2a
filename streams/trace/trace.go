// Package trace keeps the trace of messages (domain/trace) in a stream of bounded age and size.
//
// Cost. Add only puts a record into memory. A goroutine publishes what has gathered, compressed and sealed under a secret of the installation, every two seconds or 64 KiB; nobody waits for that, and nothing
// is synced for it. So a kill loses the records of the last seconds, and a power failure what the disk had not taken yet: the trace is for people, and what is true is elsewhere.
//
// Invariants:
//   - Add never blocks and never fails a delivery. Where the stream cannot be written, records wait up to a bound, and are counted when they are dropped.
//   - Subjects tell nothing but one of sixteen parts, into which Message-IDs are hashed; a search reads one part.
//   - What is too old or too much is dropped by the server: MaxAge and MaxBytes of the stream.
package trace

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/queue"
)

// Config is what a Log works with.
type Config struct {
	Conn     *nats.Conn
	Topology streams.Topology
	Secret   [32]byte
	Node     string
	Keep     time.Duration // of records
	Size     int64         // octets of the stream
	Logger   *slog.Logger  // nil discards
	Clock    func() time.Time
}

// The bounds of what waits.
const (
	pause   = 2 * time.Second
	batch   = 64 << 10  // octets of records, before compression, that are published without a pause
	portion = 512 << 10 // likewise, in one message; a record has less, and a server takes 1 MiB
	waiting = 20_000    // records; more are dropped
	memory  = 32 << 20  // octets of what waits; more are dropped
	most    = 1000      // records that Find gives
	request = 5 * time.Second
	idle    = 10 * time.Second // without a message while searching: the server is gone
)

// Log is the trace. Make one with New.
type Log struct {
	cfg     Config
	js      jetstream.JetStream
	name    string
	seal    queue.Sealer
	mu      sync.Mutex
	buckets [trace.Buckets][]trace.Record
	count   int
	size    int // about how many octets of memory what waits takes
	dropped uint64
	full    chan struct{} // holds a token when there is enough for a batch
	flushes sync.Mutex    // held while records are published

	provided bool          // the stream is there
	deflate  *flate.Writer // likewise guarded by flushes
}

// New makes a Log. It does nothing until Run.
func New(cfg Config) (*Log, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	js, err := jetstream.New(cfg.Conn, jetstream.WithDefaultTimeout(request))
	if err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "use the log server")
	}
	l := &Log{cfg: cfg, js: js, name: cfg.Topology.Stream("TRACE"), full: make(chan struct{}, 1)}
	l.seal = queue.NewSealer(cfg.Secret, l.name)
	return l, nil
}

// Add notes a step. It fills in time and node.
func (l *Log) Add(r trace.Record) {
	if r.MessageID == "" {
		return
	}
	r = r.Bounded()
	r.At, r.Node = l.cfg.Clock().UnixMilli(), l.cfg.Node
	l.mu.Lock()
	defer l.mu.Unlock()
	size := octets(&r)
	if l.count >= waiting || l.size+size > memory {
		l.dropped++
		return
	}
	b := trace.Bucket(r.MessageID)
	l.buckets[b] = append(l.buckets[b], r)
	l.count++
	if l.size += size; l.size >= batch {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// octets is about how much of memory a record takes.
func octets(r *trace.Record) int {
	n := 400 + len(r.MessageID) + len(r.Text) + len(r.From) + len(r.Login)
	for _, to := range r.To {
		n += 16 + len(to)
	}
	return n
}

// Dropped is how many records could not be kept.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Run publishes what Add notes, until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		timer := time.NewTimer(pause)
		select {
		case <-l.full:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*request)
		if err := l.flush(once); err != nil {
			l.cfg.Logger.Warn("the trace of messages cannot be written", "stream", l.name, "error", err)
		}
		cancel()
	}
	return nil
}

// provide finds or makes the stream, and gives it the bounds that are configured.
func (l *Log) provide(ctx context.Context) error {
	want := jetstream.StreamConfig{
		Name: l.name, Description: "Streampost: what became of messages.", Subjects: []string{l.cfg.Topology.Subject("trace.*")}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardOld, Replicas: max(l.cfg.Topology.Replicas, 1), MaxAge: l.cfg.Keep, MaxBytes: l.cfg.Size, MaxMsgs: -1, MaxMsgSize: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1,
	}
	s, err := l.js.Stream(ctx, l.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = l.js.CreateStream(ctx, want)
		return err
	}
	if err != nil {
		return err
	}
	if is := s.CachedInfo().Config; is.MaxAge != want.MaxAge || is.MaxBytes != want.MaxBytes {
		is.MaxAge, is.MaxBytes, is.Duplicates = want.MaxAge, want.MaxBytes, min(is.Duplicates, want.MaxAge) // The server refuses a time within which it would look for what is gone.
		if _, err := l.js.UpdateStream(ctx, is); err != nil {
			l.cfg.Logger.Warn("the trace keeps its old bounds", "stream", l.name, "error", err)
		}
	}
	return nil
}

// flush publishes all that waits now. What cannot be published waits on, unless the server will never take it.
func (l *Log) flush(ctx context.Context) error {
	l.flushes.Lock()
	defer l.flushes.Unlock()
	if !l.provided {
		if err := l.provide(ctx); err != nil {
			return err
		}
		l.provided = true
	}
	for b := range trace.Buckets {
		l.mu.Lock()
		records := l.buckets[b]
		l.mu.Unlock()
		for len(records) > 0 {
			data, n, err := l.pack(records)
			if err == nil {
				err = l.publish(ctx, l.subject(b), data)
			}
			never := errors.Is(err, nats.ErrMaxPayload) || domain.Is(err, domain.Internal)
			if err != nil && !never {
				return err
			}
			if never {
				l.cfg.Logger.Warn("a part of the trace is dropped", "stream", l.name, "records", n, "error", err)
			}
			l.done(b, records[:n], never)
			records = records[n:]
		}
	}
	return nil
}

// publish makes the stream anew where somebody has removed it.
func (l *Log) publish(ctx context.Context, subject string, data []byte) error {
	_, err := l.js.Publish(ctx, subject, data)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		if err = l.provide(ctx); err == nil {
			_, err = l.js.Publish(ctx, subject, data)
		}
	}
	return err
}

// done forgets the first records of a bucket.
func (l *Log) done(bucket int, records []trace.Record, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets[bucket] = slices.Clone(l.buckets[bucket][len(records):])
	l.count -= len(records)
	for i := range records {
		l.size -= octets(&records[i])
	}
	if lost {
		l.dropped += uint64(len(records))
	}
}

func (l *Log) subject(bucket int) string {
	return l.cfg.Topology.Subject(fmt.Sprintf("trace.%x", bucket))
}

// pack makes a message of the first n records, as many as it may hold.
func (l *Log) pack(records []trace.Record) (data []byte, n int, err error) {
	var b bytes.Buffer
	if l.deflate == nil { // It takes more memory than what it writes, so one serves all.
		if l.deflate, err = flate.NewWriter(&b, flate.BestSpeed); err != nil {
			return nil, 1, err
		}
	}
	l.deflate.Reset(&b)
	for size := 0; n < len(records); n++ {
		text, err := trace.Marshal(records[n : n+1])
		if err != nil {
			return nil, n + 1, err
		}
		if size += len(text); size > portion && n > 0 {
			break
		}
		if _, err := l.deflate.Write(text); err != nil {
			return nil, n + 1, err
		}
	}
	if err = l.deflate.Close(); err != nil {
		return nil, n, err
	}
	return l.seal.Seal(b.Bytes()), n, nil
}

// maxUnpacked bounds one message of the stream.
const maxUnpacked = 64 << 20

func (l *Log) unpack(data []byte) ([]byte, error) {
	plain, err := l.seal.Open(data)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(plain)), maxUnpacked))
}

// Find gives what is known of a message, in the order of time, the last 1,000 records at most: the steps of all nodes, of the last seconds those of this one only. Errors: domain.Unavailable.
func (l *Log) Find(ctx context.Context, id string) (all []trace.Record, err error) {
	if err := l.flush(ctx); err != nil {
		return nil, unavailable(err)
	}
	s, err := l.js.Stream(ctx, l.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // Somebody has removed it, and the next record makes it anew.
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: []string{l.subject(trace.Bucket(id))}})
	if err != nil {
		return nil, unavailable(err)
	}
	defer func() { // The server would keep it for minutes.
		forget, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.DeleteConsumer(forget, consumer.CachedInfo().Name)
	}()
	if consumer.CachedInfo().NumPending == 0 {
		return nil, nil
	}
	messages, err := consumer.Messages(jetstream.PullExpiry(idle), jetstream.PullHeartbeat(idle/4))
	if err != nil {
		return nil, unavailable(err)
	}
	defer messages.Stop()
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		m, err := messages.Next()
		if err != nil {
			return nil, unavailable(errors.Join(err, ctx.Err()))
		}
		text, err := l.unpack(m.Data())
		if err == nil {
			var found []trace.Record
			found, err = trace.Find(text, id)
			all = append(all, found...)
			all = all[max(len(all)-most, 0):]
		}
		meta, wrong := m.Metadata()
		if wrong != nil {
			return nil, unavailable(wrong)
		}
		if err != nil {
			l.cfg.Logger.Warn("a part of the trace cannot be read", "stream", l.name, "message", meta.Sequence.Stream, "error", err)
		}
		if meta.NumPending == 0 {
			trace.Sort(all)
			return all, nil
		}
	}
}

func unavailable(err error) error { return domain.Wrap(domain.Unavailable, err, "read the trace") }
