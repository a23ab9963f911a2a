package streams

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Syncer makes streams durable on a server that acknowledges before its disk does. Errors are final: the log stops taking appends.
type Syncer interface {
	// Sync makes durable all that was acknowledged in a stream, to which messages were only added.
	Sync(ctx context.Context, stream string) error
	// SyncAll does so for a stream in which messages were also removed or overwritten, or of which nothing is known yet.
	SyncAll(ctx context.Context, stream string) error
}

// Marker is a Syncer that also remembers, outside the server, how far a stream was acknowledged.
type Marker interface {
	Mark(stream string, seq domain.Seq)
	Marked(stream string) domain.Seq
}

// Faulter is a Syncer that knows when a stream can no longer be written to, of which the server tells publishers nothing.
type Faulter interface {
	Faults() <-chan struct{} // closed by the first fault
	Fault(stream string) error
}

// Config tells Open what the log consists of.
type Config struct {
	Conn     *nats.Conn
	Topology Topology
	Master   *MasterKeys
	Syncer   Syncer // nil when the server syncs before it acknowledges
	Limits   Limits
	Logger   *slog.Logger // nil discards
	// Damaged opens a log that is known to have lost something, for Verify and for reading what is left. It takes no appends then.
	Damaged bool
	// Recalls opens a log although streams have holes: RecallFrom then has to be called, which proves that an archive has what is missing.
	Recalls bool
	// Failpoint is called at named steps, for tests that kill the process there: log.before-publish, log.published, log.synced.
	Failpoint func(name string)
	// KeysChanged is called when a rotation has made a master key, and when it has destroyed the old one. It returns when all other nodes have followed, and
	// an error keeps the rotation from going on; nil where there are no others.
	KeysChanged func(context.Context) error
	// Rewrapped is called when a rotation has wrapped every key anew, before it destroys the old master key: an error keeps that from being done. It may be nil.
	Rewrapped func(context.Context) error
	// Observe is told of every commit round, for metrics. It must not block.
	Observe func(Round)
}

// Round is what one commit round did.
type Round struct {
	Stream    string
	Appends   int // that were stored
	Conflicts int
	Publish   time.Duration // until the server had acknowledged all
	Sync      time.Duration // 0 where the server syncs by itself
}

// Log is the log of record. Make one with Open. All methods may be called at once from many goroutines.
type Log struct {
	cfg     Config
	js      jetstream.JetStream
	streams map[string]*stream
	names   []string // the directory's first, that of tasks last
	keys    *keyring

	recaller atomic.Pointer[Recaller] // the archive; nil without one
	recalled atomic.Uint64            // entries that came from there
	beyond   newest                   // where the newest of them stood

	stop context.CancelFunc
	done <-chan struct{} // closed when the log closes
	wg   sync.WaitGroup
}

// stream is one stream of the log.
type stream struct {
	name      string
	handle    jetstream.Stream
	committer committer
	horizon   *horizon // nil when whatever can be read is durable
	hole      *Finding // what it lacked when it was opened with Config.Recalls; nil when nothing
}

// Open connects the log to its streams: it creates them for a new installation and checks them for an existing one. Close ends it.
// Errors: domain.Invalid when the configuration contradicts the log, domain.Corrupt when the log has lost something, domain.Unavailable.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	if cfg.KeysChanged == nil {
		cfg.KeysChanged = func(context.Context) error { return nil }
	}
	if cfg.Rewrapped == nil {
		cfg.Rewrapped = func(context.Context) error { return nil }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Round) {}
	}
	if cfg.Conn == nil || cfg.Master == nil {
		return nil, domain.Errorf(domain.Invalid, "the log needs a connection and a master key")
	}
	if err := cfg.Topology.validate(); err != nil {
		return nil, err
	}
	if largest := cfg.Conn.MaxPayload(); largest < int64(cfg.Limits.Entry)+entryHeaders {
		return nil, &domain.Error{
			Kind: domain.Invalid,
			Msg:  fmt.Sprintf("the NATS server takes messages of up to %d octets, but a transaction may have %d", largest, cfg.Limits.Entry),
			Hint: "set max_payload: 8MB in the configuration of every server, and for the account where it has a limit of its own",
		}
	}
	js, err := jetstream.New(cfg.Conn,
		jetstream.WithPublishAsyncMaxPending(cfg.Limits.Waiting*4),
		jetstream.WithDefaultTimeout(cfg.Limits.Publish))
	if err != nil {
		return nil, unavailable(err, "use the log server")
	}
	handles, err := cfg.Topology.ensure(ctx, js, cfg.Syncer, cfg.Limits)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	l := &Log{cfg: cfg, js: js, streams: map[string]*stream{}, stop: stop, done: running.Done()}
	l.names = cfg.Topology.Streams()
	if err := l.open(ctx, running, handles); err != nil {
		_ = l.Close(ctx)
		return nil, err
	}
	return l, nil
}

