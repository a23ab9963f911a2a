// Package mailboxes is the view of mail itself: mailboxes, messages, and what IMAP shows of each message without reading its blob.
//
// Its rows are account.State.Apply written as SQL: Load gives back the state that folding the account's log gives, field by field.
//
// Invariants:
//   - An account's row says where its log stood; an entry that does not follow on it is domain.Corrupt and changes nothing.
//   - A row of emails lives exactly as long as messages refer to it; rows of threads live as long as the account.
//   - An erased account keeps one row, which holds its position and nothing that was ever sealed.
package mailboxes

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "mailboxes"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "accounts", Key: []string{"account"}},
		{Name: "keywords", Key: []string{"account", "number"}},
		{Name: "subscriptions", Key: []string{"account", "name"}},
		{Name: "mailboxes", Key: []string{"account", "mailbox"}},
		{Name: "messages", Key: []string{"account", "mailbox", "uid"}},
		{Name: "emails", Key: []string{"account", "email"}, Secret: []string{"blob_key"}},
		{Name: "summaries", Key: []string{"account", "email"}},
		{Name: "threads", Key: []string{"account", "thread_key"}},
	}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{
		tx:        tx,
		accounts:  map[domain.AccountID]*accountRow{},
		mailboxes: map[mailboxKey]*mailboxRow{},
		waiting:   map[domain.AccountID]*waiting{},
	}, nil
}

// accountRow is a row of accounts on its way through a batch.
type accountRow struct {
	id              domain.AccountID
	at              streams.Position
	erased          bool
	nextMailbox     domain.MailboxID
	nextEmail       domain.EmailID
	lastUIDValidity uint32
	limits          account.Limits
}

type mailboxKey struct {
	account domain.AccountID
	mailbox domain.MailboxID
}

// mailboxRow is a row of mailboxes on its way through a batch.
type mailboxRow struct {
	name        string
	specialUse  string
	uidValidity uint32
	uidNext     domain.UID
	created     domain.Tx
	modseq      domain.Tx
	dirty       bool
}

// batch applies entries in order. Rows of accounts and mailboxes, which nearly every entry changes, wait in memory until Flush; new messages and
// changes of single ones wait too, so that they are written in the order of their keys.
type batch struct {
	tx        projections.Tx
	accounts  map[domain.AccountID]*accountRow
	mailboxes map[mailboxKey]*mailboxRow // nil for one that is gone
	waiting   map[domain.AccountID]*waiting

	envelope, structure []byte // reused
}

// account finds the row of an account, which is new when the log begins.
func (b *batch) account(ctx context.Context, id domain.AccountID) (*accountRow, error) {
	if row := b.accounts[id]; row != nil {
		return row, nil
	}
	row := &accountRow{id: id, nextMailbox: 1, nextEmail: 1}
	var hash []byte
	err := b.tx.QueryRow(ctx, `select seq, tx, hash, erased, next_mailbox, next_email, last_uid_validity, limit_bytes, limit_messages
		from accounts where account = $1`, string(id)).
		Scan(&row.at.Seq, &row.at.Tx, &hash, &row.erased, &row.nextMailbox, &row.nextEmail, &row.lastUIDValidity, &row.limits.Bytes, &row.limits.Messages)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read account: %w", err)
	}
	copy(row.at.Hash[:], hash)
	b.accounts[id] = row
	return row, nil
}

// mailbox finds the row of a mailbox that the log says exists.
func (b *batch) mailbox(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID) (*mailboxRow, error) {
	key := mailboxKey{id, mailbox}
	row, cached := b.mailboxes[key]
	if !cached {
		row = new(mailboxRow)
		err := b.tx.QueryRow(ctx, `select name, special_use, uid_validity, uid_next, created, modseq from mailboxes
			where account = $1 and mailbox = $2`, string(id), int64(mailbox)).
			Scan(&row.name, &row.specialUse, &row.uidValidity, &row.uidNext, &row.created, &row.modseq)
		if errors.Is(err, sql.ErrNoRows) {
			row, err = nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read mailbox: %w", err)
		}
		b.mailboxes[key] = row
	}
	if row == nil {
		return nil, &projections.Damage{Account: id, What: fmt.Sprintf("mailbox %d is missing", mailbox)}
	}
	return row, nil
}

