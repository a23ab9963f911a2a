package streams

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// Source is what a log is restored from.
type Source interface {
	// Keys yields the newest record of every name.
	Keys(ctx context.Context) iter.Seq2[KeyRecord, error]
	// Entries yields transactions. Those of an account come in order, from its first on and without a gap.
	Entries(ctx context.Context) iter.Seq2[Sealed, error]
}

// RestoreConfig says where a log is restored.
type RestoreConfig struct {
	Conn     *nats.Conn
	Topology Topology // with Shards as the lost log had them
	Syncer   Syncer   // as of Config
	Limits   Limits
	Logger   *slog.Logger // nil discards
	Progress func(entries, keys uint64)
	// Filled is called when everything is there, before the log may be used: what was made of the lost log has to go then. It may be nil.
	Filled func(ctx context.Context) error
}

// Restored is what a log was restored to.
type Restored struct {
	Generation string // of the log now
	Entries    uint64
	Accounts   int
	Keys       int
	Last       time.Time // when the newest entry was written
}

// Restore fills an empty log from a source: keys first, then transactions, as they were sealed. Sequences are new, so the log begins a new generation.
// Until it has come to its end the log opens for nobody, and Restore may be repeated: it begins anew. Errors: domain.Exists when the log is not empty,
// domain.Corrupt for transactions that do not follow each other, domain.Unavailable, and those of the source.
func Restore(ctx context.Context, cfg RestoreConfig, from Source) (*Restored, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(uint64, uint64) {}
	}
	if cfg.Filled == nil {
		cfg.Filled = func(context.Context) error { return nil }
	}
	if err := cfg.Topology.validate(); err != nil {
		return nil, err
	}
	if cfg.Topology.Shards == 0 {
		return nil, domain.Errorf(domain.Invalid, "a log can only be restored with the number of shards that it had")
	}
	js, err := jetstream.New(cfg.Conn, jetstream.WithPublishAsyncMaxPending(restoreWindow), jetstream.WithDefaultTimeout(cfg.Limits.Publish))
	if err != nil {
		return nil, unavailable(err, "use the log server")
	}
	var random [4]byte
	_, _ = rand.Read(random[:])
	cfg.Topology.Generation = newGeneration(time.Now(), random)
	r := &restoration{RestoreConfig: cfg, js: js, last: map[string]uint64{}, at: map[domain.AccountID]Position{}}
	r.sum.Generation = cfg.Topology.Generation
	for _, step := range []func(context.Context) error{r.empty, r.create, r.keys(from), r.entries(from), cfg.Filled, r.finish} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return &r.sum, nil
}

// Restoring tells whether a restore is filling the log, or was cut off.
func Restoring(ctx context.Context, conn *nats.Conn, t Topology) (bool, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return false, unavailable(err, "use the log server")
	}
	s, err := lookup(ctx, js, Limits{}.withDefaults(), t.directory())
	return s != nil && s.CachedInfo().Config.Metadata[metaRestoring] != "", err
}

// restoreWindow is how many messages are on their way at once.
const restoreWindow = 1024

type restoration struct {
	RestoreConfig
	js    jetstream.JetStream
	names []string
	last  map[string]uint64 // sequence of each stream
	at    map[domain.AccountID]Position
	sum   Restored

	waiting []jetstream.PubAckFuture
}

// empty makes sure that nothing is lost: it refuses streams with messages, unless an earlier restore left them, and removes what is there. As long as the
// directory's stream is marked, nobody has used the log, though the marks of others may be gone already.
func (r *restoration) empty(ctx context.Context) error {
	directory, err := lookup(ctx, r.js, r.Limits, r.Topology.directory())
	if err != nil {
		return err
	}
	unused := directory != nil && directory.CachedInfo().Config.Metadata[metaRestoring] != ""
	for _, want := range r.Topology.configs() {
		s, err := lookup(ctx, r.js, r.Limits, want.Name)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if info := s.CachedInfo(); info.State.LastSeq > 0 && info.Config.Metadata[metaRestoring] == "" && !unused {
			return &domain.Error{
				Kind: domain.Exists, Msg: fmt.Sprintf("the log is not empty: stream %s holds %d messages", want.Name, info.State.Msgs),
				Hint: "a log is restored into an empty one only; move the log's directory away, or choose another streams.prefix",
			}
		}
	}
	for _, want := range r.Topology.configs() {
		if err := r.js.DeleteStream(ctx, want.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return unavailable(err, "remove the empty stream "+want.Name)
		}
	}
	return nil
}

