package door

import "github.com/streampost/streampost/domain"

// Gathered counts the events in an account's open transaction.
func (a *Accounts) Gathered(id domain.AccountID) int {
	h := a.hot.acquire(id)
	defer a.hot.release(h)
	h.ledger.mu.RLock()
	defer h.ledger.mu.RUnlock()
	if h.ledger.open == nil {
		return 0
	}
	return len(h.ledger.open.events)
}
