package mailboxes

import (
	"context"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
)

// fold is account.State.Apply on rows. Each case stands in the same order there.
func (b *batch) fold(ctx context.Context, a *accountRow, tx domain.Tx, e event.Event) error {
	id := string(a.id)
	switch e := e.(type) {
	case *event.MailboxCreated:
		b.mailboxes[mailboxKey{a.id, e.Mailbox}] = &mailboxRow{dirty: true, Mailbox: account.Mailbox{
			ID: e.Mailbox, Name: e.Name, SpecialUse: e.SpecialUse, UIDValidity: e.UIDValidity, UIDNext: 1, Created: tx, ModSeq: tx,
		}}
		a.nextMailbox = max(a.nextMailbox, e.Mailbox+1)
		a.lastUIDValidity = max(a.lastUIDValidity, e.UIDValidity)
		return nil
	case *event.MailboxRenamed:
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.Name = e.Name })
	case *event.MailboxDeleted:
		if err := b.release(ctx, a, e.Mailbox, domain.UIDSet{domain.AllUIDs}); err != nil {
			return err
		}
		m, err := b.mailbox(ctx, a.id, e.Mailbox)
		if err != nil {
			return err
		}
		a.digest -= m.booked
		if err := errors.Join(b.forgetMetadata(ctx, a, e.Mailbox), b.forgetRights(ctx, a, e.Mailbox)); err != nil {
			return err
		}
		b.mailboxes[mailboxKey{a.id, e.Mailbox}] = nil
		_, err = b.tx.Exec(ctx, `delete from mailboxes where account = $1 and mailbox = $2`, id, int64(e.Mailbox))
		return err
	case *event.SpecialUseChanged:
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.SpecialUse = e.SpecialUse })
	case *event.SubscriptionChanged:
		statement, digest := `delete from subscriptions where account = $1 and name = $2`, -account.SubscriptionDigest(e.Name)
		if e.Subscribed {
			statement, digest = `insert into subscriptions (account, name) values ($1, $2) on conflict do nothing`, -digest
		}
		n, err := b.tx.Exec(ctx, statement, id, e.Name)
		if n > 0 {
			a.digest += digest
		}
		return err
	case *event.KeywordCreated:
		a.digest += account.KeywordDigest(int(e.Number), e.Name)
		_, err := b.tx.Exec(ctx, `insert into keywords (account, number, name) values ($1, $2, $3)`, id, int64(e.Number), e.Name)
		return projections.Fresh(err, a.id)
	case *event.LimitsChanged:
		a.limits = account.Limits{Bytes: e.Bytes, Messages: e.Messages, Mailboxes: e.Mailboxes}
		return nil
	case *event.SieveScriptStored, *event.SieveScriptRenamed, *event.SieveScriptDeleted, *event.SieveScriptActivated, *event.MarkSet, *event.VacationSet:
		return nil // package projections/sieve has them
	case *event.RightsChanged:
		return b.grant(ctx, a, e)
	case *event.AccessKeysReset:
		if e.Mailbox == 0 {
			a.accessReset = tx
			return nil
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.AccessReset = tx })
	case *event.Promoted:
		a.primary = account.Primary{Epoch: e.Epoch, Node: e.Node}
		return nil
	case *event.MetadataChanged:
		if err := b.annotate(ctx, a, e); err != nil || e.Mailbox == 0 {
			return err
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.ModSeq = tx }) // RFC 7162 section 3.2.
	case *event.MessageAdded:
		w := b.wait(a.id)
		w.added = append(w.added, addition{a, e, tx, e.Flags})
		a.nextEmail = max(a.nextEmail, e.Email+1)
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.UIDNext, m.ModSeq = e.UID+1, tx })
	case *event.MessageRestored:
		if err := b.restore(ctx, a, tx, (*event.MessageAdded)(e)); err != nil {
			return err
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.UIDNext, m.ModSeq = e.UID+1, tx })
	case *event.MessagesPurged:
		a.purged = tx
		return nil
	case *event.MessagesCopied:
		if _, err := b.transfer(ctx, a, tx, e); err != nil {
			return err
		}
		return b.refer(ctx, a, e.From, e.UIDs)
	case *event.MessagesMoved:
		gone, err := b.transfer(ctx, a, tx, (*event.MessagesCopied)(e))
		if err != nil {
			return err
		}
		if err := b.remove(ctx, a, e.From, e.UIDs); err != nil {
			return err
		}
		return b.change(ctx, a, e.From, func(m *mailboxRow) { m.ModSeq, m.Digest = tx, m.Digest-gone })
	case *event.FlagsChanged:
		if err := b.flag(ctx, a, tx, e); err != nil {
			return err
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.ModSeq = tx })
	case *event.MessagesExpunged:
		if err := b.write(ctx, a.id); err != nil {
			return err
		}
		gone, err := b.sum(ctx, a, e.Mailbox, e.UIDs)
		if err != nil {
			return err
		}
		if err := b.release(ctx, a, e.Mailbox, e.UIDs); err != nil {
			return err
		}
		return b.change(ctx, a, e.Mailbox, func(m *mailboxRow) { m.ModSeq, m.Digest = tx, m.Digest-gone })
	}
	return domain.Errorf(domain.Corrupt, "%s is not an account's event", event.Name(e))
}

