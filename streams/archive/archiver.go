package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Limits bound an Archiver. The zero value means the defaults.
type Limits struct {
	Every    time.Duration // between two looks at the log: what is appended is archived at the next; 5 s
	Batch    int           // octets of transactions that are read before they are written; 16 MiB
	Segment  int           // octets of a segment that is not merged with others any more; 8 MiB
	Fan      int           // segments of about one size that are merged into one; 8
	Accounts int           // accounts whose segments are remembered, so that merging need not look for them; 65,536
	Parallel int           // objects that are written at the same time, where each takes long; 1
}

func (l Limits) withDefaults() Limits {
	orElse(&l.Every, 5*time.Second)
	orElse(&l.Batch, 16<<20)
	orElse(&l.Segment, 8<<20)
	orElse(&l.Fan, 8)
	orElse(&l.Accounts, 65536)
	orElse(&l.Parallel, 1)
	return l
}

func orElse[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Config is what an Archiver works with.
type Config struct {
	Store  *Store
	Log    *streams.Log
	Turn   *Turn // nil where nobody else writes to the archive
	Limits Limits
	Logger *slog.Logger // nil discards
	// Failpoint is called at archive.segments, when segments are written and their cursor is not, and at archive.merged, when a merged segment is written
	// and those that it replaces are still there. It may be nil.
	Failpoint func(name string)
}

// Archiver copies the log to the archive until it is stopped.
type Archiver struct {
	cfg Config

	working sync.Mutex                 // one round at a time
	began   bool                       // the root is as it must be, and the cursors are read
	noted   bool                       // the generation is known to be complete
	keys    domain.Seq                 // of KEYS, up to which records are archived
	cursors map[string]domain.Seq      // of streams
	runs    map[domain.AccountID][]run // segments of accounts, where they are known
	stats   struct{ segments, merged, octets, keys, failures atomic.Uint64 }

	mu     sync.Mutex
	failed error                // why the last round did not come to its end
	since  map[string]time.Time // when a stream was first seen to be ahead of its cursor, and has been since
	shown  map[string]domain.Seq
	idle   bool // another node has the turn
}

// run is a segment as the merger knows it.
type run struct {
	first, last domain.Tx
	octets      int // of its transactions, or a little more
}

// NewArchiver makes an Archiver.
func NewArchiver(cfg Config) *Archiver {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	return &Archiver{cfg: cfg, cursors: map[string]domain.Seq{}, runs: map[domain.AccountID][]run{}, since: map[string]time.Time{}, shown: map[string]domain.Seq{}}
}

// lastRound bounds the round that is made when the server stops.
const lastRound = 5 * time.Second

// Run archives until ctx ends, and then what is there. It never fails: while the bucket is away, the log waits.
func (a *Archiver) Run(ctx context.Context) error {
	tick := time.NewTicker(a.cfg.Limits.Every)
	defer tick.Stop()
	for {
		a.again(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRound)
			defer cancel()
			a.again(last)
			if a.cfg.Turn != nil {
				a.cfg.Turn.Yield(last)
			}
			return nil
		}
	}
}

// again makes a round and remembers how it ended.
func (a *Archiver) again(ctx context.Context) {
	err := a.Round(ctx)
	if err != nil && ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	before := a.failed
	a.failed = err
	a.mu.Unlock()
	switch {
	case err == nil && before != nil:
		a.cfg.Logger.Info("the log is archived again")
	case err != nil && (before == nil || before.Error() != err.Error()):
		a.cfg.Logger.Error("the log cannot be archived now: it is tried again", "error", err)
	}
	if err != nil {
		a.stats.failures.Add(1)
	}
}

// Round archives what the log holds now. What is wrong with one stream keeps no other from being archived. Errors: domain.Conflict when the archive is
// another log's, or of another history, domain.Corrupt, domain.Unavailable.
func (a *Archiver) Round(ctx context.Context) error {
	a.working.Lock()
	defer a.working.Unlock()
	if err := a.round(ctx); !errors.Is(err, errElsewhere) {
		return err
	}
	return nil
}

