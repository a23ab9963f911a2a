// Package counters is the view of what each mailbox holds: messages, those not \Seen, those \Deleted, and their octets. It reads no message: every
// event carries what it adds, so a row is a sum.
//
// There is no count of \Recent messages. Which session is told of a message first (RFC 3501 section 2.3.2) follows from who is connected, not from the log,
// so no fold can know it; RFC 9051 has no such flag any more.
package counters

import (
	"context"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "counters"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{{Name: "counters", Key: []string{"account", "mailbox"}}}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx: tx, sums: map[key]event.Delta{}, erased: map[domain.AccountID]bool{}}, nil
}

type key struct {
	account domain.AccountID
	mailbox domain.MailboxID
}

// batch adds up in memory what entries add, so that a batch writes each mailbox once.
type batch struct {
	tx     projections.Tx
	sums   map[key]event.Delta
	erased map[domain.AccountID]bool
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	for _, ev := range e.Transaction.Events {
		switch ev := ev.(type) {
		case *event.MailboxCreated:
			b.add(e.Account, ev.Mailbox, event.Delta{})
		case *event.MailboxDeleted:
			delete(b.sums, key{e.Account, ev.Mailbox})
			if _, err := b.tx.Exec(ctx, `delete from counters where account = $1 and mailbox = $2`, string(e.Account), int64(ev.Mailbox)); err != nil {
				return err
			}
		case *event.MessageAdded:
			b.add(e.Account, ev.Mailbox, ev.Delta())
		case *event.MessageRestored:
			b.add(e.Account, ev.Mailbox, (*event.MessageAdded)(ev).Delta())
		case *event.MessagesCopied:
			b.add(e.Account, ev.To, ev.Delta)
		case *event.MessagesMoved:
			b.add(e.Account, ev.To, ev.Delta)
			b.add(e.Account, ev.From, ev.Delta.Negate())
		case *event.FlagsChanged:
			b.add(e.Account, ev.Mailbox, ev.Delta)
		case *event.MessagesExpunged:
			b.add(e.Account, ev.Mailbox, ev.Delta)
		}
	}
	return nil
}

func (b *batch) add(id domain.AccountID, mailbox domain.MailboxID, d event.Delta) {
	k := key{id, mailbox}
	b.sums[k] = b.sums[k].Plus(d)
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	if b.erased[id] {
		return nil
	}
	b.erased[id] = true
	for k := range b.sums {
		if k.account == id {
			delete(b.sums, k)
		}
	}
	_, err := b.tx.Exec(ctx, `delete from counters where account = $1`, string(id))
	return err
}

func (b *batch) Flush(ctx context.Context) error {
	rows := make([][]any, 0, len(b.sums))
	for k, d := range b.sums {
		rows = append(rows, []any{string(k.account), int64(k.mailbox), d.Messages, d.Unseen, d.Deleted, d.Bytes})
	}
	return b.tx.Merge(ctx, "counters", []string{"account", "mailbox", "messages", "unseen", "deleted", "bytes"}, rows, `(account, mailbox) do update set
		messages = counters.messages + excluded.messages, unseen = counters.unseen + excluded.unseen,
		deleted = counters.deleted + excluded.deleted, bytes = counters.bytes + excluded.bytes`)
}

// Load reads the counters of an account's mailboxes.
func Load(ctx context.Context, r projections.Reader, id domain.AccountID) (map[domain.MailboxID]event.Delta, error) {
	rows, err := r.Query(ctx, `select mailbox, messages, unseen, deleted, bytes from counters where account = $1`, string(id))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[domain.MailboxID]event.Delta{}
	for rows.Next() {
		var mailbox domain.MailboxID
		var d event.Delta
		if err := rows.Scan(&mailbox, &d.Messages, &d.Unseen, &d.Deleted, &d.Bytes); err != nil {
			return nil, fmt.Errorf("read counters: %w", err)
		}
		all[mailbox] = d
	}
	return all, rows.Err()
}
