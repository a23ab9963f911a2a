package changes

import (
	"context"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// Vanished gives the UIDs that left a mailbox in transactions after since, by expunge, move or the end of the mailbox itself. When complete is
// false, older ones are forgotten and the answer is a part of the truth: a server may then report every UID that the mailbox does not have (RFC 7162
// section 5.1). A mailbox that never was has none, and is complete.
func Vanished(ctx context.Context, r projections.Reader, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx) (uids domain.UIDSet, complete bool, err error) {
	complete = true
	err = r.Snapshot(ctx, func(r projections.Reader) error {
		if err := each(ctx, r, func(scan scan) error {
			var floor domain.Tx
			err := scan(&floor)
			complete = since >= floor
			return err
		}, `select floor from changed where account = $1 and mailbox = $2`, string(id), int64(mailbox)); err != nil {
			return err
		}
		// In order of UIDs the set grows at its end.
		return each(ctx, r, func(scan scan) error {
			var lo, hi domain.UID
			err := scan(&lo, &hi)
			uids = uids.AddRange(lo, hi)
			return err
		}, `select lo, hi from vanished where account = $1 and mailbox = $2 and modseq > $3 order by lo`, string(id), int64(mailbox), int64(since))
	})
	return uids, complete && err == nil, err
}

// Store finds the rows of any account in the views that a Runner keeps.
type Store struct{ *projections.Runner }

// Vanished is Vanished on the account's view, once it shows the account's log up to a position of its stream.
func (s Store) Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx, upTo domain.Seq) (domain.UIDSet, bool, error) {
	if err := s.WaitOf(ctx, Name, id, upTo); err != nil {
		return nil, false, err
	}
	r, err := s.ReaderOf(Name, id)
	if err != nil {
		return nil, false, err
	}
	return Vanished(ctx, r, id, mailbox, since)
}

// Mailbox is what became of one mailbox.
type Mailbox struct {
	ID      domain.MailboxID
	Created domain.Tx
	Changed domain.Tx // of the last change of its messages, its name or its special use, or of its end
	Deleted domain.Tx // 0 while it is there
}

// Mailboxes gives those that changed in transactions after since, deleted ones too, by id.
func Mailboxes(ctx context.Context, r projections.Reader, id domain.AccountID, since domain.Tx) (all []Mailbox, err error) {
	err = each(ctx, r, func(scan scan) error {
		var m Mailbox
		err := scan(&m.ID, &m.Created, &m.Changed, &m.Deleted)
		all = append(all, m)
		return err
	}, `select mailbox, created, changed, deleted from changed where account = $1 and changed > $2 order by mailbox`, string(id), int64(since))
	return all, err
}

type scan = func(dest ...any) error

func each(ctx context.Context, r projections.Reader, f func(scan) error, query string, args ...any) error {
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return fmt.Errorf("read history: %w", err)
		}
	}
	return rows.Err()
}
