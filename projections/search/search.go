// Package search is the view that finds messages by their text: which grams (package domain/search) each message has, and the folded subject and
// addresses of each. IMAP SEARCH asks it (RFC 9051 section 6.4.4), and reads only the messages that it cannot decide on.
//
// It reads blobs, so it follows the log in its own time (Apart): mail never waits for it, and it may be dropped (Optional).
//
// Invariants:
//   - An email of the account has a row in documents if, and only if, a message refers to it at the Tx in search_accounts.
//   - The grams of a document in state whole are all grams of its text, as search.Query.Read sees it. Nothing that the index says No to would match.
//   - A message that cannot be read does not stop the index: it is in state missing and is decided by reading it, as if there were no index.
//     So is one in state deferred, which nobody has read yet because its account is at rest on this node.
//   - Documents of an account are a range of numbers, so a query of one account touches that part of each posting list only.
//   - Text is not kept, but for subject and addresses. Of an erased account nothing is left in the store.
package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "search"

// Blobs opens messages: n octets from off on. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
type Blobs interface {
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Limits bound the work. The zero value means the defaults.
type Limits struct {
	Message search.IndexLimits // of one message
	Readers int                // messages that are read at the same time; 4
	Terms   int                // grams of one needle that are looked up; 24
}

func (l Limits) withDefaults() Limits {
	if l.Readers <= 0 {
		l.Readers = 4
	}
	if l.Terms <= 0 {
		l.Terms = 24
	}
	return l
}

// Config is what a Projection works with. Blobs is needed.
type Config struct {
	Blobs    Blobs
	Postings Postings // FTS5 if nil
	Limits   Limits
	// Defer tells whether messages of an account are read later, see Projection.CatchUp. It may be nil, and is called from many goroutines.
	Defer func(id domain.AccountID) bool
}

// Projection is the rule.
type Projection struct {
	blobs    Blobs
	postings Postings
	limits   Limits
	later    func(id domain.AccountID) bool
	owing    owing
	stats    struct{ documents, octets, partial, missing, answered, failed atomic.Uint64 }
}

// New makes the projection.
func New(c Config) *Projection {
	if c.Postings == nil {
		c.Postings = FTS5{}
	}
	if c.Defer == nil {
		c.Defer = func(domain.AccountID) bool { return false }
	}
	return &Projection{blobs: c.Blobs, postings: c.Postings, limits: c.Limits.withDefaults(), later: c.Defer}
}

// Stats counts what happened since the start.
type Stats struct {
	Documents uint64 // messages
	Octets    uint64 // of their text
	Partial   uint64 // messages with more text than the limits allow
	Missing   uint64 // messages that could not be read
	Answered  uint64 // queries
	Failed    uint64 // queries that could not be answered
}

// Stats tells what happened since the start.
func (p *Projection) Stats() Stats {
	s := &p.stats
	return Stats{s.documents.Load(), s.octets.Load(), s.partial.Load(), s.missing.Load(), s.answered.Load(), s.failed.Load()}
}

// Name is of projections.Projection.
func (*Projection) Name() string { return Name }

// Version is of projections.Projection. It rises with every change of what text walks find or how it is folded, too.
func (*Projection) Version() int { return 1 }

// Scope is of projections.Projection.
func (*Projection) Scope() projections.Scope { return projections.AccountStreams }

// Apart says that nothing waits for the index.
func (*Projection) Apart() bool { return true }

// Optional says that mail is served without the index.
func (*Projection) Optional() bool { return true }

// Tables is of projections.Projection.
func (*Projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "search_accounts", Key: []string{"account"}},
		{Name: "search_messages", Key: []string{"account", "mailbox", "uid"}},
		{Name: "search_postings", Key: []string{"account", "email"}, Wrong: "present <> 1"}, // before documents, whose rows take theirs along
		{Name: "documents", Key: []string{"account", "email"}},
	}
}

// Begin is of projections.Projection.
func (p *Projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{p: p, tx: tx, accounts: map[domain.AccountID]*accountRow{}}, nil
}

// Document numbers: the account's number, then the email's.
const (
	emailBits  = 27
	endOfEmail = domain.EmailID(1) << emailBits // emails from here on are not indexed
	maxNumber  = int64(1)<<(63-emailBits) - 1
)

