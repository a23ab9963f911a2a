package door

import (
	"context"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/streams"
)

// Thread finds the conversation that a message belongs to in an account; 0 if it begins one. It knows of all messages that are durable.
// Errors: domain.Erased, domain.Unavailable.
func (a *Accounts) Thread(ctx context.Context, id domain.AccountID, s *message.Summary) (domain.ThreadID, error) {
	if len(s.Keys) == 0 {
		return 0, nil
	}
	h, err := a.acquire(id)
	if err != nil {
		return 0, err
	}
	defer a.hot.release(h)
	at, err := h.ledger.position(ctx)
	if err != nil || at.Tx == 0 {
		return 0, err
	}
	thread, before := h.threads.find(s.Keys)
	if thread != 0 {
		return thread, nil
	}
	if err := a.views.Wait(ctx, a.log.StreamOf(id), before); err != nil {
		return 0, classify(err, "wait for the account's rows")
	}
	if thread, err = a.views.Thread(ctx, id, s); err != nil {
		return 0, classify(err, "look for the message's thread")
	}
	return thread, nil
}

// recentThreads remembers the thread keys of the messages that came into one account last. So a delivery, which asks for its thread first,
// need not wait until the projector has the rows of the delivery before it.
type recentThreads struct {
	mu     sync.Mutex
	before domain.Seq // the messages of entries up to this one are in the rows only
	queue  []recentThread
}

// maxRecentThreads is how many messages are remembered for each account.
const maxRecentThreads = 32

type recentThread struct {
	seq    domain.Seq
	keys   []uint64
	thread domain.ThreadID
}

// settled is the ledger's news.
func (r *recentThreads) settled(_ *account.State, at streams.Position, events []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if events == nil {
		r.before, r.queue = at.Seq, nil
		return
	}
	for _, e := range events {
		added, ok := e.(*event.MessageAdded)
		if !ok || len(added.Summary.Keys) == 0 {
			continue
		}
		if len(r.queue) == maxRecentThreads {
			r.before = r.queue[0].seq
			r.queue = slices.Delete(r.queue, 0, 1)
		}
		r.queue = append(r.queue, recentThread{at.Seq, added.Summary.Keys, added.Thread})
	}
}

// find looks for the conversation of any of the keys. Where there is none, the rows up to before have to be asked.
func (r *recentThreads) find(keys []uint64) (thread domain.ThreadID, before domain.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		for _, m := range slices.Backward(r.queue) {
			if slices.Contains(m.keys, key) {
				return m.thread, 0
			}
		}
	}
	return 0, r.before
}
