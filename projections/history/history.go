// Package history reads an account as it was, and brings back what it had: time travel, which only a log gives.
//
// Everything here is a fold of the account's log. No view is read, so it works when views are damaged, and a point in the past looks the same on
// every node and for ever. A fold keeps about 60 octets for each message that the account had at that point; what events say of messages beyond
// that (subject, sender, blob) is read in a second pass, for those that are wanted, some at a time.
package history

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// Log is the log of record, as far as it is read here.
type Log interface {
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// Past is an account at a point of its log.
type Past struct {
	State *account.State
	Tx    domain.Tx // of the last transaction folded
	At    time.Time // when that was decided
	Head  domain.Tx // where the log stands now
	// Purged holds the emails that were purged after the point: they cannot come back.
	Purged map[domain.EmailID]bool
}

// At folds an account's log up to a point. Transactions are taken in the order of the log until the first that was decided later.
//
// Errors: domain.NotFound when the account has no log or did not exist yet, domain.Invalid when the point lies in the future,
// domain.Erased, domain.Corrupt, domain.Unavailable.
func At(ctx context.Context, log Log, id domain.AccountID, point Point, now time.Time) (*Past, error) {
	if point.Time.After(now) {
		return nil, domain.Errorf(domain.Invalid, "%s lies in the future: it is %s", point, now.UTC().Format(time.RFC3339))
	}
	past := &Past{State: account.New(), Purged: map[domain.EmailID]bool{}}
	var first time.Time
	inside := true
	err := each(ctx, log, id, func(e *streams.Entry) error {
		at := time.UnixMilli(e.Transaction.At)
		if past.Head = e.Tx; e.Tx == 1 {
			first = at
		}
		if inside = inside && point.includes(e.Tx, at); inside {
			past.Tx, past.At = e.Tx, at
			return fold(past.State, e, nil)
		}
		for _, ev := range e.Transaction.Events {
			if purged, ok := ev.(*event.MessagesPurged); ok {
				for _, email := range purged.Emails {
					past.Purged[email] = true
				}
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case past.Head == 0:
		return nil, domain.Errorf(domain.NotFound, "account %s has no log", id)
	case point.Tx > past.Head:
		return nil, domain.Errorf(domain.Invalid, "%s lies in the future: the account stands at Tx %d", point, past.Head)
	case past.Tx == 0:
		return nil, domain.Errorf(domain.NotFound, "the account did not exist at %s: its log begins at %s", point, first.UTC().Format(time.RFC3339))
	}
	return past, nil
}

// each calls f for every entry of an account's log up to its present end. Errors: domain.Erased, those of the log and of f.
func each(ctx context.Context, log Log, id domain.AccountID, f func(*streams.Entry) error) error {
	for e, err := range log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return err
		}
		if e.Erased {
			return domain.Errorf(domain.Erased, "account %s was erased: nothing of it can be read any more", id)
		}
		if err := f(&e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fold folds an entry, and calls before, if it is not nil, ahead of each event.
func fold(s *account.State, e *streams.Entry, before func(*account.State, event.Event)) (err error) {
	defer func() {
		if r := recover(); r != nil { // see State.Apply
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("account %s, Tx %d: %v", e.Account, e.Tx, r), "the account's log contradicts itself")
		}
	}()
	for _, ev := range e.Transaction.Events {
		if before != nil {
			before(s, ev)
		}
		s.Apply(e.Tx, ev)
	}
	return nil
}

// Added calls f with the event that first brought each wanted email, in order of the emails. It ends once all were found.
func Added(ctx context.Context, log Log, id domain.AccountID, wanted map[domain.EmailID]bool, f func(*event.MessageAdded) error) error {
	left := len(wanted)
	if left == 0 {
		return nil
	}
	err := each(ctx, log, id, func(e *streams.Entry) error {
		for _, ev := range e.Transaction.Events {
			added, ok := ev.(*event.MessageAdded)
			if !ok || !wanted[added.Email] {
				continue
			}
			if err := f(added); err != nil {
				return err
			}
			if left--; left == 0 {
				return errDone
			}
		}
		return nil
	})
	if err == errDone {
		return nil
	}
	return err
}

var errDone = fmt.Errorf("all was found")

// Last is what a message was when a mailbox lost it last.
type Last struct {
	Mailbox domain.MailboxID
	Name    string // of that mailbox then
	account.Message
	Added *event.MessageAdded
}

// LastSeen tells of each wanted email what it was when a mailbox lost it last: its flags and dates there. It reads the log once and keeps the
// summaries of all that are wanted; ask for thousands, not for millions. Tx is where the log stood. Emails that were purged are left out.
func LastSeen(ctx context.Context, log Log, id domain.AccountID, wanted map[domain.EmailID]bool) (seen map[domain.EmailID]*Last, tx domain.Tx, err error) {
	seen = map[domain.EmailID]*Last{}
	state := account.New()
	lost := func(m *account.Mailbox, i int) {
		if last := seen[m.Email[i]]; last != nil {
			last.Mailbox, last.Name, last.Message = m.ID, m.Name, m.At(i)
		}
	}
	err = each(ctx, log, id, func(e *streams.Entry) error {
		tx = e.Tx
		return fold(state, e, func(s *account.State, ev event.Event) {
			switch ev := ev.(type) {
			case *event.MessageAdded:
				if wanted[ev.Email] {
					seen[ev.Email] = &Last{Added: ev}
				}
			case *event.MessagesExpunged:
				if m := s.Mailboxes[ev.Mailbox]; m != nil {
					for uid := range ev.UIDs.All() {
						if i, ok := m.Index(uid); ok {
							lost(m, i)
						}
					}
				}
			case *event.MailboxDeleted:
				if m := s.Mailboxes[ev.Mailbox]; m != nil {
					for i := range m.Len() {
						lost(m, i)
					}
				}
			case *event.MessagesPurged:
				for _, email := range ev.Emails {
					delete(seen, email)
				}
			}
		})
	})
	return seen, tx, err
}
