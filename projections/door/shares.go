package door

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

// shares knows which accounts have given whom rights on mailboxes (RFC 4314), so that nobody's account is looked at for somebody to whom it gives none. It is
// a hint: it may name accounts that have taken their rights back, and what somebody may do is decided on the owner's state.
//
// It follows from the rows, which are read once, and from every entry since. What this node has written is known before its author hears that it is durable.
type shares struct {
	reading sync.Mutex // held while the rows are read
	read    bool
	failure error     // why they were not
	failed  time.Time // when that was

	mu     sync.Mutex
	owners map[account.Identifier]map[domain.AccountID]struct{}
	hopes  map[account.Identifier]*hope
}

// hope is who wants to hear when somebody begins to share with an identifier. It goes with the last who does.
type hope struct {
	watches
	held int
}

func (s *shares) add(who account.Identifier, owner domain.AccountID) {
	if _, negative := who.Subject(); negative {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners == nil {
		s.owners = map[account.Identifier]map[domain.AccountID]struct{}{}
	}
	if s.owners[who] == nil {
		s.owners[who] = map[domain.AccountID]struct{}{}
	}
	if _, known := s.owners[who][owner]; known {
		return
	}
	s.owners[who][owner] = struct{}{}
	for id, h := range s.hopes {
		if who == id || who == account.Anyone {
			h.tell()
		}
	}
}

// watch begins to tell another watch when somebody begins to share with an identifier.
func (s *shares) watch(who account.Identifier, other *Watch) *Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hopes[who]
	if h == nil {
		if s.hopes == nil {
			s.hopes = map[account.Identifier]*hope{}
		}
		h = &hope{}
		s.hopes[who] = h
	}
	h.held++
	return h.add(other, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h.held--; h.held == 0 {
			delete(s.hopes, who)
		}
	})
}

// learn takes note of what became durable in an account.
func (s *shares) learn(owner domain.AccountID, events []event.Event) {
	for _, e := range events {
		if changed, ok := e.(*event.RightsChanged); ok && changed.Rights != "" {
			s.add(account.Identifier(changed.Identifier), owner)
		}
	}
}

// of gives the accounts that have given somebody, or anyone, rights.
func (s *shares) of(id domain.AccountID) (owners []domain.AccountID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, who := range []account.Identifier{account.Identifier(id), account.Anyone} {
		for owner := range s.owners[who] {
			if owner != id {
				owners = append(owners, owner)
			}
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// Sharing gives the other accounts that have given somebody, or anyone, rights on a mailbox. Some may have none left. With an error, it gives those that are
// known: domain.Unavailable while the rows that tell of all cannot be read.
func (a *Accounts) Sharing(ctx context.Context, id domain.AccountID) (owners []domain.AccountID, err error) {
	s := &a.shares
	s.reading.Lock()
	patience := a.setup.limits.LoadPatience
	if !s.read && (s.failure == nil || a.setup.clock().Sub(s.failed) >= patience) { // One at a time waits, and not again and again.
		waiting, cancel := context.WithTimeout(ctx, patience)
		s.failure = classifyNil(a.views.Granted(waiting, s.add), "read who shares mailboxes")
		s.read, s.failed = s.failure == nil, a.setup.clock()
		cancel()
	}
	err = s.failure
	s.reading.Unlock()
	return s.of(id), err
}

// WatchSharing leaves a token where another watch does when an account begins to share with somebody, see Sharing. Close it.
func (a *Accounts) WatchSharing(id domain.AccountID, other *Watch) *Watch {
	return a.shares.watch(account.Identifier(id), other)
}
