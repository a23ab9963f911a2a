package mailboxes

import (
	"context"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
)

// fold is account.State.Apply on rows. Each case stands in the same order there.
func (b *batch) fold(ctx context.Context, a *accountRow, tx domain.Tx, e event.Event) error {
	id := string(a.id)
	switch e := e.(type) {
	case *event.MailboxCreated:
		b.mailboxes[mailboxKey{a.id, e.Mailbox}] = &mailboxRow{
			name: e.Name, specialUse: e.SpecialUse, uidValidity: e.UIDValidity, uidNext: 1, created: tx, modseq: tx, dirty: true,
		}
		a.nextMailbox = max(a.nextMailbox, e.Mailbox+1)
		a.lastUIDValidity = max(a.lastUIDValidity, e.UIDValidity)
		return nil
	case *event.MailboxRenamed:
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.name = e.Name })
	case *event.MailboxDeleted:
		if err := b.release(ctx, a, e.Mailbox, everything); err != nil {
			return err
		}
		b.mailboxes[mailboxKey{a.id, e.Mailbox}] = nil
		_, err := b.tx.Exec(ctx, `delete from mailboxes where account = $1 and mailbox = $2`, id, int64(e.Mailbox))
		return err
	case *event.SpecialUseChanged:
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.specialUse = e.SpecialUse })
	case *event.SubscriptionChanged:
		statement := `delete from subscriptions where account = $1 and name = $2`
		if e.Subscribed {
			statement = `insert into subscriptions (account, name) values ($1, $2) on conflict do nothing`
		}
		_, err := b.tx.Exec(ctx, statement, id, e.Name)
		return err
	case *event.KeywordCreated:
		_, err := b.tx.Exec(ctx, `insert into keywords (account, number, name) values ($1, $2, $3)`, id, int64(e.Number), e.Name)
		return fresh(err, a.id)
	case *event.LimitsChanged:
		a.limits.Bytes, a.limits.Messages = e.Bytes, e.Messages
		return nil
	case *event.MessageAdded:
		w := b.wait(a.id)
		w.added = append(w.added, addition{tx, e})
		a.nextEmail = max(a.nextEmail, e.Email+1)
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.uidNext, m.modseq = e.UID+1, tx })
	case *event.MessagesCopied:
		if err := b.transfer(ctx, a, tx, e); err != nil {
			return err
		}
		return b.refer(ctx, a, e.From, e.UIDs)
	case *event.MessagesMoved:
		if err := b.transfer(ctx, a, tx, (*event.MessagesCopied)(e)); err != nil {
			return err
		}
		if err := b.remove(ctx, a, e.From, e.UIDs); err != nil {
			return err
		}
		return b.change(ctx, a, e.From, func(m *mailboxRow) { m.modseq = tx })
	case *event.FlagsChanged:
		if err := b.flag(ctx, a, tx, e); err != nil {
			return err
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.modseq = tx })
	case *event.MessagesExpunged:
		if err := b.release(ctx, a, e.Mailbox, e.UIDs); err != nil {
			return err
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.modseq = tx })
	}
	return domain.Errorf(domain.Corrupt, "%s is not an account's event", event.Name(e))
}

func (b *batch) change(ctx context.Context, a *accountRow, mailbox domain.MailboxID, f func(*mailboxRow)) error {
	m, err := b.mailbox(ctx, a.id, mailbox)
	if err != nil {
		return err
	}
	f(m)
	m.dirty = true
	return nil
}

// expect checks that a statement met every message of a range: events list only messages that exist.
func expect(err error, id domain.AccountID, mailbox domain.MailboxID, r domain.UIDRange, n int64) error {
	if want := int64(r.Hi-r.Lo) + 1; err == nil && n != want {
		return &projections.Damage{Account: id, What: fmt.Sprintf("mailbox %d has %d of the %d messages %d to %d", mailbox, n, want, r.Lo, r.Hi)}
	}
	return fresh(err, id)
}

// fresh says what it means that a new row is there already.
func fresh(err error, id domain.AccountID) error {
	if domain.Is(err, domain.Exists) {
		return &projections.Damage{Account: id, What: err.Error()}
	}
	return err
}

// transfer gives the target its rows. The sources of a range become a range.
func (b *batch) transfer(ctx context.Context, a *accountRow, tx domain.Tx, e *event.MessagesCopied) error {
	if err := b.write(ctx, a.id); err != nil {
		return err
	}
	uid := e.First
	for _, r := range e.UIDs {
		n, err := b.tx.Exec(ctx, `insert into messages (account, mailbox, uid, email, thread, flags, modseq, size, internal, saved)
			select account, cast($5 as bigint), uid + $6, email, thread, flags, cast($7 as bigint), size, internal, cast($8 as bigint) from messages
			where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(a.id), int64(e.From), int64(r.Lo), int64(r.Hi), int64(e.To), int64(uid)-int64(r.Lo), int64(tx), e.Saved)
		if err := expect(err, a.id, e.From, r, n); err != nil {
			return err
		}
		uid += r.Hi - r.Lo + 1
	}
	return b.change(ctx, a, e.To, func(m *mailboxRow) { m.uidNext, m.modseq = uid, tx })
}

// refer counts the references of copies.
func (b *batch) refer(ctx context.Context, a *accountRow, mailbox domain.MailboxID, uids domain.UIDSet) error {
	for _, r := range uids {
		if _, err := b.tx.Exec(ctx, `update emails set refs = emails.refs + copied.n from
			(select email, count(*) as n from messages where account = $1 and mailbox = $2 and uid between $3 and $4 group by email) as copied
			where emails.account = $1 and emails.email = copied.email`,
			string(a.id), int64(mailbox), int64(r.Lo), int64(r.Hi)); err != nil {
			return err
		}
	}
	return nil
}

// remove takes messages out of a mailbox and leaves their emails alone.
func (b *batch) remove(ctx context.Context, a *accountRow, mailbox domain.MailboxID, uids domain.UIDSet) error {
	for _, r := range uids {
		n, err := b.tx.Exec(ctx, `delete from messages where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(a.id), int64(mailbox), int64(r.Lo), int64(r.Hi))
		if r == everything[0] && err == nil {
			continue
		}
		if err := expect(err, a.id, mailbox, r, n); err != nil {
			return err
		}
	}
	return nil
}

// everything is all that a mailbox may hold.
var everything = domain.UIDSet{{Lo: 1, Hi: 1<<32 - 1}}

// release takes messages out of a mailbox for good, with the emails to which nothing refers any more.
func (b *batch) release(ctx context.Context, a *accountRow, mailbox domain.MailboxID, uids domain.UIDSet) error {
	if err := b.write(ctx, a.id); err != nil {
		return err
	}
	for _, r := range uids {
		for _, statement := range []string{
			`update emails set refs = emails.refs - gone.n from
				(select email, count(*) as n from messages where account = $1 and mailbox = $2 and uid between $3 and $4 group by email) as gone
				where emails.account = $1 and emails.email = gone.email`,
			`delete from summaries where account = $1 and email in
				(select m.email from messages m join emails e on e.account = m.account and e.email = m.email
				where m.account = $1 and m.mailbox = $2 and m.uid between $3 and $4 and e.refs <= 0)`,
			`delete from emails where account = $1 and refs <= 0 and email in
				(select email from messages where account = $1 and mailbox = $2 and uid between $3 and $4)`,
		} {
			if _, err := b.tx.Exec(ctx, statement, string(a.id), int64(mailbox), int64(r.Lo), int64(r.Hi)); err != nil {
				return err
			}
		}
	}
	return b.remove(ctx, a, mailbox, uids)
}