// Doc is the number of a document: that of its account, which is the position of the account's first entry, and that of its email. Numbers beyond
// what fits have no document.
func Doc(number int64, email domain.EmailID) (doc int64, fits bool) {
	return number<<emailBits | int64(email), number <= maxNumber && email < endOfEmail
}

// Docs gives the lowest and the highest number that a document of an account may have.
func Docs(number int64) (lo, hi int64) {
	return number << emailBits, number<<emailBits | int64(endOfEmail-1)
}

// accountRow is a row of search_accounts on its way through a batch.
type accountRow struct {
	number int64
	tx     domain.Tx // of the last entry applied
	dirty  bool
}

func (a *accountRow) doc(email domain.EmailID) int64 { return a.number<<emailBits | int64(email) }

// EmailOf is the reverse of Doc.
func EmailOf(doc int64) domain.EmailID { return domain.EmailID(doc) & (endOfEmail - 1) }

// batch applies entries in order. New messages wait, so that several are read at the same time.
type batch struct {
	p        *Projection
	tx       projections.Tx
	accounts map[domain.AccountID]*accountRow // nil for one that is gone
	added    []addition
	postings []Posting // of rows that are written
	grams    int       // in them
	purge    bool      // documents of an erased account were deleted
}

// Apply folds one entry.
func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	a, err := b.account(ctx, e)
	if err != nil {
		return err
	}
	a.tx, a.dirty = e.Tx, true
	for _, fact := range e.Transaction.Events {
		if err := b.fold(ctx, e.Account, a, fact); err != nil {
			return fmt.Errorf("account %s, transaction %d: %w", e.Account, e.Tx, err)
		}
	}
	return nil
}

// account finds the row of an account, which its first entry makes.
func (b *batch) account(ctx context.Context, e *streams.Entry) (*accountRow, error) {
	if a := b.accounts[e.Account]; a != nil {
		return a, nil
	}
	a := new(accountRow)
	err := b.tx.QueryRow(ctx, `select number, tx from search_accounts where account = $1`, string(e.Account)).Scan(&a.number, &a.tx)
	switch {
	case err == nil:
	case !errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("read account: %w", err)
	case e.Tx != 1:
		return nil, &projections.Damage{Account: e.Account, What: "its row in the search index is missing"}
	case int64(e.Seq) > maxNumber:
		return nil, domain.Errorf(domain.Internal, "account %s begins beyond what the search index can number", e.Account)
	default:
		a.number = int64(e.Seq)
	}
	b.accounts[e.Account] = a
	return a, nil
}

// fold applies one event.
func (b *batch) fold(ctx context.Context, id domain.AccountID, a *accountRow, fact event.Event) error {
	if e := event.Arrival(fact); e != nil {
		if _, again := fact.(*event.MessageRestored); again {
			if known, err := b.restore(ctx, id, e); err != nil || known {
				return err
			}
		}
		b.added = append(b.added, addition{id: id, account: a, event: e})
		if len(b.added) < portion {
			return nil
		}
		return b.write(ctx)
	}
	switch fact.(type) {
	case *event.MessagesCopied, *event.MessagesMoved, *event.MessagesExpunged, *event.MailboxDeleted:
		if err := b.settle(ctx); err != nil {
			return err
		}
	}
	switch e := fact.(type) {
	case *event.MessagesCopied:
		return b.transfer(ctx, id, e, true)
	case *event.MessagesMoved:
		if err := b.transfer(ctx, id, (*event.MessagesCopied)(e), false); err != nil {
			return err
		}
		return b.remove(ctx, id, e.From, e.UIDs)
	case *event.MessagesExpunged:
		return b.release(ctx, id, e.Mailbox, e.UIDs)
	case *event.MailboxDeleted:
		return b.release(ctx, id, e.Mailbox, domain.UIDSet{domain.AllUIDs})
	}
	return nil
}

// restore gives a message that came back its row, if its email has a document.
func (b *batch) restore(ctx context.Context, id domain.AccountID, e *event.MessageAdded) (known bool, err error) {
	if slices.ContainsFunc(b.added, func(a addition) bool { return a.id == id && a.event.Email == e.Email }) {
		if err := b.write(ctx); err != nil {
			return false, err
		}
	}
	n, err := b.tx.Exec(ctx, `update documents set refs = refs + 1 where account = $1 and email = $2`, string(id), int64(e.Email))
	if err != nil || n == 0 {
		return false, err
	}
	_, err = b.tx.Exec(ctx, `insert into search_messages (account, mailbox, uid, email) values ($1, $2, $3, $4)`,
		string(id), int64(e.Mailbox), int64(e.UID), int64(e.Email))
	return true, projections.Fresh(err, id)
}

