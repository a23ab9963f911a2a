// Package ordering keeps in memory what puts messages in order (package domain/sorting), so that SORT and THREAD of a mailbox (RFC 5256) read rows
// only of those messages that nobody has put in order before.
//
// Invariants:
//   - A Table holds nothing that rows of the mailbox view do not say; it may be forgotten at any time.
//   - Tables take Config.Bytes in all, but for those in use; the least recently used go first.
//   - One use of an account's Table at a time: who comes second finds the work of the first done.
package ordering

import (
	"container/list"
	"context"
	"iter"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/sorting"
	"github.com/streampost/streampost/projections/door"
)

// Emails finds rows of the mailbox view; see door.Accounts.
type Emails interface {
	Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error]
}

// DefaultBytes is the budget of Tables when none is given. A message takes about 200 octets.
const DefaultBytes = 64 << 20

// Tables is the Tables of all accounts that were put in order lately.
type Tables struct {
	emails Emails
	budget int64

	mu    sync.Mutex
	all   map[domain.AccountID]*entry
	used  list.List // of *entry, the most recently used first
	bytes int64
}

// entry is one account's Table.
type entry struct {
	id     domain.AccountID
	turn   chan struct{} // holds one token while the Table is in use
	table  *sorting.Table
	place  *list.Element // nil once it is forgotten
	weight int64         // as it is booked
}

// New makes Tables with a budget in octets; 0 means DefaultBytes.
func New(emails Emails, bytes int64) *Tables {
	if bytes <= 0 {
		bytes = DefaultBytes
	}
	return &Tables{emails: emails, budget: bytes, all: map[domain.AccountID]*entry{}}
}

// Use calls f with the account's Table, once it has the given rows of a mailbox. Rows of messages that were expunged meanwhile are left out of
// those that f is given. f must keep neither. Errors: those of Emails, and ctx's.
func (t *Tables) Use(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, rows []account.Message, f func(table *sorting.Table, rows []account.Message)) error {
	e := t.find(id)
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.turn }()
	rows, err := t.fill(ctx, e, mailbox, rows)
	if err == nil {
		f(e.table, rows)
	}
	t.book(e, domain.Is(err, domain.Erased))
	return err
}

// fill adds what is missing and gives the rows that are there then.
func (t *Tables) fill(ctx context.Context, e *entry, mailbox domain.MailboxID, rows []account.Message) ([]account.Message, error) {
	var missing domain.UIDSet
	for i := range rows {
		if !e.table.Has(rows[i].Email) {
			missing = missing.Add(rows[i].UID)
		}
	}
	if len(missing) == 0 {
		return rows, nil
	}
	for email, err := range t.emails.Emails(ctx, e.id, mailbox, missing, door.WantHead) {
		if err != nil {
			return nil, err
		}
		if !e.table.Has(email.Email) {
			e.table.Add(email.Email, email.Summary)
		}
	}
	there := make([]account.Message, 0, len(rows))
	for i := range rows {
		if e.table.Has(rows[i].Email) {
			there = append(there, rows[i])
		}
	}
	return there, nil
}

func (t *Tables) find(id domain.AccountID) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.all[id]
	if e == nil {
		e = &entry{id: id, turn: make(chan struct{}, 1), table: sorting.NewTable()}
		e.place = t.used.PushFront(e)
		t.all[id] = e
	}
	t.used.MoveToFront(e.place)
	return e
}

// book takes note of a Table's size and makes room.
func (t *Tables) book(e *entry, forget bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.place == nil {
		return
	}
	weight := e.table.Weight()
	t.bytes += weight - e.weight
	e.weight = weight
	if forget {
		t.drop(e)
	}
	for last := t.used.Back(); last != nil && t.bytes > t.budget; last = t.used.Back() {
		t.drop(last.Value.(*entry))
	}
}

// drop forgets a Table. Who uses it now goes on with it.
func (t *Tables) drop(e *entry) {
	t.used.Remove(e.place)
	e.place = nil
	t.bytes -= e.weight
	delete(t.all, e.id)
}

// Size tells how many accounts have a Table, and what they take.
func (t *Tables) Size() (accounts int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all), t.bytes
}
