// Package changes is the view of what is no longer there: which messages vanished from a mailbox since a transaction (RFC 7162 QRESYNC), which
// mailboxes changed, and which were deleted.
//
// The history of a mailbox is bounded by number, not by age, because a fold knows no clock: its rows are the same on every node, whenever they
// were made. It is kept by whole transactions. The oldest one goes as soon as those after it have Keep UIDs or more; the Tx of the last that went
// is the mailbox's floor, and what vanished since a Tx below the floor is known in part only. So a mailbox has all of its last Keep vanished
// UIDs, and never more than that beside those of one transaction.
//
// Invariants:
//   - A UID is in the history of its mailbox at most once, since UIDs are never used twice.
//   - A deleted mailbox keeps one row, which says when, and one range: every UID that it ever gave away vanished then. Its floor is 0.
//   - An erased account has no rows.
package changes

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "changes"

// Keep is how many vanished UIDs a mailbox remembers at least, if so many vanished. A row for each, at worst, takes some 40 octets.
const Keep = 100_000

type projection struct{ keep int64 }

// New gives the projection. Another Keep would be another version of it.
func New() projections.Projection { return projection{Keep} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "changed", Key: []string{"account", "mailbox"}},
		{Name: "vanished", Key: []string{"account", "mailbox", "modseq", "lo"}},
	}
}

func (p projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx: tx, keep: p.keep, rows: map[key]*row{}, erased: map[domain.AccountID]bool{}}, nil
}

type key struct {
	account domain.AccountID
	mailbox domain.MailboxID
}

// row is a row of changed on its way through a batch, with the new history of its mailbox.
type row struct {
	created, changed, deleted domain.Tx
	next                      domain.UID
	floor                     domain.Tx
	kept                      int64
	gone                      []vanishing // in order of Tx
}

// vanishing is what one transaction took out of a mailbox.
type vanishing struct {
	tx   domain.Tx
	uids domain.UIDSet
}

