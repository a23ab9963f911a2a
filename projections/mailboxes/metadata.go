package mailboxes

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
)

// annotate is account.State.Annotate on rows.
func (b *batch) annotate(ctx context.Context, a *accountRow, e *event.MetadataChanged) error {
	if e.Mailbox != 0 {
		if _, err := b.mailbox(ctx, a.id, e.Mailbox); err != nil {
			return err
		}
	}
	var old []byte
	err := b.tx.QueryRow(ctx, `select value from metadata where account = $1 and mailbox = $2 and entry = $3`,
		string(a.id), int64(e.Mailbox), e.Entry).Scan(&old)
	switch {
	case err == nil:
		a.digest -= account.MetadataDigest(e.Mailbox, e.Entry, string(old))
	case !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("read annotation: %w", err)
	}
	if e.Removed {
		_, err := b.tx.Exec(ctx, `delete from metadata where account = $1 and mailbox = $2 and entry = $3`, string(a.id), int64(e.Mailbox), e.Entry)
		return err
	}
	a.digest += account.MetadataDigest(e.Mailbox, e.Entry, e.Value)
	_, err = b.tx.Exec(ctx, `insert into metadata (account, mailbox, entry, value) values ($1, $2, $3, $4)
		on conflict (account, mailbox, entry) do update set value = excluded.value`, string(a.id), int64(e.Mailbox), e.Entry, []byte(e.Value))
	return err
}

// forgetMetadata removes the annotations of a mailbox that goes.
func (b *batch) forgetMetadata(ctx context.Context, a *accountRow, mailbox domain.MailboxID) error {
	rows, err := b.tx.Query(ctx, `select entry, value from metadata where account = $1 and mailbox = $2`, string(a.id), int64(mailbox))
	if err != nil {
		return err
	}
	var entry string
	var value []byte
	if err := eachRow(rows, func(scan scan) error {
		err := scan(&entry, &value)
		a.digest -= account.MetadataDigest(mailbox, entry, string(value))
		return err
	}); err != nil {
		return err
	}
	_, err = b.tx.Exec(ctx, `delete from metadata where account = $1 and mailbox = $2`, string(a.id), int64(mailbox))
	return err
}

// metadata gives the state its annotations.
func (l *loader) metadata() error {
	var mailbox domain.MailboxID
	var entry string
	var value []byte
	return l.each(`select mailbox, entry, value from metadata where account = $1`, func(scan scan) error {
		if err := scan(&mailbox, &entry, &value); err != nil {
			return err
		}
		if mailbox != 0 && l.state.Mailboxes[mailbox] == nil {
			return &projections.Damage{Account: l.id, What: fmt.Sprintf("mailbox %d is missing", mailbox)}
		}
		l.state.Annotate(mailbox, entry, string(value), false)
		return nil
	})
}
