// Package mailboxes is the view of mail itself: mailboxes, messages, and what IMAP shows of each message without reading its blob.
//
// Its rows are account.State.Apply written as SQL: Load gives back the state that folding the account's log gives, field by field.
//
// Invariants:
//   - An account's row says where its log stood; an entry that does not follow on it is domain.Corrupt and changes nothing.
//   - The digests in mailboxes and accounts are those of the state, kept as rows come, change and go: never counted anew, so that rows which were
//     changed by anything else do not agree with them. Load notices.
//   - A row of emails lives exactly as long as messages refer to it.
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
func (projection) Version() int             { return 6 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "accounts", Key: []string{"account"}, Tx: "tx"},
		{Name: "keywords", Key: []string{"account", "number"}},
		{Name: "subscriptions", Key: []string{"account", "name"}},
		{Name: "metadata", Key: []string{"account", "mailbox", "entry"}},
		{Name: "rights", Key: []string{"account", "mailbox", "identifier"}},
		{Name: "mailboxes", Key: []string{"account", "mailbox"}, Tx: "modseq"},
		{Name: "messages", Key: []string{"account", "mailbox", "uid"}, Tx: "modseq", Summed: true},
		{Name: "emails", Key: []string{"account", "email"}, Secret: []string{"blob_key"}},
		{Name: "summaries", Key: []string{"account", "email"}},
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
	purged          domain.Tx
	limits          account.Limits
	accessReset     domain.Tx
	primary         account.Primary
	digest          account.Digest // without what is dirty
	facts           account.Digest // how much of it is that of the fields above
}

func (a *accountRow) factsDigest() account.Digest {
	return account.FactsDigest(a.nextMailbox, a.nextEmail, a.lastUIDValidity, a.purged, a.limits) + account.AccessDigest(0, a.accessReset) +
		account.PrimaryDigest(a.primary)
}

type mailboxKey struct {
	account domain.AccountID
	mailbox domain.MailboxID
}

// mailboxRow is a row of mailboxes on its way through a batch. The Mailbox has no columns and no counts.
type mailboxRow struct {
	account.Mailbox
	booked account.Digest // how much of the account's digest is this row's
	dirty  bool
}

// batch applies entries in order. Rows of accounts and mailboxes, which nearly every entry changes, wait in memory until Flush; new messages and
// changes of single ones wait too, so that they are written in the order of their keys.
type batch struct {
	tx        projections.Tx
	accounts  map[domain.AccountID]*accountRow
	mailboxes map[mailboxKey]*mailboxRow // nil for one that is gone
	waiting   map[domain.AccountID]*waiting
}

// account finds the row of an account, which is new when the log begins.
func (b *batch) account(ctx context.Context, id domain.AccountID) (*accountRow, error) {
	if row := b.accounts[id]; row != nil {
		return row, nil
	}
	row := &accountRow{id: id, nextMailbox: 1, nextEmail: 1}
	var hash []byte
	err := b.tx.QueryRow(ctx, `select seq, tx, hash, erased, next_mailbox, next_email, last_uid_validity, purged, limit_bytes, limit_messages, limit_mailboxes, access_reset,
		epoch, primary_node, digest from accounts where account = $1`, string(id)).Scan(&row.at.Seq, &row.at.Tx, &hash, &row.erased, &row.nextMailbox, &row.nextEmail,
		&row.lastUIDValidity, &row.purged, &row.limits.Bytes, &row.limits.Messages, &row.limits.Mailboxes, &row.accessReset, &row.primary.Epoch,
		&row.primary.Node, (*bits)(&row.digest))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read account: %w", err)
	}
	copy(row.at.Hash[:], hash)
	row.facts = row.factsDigest()
	if row.at.Tx == 0 {
		row.digest = row.facts
	}
	b.accounts[id] = row
	return row, nil
}

