// Package vault is the view of deleted messages: those that no mailbox of their account holds any more, and that can still come back.
//
// A message enters the vault with the event that takes it out of its last mailbox, and leaves it when it is restored or purged. Nothing else
// removes it, so the rows follow from the log alone; Keeper.Expire purges what is older than the retention, and that is an event too.
//
// To know which expunge takes the last one, the view follows every message through copies and moves. It does not follow flags.
package vault

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "vault"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 2 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "vault_mailboxes", Key: []string{"account", "mailbox"}},
		{Name: "vault_places", Key: []string{"account", "mailbox", "uid"}},
		{Name: "vault_emails", Key: []string{"account", "email"}, Secret: []string{"blob_key"}},
	}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx: tx, added: map[domain.AccountID][]*event.MessageAdded{}}, nil
}

// batch keeps new messages until something else happens to their account, so that neighbouring keys are written together.
type batch struct {
	tx    projections.Tx
	added map[domain.AccountID][]*event.MessageAdded
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	for _, ev := range e.Transaction.Events {
		if err := b.fold(ctx, e.Account, e.Transaction.At, ev); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) fold(ctx context.Context, id domain.AccountID, at int64, ev event.Event) error {
	if e, ok := ev.(*event.MessageAdded); ok {
		b.added[id] = append(b.added[id], e)
		return nil
	}
	account := string(id)
	switch e := ev.(type) {
	case *event.MailboxCreated:
		_, err := b.tx.Exec(ctx, `insert into vault_mailboxes (account, mailbox, name) values ($1, $2, $3)`, account, int64(e.Mailbox), e.Name)
		return projections.Fresh(err, id)
	case *event.MailboxRenamed:
		_, err := b.tx.Exec(ctx, `update vault_mailboxes set name = $3 where account = $1 and mailbox = $2`, account, int64(e.Mailbox), e.Name)
		return err
	case *event.MailboxDeleted:
		if err := b.lose(ctx, id, at, e.Mailbox, domain.UIDSet{domain.AllUIDs}); err != nil {
			return err
		}
		_, err := b.tx.Exec(ctx, `delete from vault_mailboxes where account = $1 and mailbox = $2`, account, int64(e.Mailbox))
		return err
	case *event.MessageRestored:
		return b.restore(ctx, id, (*event.MessageAdded)(e))
	case *event.MessagesCopied:
		return b.copy(ctx, id, e)
	case *event.MessagesMoved:
		if err := b.transfer(ctx, id, (*event.MessagesCopied)(e)); err != nil {
			return err
		}
		return b.vacate(ctx, id, e.From, e.UIDs)
	case *event.MessagesExpunged:
		return b.lose(ctx, id, at, e.Mailbox, e.UIDs)
	case *event.MessagesPurged:
		return b.purge(ctx, id, e)
	}
	return nil
}

// write writes the new messages of accounts.
func (b *batch) write(ctx context.Context, ids ...domain.AccountID) error {
	var places, emails [][]any
	for _, id := range ids {
		added := b.added[id]
		delete(b.added, id)
		slices.SortStableFunc(added, func(a, b *event.MessageAdded) int { return cmp.Compare(a.Mailbox, b.Mailbox) })
		for _, e := range added {
			places = append(places, place(id, e))
		}
		slices.SortFunc(added, func(a, b *event.MessageAdded) int { return cmp.Compare(a.Email, b.Email) })
		for _, e := range added {
			emails = append(emails, email(id, e))
		}
	}
	err := b.tx.Insert(ctx, "vault_places", placeColumns, places)
	if err == nil {
		err = b.tx.Insert(ctx, "vault_emails", emailColumns, emails)
	}
	return projections.Fresh(err, "")
}

var placeColumns = []string{"account", "mailbox", "uid", "email"}

func place(id domain.AccountID, e *event.MessageAdded) []any {
	return []any{string(id), int64(e.Mailbox), int64(e.UID), int64(e.Email)}
}

var emailColumns = []string{
	"account", "email", "places", "deleted", "delivered", "size", "attachment", "sender", "recipients", "subject", "origins", "blob_id", "blob_key",
}

func email(id domain.AccountID, e *event.MessageAdded) []any {
	m := vault.Describe(&e.Summary)
	attachment := int64(0)
	if m.HasAttachment {
		attachment = 1
	}
	return []any{
		string(id), int64(e.Email), int64(1), int64(0), e.Internal, e.Blob.Size, attachment, line(m.Sender), joinLines(m.Recipients), line(m.Subject), "",
		e.Blob.ID[:], e.Blob.Key[:],
	}
}

// restore puts an email back. One that a mailbox still holds has one place more.
func (b *batch) restore(ctx context.Context, id domain.AccountID, e *event.MessageAdded) error {
	if err := b.write(ctx, id); err != nil {
		return err
	}
	if err := b.tx.Insert(ctx, "vault_places", placeColumns, [][]any{place(id, e)}); err != nil {
		return projections.Fresh(err, id)
	}
	known, err := b.tx.Exec(ctx, `update vault_emails set origins = case when places = 0 then '' else origins end, places = places + 1, deleted = 0
		where account = $1 and email = $2`, string(id), int64(e.Email))
	if err != nil || known > 0 {
		return err
	}
	return projections.Fresh(b.tx.Insert(ctx, "vault_emails", emailColumns, [][]any{email(id, e)}), id)
}

// transfer gives the target its places. The sources of a range become a range.
func (b *batch) transfer(ctx context.Context, id domain.AccountID, e *event.MessagesCopied) error {
	if err := b.write(ctx, id); err != nil {
		return err
	}
	uid := e.First
	for _, r := range e.UIDs {
		n, err := b.tx.Exec(ctx, `insert into vault_places (account, mailbox, uid, email)
			select account, cast($5 as bigint), uid + $6, email from vault_places where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(id), int64(e.From), int64(r.Lo), int64(r.Hi), int64(e.To), int64(uid)-int64(r.Lo))
		if err := expect(err, id, e.From, r, n); err != nil {
			return err
		}
		uid += r.Hi - r.Lo + 1
	}
	return nil
}

func (b *batch) copy(ctx context.Context, id domain.AccountID, e *event.MessagesCopied) error {
	if err := b.transfer(ctx, id, e); err != nil {
		return err
	}
	for _, r := range e.UIDs {
		if _, err := b.tx.Exec(ctx, `update vault_emails set places = vault_emails.places + copied.n from
			(select email, count(*) as n from vault_places where account = $1 and mailbox = $2 and uid between $3 and $4 group by email) as copied
			where vault_emails.account = $1 and vault_emails.email = copied.email`,
			string(id), int64(e.From), int64(r.Lo), int64(r.Hi)); err != nil {
			return err
		}
	}
	return nil
}

// expect checks that a statement met every message of a range: events list only messages that exist.
func expect(err error, id domain.AccountID, mailbox domain.MailboxID, r domain.UIDRange, n int64) error {
	if want := int64(r.Hi-r.Lo) + 1; err == nil && n != want {
		return &projections.Damage{Account: id, What: fmt.Sprintf("the vault knows %d of the %d messages %d to %d of mailbox %d", n, want, r.Lo, r.Hi, mailbox)}
	}
	return projections.Fresh(err, id)
}

// vacate takes places away and leaves their emails alone.
func (b *batch) vacate(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet) error {
	for _, r := range uids {
		n, err := b.tx.Exec(ctx, `delete from vault_places where account = $1 and mailbox = $2 and uid between $3 and $4`,
			string(id), int64(mailbox), int64(r.Lo), int64(r.Hi))
		if r == domain.AllUIDs && err == nil {
			continue
		}
		if err := expect(err, id, mailbox, r, n); err != nil {
			return err
		}
	}
	return nil
}

// lose takes messages out of a mailbox for good. An email that has no place left is deleted. A mailbox that loses it again is named once, so that the
// row does not grow with every copy that is made and expunged.
func (b *batch) lose(ctx context.Context, id domain.AccountID, at int64, mailbox domain.MailboxID, uids domain.UIDSet) error {
	if err := b.write(ctx, id); err != nil {
		return err
	}
	for _, r := range uids {
		if _, err := b.tx.Exec(ctx, `update vault_emails set places = vault_emails.places - lost.n,
			deleted = case when vault_emails.places = lost.n then cast($5 as bigint) else 0 end,
			origins = substr(replace($7 || vault_emails.origins, $7 || lost.origin || $7, $7), 2) || lost.origin || $7 from
			(select email, count(*) as n, $6 || ' ' || coalesce((select name from vault_mailboxes where account = $1 and mailbox = $2), '') as origin
				from vault_places where account = $1 and mailbox = $2 and uid between $3 and $4 group by email) as lost
			where vault_emails.account = $1 and vault_emails.email = lost.email`,
			string(id), int64(mailbox), int64(r.Lo), int64(r.Hi), max(at, 1), strconv.FormatUint(uint64(mailbox), 10), "\n"); err != nil {
			return err
		}
	}
	return b.vacate(ctx, id, mailbox, uids)
}

// purge forgets deleted emails.
func (b *batch) purge(ctx context.Context, id domain.AccountID, e *event.MessagesPurged) error {
	if err := b.write(ctx, id); err != nil {
		return err
	}
	for _, email := range e.Emails {
		if _, err := b.tx.Exec(ctx, `delete from vault_emails where account = $1 and email = $2 and places = 0`, string(id), int64(email)); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	delete(b.added, id)
	for _, statement := range []string{
		`delete from vault_mailboxes where account = $1`,
		`delete from vault_places where account = $1`,
		`delete from vault_emails where account = $1`,
	} {
		if _, err := b.tx.Exec(ctx, statement, string(id)); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) Flush(ctx context.Context) error {
	return b.write(ctx, slices.Sorted(maps.Keys(b.added))...)
}

// line makes text that every store takes: valid UTF-8 without line ends and zeros.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// joinLines is a list as one text.
func joinLines(list []string) string {
	var b strings.Builder
	for _, text := range list {
		b.WriteString(line(text))
		b.WriteByte('\n')
	}
	return b.String()
}
