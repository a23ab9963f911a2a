package listen

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// From is where a new listener begins.
type From int

// The places to begin. A listener that is not new goes on where it stopped.
const (
	Beginning From = iota // of the log: the listener fills itself with all that happened so far
	New                   // only what is appended from now on
)

// Handle handles entries of one account, in the order of the log. done says how many of them, from the first on, are handled; err is about the
// one after those and nil when all are. It is called again with an entry until that is handled or a dead letter, and must be idempotent. Entries
// of erased accounts are never given to it.
//
// An err of kind domain.Invalid, TooLarge or Corrupt makes a dead letter at once: it says that no retry can help. The text of err is kept in the
// dead letter and shown to operators, so it must not quote mail.
type Handle func(ctx context.Context, entries []streams.Entry) (done int, err error)

// Listener is a side effect of the log's entries.
type Listener struct {
	Name string // small letters, digits and "-"
	// Version is 1 or more. Another version is another listener: it has its own place in the log and its own dead letters, and can work beside the
	// old one until that is removed.
	Version   int
	From      From
	Directory bool // also hear the directory's stream
	Batch     int  // entries for one Handle; 0 means 1
	Retry     Retry
	Handle    Handle
}

// ID is the listener's name with its version, which names its consumers and dead letters.
func (l *Listener) ID() string { return fmt.Sprintf("%s-%d", l.Name, l.Version) }

// Outage marks an error that is about the destination as a whole rather than about an entry. The listener waits for as long as it lasts, and
// nothing becomes a dead letter.
func Outage(err error) error {
	if err == nil {
		return nil
	}
	return &outage{err}
}

type outage struct{ error }

func (o *outage) Unwrap() error { return o.error }

// IsOutage reports whether Outage made an error.
func IsOutage(err error) bool {
	var o *outage
	return errors.As(err, &o)
}

// running is a listener at work.
type running struct {
	Listener
	in        *Listeners
	cancel    context.CancelFunc
	done      chan struct{}
	consumers []*consumer
	accounts  keyed // one Handle for an account at a time, whoever calls

	handled, retried, lettered, skipped atomic.Uint64
	failures                            atomic.Int64 // outages in a row

	mu      sync.Mutex
	trouble string // the last error while it lasts
}

// entry opens what a lane was given. Errors: domain.Corrupt, and those after which to try again.
func (r *running) entry(ctx context.Context, stream string, d *delivery) (streams.Entry, error) {
	return r.in.cfg.Log.OpenEntry(ctx, stream, domain.Seq(d.seq), d.subject, d.data)
}

