package mailboxes

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
)

// waiting is what an account's entries did to single messages and is not written yet. Anything that reads or changes the account's messages
// otherwise writes it first. Neighbouring keys are written together: a batch of mail for many accounts would else jump about in the tables.
type waiting struct {
	added []addition
	flags map[messageKey]flagging
}

type addition struct {
	tx domain.Tx
	e  *event.MessageAdded
}

type messageKey struct {
	mailbox domain.MailboxID
	uid     domain.UID
}

// flagging is any number of changes in a row: Remove is cleared and then Add set.
type flagging struct {
	add, remove event.Flags
	tx          domain.Tx // of the last
}

// single is the number of messages up to which a change of flags is kept for each; larger ones are one statement for each range.
const single = 32

func (b *batch) wait(id domain.AccountID) *waiting {
	w := b.waiting[id]
	if w == nil {
		w = &waiting{flags: map[messageKey]flagging{}}
		b.waiting[id] = w
	}
	return w
}

// flag folds a change of flags.
func (b *batch) flag(ctx context.Context, a *accountRow, tx domain.Tx, e *event.FlagsChanged) error {
	if e.UIDs.Len() <= single {
		w := b.wait(a.id)
		for uid := range e.UIDs.All() {
			f := w.flags[messageKey{e.Mailbox, uid}]
			f.add, f.remove, f.tx = f.add&^e.Remove|e.Add, f.remove|e.Remove, tx
			w.flags[messageKey{e.Mailbox, uid}] = f
		}
		return nil
	}
	if err := b.write(ctx, a.id); err != nil {
		return err
	}
	for _, r := range e.UIDs {
		if err := b.reflag(ctx, a.id, e.Mailbox, r, flagging{e.Add, e.Remove, tx}); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) reflag(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, r domain.UIDRange, f flagging) error {
	n, err := b.tx.Exec(ctx, `update messages set flags = flags & $5 | $6, modseq = $7 where account = $1 and mailbox = $2 and uid between $3 and $4`,
		string(id), int64(mailbox), int64(r.Lo), int64(r.Hi), int64(^f.remove), int64(f.add), int64(f.tx))
	return expect(err, id, mailbox, r, n)
}

// write writes what waits for an account.
func (b *batch) write(ctx context.Context, id domain.AccountID) error {
	w := b.waiting[id]
	if w == nil {
		return nil
	}
	delete(b.waiting, id)
	if err := b.insert(ctx, string(id), w.added); err != nil {
		return fresh(err, id)
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.flags), func(a, b messageKey) int {
		return cmp.Or(cmp.Compare(a.mailbox, b.mailbox), cmp.Compare(a.uid, b.uid))
	}) {
		if err := b.reflag(ctx, id, k.mailbox, domain.UIDRange{Lo: k.uid, Hi: k.uid}, w.flags[k]); err != nil {
			return err
		}
	}
	return nil
}

// insert writes new messages. They rise in email id already, and in UID within a mailbox.
func (b *batch) insert(ctx context.Context, id string, added []addition) error {
	type thread struct{ key, thread int64 }
	var threads []thread
	slices.SortStableFunc(added, func(a, b addition) int { return cmp.Compare(a.e.Mailbox, b.e.Mailbox) })
	for _, m := range added {
		e := m.e
		if _, err := b.tx.Exec(ctx, `insert into messages (account, mailbox, uid, email, thread, flags, modseq, size, internal, saved)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, id, int64(e.Mailbox), int64(e.UID), int64(e.Email), int64(e.Thread), int64(e.Flags),
			int64(m.tx), e.Blob.Size, e.Internal, e.Saved); err != nil {
			return err
		}
	}
	slices.SortFunc(added, func(a, b addition) int { return cmp.Compare(a.e.Email, b.e.Email) })
	for _, m := range added {
		e := m.e
		b.envelope = message.AppendEnvelope(b.envelope[:0], &e.Summary.Envelope)
		b.structure = message.AppendStructure(b.structure[:0], &e.Summary.Root, true)
		if _, err := b.tx.Exec(ctx, `insert into emails (account, email, refs, blob_id, blob_key, size, envelope, structure)
			values ($1, $2, 1, $3, $4, $5, $6, $7)`, id, int64(e.Email), e.Blob.ID[:], e.Blob.Key[:], e.Blob.Size, b.envelope, b.structure); err != nil {
			return err
		}
		for _, key := range e.Summary.Keys {
			threads = append(threads, thread{int64(key), int64(e.Thread)})
		}
	}
	for _, m := range added {
		if _, err := b.tx.Exec(ctx, `insert into summaries (account, email, summary) values ($1, $2, $3)`,
			id, int64(m.e.Email), event.MarshalSummary(&m.e.Summary)); err != nil {
			return err
		}
	}
	slices.SortStableFunc(threads, func(a, b thread) int { return cmp.Compare(a.key, b.key) })
	for _, t := range threads {
		if _, err := b.tx.Exec(ctx, `insert into threads (account, thread_key, thread) values ($1, $2, $3) on conflict do nothing`,
			id, t.key, t.thread); err != nil {
			return err
		}
	}
	return nil
}