func (a *Archiver) round(ctx context.Context) error {
	if err := a.inTurn(ctx, true, a.begin); err != nil {
		return err
	}
	if err := a.archiveKeys(ctx); err != nil {
		return err
	}
	var all error
	for _, stream := range a.cfg.Log.Streams() {
		err := a.archiveStream(ctx, stream)
		if errors.Is(err, errElsewhere) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			all = errors.Join(all, fmt.Errorf("archive %s: %w", stream, err))
		}
	}
	if all == nil {
		all = a.inTurn(ctx, false, a.complete)
	}
	return all
}

// errElsewhere says that another node has the turn.
var errElsewhere = &domain.Error{
	Kind: domain.Unavailable, Msg: "another node archives the log",
	Hint: "give the command the node that does, with --url: archive in doctor says which nodes do not",
}

// inTurn calls f when this node has the turn, if others write too, and bounds it by that. ask makes sure anew that it has; else an answer of just before is
// good enough. When the turn is lost, what is known of the archive is given up. Error: errElsewhere, domain.Unavailable, those of f.
func (a *Archiver) inTurn(ctx context.Context, ask bool, f func(context.Context) error) error {
	if a.cfg.Turn == nil {
		return f(ctx)
	}
	take := a.cfg.Turn.Hold
	if ask {
		take = a.cfg.Turn.Take
	}
	until, mine, err := take(ctx)
	a.mu.Lock()
	a.idle = err == nil && !mine
	a.mu.Unlock()
	if err == nil && !mine {
		err = errElsewhere
	}
	if err != nil {
		a.forget()
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return f(ctx)
}

// forget gives up what is known of the archive, which another node writes.
func (a *Archiver) forget() {
	a.began, a.noted, a.keys = false, false, 0
	clear(a.cursors)
	clear(a.runs)
}

// begin reads where the archive stands.
func (a *Archiver) begin(ctx context.Context) error {
	if a.began {
		return nil
	}
	if err := a.keepRoot(ctx); err != nil {
		return err
	}
	for _, stream := range a.cfg.Log.Streams() {
		at, hash, err := a.cursor(ctx, stream)
		if err != nil {
			return err
		}
		head, err := a.cfg.Log.Head(ctx, stream)
		if err != nil {
			return err
		}
		if at > head {
			kind := domain.Corrupt
			if a.cfg.Log.Topology().Replicas > 1 { // a server that was left behind may have answered
				kind = domain.Unavailable
			}
			return domain.Errorf(kind, "the archive has %s up to sequence %d, and the log ends at %d", stream, at, head)
		}
		if err := a.sameHistory(ctx, stream, at, hash); err != nil {
			return err
		}
		a.cursors[stream] = at
		a.show(stream, at, head)
	}
	keys, _, err := a.cursor(ctx, keysCursor)
	if err != nil {
		return err
	}
	a.keys, a.began = keys, true
	return nil
}

// sameHistory refuses to archive on a log that does not have at the cursor of a stream what was archived there.
func (a *Archiver) sameHistory(ctx context.Context, stream string, at domain.Seq, hash streams.Hash) error {
	if at == 0 || hash == (streams.Hash{}) {
		return nil
	}
	for e, err := range a.cfg.Log.Sealed(ctx, stream, at-1, at) {
		switch {
		case domain.Is(err, domain.Corrupt) && ctx.Err() == nil: // what is lost there proves nothing
			return nil
		case err != nil:
			return err
		case e.Hash != hash:
			return &domain.Error{
				Kind: domain.Conflict, Msg: fmt.Sprintf("the log has another entry at sequence %d of %s than the archive: it was taken back to an older state and went on from there", at, stream),
				Hint: "the archive has what was lost then: keep it, and decide whether log restore should bring that back; to archive the log as it is now, let the archive lie in another place",
			}
		}
	}
	return nil
}

// cursor reads the cursor of a stream. With one that cannot be read, the stream is archived anew: that replaces what is there.
func (a *Archiver) cursor(ctx context.Context, stream string) (domain.Seq, streams.Hash, error) {
	at, hash, err := a.cfg.Store.cursorAt(ctx, a.cfg.Store.generation, stream)
	if domain.Is(err, domain.Corrupt) && ctx.Err() == nil {
		a.cfg.Logger.Error("a cursor of the archive is damaged: the stream is archived anew", "stream", stream, "error", err)
		return 0, hash, nil
	}
	return at, hash, err
}

// keysCursor stands for KEYS among the streams.
const keysCursor = "KEYS"

func (a *Archiver) keepRoot(ctx context.Context) error {
	secret, err := a.cfg.Log.Secret(ctx, purpose)
	if err != nil {
		return err
	}
	record, err := a.cfg.Log.KeyRecord(ctx, streams.SecretRecord(purpose))
	if err != nil {
		return err
	}
	return a.cfg.Store.keepRoot(ctx, a.cfg.Log.Master(), secret, record.Data, a.cfg.Log.Topology().Shards, time.Now())
}

// Stats is what an Archiver did since the start.
type Stats struct {
	Segments, Merged, Octets, Keys, Failures uint64
}

// Stats tells what was done.
func (a *Archiver) Stats() Stats {
	s := &a.stats
	return Stats{s.segments.Load(), s.merged.Load(), s.octets.Load(), s.keys.Load(), s.failures.Load()}
}

// Lag is how far the archive is behind a stream.
type Lag struct {
	Stream  string
	Cursor  domain.Seq
	Entries uint64
	Seconds float64 // since the oldest of them was seen; 0 without any
}

// State tells how far behind the archive is, why, if something keeps it from going on, and whether it is another node that writes it.
func (a *Archiver) State(ctx context.Context) (lags []Lag, elsewhere bool, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idle {
		return nil, true, nil
	}
	for _, stream := range a.cfg.Log.Streams() {
		l := Lag{Stream: stream, Cursor: a.shown[stream]}
		if head, err := a.cfg.Log.Head(ctx, stream); err == nil && head > l.Cursor {
			l.Entries = uint64(head - l.Cursor)
			if since, known := a.since[stream]; known {
				l.Seconds = time.Since(since).Seconds()
			}
		}
		lags = append(lags, l)
	}
	return lags, false, a.failed
}

// show notes where a stream stands, for State.
func (a *Archiver) show(stream string, at, head domain.Seq) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at > a.shown[stream] || at >= head {
		delete(a.since, stream)
	}
	if _, known := a.since[stream]; !known && at < head {
		a.since[stream] = time.Now()
	}
	a.shown[stream] = at
}

