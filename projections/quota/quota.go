// Package quota is the view of what each account uses and may use (RFC 9208): the sum of the deltas that its events carry, and its limits.
package quota

import (
	"context"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "quota"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 2 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{{Name: "quota", Key: []string{"account"}}}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx: tx, changes: map[domain.AccountID]*change{}, erased: map[domain.AccountID]bool{}}, nil
}

// change is what a batch does to an account's row. Every entry that can be read makes a row, whatever it says.
type change struct {
	used   event.Delta
	boxes  int64
	limits *account.Limits // nil: as they are
}

type batch struct {
	tx      projections.Tx
	changes map[domain.AccountID]*change
	erased  map[domain.AccountID]bool
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	c := b.changes[e.Account]
	if c == nil {
		c = new(change)
		b.changes[e.Account] = c
	}
	for _, ev := range e.Transaction.Events {
		switch ev := ev.(type) {
		case *event.LimitsChanged:
			c.limits = &account.Limits{Bytes: ev.Bytes, Messages: ev.Messages, Mailboxes: ev.Mailboxes}
		case *event.MailboxCreated:
			c.boxes++
		case *event.MailboxDeleted:
			c.boxes--
			c.used = c.used.Plus(ev.Delta)
		case *event.MessageAdded:
			c.used = c.used.Plus(ev.Delta())
		case *event.MessageRestored:
			c.used = c.used.Plus((*event.MessageAdded)(ev).Delta())
		case *event.MessagesCopied:
			c.used = c.used.Plus(ev.Delta)
		case *event.MessagesExpunged:
			c.used = c.used.Plus(ev.Delta)
		}
	}
	return nil
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	if b.erased[id] {
		return nil
	}
	b.erased[id] = true
	delete(b.changes, id)
	_, err := b.tx.Exec(ctx, `delete from quota where account = $1`, string(id))
	return err
}

func (b *batch) Flush(ctx context.Context) error {
	rows := make([][]any, 0, len(b.changes))
	for id, c := range b.changes {
		rows = append(rows, []any{string(id), c.used.Bytes, c.used.Messages, c.boxes})
	}
	if err := b.tx.Merge(ctx, "quota", []string{"account", "bytes", "messages", "mailboxes"}, rows, `(account) do update set bytes = quota.bytes + excluded.bytes,
		messages = quota.messages + excluded.messages, mailboxes = quota.mailboxes + excluded.mailboxes`); err != nil {
		return err
	}
	for id, c := range b.changes {
		if c.limits == nil {
			continue
		}
		if _, err := b.tx.Exec(ctx, `update quota set limit_bytes = $2, limit_messages = $3, limit_mailboxes = $4 where account = $1`,
			string(id), c.limits.Bytes, c.limits.Messages, c.limits.Mailboxes); err != nil {
			return err
		}
	}
	return nil
}

// Row is what an account uses and may use.
type Row struct {
	Account   domain.AccountID
	Bytes     int64
	Messages  int64
	Mailboxes int64
	Limits    account.Limits
}

// Load reads an account's row; all zero if it has none.
func Load(ctx context.Context, r projections.Reader, id domain.AccountID) (Row, error) {
	row := Row{Account: id}
	rows, err := r.Query(ctx, `select bytes, messages, mailboxes, limit_bytes, limit_messages, limit_mailboxes from quota where account = $1`, string(id))
	if err != nil {
		return row, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&row.Bytes, &row.Messages, &row.Mailboxes, &row.Limits.Bytes, &row.Limits.Messages, &row.Limits.Mailboxes); err != nil {
			return row, fmt.Errorf("read quota: %w", err)
		}
	}
	return row, rows.Err()
}
