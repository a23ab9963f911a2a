package doortest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/streams"
)

// Views is the rows of a Log, in memory. They follow the log when somebody waits for them, and not before.
type Views struct {
	log       *Log
	forgotten atomic.Uint64

	mu       sync.Mutex
	cursor   int
	accounts map[domain.AccountID]*rows
}

// rows is what the views show of one account.
type rows struct {
	at        streams.Position
	mailboxes map[domain.MailboxID]map[domain.UID]row
	threads   map[uint64]domain.ThreadID
}

type row struct {
	email   domain.EmailID
	blob    domain.BlobRef
	summary *message.Summary
}

// NewViews makes the views of a log.
func NewViews(log *Log) *Views {
	return &Views{log: log, accounts: map[domain.AccountID]*rows{}}
}

// Wait lets the rows catch up.
func (v *Views) Wait(_ context.Context, _ domain.AccountID, seq domain.Seq) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cursor >= int(seq) {
		return nil
	}
	for _, s := range v.log.all(v.cursor) {
		v.cursor++
		if s.account == domain.DirectoryID || v.log.isErased(s.account) {
			continue
		}
		e := s.entry()
		r := v.accounts[e.Account]
		if r == nil {
			r = &rows{mailboxes: map[domain.MailboxID]map[domain.UID]row{}, threads: map[uint64]domain.ThreadID{}}
			v.accounts[e.Account] = r
		}
		for _, fact := range e.Transaction.Events {
			r.fold(fact)
		}
		r.at = e.Position()
	}
	return nil
}

func (r *rows) fold(fact event.Event) {
	switch e := fact.(type) {
	case *event.MailboxCreated:
		r.mailboxes[e.Mailbox] = map[domain.UID]row{}
	case *event.MailboxDeleted:
		delete(r.mailboxes, e.Mailbox)
	case *event.MessageAdded:
		r.mailboxes[e.Mailbox][e.UID] = row{e.Email, e.Blob, &e.Summary}
		for _, key := range e.Summary.Keys {
			r.threads[key] = e.Thread
		}
	case *event.MessageRestored:
		r.mailboxes[e.Mailbox][e.UID] = row{e.Email, e.Blob, &e.Summary}
	case *event.MessagesCopied:
		r.transfer(e, false)
	case *event.MessagesMoved:
		r.transfer((*event.MessagesCopied)(e), true)
	case *event.MessagesExpunged:
		for uid := range e.UIDs.All() {
			delete(r.mailboxes[e.Mailbox], uid)
		}
	}
}

func (r *rows) transfer(e *event.MessagesCopied, move bool) {
	next := e.First
	for uid := range e.UIDs.All() {
		r.mailboxes[e.To][next] = r.mailboxes[e.From][uid]
		if move {
			delete(r.mailboxes[e.From], uid)
		}
		next++
	}
}

// Load folds the account's entries up to where its rows stand.
func (v *Views) Load(ctx context.Context, id domain.AccountID) (_ *account.State, _ streams.Position, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = domain.Errorf(domain.Corrupt, "account %s: %v", id, r)
		}
	}()
	r := v.accounts[id]
	if r == nil {
		return nil, streams.Position{}, domain.Errorf(domain.NotFound, "account %s has no rows", id)
	}
	s := account.New()
	for e, err := range v.log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return nil, streams.Position{}, err
		}
		if e.Tx > r.at.Tx {
			break
		}
		for _, fact := range e.Transaction.Events {
			s.Apply(e.Tx, fact)
		}
	}
	return s, r.at, nil
}

