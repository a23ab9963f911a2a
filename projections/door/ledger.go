package door

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// ledger is one log together with the state that it folds to: an account's, or the directory's.
//
// The state runs ahead of the log. A command is decided on the state's head, its events are folded at once, and its transaction is
// appended behind. So one account's log looks like this, from old to new:
//
//	durable ── inflight ── open
//	           (0 or 1)    (0 or 1, only while one is in flight)
//
// Rules:
//   - One append is in flight. Commands that come meanwhile share the open transaction, which goes out when the one before it has returned.
//   - Nobody may see a half of a transaction: reading the head seals the open transaction, and later commands wait for the next one.
//   - Nobody may tell the world what is not durable: readers, and commands that were refused or found nothing to do, wait for the last
//     transaction that they saw. If it did not become durable, they start again on a fresh state.
//   - Commands that share a transaction are told their own events only, but share its Tx and its actor, which names everybody who joined.
//   - An append that failed takes the state with it, since the state can no longer be told from the log. The next user loads it again.
//
// Locking: mu guards everything below it and is held for as long as deciding, folding or reading takes, never across I/O.
type ledger[S any] struct {
	id    domain.AccountID
	log   Log
	kind  kind[S]
	setup *setup

	mu       sync.RWMutex
	state    S
	loaded   bool
	durable  streams.Position // of the last transaction of state that is known to be in the log; valid while loaded
	inflight *txn
	open     *txn
	loading  *loading
	observed domain.Tx // the highest Tx that came back from the log, by whomever it was written
	erased   bool      // for ever

	weight  atomic.Int64 // of state, 0 while there is none
	watches watches
}

// kind is what tells one sort of ledger from another.
type kind[S any] struct {
	load    func(ctx context.Context, id domain.AccountID) (S, streams.Position, error)
	fold    func(s S, tx domain.Tx, e event.Event) // may panic, see account.State.Apply
	weigh   func(s S) int64
	settled func(s S, at streams.Position, events []event.Event) // called under the lock for what became durable; nil events mean a fresh state
	apart   func(open, more []event.Event) bool                  // keeps two commands from sharing a transaction; nil lets all
	hold    func(id domain.AccountID) func()                     // keeps the ledger from being evicted until the function it gives is called
}

// setup is what all ledgers of a door share.
type setup struct {
	clock  func() time.Time
	random io.Reader
	logger *slog.Logger
	limits Limits
	shared bool // other nodes write too
	stats  stats
}

// loading is one load that all who want the state wait for.
type loading struct {
	done chan struct{}
	err  error
}

// errStale says that a decision or a reading was made on a state that did not become the log's, and that nothing of it happened.
var errStale = errors.New("the state was overtaken")

func newLedger[S any](id domain.AccountID, log Log, k kind[S], s *setup) *ledger[S] {
	return &ledger[S]{id: id, log: log, kind: k, setup: s}
}

// do decides on the head of the state and returns once the events, or whatever the decision rests on, are durable.
func (l *ledger[S]) do(ctx context.Context, actor string, decide func(S) ([]event.Event, error)) (outcome Outcome, err error) {
	l.setup.stats.commands.Add(1)
	err = l.insist(ctx, func() error {
		outcome = Outcome{}
		t, events, refusal, err := l.enter(ctx, actor, decide)
		if err != nil {
			return err
		}
		if len(events) == 0 { // Refused, or nothing to do. The reason may lie in what is not durable yet.
			return l.rested(ctx, t, refusal)
		}
		if err := wait(ctx, t.done, "the change was sent, its outcome is unknown"); err != nil {
			return err
		}
		if t.err == nil {
			outcome = Outcome{Tx: t.tx, Events: events}
		}
		return t.err
	})
	return outcome, err
}

// view reads the head of the state and returns once what was read is durable.
func (l *ledger[S]) view(ctx context.Context, f func(S) error) error {
	return l.insist(ctx, func() error {
		t, err := l.read(ctx, f)
		return l.rested(ctx, t, err)
	})
}

