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
	mu      sync.Mutex
	read    bool          // the rows were
	reading chan struct{} // closed when the reading that is under way ends; nil while there is none
	failure error         // why the last one failed
	failed  time.Time     // when that was

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
// known: domain.Unavailable while the rows that tell of all cannot be read, or when ctx ends before they are.
func (a *Accounts) Sharing(ctx context.Context, id domain.AccountID) (owners []domain.AccountID, err error) {
	err = a.readShares(ctx)
	return a.shares.of(id), err
}

// readShares reads the rows unless they were. Everybody waits for the first reading, which takes LoadPatience at the most. After one that failed nobody reads for
// as long, and then one caller does while the others go on with what is known.
func (a *Accounts) readShares(ctx context.Context) error {
	s := &a.shares
	for {
		s.mu.Lock()
		failure, wait := s.failure, s.reading
		switch late := a.setup.clock().Sub(s.failed) < a.setup.limits.LoadPatience; {
		case s.read:
			s.mu.Unlock()
			return nil
		case failure != nil && (late || wait != nil):
			s.mu.Unlock()
			return failure
		case wait == nil:
			s.reading = make(chan struct{})
			s.mu.Unlock()
			return a.readGranted(ctx)
		}
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return classify(ctx.Err(), "read who shares mailboxes")
		}
	}
}

// readGranted is one reading. That its caller has gone says nothing about the rows: the next one reads again.
func (a *Accounts) readGranted(ctx context.Context) (err error) {
	s := &a.shares
	waiting, cancel := context.WithTimeout(ctx, a.setup.limits.LoadPatience)
	defer cancel()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil || ctx.Err() == nil {
			s.read, s.failure, s.failed = err == nil, err, a.setup.clock()
		}
		close(s.reading)
		s.reading = nil
	}()
	return classifyNil(a.views.Granted(waiting, s.add), "read who shares mailboxes")
}

// WatchSharing leaves a token where another watch does when an account begins to share with somebody, see Sharing. Close it.
func (a *Accounts) WatchSharing(id domain.AccountID, other *Watch) *Watch {
	return a.shares.watch(account.Identifier(id), other)
}