func (l *Log) open(ctx, running context.Context, handles map[string]jetstream.Stream) error {
	for _, name := range l.names {
		s, err := l.openStream(ctx, name, handles[name])
		if err != nil {
			return err
		}
		l.streams[name] = s
		l.wg.Go(func() { s.committer.run(running) })
	}
	l.keys = newKeyring(l, handles[l.cfg.Topology.keys()])
	return l.keys.open(ctx)
}

func (l *Log) openStream(ctx context.Context, name string, handle jetstream.Stream) (*stream, error) {
	marked := l.marked(name)
	info, err := l.info(ctx, handle)
	if err != nil {
		return nil, err
	}
	s := &stream{name: name, handle: handle}
	if finding := lost(info, marked); finding != nil {
		switch {
		case l.cfg.Recalls && lostEnd(info, marked) == nil:
			s.hole = finding
		case !l.cfg.Damaged:
			return nil, finding.corrupt()
		}
		l.cfg.Logger.Error("the log is damaged", "error", finding)
	}
	if l.cfg.Syncer == nil {
		s.committer = newDirect(l, s)
		return s, nil
	}
	// ensure has synced all that the server recovered.
	s.horizon = newHorizon(domain.Seq(info.State.LastSeq), l.done)
	s.committer = newGroup(l, s)
	return s, nil
}

// marked is how far a stream is known to have been acknowledged.
func (l *Log) marked(stream string) domain.Seq {
	if m, ok := l.cfg.Syncer.(Marker); ok {
		return m.Marked(stream)
	}
	return 0
}

// lost compares what the server has of a stream with what it must have: all that was marked before the server was asked.
func lost(info *jetstream.StreamInfo, marked domain.Seq) *Finding {
	state := &info.State
	f := &Finding{Stream: info.Config.Name}
	if end := lostEnd(info, marked); end != nil {
		return end
	}
	switch {
	case state.LastSeq == 0:
		return nil
	case state.FirstSeq != 1:
		f.Seq, f.What = 1, fmt.Sprintf("the stream begins at sequence %d instead of 1", state.FirstSeq)
	case state.Msgs != state.LastSeq-state.FirstSeq+1 || state.NumDeleted != 0:
		f.What = fmt.Sprintf("the stream has %d messages from sequence %d to %d: %d are missing", state.Msgs, state.FirstSeq, state.LastSeq,
			state.LastSeq-state.FirstSeq+1-state.Msgs)
	default:
		return nil
	}
	return f
}

// lostEnd finds out whether a stream ends before what was acknowledged.
func lostEnd(info *jetstream.StreamInfo, marked domain.Seq) *Finding {
	last := domain.Seq(info.State.LastSeq)
	if last >= marked {
		return nil
	}
	return &Finding{Stream: info.Config.Name, Seq: last, What: fmt.Sprintf("the stream ends at sequence %d, but %d was acknowledged", last, marked)}
}

// Close stops the log. Appends that wait get domain.Unavailable. The connection stays open: it is the caller's.
func (l *Log) Close(ctx context.Context) error {
	l.stop()
	stopped := make(chan struct{})
	go func() { l.wg.Wait(); close(stopped) }()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err(), "close the log")
	}
}

// Topology tells what the log consists of, with the number of shards that it records.
func (l *Log) Topology() Topology { return l.cfg.Topology }

// Streams names every stream of the topology that holds transactions, the directory's first and that of tasks last.
func (l *Log) Streams() []string { return append([]string(nil), l.names...) }

// StreamOf names the stream that holds an account's log.
func (l *Log) StreamOf(id domain.AccountID) string {
	return l.cfg.Topology.StreamOf(id)
}

// Append seals t as transaction at.Tx+1 and returns once it is durable. When ctx ends before the append was begun, nothing is appended;
// after that Append waits for the outcome, at most Limits.Publish and Limits.Settle and a sync.
// Errors: domain.Conflict when the account's log does not stand at at; domain.Corrupt when its newest entry is lost; domain.TooLarge; domain.Erased; domain.NotFound without a key;
// domain.Unavailable, after which the transaction may be in the log or not: an append of the same transaction, with its ID, within two
// minutes is not stored twice and returns where it is.
func (l *Log) Append(ctx context.Context, id domain.AccountID, at Position, t *event.Transaction) (Position, error) {
	s, err := l.streamFor(id)
	if err != nil {
		return Position{}, err
	}
	if l.cfg.Damaged {
		return Position{}, errDamaged
	}
	key, err := l.keys.key(ctx, id)
	if err != nil {
		return Position{}, err
	}
	if key.erased {
		return Position{}, domain.Errorf(domain.Erased, "account %s is erased", id)
	}
	tx := at.Tx + 1
	sealed := seal(key, id, tx, at.Hash, event.Marshal(t))
	if len(sealed) > l.cfg.Limits.Entry {
		return Position{}, domain.Errorf(domain.TooLarge, "the transaction takes %d bytes, more than %d", len(sealed), l.cfg.Limits.Entry)
	}
	if l.beyond.of(id) > at.Seq { // what stands at at.Seq may look like the last one though it is not
		if _, err := l.Last(ctx, id); err != nil {
			return Position{}, err
		}
	}
	p := newPublication(s.handle, l.cfg.Topology.subjectOf(id), at.Seq, t.ID, sealed)
	p.same = func(data []byte) bool { return sameTransaction(key, id, data, t.ID) }
	if err := s.committer.commit(ctx, p); err != nil {
		return Position{}, err
	}
	position := Position{Seq: p.seq, Tx: tx, Hash: p.hash}
	if p.found != nil { // an earlier append of the same transaction
		h, err := parseHeader(p.found)
		if err != nil {
			return Position{}, domain.Wrap(domain.Corrupt, err, "read back an append")
		}
		position.Tx, position.Hash = h.tx, hashOf(p.found)
	}
	return position, nil
}