// insist repeats an attempt that turns out to be stale, a bounded number of times.
func (l *ledger[S]) insist(ctx context.Context, attempt func() error) error {
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return domain.Wrap(domain.Unavailable, err, "the request ended before it was decided")
		}
		err := attempt()
		if !errors.Is(err, errStale) {
			return err
		}
		l.setup.stats.conflicts.Add(1)
		if n >= l.setup.limits.Attempts {
			return domain.Errorf(domain.Conflict, "others changed the account %d times while the request was decided: try again", n)
		}
		// Two nodes that contend for one account must not stay in step.
		pause := time.NewTimer(rand.N(l.setup.limits.Backoff << (n - 1)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// rested gives result once the transaction that it rests on is durable, or errStale if that failed.
func (l *ledger[S]) rested(ctx context.Context, t *txn, result error) error {
	if t == nil {
		return result
	}
	if err := wait(ctx, t.done, "what was read is not yet known to be durable"); err != nil {
		return err
	}
	switch {
	case t.err == nil:
		return result
	case domain.Is(t.err, domain.Erased):
		return t.err
	}
	return errStale
}

func wait(ctx context.Context, done <-chan struct{}, otherwise string) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return domain.Wrap(domain.Unavailable, ctx.Err(), otherwise)
	}
}

// enter decides and, if there are events, puts them into a transaction. t is that transaction, or the one that a refusal rests on.
func (l *ledger[S]) enter(ctx context.Context, actor string, decide func(S) ([]event.Event, error)) (t *txn, events []event.Event, refusal, err error) {
	for {
		if err := l.lock(ctx); err != nil {
			return nil, nil, nil, err
		}
		t, events, full, refusal := l.decide(actor, decide)
		if full == nil {
			return t, events, refusal, nil
		}
		if err := wait(ctx, full.started, "the request ended before it was decided"); err != nil {
			return nil, nil, nil, err
		}
	}
}

// decide is enter's part under the lock, which it releases. full is a transaction that has no room and must go out first.
func (l *ledger[S]) decide(actor string, decide func(S) ([]event.Event, error)) (t *txn, events []event.Event, full *txn, refusal error) {
	defer l.mu.Unlock()
	if l.open != nil && l.open.sealed.Load() {
		return nil, nil, l.open, nil
	}
	events, refusal = decide(l.state)
	if refusal != nil || len(events) == 0 {
		return l.tip(), nil, nil, refusal
	}
	if l.inflight == nil {
		t = newTxn(l.durable.Tx+1, actor)
		t.sealed.Store(true)
		if err := l.fold(t.tx, l.durable.Seq, events); err != nil {
			return nil, nil, nil, err
		}
		t.events = events
		l.inflight = t
		go l.send(t, l.durable, l.hold())
		return t, events, nil, nil
	}
	size := len(event.Marshal(&event.Transaction{Events: events}))
	t = l.open
	if t == nil {
		t = newTxn(l.inflight.tx+1, actor)
	} else if !t.admits(actor, len(events), size, l.setup.limits) || l.kind.apart != nil && l.kind.apart(t.events, events) {
		t.sealed.Store(true)
		return nil, nil, t, nil
	}
	if err := l.fold(t.tx, l.durable.Seq, events); err != nil {
		return nil, nil, nil, err
	}
	t.events = append(t.events, events...)
	t.actor = joinActors(t.actor, actor)
	t.size += size
	l.open = t
	return t, events, nil, nil
}

// tip is the last transaction of the state that is not durable yet.
func (l *ledger[S]) tip() *txn {
	if l.open != nil {
		return l.open
	}
	return l.inflight
}

// read runs f on the head. The transaction is the one that what f saw rests on.
func (l *ledger[S]) read(ctx context.Context, f func(S) error) (*txn, error) {
	for {
		l.mu.RLock()
		if l.loaded {
			break
		}
		l.mu.RUnlock()
		if err := l.lock(ctx); err != nil {
			return nil, err
		}
		l.mu.Unlock()
	}
	defer l.mu.RUnlock()
	if l.open != nil { // Nobody can join it before RUnlock, and nobody may after.
		l.open.sealed.Store(true)
	}
	return l.tip(), f(l.state)
}

// lock takes the lock with a state loaded.
func (l *ledger[S]) lock(ctx context.Context) error {
	for {
		l.mu.Lock()
		if l.loaded {
			return nil
		}
		if l.erased {
			l.mu.Unlock()
			return errErased(l.id)
		}
		if t := l.inflight; t != nil { // A load must not miss what is on its way.
			l.mu.Unlock()
			if err := wait(ctx, t.done, "the request ended before it was decided"); err != nil {
				return err
			}
			continue
		}
		if l.loading == nil {
			l.loading = &loading{done: make(chan struct{})}
			go l.load(l.loading)
		}
		loading := l.loading
		l.mu.Unlock()
		if err := wait(ctx, loading.done, "the account is still being loaded"); err != nil {
			return err
		}
		if loading.err != nil {
			return loading.err
		}
	}
}

func errErased(id domain.AccountID) error {
	return domain.Errorf(domain.Erased, "account %s was erased", id)
}