type batch struct {
	tx     projections.Tx
	keep   int64
	rows   map[key]*row
	erased map[domain.AccountID]bool
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	for _, ev := range e.Transaction.Events {
		if err := b.fold(ctx, e.Account, e.Tx, ev); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) fold(ctx context.Context, id domain.AccountID, tx domain.Tx, e event.Event) error {
	switch e := e.(type) {
	case *event.MailboxCreated:
		b.rows[key{id, e.Mailbox}] = &row{created: tx, changed: tx, next: 1}
	case *event.MailboxRenamed:
		return b.change(ctx, id, e.Mailbox, tx, nil)
	case *event.SpecialUseChanged:
		return b.change(ctx, id, e.Mailbox, tx, nil)
	case *event.MetadataChanged:
		if e.Mailbox == 0 {
			return nil
		}
		return b.change(ctx, id, e.Mailbox, tx, nil)
	case *event.MailboxDeleted:
		return b.end(ctx, id, e.Mailbox, tx)
	case *event.MessageAdded:
		return b.change(ctx, id, e.Mailbox, tx, func(r *row) { r.next = e.UID + 1 })
	case *event.MessageRestored:
		return b.change(ctx, id, e.Mailbox, tx, func(r *row) { r.next = e.UID + 1 })
	case *event.FlagsChanged:
		return b.change(ctx, id, e.Mailbox, tx, nil)
	case *event.MessagesCopied:
		return b.change(ctx, id, e.To, tx, func(r *row) { r.next = e.First + domain.UID(e.UIDs.Len()) })
	case *event.MessagesMoved:
		if err := b.change(ctx, id, e.To, tx, func(r *row) { r.next = e.First + domain.UID(e.UIDs.Len()) }); err != nil {
			return err
		}
		return b.change(ctx, id, e.From, tx, func(r *row) { r.vanish(tx, e.UIDs) })
	case *event.MessagesExpunged:
		return b.change(ctx, id, e.Mailbox, tx, func(r *row) { r.vanish(tx, e.UIDs) })
	}
	return nil
}

// vanish adds to the history.
func (r *row) vanish(tx domain.Tx, uids domain.UIDSet) {
	if n := len(r.gone); n == 0 || r.gone[n-1].tx != tx {
		r.gone = append(r.gone, vanishing{tx: tx})
	}
	last := &r.gone[len(r.gone)-1]
	for _, u := range uids {
		last.uids = last.uids.AddRange(u.Lo, u.Hi)
	}
	r.kept += int64(uids.Len())
}

func (b *batch) change(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, tx domain.Tx, f func(*row)) error {
	r, err := b.row(ctx, id, mailbox)
	if err != nil {
		return err
	}
	r.changed = tx
	if f != nil {
		f(r)
	}
	return nil
}

// end forgets the history of a mailbox for the one range that takes its place.
func (b *batch) end(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, tx domain.Tx) error {
	r, err := b.row(ctx, id, mailbox)
	if err != nil {
		return err
	}
	if _, err := b.tx.Exec(ctx, `delete from vanished where account = $1 and mailbox = $2`, string(id), int64(mailbox)); err != nil {
		return err
	}
	*r = row{created: r.created, changed: tx, deleted: tx, next: r.next}
	if r.next > 1 {
		r.vanish(tx, domain.UIDSet{{Lo: 1, Hi: r.next - 1}})
	}
	return nil
}

// row finds the row of a mailbox that the log says exists.
func (b *batch) row(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID) (*row, error) {
	k := key{id, mailbox}
	if r := b.rows[k]; r != nil {
		return r, nil
	}
	r := new(row)
	err := b.tx.QueryRow(ctx, `select created, changed, deleted, uid_next, floor, kept from changed where account = $1 and mailbox = $2`,
		string(id), int64(mailbox)).Scan(&r.created, &r.changed, &r.deleted, &r.next, &r.floor, &r.kept)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, &projections.Damage{Account: id, What: fmt.Sprintf("the history of mailbox %d is missing", mailbox)}
	case err != nil:
		return nil, fmt.Errorf("read history: %w", err)
	}
	b.rows[k] = r
	return r, nil
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	if b.erased[id] {
		return nil
	}
	b.erased[id] = true
	maps.DeleteFunc(b.rows, func(k key, _ *row) bool { return k.account == id })
	for _, statement := range []string{`delete from changed where account = $1`, `delete from vanished where account = $1`} {
		if _, err := b.tx.Exec(ctx, statement, string(id)); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) Flush(ctx context.Context) error {
	rows := make([][]any, 0, len(b.rows))
	for _, k := range slices.SortedFunc(maps.Keys(b.rows), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.mailbox, b.mailbox))
	}) {
		r := b.rows[k]
		if err := b.remember(ctx, k, r); err != nil {
			return err
		}
		rows = append(rows, []any{
			string(k.account), int64(k.mailbox), int64(r.created), int64(r.changed), int64(r.deleted), int64(r.next), int64(r.floor), r.kept,
		})
	}
	return b.tx.Merge(ctx, "changed", []string{"account", "mailbox", "created", "changed", "deleted", "uid_next", "floor", "kept"}, rows, `(account, mailbox)
		do update set changed = excluded.changed, deleted = excluded.deleted, uid_next = excluded.uid_next, floor = excluded.floor, kept = excluded.kept`)
}

// remember writes the new history of a mailbox and forgets the surplus.
func (b *batch) remember(ctx context.Context, k key, r *row) error {
	var rows [][]any
	for _, v := range r.gone {
		for _, u := range v.uids {
			rows = append(rows, []any{string(k.account), int64(k.mailbox), int64(v.tx), int64(u.Lo), int64(u.Hi)})
		}
	}
	r.gone = nil
	if len(rows) > 0 {
		if err := b.tx.Insert(ctx, "vanished", []string{"account", "mailbox", "modseq", "lo", "hi"}, rows); err != nil {
			return projections.Fresh(err, k.account)
		}
	}
	if r.kept > b.keep && r.deleted == 0 {
		return b.trim(ctx, k, r)
	}
	return nil
}

// trim forgets the oldest transactions whose successors have enough. Which these are does not depend on when they are looked for.
func (b *batch) trim(ctx context.Context, k key, r *row) error {
	rows, err := b.tx.Query(ctx, `select modseq, cast(sum(hi - lo + 1) as bigint) from vanished where account = $1 and mailbox = $2
		group by modseq order by modseq`, string(k.account), int64(k.mailbox))
	if err != nil {
		return err
	}
	defer rows.Close()
	floor := r.floor
	for rows.Next() {
		var tx domain.Tx
		var n int64
		if err := rows.Scan(&tx, &n); err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		if r.kept-n < b.keep {
			break
		}
		r.floor, r.kept = tx, r.kept-n
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || r.floor == floor {
		return err
	}
	_, err = b.tx.Exec(ctx, `delete from vanished where account = $1 and mailbox = $2 and modseq <= $3`, string(k.account), int64(k.mailbox), int64(r.floor))
	return err
}