// Apply folds one entry.
func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	row, err := b.account(ctx, e.Account)
	if err != nil {
		return err
	}
	if err := projections.Link(row.at, e); err != nil {
		return err
	}
	switch {
	case e.Erased:
		if err := b.erase(ctx, row); err != nil {
			return err
		}
	case row.erased:
		return domain.Errorf(domain.Corrupt, "log of account %s: transaction %d can be read although an earlier one was erased", e.Account, e.Tx)
	default:
		for _, event := range e.Transaction.Events {
			if err := b.fold(ctx, row, e.Tx, event); err != nil {
				return fmt.Errorf("account %s, transaction %d: %w", e.Account, e.Tx, err)
			}
		}
	}
	row.at = e.Position()
	return nil
}

// Remove erases an account that is there.
func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	row, err := b.account(ctx, id)
	if err != nil {
		return err
	}
	if row.at.Tx == 0 {
		delete(b.accounts, id) // no row: nothing of the account was ever applied
		return nil
	}
	return b.erase(ctx, row)
}

func (b *batch) erase(ctx context.Context, row *accountRow) error {
	if row.erased {
		return nil
	}
	*row = accountRow{id: row.id, at: row.at, erased: true}
	delete(b.waiting, row.id)
	for key := range b.mailboxes {
		if key.account == row.id {
			delete(b.mailboxes, key)
		}
	}
	for _, statement := range []string{
		`delete from keywords where account = $1`,
		`delete from subscriptions where account = $1`,
		`delete from mailboxes where account = $1`,
		`delete from messages where account = $1`,
		`delete from emails where account = $1`,
		`delete from summaries where account = $1`,
		`delete from threads where account = $1`,
	} {
		if _, err := b.tx.Exec(ctx, statement, string(row.id)); err != nil {
			return err
		}
	}
	return nil
}

// Flush writes the rows that wait.
func (b *batch) Flush(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(b.waiting)) {
		if err := b.write(ctx, id); err != nil {
			return err
		}
	}
	for id, a := range b.accounts {
		if _, err := b.tx.Exec(ctx, `insert into accounts
			(account, seq, tx, hash, erased, next_mailbox, next_email, last_uid_validity, limit_bytes, limit_messages)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			on conflict (account) do update set seq = excluded.seq, tx = excluded.tx, hash = excluded.hash, erased = excluded.erased,
			next_mailbox = excluded.next_mailbox, next_email = excluded.next_email, last_uid_validity = excluded.last_uid_validity,
			limit_bytes = excluded.limit_bytes, limit_messages = excluded.limit_messages`,
			string(id), int64(a.at.Seq), int64(a.at.Tx), a.at.Hash[:], number(a.erased), int64(a.nextMailbox), int64(a.nextEmail),
			int64(a.lastUIDValidity), a.limits.Bytes, a.limits.Messages); err != nil {
			return err
		}
	}
	for key, m := range b.mailboxes {
		if m == nil || !m.dirty {
			continue
		}
		m.dirty = false
		if _, err := b.tx.Exec(ctx, `insert into mailboxes
			(account, mailbox, name, special_use, uid_validity, uid_next, created, modseq)
			values ($1, $2, $3, $4, $5, $6, $7, $8)
			on conflict (account, mailbox) do update set name = excluded.name, special_use = excluded.special_use,
			uid_next = excluded.uid_next, modseq = excluded.modseq`,
			string(key.account), int64(key.mailbox), m.name, m.specialUse, int64(m.uidValidity), int64(m.uidNext), int64(m.created),
			int64(m.modseq)); err != nil {
			return err
		}
	}
	return nil
}

// number is a truth value as both kinds of store keep it.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
