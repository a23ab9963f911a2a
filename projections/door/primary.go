package door

import (
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// promotions are those who want to hear that an account's clients are sent elsewhere.
type promotions struct {
	mu      sync.Mutex
	waiting map[domain.AccountID]map[*func(*event.Promoted)]struct{}
}

// OnPromotion has f called at each promotion of an account that this node hears of, whoever asked for it, until stop is called. f must not block.
func (a *Accounts) OnPromotion(id domain.AccountID, f func(*event.Promoted)) (stop func()) {
	p := &a.promotions
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[domain.AccountID]map[*func(*event.Promoted)]struct{}{}
	}
	if p.waiting[id] == nil {
		p.waiting[id] = map[*func(*event.Promoted)]struct{}{}
	}
	p.waiting[id][&f] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if delete(p.waiting[id], &f); len(p.waiting[id]) == 0 {
			delete(p.waiting, id)
		}
	}
}

// tell passes an entry on that holds promotions.
func (p *promotions) tell(e *streams.Entry) {
	for _, fact := range e.Transaction.Events {
		promoted, is := fact.(*event.Promoted)
		if !is {
			continue
		}
		p.mu.Lock()
		for f := range p.waiting[e.Account] {
			(*f)(promoted)
		}
		p.mu.Unlock()
	}
}
