package mailboxes

import (
	"context"
	"database/sql"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Load reads an account's state and where its log stood, both from one snapshot of the view. An account without entries has the state
// account.New. Errors: domain.Erased, domain.Unavailable.
func Load(ctx context.Context, r projections.Reader, id domain.AccountID) (*account.State, streams.Position, error) {
	l := loader{ctx: ctx, id: string(id), state: account.New()}
	err := r.Snapshot(ctx, func(r projections.Reader) error {
		l.r = r
		return l.load()
	})
	if err != nil {
		return nil, streams.Position{}, err
	}
	if l.erased {
		return nil, l.at, domain.Errorf(domain.Erased, "account %s was erased", id)
	}
	return l.state, l.at, nil
}

type loader struct {
	ctx    context.Context
	r      projections.Reader
	id     string
	state  *account.State
	at     streams.Position
	erased bool
}

func (l *loader) load() error {
	s := l.state
	var hash []byte
	if err := l.each(`select seq, tx, hash, erased, next_mailbox, next_email, last_uid_validity, limit_bytes, limit_messages
		from accounts where account = $1`, func(scan scan) error {
		return scan(&l.at.Seq, &l.at.Tx, &hash, &l.erased, &s.NextMailbox, &s.NextEmail, &s.LastUIDValidity, &s.Limits.Bytes, &s.Limits.Messages)
	}); err != nil {
		return err
	}
	copy(l.at.Hash[:], hash)
	s.Tx = l.at.Tx
	if err := l.each(`select name from keywords where account = $1 order by number`, func(scan scan) error {
		s.Keywords = append(s.Keywords, "")
		return scan(&s.Keywords[len(s.Keywords)-1])
	}); err != nil {
		return err
	}
	if err := l.each(`select name from subscriptions where account = $1`, func(scan scan) error {
		var name string
		err := scan(&name)
		s.Subscribed[name] = true
		return err
	}); err != nil {
		return err
	}
	boxes := map[domain.MailboxID]*account.Mailbox{}
	if err := l.each(`select mailbox, name, special_use, uid_validity, uid_next, created, modseq from mailboxes where account = $1`, func(scan scan) error {
		m := new(account.Mailbox)
		err := scan(&m.ID, &m.Name, &m.SpecialUse, &m.UIDValidity, &m.UIDNext, &m.Created, &m.ModSeq)
		boxes[m.ID] = m
		return err
	}); err != nil {
		return err
	}
	if err := l.messages(boxes); err != nil {
		return err
	}
	for _, m := range boxes {
		s.Insert(m)
	}
	return nil
}

// messages fills the columns, and counts: the counters view has a cursor of its own and may stand elsewhere.
func (l *loader) messages(boxes map[domain.MailboxID]*account.Mailbox) error {
	var m *account.Mailbox
	var box domain.MailboxID
	var row account.Message
	return l.each(`select mailbox, uid, email, thread, flags, modseq, size, internal, saved from messages
		where account = $1 order by mailbox, uid`, func(scan scan) error {
		var flags int64
		if err := scan(&box, &row.UID, &row.Email, &row.Thread, &flags, &row.Modified, &row.Size, &row.Internal, &row.Saved); err != nil {
			return err
		}
		if m == nil || m.ID != box {
			if m = boxes[box]; m == nil {
				return domain.Errorf(domain.Unavailable, "view of account %s: mailbox %d is missing", l.id, box)
			}
		}
		row.Flags = event.Flags(flags)
		m.Append(row)
		m.Counts = m.Counts.Plus(event.DeltaOf(row.Flags, row.Size))
		return nil
	})
}

type scan = func(dest ...any) error

// each calls f for every row of a query on the account.
func (l *loader) each(query string, f func(scan) error) error {
	rows, err := l.r.Query(l.ctx, query, l.id)
	if err != nil {
		return err
	}
	return eachRow(rows, f)
}

func eachRow(rows *sql.Rows, f func(scan) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