// Erase replaces the key of an erased account and deletes its segments. It may be repeated.
func (a *Archiver) Erase(ctx context.Context, id domain.AccountID) error {
	return a.cfg.Store.Erase(ctx, a.cfg.Log, id)
}

// Erase replaces the key of an account that was erased by the log's note of that, and deletes its segments. It may be repeated. Of an account that is not
// erased nothing is changed.
func (s *Store) Erase(ctx context.Context, log *streams.Log, id domain.AccountID) error {
	r, err := log.KeyRecord(ctx, streams.AccountRecord(id))
	if domain.Is(err, domain.NotFound) || err == nil && !r.Erased {
		return nil
	}
	if err != nil {
		return err
	}
	if has, err := s.key(ctx, r.Name); err != nil || !bytes.Equal(has.Data, r.Data) {
		if err := s.putKey(ctx, &r); err != nil {
			return err
		}
	}
	return s.removeAccount(ctx, id)
}

// parallel runs some functions at the same time and keeps the first error.
type parallel struct {
	limit int
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error
}

func (p *parallel) do(ctx context.Context, f func(context.Context) error) {
	if p.slots == nil {
		p.slots = make(chan struct{}, p.limit)
	}
	p.slots <- struct{}{}
	p.mu.Lock()
	broken := p.err != nil
	p.mu.Unlock()
	if broken || ctx.Err() != nil {
		<-p.slots
		p.fail(ctx.Err())
		return
	}
	p.wg.Go(func() {
		defer func() { <-p.slots }()
		p.fail(f(ctx))
	})
}

func (p *parallel) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = cmpOr(p.err, err)
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (p *parallel) wait() error {
	p.wg.Wait()
	return p.err
}
