package mailboxes

import (
	"cmp"
	"context"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
)

// waiting is what an account's entries did to single messages and is not written yet. Anything that reads or changes the account's messages
// otherwise writes it first. Neighbouring keys are written together: a batch of mail for many accounts would else jump about in the tables.
type waiting struct {
	added []addition
	flags map[messageKey]flagging
}

// addition is a new message, with the changes of its flags that came before it was written.
type addition struct {
	a     *accountRow
	e     *event.MessageAdded
	tx    domain.Tx // of the last change
	flags event.Flags
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
		if err := b.reflag(ctx, a, e.Mailbox, r, flagging{e.Add, e.Remove, tx}); err != nil {
			return err
		}
	}
	return nil
}

// on gives the flags of a message that had others.
func (f flagging) on(old event.Flags) event.Flags { return old&^f.remove | f.add }

// reflag changes the flags of a range of messages.
func (b *batch) reflag(ctx context.Context, a *accountRow, mailbox domain.MailboxID, r domain.UIDRange, f flagging) error {
	var change account.Digest
	if err := b.each(ctx, a.id, mailbox, r, func(m account.Message) {
		change += account.FlagsDigest(m.UID, f.on(m.Flags), f.tx) - account.FlagsDigest(m.UID, m.Flags, m.Modified)
	}); err != nil {
		return err
	}
	n, err := b.tx.Exec(ctx, `update messages set flags = flags & $5 | $6, modseq = $7 where account = $1 and mailbox = $2 and uid between $3 and $4`,
		string(a.id), int64(mailbox), int64(r.Lo), int64(r.Hi), int64(^f.remove), int64(f.add), int64(f.tx))
	if err := expect(err, a.id, mailbox, r, n); err != nil {
		return err
	}
	return b.change(ctx, a, mailbox, func(m *mailboxRow) { m.Digest += change })
}

// write writes what waits for accounts, given in rising order.
func (b *batch) write(ctx context.Context, ids ...domain.AccountID) error {
	var added []addition
	var flags []reflagging
	for _, id := range ids {
		w := b.waiting[id]
		if w == nil {
			continue
		}
		delete(b.waiting, id)
		for i := range w.added {
			m := &w.added[i]
			key := messageKey{m.e.Mailbox, m.e.UID}
			if f, changed := w.flags[key]; changed {
				m.tx, m.flags = f.tx, f.on(m.flags)
				delete(w.flags, key)
			}
		}
		added = append(added, w.added...)
		first := len(flags)
		for key, f := range w.flags {
			flags = append(flags, reflagging{b.accounts[id], key, f})
		}
		slices.SortFunc(flags[first:], func(a, b reflagging) int {
			return cmp.Or(cmp.Compare(a.mailbox, b.mailbox), cmp.Compare(a.uid, b.uid))
		})
	}
	if err := b.insert(ctx, added); err != nil {
		return projections.Fresh(err, "")
	}
	return b.reflagEach(ctx, flags)
}

// reflagging is a change of a message's flags on its way to the row.
type reflagging struct {
	a *accountRow
	messageKey
	flagging
}

var (
	messageKeys = []string{"account", "mailbox", "uid"}
	flagColumns = []string{"flags", "modseq"}
)

// reflagEach changes the flags of single messages, given in the order of their keys.
func (b *batch) reflagEach(ctx context.Context, all []reflagging) error {
	keys, boxes := newTuples(len(all), len(messageKeys)), make([]*mailboxRow, len(all))
	for i, f := range all {
		m, err := b.mailbox(ctx, f.a.id, f.mailbox)
		if err != nil {
			return err
		}
		m.dirty, boxes[i] = true, m
		keys.add(string(f.a.id), int64(f.mailbox), int64(f.uid))
	}
	missing, err := b.tx.Amend(ctx, "messages", messageKeys, flagColumns, keys.all, func(i int, numbers []int64) {
		f := &all[i]
		old, now := event.Flags(numbers[0]), f.on(event.Flags(numbers[0]))
		boxes[i].Digest += account.FlagsDigest(f.uid, now, f.tx) - account.FlagsDigest(f.uid, old, domain.Tx(numbers[1]))
		numbers[0], numbers[1] = int64(now), int64(f.tx)
	})
	if err == nil && missing >= 0 {
		f := &all[missing]
		return expect(nil, f.a.id, f.mailbox, domain.UIDRange{Lo: f.uid, Hi: f.uid}, 0)
	}
	return err
}

// insert writes new messages, account by account. Those of one rise in email id already, and in UID within a mailbox.
func (b *batch) insert(ctx context.Context, added []addition) error {
	emails, summaries := newTuples(len(added), len(emailColumns)), newTuples(len(added), len(summaryColumns))
	for _, m := range added {
		e, id := m.e, string(m.a.id)
		emails.add(id, int64(e.Email), int64(1), e.Blob.ID[:], e.Blob.Key[:], e.Blob.Size, message.AppendEnvelope(nil, &e.Summary.Envelope),
			message.AppendStructure(nil, &e.Summary.Root, true))
		summaries.add(id, int64(e.Email), event.MarshalSummary(&e.Summary))
	}
	slices.SortStableFunc(added, func(a, b addition) int {
		return cmp.Or(cmp.Compare(a.a.id, b.a.id), cmp.Compare(a.e.Mailbox, b.e.Mailbox))
	})
	if err := b.insertMessages(ctx, added); err != nil {
		return err
	}
	if err := b.tx.Insert(ctx, "emails", emailColumns, emails.all); err != nil {
		return err
	}
	return b.tx.Insert(ctx, "summaries", summaryColumns, summaries.all)
}

// insertMessages writes what belongs to a mailbox, in order of account, mailbox and UID.
func (b *batch) insertMessages(ctx context.Context, added []addition) error {
	rows := newTuples(len(added), len(messageColumns))
	for _, m := range added {
		e := m.e
		row := account.Message{
			UID: e.UID, Modified: m.tx, Flags: m.flags, Size: e.Blob.Size, Internal: e.Internal, Saved: e.Saved, Email: e.Email, Thread: e.Thread,
		}
		rows.add(string(m.a.id), int64(e.Mailbox), int64(row.UID), int64(row.Email), int64(row.Thread), int64(row.Flags), int64(row.Modified), row.Size,
			row.Internal, row.Saved)
		if err := b.change(ctx, m.a, e.Mailbox, func(m *mailboxRow) { m.Digest += row.Digest() }); err != nil {
			return err
		}
	}
	return b.tx.Insert(ctx, "messages", messageColumns, rows.all)
}

var (
	messageColumns = []string{"account", "mailbox", "uid", "email", "thread", "flags", "modseq", "size", "internal", "saved"}
	emailColumns   = []string{"account", "email", "refs", "blob_id", "blob_key", "size", "envelope", "structure"}
	summaryColumns = []string{"account", "email", "summary"}
)

// tuples gathers rows of values in one piece of memory.
type tuples struct {
	all    [][]any
	values []any
}

func newTuples(rows, columns int) *tuples {
	return &tuples{make([][]any, 0, rows), make([]any, 0, rows*columns)}
}

func (t *tuples) add(values ...any) {
	n := len(t.values)
	t.values = append(t.values, values...)
	t.all = append(t.all, t.values[n:len(t.values):len(t.values)])
}