// restore puts a message back whose email another mailbox may still hold.
func (b *batch) restore(ctx context.Context, a *accountRow, tx domain.Tx, e *event.MessageAdded) error {
	if err := b.write(ctx, a.id); err != nil {
		return err
	}
	held, err := b.tx.Exec(ctx, `update emails set refs = emails.refs + 1 where account = $1 and email = $2`, string(a.id), int64(e.Email))
	if err != nil {
		return err
	}
	if held > 0 {
		return projections.Fresh(b.insertMessages(ctx, []addition{{a, e, tx, e.Flags}}), a.id)
	}
	w := b.wait(a.id)
	w.added = append(w.added, addition{a, e, tx, e.Flags})
	return nil
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
	return projections.Fresh(err, id)
}

// each calls f with every message of a range, in rising order, and checks that all are there.
func (b *batch) each(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, r domain.UIDRange, f func(account.Message)) error {
	rows, err := b.tx.Query(ctx, `select uid, email, thread, flags, modseq, size, internal, saved from messages
		where account = $1 and mailbox = $2 and uid between $3 and $4 order by uid`, string(id), int64(mailbox), int64(r.Lo), int64(r.Hi))
	if err != nil {
		return err
	}
	n := int64(0)
	var m account.Message
	dest := columns(&m)
	err = eachRow(rows, func(scan scan) error {
		if err := scan(dest...); err != nil {
			return err
		}
		n++
		f(m)
		return nil
	})
	return expect(err, id, mailbox, r, n)
}

// sum adds up the digests of messages that are about to go.
func (b *batch) sum(ctx context.Context, a *accountRow, mailbox domain.MailboxID, uids domain.UIDSet) (d account.Digest, err error) {
	for _, r := range uids {
		if err := b.each(ctx, a.id, mailbox, r, func(m account.Message) { d += m.Digest() }); err != nil {
			return 0, err
		}
	}
	return d, nil
}

// transfer gives the target its rows, and the digest of the sources. The sources of a range become a range.
func (b *batch) transfer(ctx context.Context, a *accountRow, tx domain.Tx, e *event.MessagesCopied) (sources account.Digest, err error) {
	if err := b.write(ctx, a.id); err != nil {
		return 0, err
	}
	next, copies := e.First, account.Digest(0)
	for _, r := range e.UIDs {
		first := next
		if err := b.each(ctx, a.id, e.From, r, func(m account.Message) {
			sources += m.Digest()
			m.UID, m.Modified, m.Saved = next, tx, e.Saved
			copies += m.Digest()
			next++
		}); err != nil {
			return 0, err
		}
		n, err := b.tx.Exec(ctx, `insert into messages (account, mailbox, uid, email, thread, flags, modseq, size, internal, saved)
			select account, cast($5 as bigint), uid + $6, email, thread, flags, cast($7 as bigint), size, internal, cast($8 as bigint) from messages
			where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(a.id), int64(e.From), int64(r.Lo), int64(r.Hi), int64(e.To), int64(first)-int64(r.Lo), int64(tx), e.Saved)
		if err := expect(err, a.id, e.From, r, n); err != nil {
			return 0, err
		}
	}
	return sources, b.change(ctx, a, e.To, func(m *mailboxRow) { m.UIDNext, m.ModSeq, m.Digest = next, tx, m.Digest+copies })
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
		if r == domain.AllUIDs && err == nil {
			continue
		}
		if err := expect(err, a.id, mailbox, r, n); err != nil {
			return err
		}
	}
	return nil
}

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
