package door

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// This file lets a client that moves from one node to another find there what it was told on the first.

// Fresh returns when later Views show all that any node had acknowledged of the account when it was called. It does nothing where no other
// node writes: a server shows what it acknowledged itself. In a cluster it asks the log where the account stands, which takes the time of one
// message to the node that leads the account's stream and back. For the few seconds in which a leader that was cut off does not know yet that
// another leads, it may be that leader who answers, from what it knew.
// Errors: domain.Unavailable.
func (a *Accounts) Fresh(ctx context.Context, id domain.AccountID) error {
	if !a.setup.shared {
		return nil
	}
	h, err := a.acquire(id)
	if err != nil {
		return err
	}
	defer a.hot.release(h)
	return fresh(ctx, h.ledger, true)
}

// Fresh is that of the directory.
func (d *Directory) Fresh(ctx context.Context) error {
	if !d.setup.shared {
		return nil
	}
	return fresh(ctx, d.ledger, true)
}

// fresh is Fresh of any ledger. reload says what happens to a state that does not come there in time, see reach.
func fresh[S any](ctx context.Context, l *ledger[S], reload bool) error {
	l.mu.RLock()
	cold := !l.loaded && l.loading == nil // whoever loads it asks the log anyway, later than now
	l.mu.RUnlock()
	if cold {
		return nil
	}
	at, err := l.log.Last(ctx, l.id)
	if err != nil {
		return classify(err, "ask where the account's log stands")
	}
	return l.reach(ctx, at, reload)
}

// reach waits until the state, if it is loaded, has come to a position of the log. Whoever loads it later finds that anyway. A state that does not
// come there in time is forgotten to reload it, since loading does without the projector where it must; or else that is domain.Unavailable, for what
// strangers can ask as often as they like.
func (l *ledger[S]) reach(ctx context.Context, at streams.Position, reload bool) error {
	w := l.watches.add(nil, func() {})
	defer w.Close()
	patience := time.NewTimer(l.setup.limits.LoadPatience)
	defer patience.Stop()
	for {
		l.mu.RLock()
		there := !l.loaded || l.headTx() >= at.Tx
		l.mu.RUnlock()
		if there {
			return nil
		}
		select {
		case <-w.C:
		case <-patience.C:
			if !reload {
				return domain.Wrap(domain.Unavailable, context.DeadlineExceeded, notShownYet)
			}
			l.forget()
		case <-ctx.Done():
			return domain.Wrap(domain.Unavailable, ctx.Err(), notShownYet)
		}
	}
}

const notShownYet = "this node does not yet show what another has acknowledged"

// lastFrom asks where an account's log stands, in a cluster until the answer is not behind a position that this node has seen, or ctx ends: then it gives
// the last answer.
func (a *Accounts) lastFrom(ctx context.Context, id domain.AccountID, seen domain.Seq) (last streams.Position, err error) {
	for {
		last, err = a.log.Last(context.WithoutCancel(ctx), id)
		if err != nil || last.Seq >= seen || !a.setup.shared {
			return last, err
		}
		pause := time.NewTimer(a.setup.limits.Backoff)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return last, nil
		}
	}
}

// again runs a question to the directory that got no or a bad answer once more where another node may have changed what it is about.
func (d *Directory) again(ctx context.Context, err error, ask func() error) error {
	if err == nil || !d.setup.shared || !domain.Is(err, domain.NotFound) && !domain.Is(err, domain.Denied) {
		return err
	}
	if err := fresh(ctx, d.ledger, !domain.Is(err, domain.Denied)); err != nil {
		return err
	}
	return ask()
}