// Emails yields rows as they are.
func (v *Views) Emails(_ context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error] {
	return func(yield func(door.Email, error) bool) {
		v.mu.Lock()
		var found []domain.UID
		messages := map[domain.UID]row{}
		if r := v.accounts[id]; r != nil {
			for uid, m := range r.mailboxes[mailbox] {
				if uids.Contains(uid) {
					found = append(found, uid)
					messages[uid] = m
				}
			}
		}
		v.mu.Unlock()
		slices.Sort(found)
		for _, uid := range found {
			m := messages[uid]
			e := door.Email{UID: uid, Email: m.email}
			if want&door.WantEnvelope != 0 {
				e.Envelope = message.AppendEnvelope(nil, &m.summary.Envelope)
			}
			if want&door.WantStructure != 0 {
				e.Structure = message.AppendStructure(nil, &m.summary.Root, true)
			}
			if want&door.WantSummary != 0 {
				e.Summary = m.summary
			} else if want&door.WantHead != 0 {
				head := *m.summary
				head.Root = message.Part{}
				e.Summary = &head
			}
			if want&door.WantBlob != 0 {
				e.Blob = m.blob
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Thread looks the message's keys up.
func (v *Views) Thread(ctx context.Context, id domain.AccountID, s *message.Summary, upTo domain.Seq) (domain.ThreadID, error) {
	if err := v.Wait(ctx, "", upTo); err != nil {
		return 0, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.accounts[id]
	if r == nil {
		return 0, nil
	}
	for _, key := range s.Keys {
		if thread := r.threads[key]; thread != 0 {
			return thread, nil
		}
	}
	return 0, nil
}

// ThreadKeys lists the keys.
func (v *Views) ThreadKeys(ctx context.Context, id domain.AccountID, most int, upTo domain.Seq) ([]uint64, error) {
	if err := v.Wait(ctx, "", upTo); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	keys := []uint64{}
	if r := v.accounts[id]; r != nil {
		keys = slices.AppendSeq(keys, maps.Keys(r.threads))
	}
	if len(keys) > most {
		return nil, nil
	}
	return keys, nil
}

// Vanished looks through the log, down to where Forget says that it is forgotten.
func (v *Views) Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx, upTo domain.Seq) (uids domain.UIDSet, complete bool, err error) {
	floor := domain.Tx(v.forgotten.Load())
	for e, err := range v.log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return nil, false, err
		}
		if e.Tx <= max(since, floor) || e.Seq > upTo {
			continue
		}
		for _, fact := range e.Transaction.Events {
			switch e := fact.(type) {
			case *event.MessagesExpunged:
				uids = add(uids, e.Mailbox == mailbox, e.UIDs)
			case *event.MessagesMoved:
				uids = add(uids, e.From == mailbox, e.UIDs)
			}
		}
	}
	return uids, since >= floor, nil
}

func add(to domain.UIDSet, also bool, more domain.UIDSet) domain.UIDSet {
	for _, r := range more {
		if also {
			to = to.AddRange(r.Lo, r.Hi)
		}
	}
	return to
}

// Forget makes Vanished know only what vanished in later transactions.
func (v *Views) Forget(upTo domain.Tx) { v.forgotten.Store(uint64(upTo)) }

// Granted folds the log up to where the rows are.
func (v *Views) Granted(_ context.Context, f func(who account.Identifier, owner domain.AccountID)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.log.all(0)[:v.cursor] {
		if s.account == domain.DirectoryID || v.log.isErased(s.account) {
			continue
		}
		for _, fact := range s.entry().Transaction.Events {
			if e, ok := fact.(*event.RightsChanged); ok {
				f(account.Identifier(e.Identifier), s.account)
			}
		}
	}
	return nil
}

// Scripts gives those of the state that Load gives.
func (v *Views) Scripts(ctx context.Context, id domain.AccountID, _ domain.Seq) (account.Scripts, domain.Tx, error) {
	s, at, err := v.Load(ctx, id)
	if err != nil {
		return account.Scripts{}, 0, err
	}
	return s.Scripts, at.Tx, nil
}

// Digests gives those of the state that Load gives.
func (v *Views) Digests(ctx context.Context, id domain.AccountID) (account.Digests, error) {
	s, _, err := v.Load(ctx, id)
	if err != nil {
		return account.Digests{}, err
	}
	return s.Digests(), nil
}

// Mend does nothing: Load makes everything anew.
func (v *Views) Mend(context.Context, domain.AccountID) error { return nil }

// Drop removes an account's rows.
func (v *Views) Drop(_ context.Context, id domain.AccountID) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.accounts, id)
	return nil
}
