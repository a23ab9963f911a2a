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
	thread, before, ask := h.threads.find(s.Keys)
	if !ask {
		return thread, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.setup.limits.RowsTimeout)
	defer cancel()
	if thread, err = a.views.Thread(ctx, id, s, before); err != nil {
		return 0, classify(err, "look for the message's thread")
	}
	if time, before := h.threads.missed(thread); time != 0 {
		keys, err := a.views.ThreadKeys(ctx, id, maxKnownKeys, before)
		h.threads.learned(time, keys, err)
	}
	return thread, nil
}

// recentThreads remembers the thread keys of the messages that came into one account last. So a delivery, which asks for its thread first,
// need not wait until the projector has the rows of the delivery before it. An account that gets many messages also knows which keys are in no row, as
// those of most messages that begin a conversation are.
type recentThreads struct {
	mu     sync.Mutex
	before domain.Seq // the messages of entries up to this one are in the rows only
	queue  []recentThread

	misses   int      // questions to the rows that found nothing
	learning int      // which time keys are learned; 0 when none are
	times    int      // keys were learned
	arriving []uint64 // keys that came while others are learned
	known    *keyFilter
}

const (
	// maxMisses is how many questions to the rows find nothing before all keys are learned.
	maxMisses = 8
	// maxKnownKeys is of how many keys, in rows, an account knows that they are there.
	maxKnownKeys = 1 << 14
)

// maxRecentThreads is how many messages are remembered for each account: more than one gets while its rows gather.
const maxRecentThreads = 256

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
		r.misses, r.learning, r.arriving, r.known = 0, 0, nil, nil
		return
	}
	for _, e := range events {
		added := event.Arrival(e)
		if added == nil || len(added.Summary.Keys) == 0 {
			continue
		}
		if len(r.queue) == maxRecentThreads {
			r.before = r.queue[0].seq
			r.queue = slices.Delete(r.queue, 0, 1)
		}
		r.queue = append(r.queue, recentThread{at.Seq, added.Summary.Keys, added.Thread})
		r.arrived(added.Summary.Keys)
	}
}

// arrived notes keys that will be in rows.
func (r *recentThreads) arrived(keys []uint64) {
	switch {
	case r.learning != 0:
		r.arriving = append(r.arriving, keys...)
	case r.known != nil && !r.known.add(keys...):
		r.known, r.misses = nil, 0
	}
}

// missed counts a question to the rows. Once there were enough it asks for all keys in the rows up to before, for learned.
func (r *recentThreads) missed(found domain.ThreadID) (time int, before domain.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found != 0 || r.misses == maxMisses {
		return 0, 0
	}
	if r.misses++; r.misses < maxMisses {
		return 0, 0
	}
	r.times++
	r.learning = r.times
	for _, m := range r.queue {
		r.arriving = append(r.arriving, m.keys...)
	}
	return r.learning, r.before
}

// learned has all keys in the rows, or nil if there are too many. After an error they are asked for again.
func (r *recentThreads) learned(time int, keys []uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.learning != time {
		return
	}
	switch {
	case err != nil:
		r.misses = 0
	case keys != nil:
		r.known = newKeyFilter(len(keys) + len(r.arriving))
		r.known.add(keys...)
		r.known.add(r.arriving...)
	}
	r.learning, r.arriving = 0, nil
}

// find looks for the conversation of any of the keys, and tells whether the rows up to before have to be asked for it.
func (r *recentThreads) find(keys []uint64) (thread domain.ThreadID, before domain.Seq, ask bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		for _, m := range slices.Backward(r.queue) {
			if slices.Contains(m.keys, key) {
				return m.thread, 0, false
			}
		}
	}
	return 0, r.before, r.known == nil || slices.ContainsFunc(keys, r.known.has)
}