// sameTransaction reports whether a stored entry is the transaction with the given id. Transactions without an id are never the same.
func sameTransaction(key *accountKey, account domain.AccountID, sealed []byte, id [16]byte) bool {
	if id == [16]byte{} {
		return false
	}
	h, err := parseHeader(sealed)
	if err != nil {
		return false
	}
	plain, err := unseal(key, account, &h, sealed)
	if err != nil {
		return false
	}
	t, err := event.Unmarshal(plain)
	return err == nil && t.ID == id
}

var errDamaged = domain.Errorf(domain.Unavailable, "the log is open for reading only, because it is damaged")

func (l *Log) streamFor(id domain.AccountID) (*stream, error) {
	if _, err := domain.ParseAccountID(string(id)); err != nil {
		return nil, err
	}
	return l.streams[l.StreamOf(id)], nil
}

func (l *Log) streamNamed(name string) (*stream, error) {
	s, known := l.streams[name]
	if !known {
		return nil, domain.Errorf(domain.NotFound, "the log has no stream %q", name)
	}
	return s, nil
}

// Last reads where an account's log stands. It is the zero Position for an account without entries. Error: domain.Corrupt when the stream has lost the newest.
func (l *Log) Last(ctx context.Context, id domain.AccountID) (Position, error) {
	s, m, err := l.last(ctx, id)
	if err != nil {
		return Position{}, err
	}
	if newest := l.beyond.of(id); newest > 0 && (m == nil || domain.Seq(m.Sequence) < newest) {
		return Position{}, lostNewest(s.name, id, newest)
	}
	if m == nil {
		return Position{}, nil
	}
	h, err := parseHeader(m.Data)
	if err != nil {
		return Position{}, (&Finding{Stream: s.name, Account: id, Seq: domain.Seq(m.Sequence), What: err.Error()}).corrupt()
	}
	return Position{Seq: domain.Seq(m.Sequence), Tx: h.tx, Hash: hashOf(m.Data)}, nil
}

// last reads an account's last message when it is durable; nil when there is none.
func (l *Log) last(ctx context.Context, id domain.AccountID) (*stream, *jetstream.RawStreamMsg, error) {
	s, err := l.streamFor(id)
	if err != nil {
		return nil, nil, err
	}
	m, err := l.lastMessage(ctx, s.handle, l.cfg.Topology.subjectOf(id))
	if err != nil || m == nil {
		return s, nil, err
	}
	return s, m, s.durable(ctx, domain.Seq(m.Sequence))
}

// Head is the last durable position of a stream.
func (l *Log) Head(ctx context.Context, stream string) (domain.Seq, error) {
	s, err := l.streamNamed(stream)
	if err != nil {
		return 0, err
	}
	if s.horizon != nil {
		return s.horizon.seen(), nil
	}
	info, err := l.info(ctx, s.handle)
	if err != nil {
		return 0, err
	}
	return domain.Seq(info.State.LastSeq), nil
}

// Written tells when the newest entry of the log was stored, by its server's clock; the zero time when there is none.
func (l *Log) Written(ctx context.Context) (newest time.Time, err error) {
	for _, name := range l.names {
		info, err := l.info(ctx, l.streams[name].handle)
		if err != nil {
			return newest, err
		}
		if at := info.State.LastTime; info.State.LastSeq > 0 && at.After(newest) {
			newest = at
		}
	}
	return newest, nil
}

// Fault says why some stream takes no more appends; nil as long as all do. Only a new start can help then.
func (l *Log) Fault() error {
	for _, name := range l.names {
		if h := l.streams[name].horizon; h != nil {
			if err := h.broken(); err != nil {
				return err
			}
		}
		if f, ok := l.cfg.Syncer.(Faulter); ok {
			if err := f.Fault(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// durable waits until the stream is durable up to seq, which the caller has seen in it.
func (s *stream) durable(ctx context.Context, seq domain.Seq) error {
	if s.horizon == nil {
		return nil
	}
	return s.horizon.wait(ctx, seq)
}
