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

// grant is account.State.Grant on rows.
func (b *batch) grant(ctx context.Context, a *accountRow, e *event.RightsChanged) error {
	if _, err := b.mailbox(ctx, a.id, e.Mailbox); err != nil {
		return err
	}
	rights, err := account.ParseRights(e.Rights)
	if err != nil {
		return domain.Wrap(domain.Corrupt, err, "read rights")
	}
	who := account.Identifier(e.Identifier)
	var old string
	err = b.tx.QueryRow(ctx, `select rights from rights where account = $1 and mailbox = $2 and identifier = $3`, string(a.id), int64(e.Mailbox), e.Identifier).Scan(&old)
	switch {
	case err == nil:
		was, err := account.ParseRights(old)
		if err != nil {
			return &projections.Damage{Account: a.id, What: err.Error()}
		}
		a.digest -= account.RightsDigest(e.Mailbox, who, was)
	case !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("read rights: %w", err)
	}
	if rights == 0 {
		_, err := b.tx.Exec(ctx, `delete from rights where account = $1 and mailbox = $2 and identifier = $3`, string(a.id), int64(e.Mailbox), e.Identifier)
		return err
	}
	a.digest += account.RightsDigest(e.Mailbox, who, rights)
	_, err = b.tx.Exec(ctx, `insert into rights (account, mailbox, identifier, rights) values ($1, $2, $3, $4)
		on conflict (account, mailbox, identifier) do update set rights = excluded.rights`, string(a.id), int64(e.Mailbox), e.Identifier, rights.String())
	return err
}

// forgetRights removes the list of a mailbox that goes (RFC 4314 section 4, DELETE).
func (b *batch) forgetRights(ctx context.Context, a *accountRow, mailbox domain.MailboxID) error {
	rows, err := b.tx.Query(ctx, `select mailbox, identifier, rights from rights where account = $1 and mailbox = $2`, string(a.id), int64(mailbox))
	if err != nil {
		return err
	}
	if err := eachRight(rows, a.id, func(mailbox domain.MailboxID, who account.Identifier, rights account.Rights) {
		a.digest -= account.RightsDigest(mailbox, who, rights)
	}); err != nil {
		return err
	}
	_, err = b.tx.Exec(ctx, `delete from rights where account = $1 and mailbox = $2`, string(a.id), int64(mailbox))
	return err
}

// rights gives the state its lists.
func (l *loader) rights() error {
	rows, err := l.r.Query(l.ctx, `select mailbox, identifier, rights from rights where account = $1`, string(l.id))
	if err != nil {
		return err
	}
	missing := domain.MailboxID(0)
	err = eachRight(rows, l.id, func(mailbox domain.MailboxID, who account.Identifier, rights account.Rights) {
		if l.state.Mailboxes[mailbox] == nil {
			missing = mailbox
			return
		}
		l.state.Grant(mailbox, who, rights)
	})
	if err == nil && missing != 0 {
		return &projections.Damage{Account: l.id, What: fmt.Sprintf("mailbox %d is missing", missing)}
	}
	return err
}

func eachRight(rows *sql.Rows, id domain.AccountID, f func(domain.MailboxID, account.Identifier, account.Rights)) error {
	var mailbox domain.MailboxID
	var who, letters string
	return eachRow(rows, func(scan scan) error {
		if err := scan(&mailbox, &who, &letters); err != nil {
			return err
		}
		rights, err := account.ParseRights(letters)
		if err != nil {
			return &projections.Damage{Account: id, What: err.Error()}
		}
		f(mailbox, account.Identifier(who), rights)
		return nil
	})
}

// Granted tells whom each account of a stream gives or takes rights.
func Granted(ctx context.Context, r projections.Reader, f func(who account.Identifier, owner domain.AccountID)) error {
	rows, err := r.Query(ctx, `select distinct identifier, account from rights`)
	if err != nil {
		return err
	}
	var who, owner string
	return eachRow(rows, func(scan scan) error {
		err := scan(&who, &owner)
		if err == nil {
			f(account.Identifier(who), domain.AccountID(owner))
		}
		return err
	})
}