// mailbox finds the row of a mailbox that the log says exists.
func (b *batch) mailbox(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID) (*mailboxRow, error) {
	key := mailboxKey{id, mailbox}
	row, cached := b.mailboxes[key]
	if !cached {
		row = new(mailboxRow)
		row.ID = mailbox
		err := b.tx.QueryRow(ctx, `select name, special_use, uid_validity, uid_next, created, modseq, access_reset, digest from mailboxes
			where account = $1 and mailbox = $2`, string(id), int64(mailbox)).
			Scan(&row.Name, &row.SpecialUse, &row.UIDValidity, &row.UIDNext, &row.Created, &row.ModSeq, &row.AccessReset, (*bits)(&row.Digest))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			row = nil
		case err != nil:
			return nil, fmt.Errorf("read mailbox: %w", err)
		default:
			row.booked = row.RowDigest()
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
	if e.Seq <= row.at.Seq { // the view contradicts itself: its head says that this entry was not applied
		return &projections.Damage{Account: e.Account, What: fmt.Sprintf("its row stands at position %d, beyond the view's head", row.at.Seq)}
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
		return &projections.Damage{Account: e.Account, What: fmt.Sprintf("transaction %d can be read although an earlier one was erased", e.Tx)}
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
		`delete from metadata where account = $1`,
		`delete from rights where account = $1`,
		`delete from mailboxes where account = $1`,
		`delete from messages where account = $1`,
		`delete from emails where account = $1`,
		`delete from summaries where account = $1`,
	} {
		if _, err := b.tx.Exec(ctx, statement, string(row.id)); err != nil {
			return err
		}
	}
	return nil
}

// Flush writes the rows that wait.
func (b *batch) Flush(ctx context.Context) error {
	if err := b.write(ctx, slices.Sorted(maps.Keys(b.waiting))...); err != nil {
		return err
	}
	if err := b.putMailboxes(ctx); err != nil {
		return err
	}
	return b.putAccounts(ctx)
}

// putMailboxes writes what changed, and books it in the accounts' digests.
func (b *batch) putMailboxes(ctx context.Context) error {
	rows := newTuples(len(b.mailboxes), 10)
	for key, m := range b.mailboxes {
		if m == nil || !m.dirty {
			continue
		}
		was := m.booked
		m.booked, m.dirty = m.RowDigest(), false
		b.accounts[key.account].digest += m.booked - was // every row belongs to an account of this batch
		rows.add(string(key.account), int64(m.ID), m.Name, m.SpecialUse, int64(m.UIDValidity), int64(m.UIDNext), int64(m.Created), int64(m.ModSeq),
			int64(m.AccessReset), int64(m.Digest))
	}
	return b.tx.Merge(ctx, "mailboxes",
		[]string{"account", "mailbox", "name", "special_use", "uid_validity", "uid_next", "created", "modseq", "access_reset", "digest"}, rows.all,
		`(account, mailbox) do update set name = excluded.name, special_use = excluded.special_use,
		uid_next = excluded.uid_next, modseq = excluded.modseq, access_reset = excluded.access_reset, digest = excluded.digest`)
}

func (b *batch) putAccounts(ctx context.Context) error {
	rows := newTuples(len(b.accounts), 16)
	for id, a := range b.accounts {
		if !a.erased {
			was := a.facts
			a.facts = a.factsDigest()
			a.digest += a.facts - was
		}
		rows.add(string(id), int64(a.at.Seq), int64(a.at.Tx), a.at.Hash[:], number(a.erased), int64(a.nextMailbox), int64(a.nextEmail),
			int64(a.lastUIDValidity), int64(a.purged), a.limits.Bytes, a.limits.Messages, a.limits.Mailboxes, int64(a.accessReset), int64(a.primary.Epoch),
			a.primary.Node, int64(a.digest))
	}
	return b.tx.Merge(ctx, "accounts", []string{
		"account", "seq", "tx", "hash", "erased", "next_mailbox", "next_email", "last_uid_validity", "purged", "limit_bytes", "limit_messages", "limit_mailboxes",
		"access_reset", "epoch", "primary_node", "digest",
	}, rows.all, `(account) do update set seq = excluded.seq, tx = excluded.tx, hash = excluded.hash, erased = excluded.erased,
		next_mailbox = excluded.next_mailbox, next_email = excluded.next_email, last_uid_validity = excluded.last_uid_validity,
		purged = excluded.purged, limit_bytes = excluded.limit_bytes, limit_messages = excluded.limit_messages,
		limit_mailboxes = excluded.limit_mailboxes, access_reset = excluded.access_reset, epoch = excluded.epoch, primary_node = excluded.primary_node,
		digest = excluded.digest`)
}

// number is a truth value as both kinds of store keep it.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
