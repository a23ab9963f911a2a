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
	"github.com/streampost/streampost/streams"
)

// Load reads an account's state and where its log stood, both from one snapshot of the view. An account without entries has the state
// account.New. Errors: domain.Erased, domain.Unavailable; *projections.Damage when the rows do not add up to the digests beside them, which
// means that something other than the projection changed them: no answer may rest on them until they are made anew.
func Load(ctx context.Context, r projections.Reader, id domain.AccountID) (*account.State, streams.Position, error) {
	l, err := load(ctx, r, id)
	if err != nil {
		return nil, streams.Position{}, err
	}
	if l.erased {
		return nil, l.at, domain.Errorf(domain.Erased, "account %s was erased", id)
	}
	if found := l.stored.Against(l.state.Digests()); l.at.Tx > 0 && len(found) > 0 {
		return nil, l.at, &projections.Damage{Account: id, What: fmt.Sprintf("at Tx %d %s", l.at.Tx, describe(found))}
	}
	return l.state, l.at, nil
}

// describe tells people which rows do not agree with their digest.
func describe(found []account.Disagreement) string {
	for _, d := range found {
		if d.Mailbox != 0 {
			return fmt.Sprintf("the messages of mailbox %d add up to digest %s instead of %s", d.Mailbox, d.Other, d.One)
		}
	}
	return fmt.Sprintf("its mailboxes, names, subscriptions, keywords and limits add up to digest %s instead of %s", found[0].Other, found[0].One)
}

func load(ctx context.Context, r projections.Reader, id domain.AccountID) (*loader, error) {
	l := &loader{ctx: ctx, id: id, state: account.New()}
	return l, r.Snapshot(ctx, func(r projections.Reader) error {
		l.r = r
		return l.load()
	})
}

type loader struct {
	ctx    context.Context
	r      projections.Reader
	id     domain.AccountID
	state  *account.State // its digests are those of the rows
	stored account.Digests
	at     streams.Position
	erased bool
}

func (l *loader) load() error {
	s := l.state
	var hash []byte
	if err := l.each(`select seq, tx, hash, erased, next_mailbox, next_email, last_uid_validity, purged, limit_bytes, limit_messages, limit_mailboxes, access_reset,
		epoch, primary_node, digest from accounts where account = $1`, func(scan scan) error {
		return scan(&l.at.Seq, &l.at.Tx, &hash, &l.erased, &s.NextMailbox, &s.NextEmail, &s.LastUIDValidity, &s.Purged, &s.Limits.Bytes,
			&s.Limits.Messages, &s.Limits.Mailboxes, &s.AccessReset, &s.Primary.Epoch, &s.Primary.Node, (*bits)(&l.stored.Account))
	}); err != nil {
		return err
	}
	copy(l.at.Hash[:], hash)
	s.Tx, l.stored.Tx = l.at.Tx, l.at.Tx
	if err := l.each(`select name from keywords where account = $1 order by number`, func(scan scan) error {
		s.Keywords = append(s.Keywords, "")
		return scan(&s.Keywords[len(s.Keywords)-1])
	}); err != nil {
		return err
	}
	if err := l.each(`select name from subscriptions where account = $1`, func(scan scan) error {
		var name string
		err := scan(&name)
		s.Subscribe(name, true)
		return err
	}); err != nil {
		return err
	}
	boxes := map[domain.MailboxID]*account.Mailbox{}
	l.stored.Mailboxes = map[domain.MailboxID]account.Digest{}
	if err := l.each(`select mailbox, name, special_use, uid_validity, uid_next, created, modseq, access_reset, digest from mailboxes where account = $1`, func(scan scan) error {
		m := new(account.Mailbox)
		var stored bits
		err := scan(&m.ID, &m.Name, &m.SpecialUse, &m.UIDValidity, &m.UIDNext, &m.Created, &m.ModSeq, &m.AccessReset, &stored)
		boxes[m.ID] = m
		l.stored.Mailboxes[m.ID] = account.Digest(stored)
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
	return errors.Join(l.metadata(), l.rights())
}

// messages fills the columns, and counts: the counters view has a cursor of its own and may stand elsewhere.
func (l *loader) messages(boxes map[domain.MailboxID]*account.Mailbox) error {
	var m *account.Mailbox
	var box domain.MailboxID
	var row account.Message
	dest := append([]any{&box}, columns(&row)...)
	return l.each(`select mailbox, uid, email, thread, flags, modseq, size, internal, saved from messages
		where account = $1 order by mailbox, uid`, func(scan scan) error {
		if err := scan(dest...); err != nil {
			return err
		}
		if m == nil || m.ID != box {
			if m = boxes[box]; m == nil {
				return &projections.Damage{Account: l.id, What: fmt.Sprintf("mailbox %d is missing", box)}
			}
		}
		m.Append(row)
		m.Counts = m.Counts.Plus(event.DeltaOf(row.Flags, row.Size))
		m.Digest += row.Digest()
		return nil
	})
}

// columns is where "uid, email, thread, flags, modseq, size, internal, saved" are scanned to.
func columns(m *account.Message) []any {
	return []any{&m.UID, &m.Email, &m.Thread, (*bits)(&m.Flags), &m.Modified, &m.Size, &m.Internal, &m.Saved}
}

// bits is an unsigned number that a column holds as the signed one with the same bits.
type bits uint64

// Scan takes what a driver gives for a bigint.
func (b *bits) Scan(value any) error {
	n, ok := value.(int64)
	if !ok {
		return fmt.Errorf("%T is not a number", value)
	}
	*b = bits(n)
	return nil
}

type scan = func(dest ...any) error

// each calls f for every row of a query on the account. A value that is not of its column's type is damage.
func (l *loader) each(query string, f func(scan) error) error {
	rows, err := l.r.Query(l.ctx, query, string(l.id))
	if err != nil {
		return err
	}
	return eachRow(rows, func(scan scan) error {
		return f(func(dest ...any) error {
			err := scan(dest...)
			if err != nil && l.ctx.Err() == nil {
				err = &projections.Damage{Account: l.id, What: err.Error()}
			}
			return err
		})
	})
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