// transfer gives the target its rows. refer counts them.
func (b *batch) transfer(ctx context.Context, id domain.AccountID, e *event.MessagesCopied, refer bool) error {
	uid := e.First
	for _, r := range e.UIDs {
		n, err := b.tx.Exec(ctx, `insert into search_messages (account, mailbox, uid, email)
			select account, cast($5 as bigint), uid + $6, email from search_messages where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(id), int64(e.From), int64(r.Lo), int64(r.Hi), int64(e.To), int64(uid)-int64(r.Lo))
		if err := expect(err, id, e.From, r, n); err != nil {
			return err
		}
		if refer {
			if err := b.refer(ctx, id, e.From, r, 1); err != nil {
				return err
			}
		}
		uid += r.Hi - r.Lo + 1
	}
	return nil
}

// refer adds to the count of references for each message of a range.
func (b *batch) refer(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, r domain.UIDRange, n int64) error {
	_, err := b.tx.Exec(ctx, `update documents set refs = documents.refs + $5 * met.n from
		(select email, count(*) as n from search_messages where account = $1 and mailbox = $2 and uid between $3 and $4 group by email) as met
		where documents.account = $1 and documents.email = met.email`, string(id), int64(mailbox), int64(r.Lo), int64(r.Hi), n)
	return err
}

// release takes messages out of a mailbox for good, with the documents to which nothing refers any more.
func (b *batch) release(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet) error {
	for _, r := range uids {
		if err := b.refer(ctx, id, mailbox, r, -1); err != nil {
			return err
		}
		if _, err := b.tx.Exec(ctx, `delete from documents where account = $1 and refs <= 0 and email in
			(select email from search_messages where account = $1 and mailbox = $2 and uid between $3 and $4)`,
			string(id), int64(mailbox), int64(r.Lo), int64(r.Hi)); err != nil {
			return err
		}
	}
	return b.remove(ctx, id, mailbox, uids)
}

// remove takes messages out of a mailbox and leaves their documents alone.
func (b *batch) remove(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet) error {
	for _, r := range uids {
		n, err := b.tx.Exec(ctx, `delete from search_messages where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(id), int64(mailbox), int64(r.Lo), int64(r.Hi))
		if r == domain.AllUIDs && err == nil {
			continue
		}
		if err := expect(err, id, mailbox, r, n); err != nil {
			return err
		}
	}
	return nil
}

// expect checks that a statement met every message of a range: events list only messages that exist.
func expect(err error, id domain.AccountID, mailbox domain.MailboxID, r domain.UIDRange, n int64) error {
	if want := int64(r.Hi-r.Lo) + 1; err == nil && n != want {
		return &projections.Damage{Account: id, What: fmt.Sprintf("the search index has %d of the %d messages %d to %d of mailbox %d", n, want, r.Lo, r.Hi, mailbox)}
	}
	return projections.Fresh(err, id)
}

// Remove deletes all of an account.
func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	if a, known := b.accounts[id]; known && a == nil {
		return nil
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.accounts[id] = nil
	for _, statement := range []string{
		`delete from search_accounts where account = $1`,
		`delete from search_messages where account = $1`,
		`delete from documents where account = $1`,
	} {
		n, err := b.tx.Exec(ctx, statement, string(id))
		if err != nil {
			return err
		}
		b.purge = b.purge || n > 0
	}
	return nil
}

// Flush writes what waits.
func (b *batch) Flush(ctx context.Context) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	for id, a := range b.accounts {
		if a == nil || !a.dirty {
			continue
		}
		a.dirty = false
		if _, err := b.tx.Exec(ctx, `insert into search_accounts (account, number, tx) values ($1, $2, $3)
			on conflict (account) do update set tx = excluded.tx`, string(id), a.number, int64(a.tx)); err != nil {
			return err
		}
	}
	if !b.purge {
		return nil
	}
	b.purge = false
	return b.p.postings.Purge(ctx, b.tx)
}