// create makes the streams, marked as not to be used. The directory's comes first: by it others see that there is a log, and that it is not whole.
func (r *restoration) create(ctx context.Context) error {
	configs := r.Topology.configs()
	for i := range configs {
		cfg := configs[len(configs)-1-i]
		cfg.Metadata = maps.Clone(cfg.Metadata)
		cfg.Metadata[metaRestoring] = "1"
		if _, err := order(ctx, r.Limits.Publish, func(ctx context.Context) (jetstream.Stream, error) { return r.js.CreateStream(ctx, cfg) }); err != nil {
			return unavailable(err, "create stream "+cfg.Name)
		}
		r.names = append(r.names, cfg.Name)
	}
	return nil
}

func (r *restoration) keys(from Source) func(context.Context) error {
	return func(ctx context.Context) error {
		for record, err := range from.Keys(ctx) {
			if err != nil {
				return err
			}
			if err := r.publish(ctx, r.Topology.keys(), &nats.Msg{Subject: r.Topology.subject("keys." + record.Name), Data: record.Data}); err != nil {
				return err
			}
			r.sum.Keys++
			r.Progress(r.sum.Entries, uint64(r.sum.Keys))
		}
		return r.settle(ctx)
	}
}

func (r *restoration) entries(from Source) func(context.Context) error {
	return func(ctx context.Context) error {
		for e, err := range from.Entries(ctx) {
			if err != nil {
				return err
			}
			at := r.at[e.Account]
			if e.Tx != at.Tx+1 || e.Prev != at.Hash {
				return (&Finding{Stream: e.Stream, Account: e.Account, Tx: e.Tx, Seq: e.Seq, What: fmt.Sprintf("it does not follow transaction %d in the archive", at.Tx)}).corrupt()
			}
			r.at[e.Account] = Position{Tx: e.Tx, Hash: e.Hash}
			if err := r.publish(ctx, r.Topology.StreamOf(e.Account), &nats.Msg{
				Subject: r.Topology.subjectOf(e.Account), Data: e.Data, Header: nats.Header{writtenHeader: []string{strconv.FormatInt(e.Written.UnixNano(), 10)}},
			}); err != nil {
				return err
			}
			if r.sum.Entries++; e.Written.After(r.sum.Last) {
				r.sum.Last = e.Written
			}
			r.Progress(r.sum.Entries, uint64(r.sum.Keys))
		}
		for id := range r.at {
			if !id.Pseudo() {
				r.sum.Accounts++
			}
		}
		return r.settle(ctx)
	}
}

// publish sends a message that must become the next one of its stream: nobody else writes to it, so none is stored twice and none is left out.
func (r *restoration) publish(ctx context.Context, stream string, m *nats.Msg) error {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(r.last[stream], 10))
	future, err := r.js.PublishMsgAsync(m, jetstream.WithStallWait(r.Limits.Publish))
	if err != nil {
		return unavailable(err, "restore "+stream)
	}
	r.last[stream]++
	if r.waiting = append(r.waiting, future); len(r.waiting) >= restoreWindow {
		return r.settle(ctx)
	}
	return nil
}

// settle waits until all that was sent is stored.
func (r *restoration) settle(ctx context.Context) error {
	timer := time.NewTimer(r.Limits.Publish + r.Limits.Settle)
	defer timer.Stop()
	for _, future := range r.waiting {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return unavailable(err, "restore the log")
		case <-timer.C:
			return unavailable(nats.ErrTimeout, "restore the log")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.waiting = r.waiting[:0]
	return nil
}

// finish makes everything durable and lets the log be used, the directory's stream last.
func (r *restoration) finish(ctx context.Context) error {
	sync := func(stream string) error {
		if r.Syncer == nil {
			return nil
		}
		return r.Syncer.SyncAll(ctx, stream)
	}
	for _, name := range r.names {
		if err := sync(name); err != nil {
			return err
		}
	}
	for _, cfg := range r.Topology.configs() {
		if _, err := order(ctx, r.Limits.Publish, func(ctx context.Context) (jetstream.Stream, error) { return r.js.UpdateStream(ctx, cfg) }); err != nil {
			return unavailable(err, "end the restore of stream "+cfg.Name)
		}
		if err := sync(cfg.Name); err != nil {
			return err
		}
		if m, ok := r.Syncer.(Marker); ok && r.last[cfg.Name] > 0 {
			m.Mark(cfg.Name, domain.Seq(r.last[cfg.Name]))
		}
	}
	return nil
}