// work is what the lanes of one stream do with deliveries of one account.
func (r *running) work(ctx context.Context, stream string, batch []*delivery) (done int, pause time.Duration) {
	var entries []streams.Entry
	var broken error
	for _, d := range batch {
		var e streams.Entry
		if e, broken = r.entry(ctx, stream, d); broken != nil || e.Erased {
			break
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		if broken == nil { // erased
			r.skipped.Add(1)
			return 1, 0
		}
		return r.settle(ctx, streams.Entry{Account: accountOf(batch[0].subject), Stream: stream, Seq: domain.Seq(batch[0].seq)}, batch[0], broken)
	}
	done, err := r.call(ctx, entries)
	for range done {
		r.handled.Add(1)
	}
	if err == nil || ctx.Err() != nil {
		if err == nil {
			r.recovered()
		}
		return done, 0
	}
	more, pause := r.settle(ctx, entries[done], batch[done], err)
	return done + more, pause
}

// settle decides what becomes of an entry that failed.
func (r *running) settle(ctx context.Context, e streams.Entry, d *delivery, err error) (done int, pause time.Duration) {
	if ctx.Err() != nil {
		return 0, 0
	}
	r.retried.Add(1)
	r.mu.Lock()
	r.trouble = err.Error()
	r.mu.Unlock()
	if IsOutage(err) {
		return 0, r.Retry.pause(int(min(r.failures.Add(1), 30)))
	}
	r.failures.Store(0)
	if d.failed++; d.failed == 1 {
		d.first = r.in.cfg.Now()
	}
	if d.failed < r.Retry.Attempts && !hopeless(err) {
		return 0, r.Retry.pause(d.failed)
	}
	letter := Letter{
		Listener: r.ID(), Account: e.Account, Stream: e.Stream, Seq: e.Seq, Tx: e.Tx,
		Cause: err.Error(), Attempts: d.failed, First: d.first, Last: r.in.cfg.Now(),
	}
	if err := r.in.letters.add(ctx, letter); err != nil {
		r.in.cfg.Logger.Error("a dead letter cannot be written", "listener", r.ID(), "err", err)
		return 0, r.Retry.pause(d.failed)
	}
	r.in.cfg.Logger.Warn("an entry became a dead letter", "listener", r.ID(), "account", e.Account, "stream", e.Stream, "seq", e.Seq, "cause", letter.Cause)
	r.lettered.Add(1)
	return 1, 0
}

// hopeless says that no retry can help.
func hopeless(err error) bool {
	switch domain.KindOf(err) {
	case domain.Invalid, domain.TooLarge, domain.Corrupt:
		return true
	}
	return false
}

func (r *running) recovered() {
	if r.failures.Swap(0) != 0 || r.retried.Load() != 0 {
		r.mu.Lock()
		r.trouble = ""
		r.mu.Unlock()
	}
}

// call runs Handle for one account, never twice at once, and takes a panic for an error.
func (r *running) call(ctx context.Context, entries []streams.Entry) (done int, err error) {
	free, err := r.accounts.lock(ctx, entries[0].Account)
	if err != nil {
		return 0, err
	}
	defer free()
	defer func() {
		if p := recover(); p != nil {
			r.in.cfg.Logger.Error("a listener panicked", "listener", r.ID(), "panic", p, "stack", string(debug.Stack()))
			done, err = 0, domain.Errorf(domain.Internal, "the listener panicked; the server's log has the details")
		}
	}()
	done, err = r.Handle(ctx, entries)
	switch {
	case err == nil:
		done = len(entries)
	case done >= len(entries):
		done = len(entries) - 1 // an error is about an entry
	}
	return max(done, 0), err
}

// run starts a consumer for each stream and waits for them.
func (r *running) run(ctx context.Context) {
	defer close(r.done)
	var wg sync.WaitGroup
	for _, c := range r.consumers {
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				r.mu.Lock()
				r.trouble = err.Error()
				r.mu.Unlock()
				r.in.cfg.Logger.Warn("a listener ends", "listener", r.ID(), "stream", c.stream, "err", err)
			}
		})
	}
	wg.Wait()
}

func (r *running) consumer(stream string) *consumer {
	l := r.in
	c := &consumer{
		js: l.js, conn: l.js.Conn(), stream: stream, name: consumerName(r.ID()), limits: l.cfg.Limits, logger: l.cfg.Logger, tracker: newTracker(),
		key: func(subject string, _ nats.Header) string { return string(accountOf(subject)) },
	}
	c.lanes = newLanes(l.cfg.Limits.Parallel, max(r.Batch, 1), l.cfg.Limits.Memory, func(ctx context.Context, batch []*delivery) (int, time.Duration) {
		return r.work(ctx, stream, batch)
	}, c.finish, c.load)
	return c
}

// keyed is a lock for each key.
type keyed struct {
	mu   sync.Mutex
	busy map[domain.AccountID]chan struct{} // closed when it is free
}

func (k *keyed) lock(ctx context.Context, key domain.AccountID) (free func(), err error) {
	mine := make(chan struct{})
	for {
		k.mu.Lock()
		other, busy := k.busy[key]
		if !busy {
			if k.busy == nil {
				k.busy = map[domain.AccountID]chan struct{}{}
			}
			k.busy[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.busy, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
