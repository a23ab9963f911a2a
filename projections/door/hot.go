package door

import (
	"container/list"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// hotSet is the accounts whose ledgers are in memory: those in use or watched, and as many others as the budget allows, the least recently
// used going first.
//
// Locking: a ledger's lock may be held while mu is taken. Under mu a ledger's lock is tried only, never waited for.
type hotSet struct {
	budget int64
	stats  *stats
	make   func(domain.AccountID) *hot

	mu    sync.Mutex
	all   map[domain.AccountID]*hot
	idle  list.List // of *hot that nobody holds, most recently used first
	bytes int64     // sum of the weights of all
}

// hot is one account's ledger and how many hold it.
type hot struct {
	id      domain.AccountID
	ledger  *ledger[*account.State]
	threads recentThreads
	refs    blobRefs
	holds   int
	weight  int64         // as the hotSet has booked it
	place   *list.Element // in idle, while holds is 0
}

func (s *hotSet) open(budget int64, stats *stats, make func(domain.AccountID) *hot) {
	s.budget, s.stats, s.make = budget, stats, make
	s.all = map[domain.AccountID]*hot{}
}

// acquire finds or makes an account's ledger and holds it until release.
func (s *hotSet) acquire(id domain.AccountID) *hot {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.all[id]
	if h == nil {
		h = s.make(id)
		s.all[id] = h
	}
	s.hold(h)
	return h
}

// find is acquire for a ledger that must exist already; nil if there is none.
func (s *hotSet) find(id domain.AccountID) *hot {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.all[id]
	if h != nil {
		s.hold(h)
	}
	return h
}

// holdAll acquires every ledger that there is.
func (s *hotSet) holdAll() []*hot {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*hot, 0, len(s.all))
	for _, h := range s.all {
		s.hold(h)
		all = append(all, h)
	}
	return all
}

func (s *hotSet) hold(h *hot) {
	h.holds++
	if h.place != nil {
		s.idle.Remove(h.place)
		h.place = nil
	}
}

// release ends a hold and makes room where the budget is exceeded.
func (s *hotSet) release(h *hot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	weight := h.ledger.weight.Load()
	s.bytes += weight - h.weight
	h.weight = weight
	if h.holds--; h.holds == 0 {
		h.place = s.idle.PushFront(h)
		if weight == 0 { // There is nothing in it worth keeping.
			s.evict(h)
		}
	}
	for place := s.idle.Back(); place != nil && s.bytes > s.budget; {
		h, newer := place.Value.(*hot), place.Prev()
		if s.evict(h) {
			s.stats.evictions.Add(1)
		}
		place = newer
	}
}

// evict forgets an idle account unless its ledger is busy.
func (s *hotSet) evict(h *hot) bool {
	if !h.ledger.discard() {
		return false
	}
	s.idle.Remove(h.place)
	s.bytes -= h.weight
	delete(s.all, h.id)
	return true
}

func (s *hotSet) size() (accounts int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.bytes
}
