package door

import (
	"context"
	"fmt"
	"io"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// This file is the side of a ledger that faces the log: loading, appending, and learning what became of it.

// load fetches the state. It is nobody's in particular, so it ends neither with the first who wanted it nor without a bound.
func (l *ledger[S]) load(p *loading) {
	ctx, cancel := context.WithTimeout(context.Background(), l.setup.limits.LoadTimeout)
	defer cancel()
	for {
		l.setup.stats.loads.Add(1)
		state, at, err := l.kind.load(ctx, l.id)
		l.mu.Lock()
		if err == nil && l.observed > at.Tx { // An entry came by while the state was read without it.
			if ctx.Err() == nil {
				l.mu.Unlock()
				continue
			}
			err = domain.Wrap(domain.Unavailable, ctx.Err(), "the view does not catch up with the account's log")
		}
		if err == nil && !l.erased {
			l.state, l.durable, l.loaded = state, at, true
			l.weight.Store(l.kind.weigh(state))
			l.settled(nil)
		}
		p.err = err
		l.loading = nil
		l.mu.Unlock()
		close(p.done)
		return
	}
}

func (l *ledger[S]) hold() func() {
	if l.kind.hold == nil {
		return func() {}
	}
	return l.kind.hold(l.id)
}

// send appends transactions until none is left.
func (l *ledger[S]) send(t *txn, at streams.Position, release func()) {
	defer release()
	for t != nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.setup.limits.AppendTimeout)
		pos, err := l.append(ctx, t, at)
		cancel()
		t, at = l.settle(t, pos, err)
	}
}

func (l *ledger[S]) append(ctx context.Context, t *txn, at streams.Position) (streams.Position, error) {
	sealed := &event.Transaction{At: l.setup.clock().UnixMilli(), Actor: t.actor, Events: t.events}
	if _, err := io.ReadFull(l.setup.random, sealed.ID[:]); err != nil {
		return at, domain.Wrap(domain.Internal, err, "draw a transaction id")
	}
	l.setup.stats.transactions.Add(1)
	return l.log.Append(ctx, l.id, at, sealed)
}

// settle books what became of the transaction in flight, tells those who wait, and gives the next one to send.
func (l *ledger[S]) settle(t *txn, pos streams.Position, err error) (*txn, streams.Position) {
	l.mu.Lock()
	l.inflight = nil
	switch {
	case err != nil:
		if domain.Is(err, domain.Conflict) {
			err = errStale // Somebody else wrote first: nothing of t happened.
		}
		l.erased = l.erased || domain.Is(err, domain.Erased)
		l.drop()
	case l.loaded: // If it is not, the state went while t was on its way; t is in the log all the same.
		l.durable = pos
		l.inflight, l.open = l.open, nil
		l.weight.Store(l.kind.weigh(l.state))
		l.settled(t.events)
	}
	next := l.inflight
	if next != nil {
		next.sealed.Store(true)
		close(next.started)
	}
	l.mu.Unlock()

	t.err = err
	close(t.done)
	l.watches.tell()
	return next, pos
}

func (l *ledger[S]) settled(events []event.Event) {
	if l.kind.settled != nil {
		l.kind.settled(l.state, l.durable, events)
	}
}

// drop forgets the state. What is open never left, so its commands begin anew; what is in flight will be settled by send.
func (l *ledger[S]) drop() {
	var none S
	l.state, l.loaded, l.durable = none, false, streams.Position{}
	l.weight.Store(0)
	if t := l.open; t != nil {
		l.open = nil
		t.err = errStale
		close(t.started)
		close(t.done)
	}
}

// fold applies events to the head. A fact that contradicts the state is a damaged log or a fault of this program; either way the state is
// half changed and goes.
func (l *ledger[S]) fold(tx domain.Tx, seq domain.Seq, events []event.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("account %s, Tx %d, Seq %d: %v", l.id, tx, seq, r), "the account's log contradicts itself")
			l.drop()
		}
	}()
	for _, e := range events {
		l.kind.fold(l.state, tx, e)
	}
	return nil
}

// observe takes an entry that came back from the log. Most are this ledger's own; those of other nodes are folded or, where that cannot be
// done, make the state go.
func (l *ledger[S]) observe(e *streams.Entry) {
	l.mu.Lock()
	l.observed = max(l.observed, e.Tx)
	var err error
	switch {
	case e.Erased:
		l.erased = true
		l.drop()
	case !l.loaded:
	case e.Tx <= l.headTx():
		l.mu.Unlock()
		return
	case e.Tx == l.durable.Tx+1 && l.inflight == nil:
		if err = l.fold(e.Tx, e.Seq, e.Transaction.Events); err == nil {
			l.durable = e.Position()
			l.weight.Store(l.kind.weigh(l.state))
			l.settled(e.Transaction.Events)
		}
	default:
		l.drop()
	}
	l.mu.Unlock()
	l.watches.tell()
	if err != nil {
		l.setup.logger.Error("an entry of the log cannot be folded", "account", l.id, "stream", e.Stream, "tx", e.Tx, "seq", e.Seq, "error", err)
	}
}

// headTx is the number of the state's last transaction, durable or not.
func (l *ledger[S]) headTx() domain.Tx {
	if t := l.tip(); t != nil {
		return t.tx
	}
	return l.durable.Tx
}

// position is where the log stands as far as this ledger knows, with the state loaded.
func (l *ledger[S]) position(ctx context.Context) (streams.Position, error) {
	if err := l.lock(ctx); err != nil {
		return streams.Position{}, err
	}
	defer l.mu.Unlock()
	return l.durable, nil
}

// erase makes the ledger refuse everything from now on and tells those who watch.
func (l *ledger[S]) erase() {
	l.mu.Lock()
	l.erased = true
	l.drop()
	l.mu.Unlock()
	l.watches.tell()
}

// forget makes the next user load the state again.
func (l *ledger[S]) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// discard forgets the state to free memory, unless an append is in flight or the lock is taken.
func (l *ledger[S]) discard() bool {
	if !l.mu.TryLock() {
		return false
	}
	defer l.mu.Unlock()
	if l.inflight != nil || l.loading != nil {
		return false
	}
	l.drop()
	return true
}
