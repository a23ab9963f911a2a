package imap

import (
	"context"
	"errors"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// COPY and MOVE from one account into another. There is no transaction over two logs, so messages arrive in the target first, in portions, and leave the source
// when they are durable there. Whatever stops a MOVE, no message is lost: one that had arrived and not left is in both mailboxes. Of a COPY that fails all copies
// are removed again (RFC 9051 section 6.4.7), unless the process ends before that.
//
// The octets go through the blob store once more, which has them already: so the target's claim of them is as good as that of a delivery, however soon the
// source gives them up.

// across is a copy that has begun.
type across struct {
	c      *conn
	from   owner
	source domain.MailboxID
	to     place
	target target
	now    int64

	done, goal int
}

func (c *conn) copyAcross(ctx context.Context, cmd *command, to place, uids domain.UIDSet, move bool) error {
	x := &across{c: c, from: c.sel.owner, source: c.sel.mailbox, to: to, now: c.now()}
	rows, err := x.rows(ctx, uids, move)
	if err != nil || len(rows) == 0 {
		return err
	}
	if x.target, err = x.admit(ctx, rows); err != nil {
		return err
	}
	x.goal = len(rows)
	var copied, copies domain.UIDSet
	for err == nil && len(rows) > 0 {
		var sources, arrived domain.UIDSet
		if sources, arrived, rows, err = x.portion(ctx, rows); err == nil && move && sources != nil {
			sources, arrived, err = c.depart(ctx, x.from, x.source, sources, x.to.owner, x.target.id, arrived)
		}
		if err == nil {
			copied, copies = union(copied, sources), union(copies, arrived)
		}
	}
	if err != nil && !move { // RFC 9051 section 6.4.7.
		return errors.Join(err, c.undo(ctx, to.owner, x.target.id, copies))
	}
	if copied != nil && copied.Len() == copies.Len() { // else the target was deleted and made anew meanwhile
		c.sendCopied(cmd, move, copyUID(x.target.validity, copied, copies))
	}
	return err // RFC 6851 section 3.3: what has moved has moved.
}

func union(a, b domain.UIDSet) domain.UIDSet {
	for _, r := range b {
		a = a.AddRange(r.Lo, r.Hi)
	}
	return a
}

// foreignRow is a message with the names of its flags, which are numbered in each account.
type foreignRow struct {
	account.Message
	flags []string
	blob  domain.BlobRef
}

// rows gives the messages that are to be copied, if the user may take them away.
func (x *across) rows(ctx context.Context, uids domain.UIDSet, move bool) (rows []foreignRow, err error) {
	c := x.c
	return rows, c.inSelected(ctx, func(s *account.State, m *account.Mailbox) error {
		rows = rows[:0]
		if move {
			if err := c.mayDepart(s, m, uids); err != nil {
				return err
			}
		}
		m.Each(uids, func(i int) { rows = append(rows, foreignRow{Message: m.At(i), flags: s.FlagNames(m.Flags[i])}) })
		return nil
	})
}

// admit refuses what is certain to fail before anything is copied: for want of a right, or of room.
func (x *across) admit(ctx context.Context, rows []foreignRow) (target, error) {
	to, err := x.c.target(ctx, x.to, nil)
	if err != nil {
		return to, err
	}
	more := account.Limits{Messages: int64(len(rows))}
	for _, row := range rows {
		more.Bytes += row.Size
	}
	return to, x.c.viewOf(ctx, x.to.owner, func(s *account.State) error { return s.Room(more) })
}

// portion copies the first of the messages, as many as one transaction takes, and gives their UIDs, those of the copies, and what is left to do. Messages
// that are expunged meanwhile are passed over, as within an account.
func (x *across) portion(ctx context.Context, rows []foreignRow) (sources, arrived domain.UIDSet, rest []foreignRow, err error) {
	rest = rows[min(len(rows), account.MaxAdded):]
	if rows, err = x.located(ctx, rows[:len(rows)-len(rest)]); err != nil || len(rows) == 0 {
		return nil, nil, rest, err
	}
	var adds account.AddMessages
	for octets := 0; len(adds) < len(rows) && octets <= maxSummaries; x.done++ {
		x.c.progress(x.done, x.goal)
		if err := x.c.admitted(); err != nil {
			return nil, nil, nil, err
		}
		row := rows[len(adds)]
		stored, err := x.take(ctx, row.blob)
		if err != nil {
			return nil, nil, nil, err
		}
		thread, err := x.c.accounts.Thread(ctx, x.to.id, &stored.Summary)
		if err != nil {
			return nil, nil, nil, err
		}
		adds = append(adds, account.AddMessage{
			Mailbox: x.to.name, Blob: stored.Blob, Summary: stored.Summary, Flags: row.flags, Internal: row.Internal, Now: x.now, Thread: thread,
		})
		sources = sources.Add(row.UID)
		octets += len(event.MarshalSummary(&stored.Summary))
	}
	done, err := x.c.doOf(ctx, x.to.owner, adds)
	if err != nil {
		return nil, nil, nil, orCreate(err)
	}
	for _, e := range done.Events {
		if added, ok := e.(*event.MessageAdded); ok && added.Mailbox == x.target.id {
			arrived = arrived.Add(added.UID)
		}
	}
	return sources, arrived, append(rows[len(adds):], rest...), nil
}

// located gives those of the messages that are still there, with where they lie, if the user may still read them.
func (x *across) located(ctx context.Context, rows []foreignRow) (found []foreignRow, err error) {
	if err := x.c.inSelected(ctx, func(*account.State, *account.Mailbox) error { return nil }); err != nil {
		return nil, err
	}
	var set domain.UIDSet
	for _, row := range rows {
		set = set.Add(row.UID)
	}
	for e, err := range x.c.accounts.Emails(ctx, x.from.id, x.source, set, door.WantBlob) {
		if err != nil {
			return nil, err
		}
		for len(rows) > 0 && rows[0].UID < e.UID {
			rows = rows[1:]
		}
		if len(rows) > 0 && rows[0].UID == e.UID {
			found = append(found, rows[0])
			found[len(found)-1].blob = e.Blob
		}
	}
	return found, nil
}

// take stores the octets of a message once more.
func (x *across) take(ctx context.Context, blob domain.BlobRef) (door.Stored, error) {
	octets, err := x.c.accounts.Open(ctx, blob, 0, -1)
	if err != nil {
		return door.Stored{}, err
	}
	defer octets.Close()
	return x.c.accounts.Ingest(ctx, octets)
}

// mayDepart tells whether the user may take messages out of a mailbox of the selected mailbox's owner. It runs inside a View.
func (c *conn) mayDepart(s *account.State, m *account.Mailbox, uids domain.UIDSet) error {
	_, err := account.Decide(s, c.as(c.sel.owner, account.Expunge{Mailbox: m.ID, UIDs: uids, Any: true}))
	return err
}

// depart removes messages from the source, after they have arrived in the target, and gives those that have left, with their copies. When the user has lost the
// right to that, or somebody else was faster, the copies go again.
func (c *conn) depart(ctx context.Context, from owner, source domain.MailboxID, uids domain.UIDSet, to owner, target domain.MailboxID, copies domain.UIDSet) (left, arrived domain.UIDSet, err error) {
	done, err := c.doOf(ctx, from, account.Expunge{Mailbox: source, UIDs: uids, Any: true})
	switch {
	case domain.Is(err, domain.Denied) || domain.Is(err, domain.NotFound) && c.foreign(from): // Without "r" and "l" there is no such mailbox.
		return nil, nil, errors.Join(c.ifGone(err), c.undo(ctx, to, target, copies))
	case err != nil:
		return nil, nil, c.ifGone(err)
	}
	for _, e := range done.Events {
		if gone, ok := e.(*event.MessagesExpunged); ok && gone.Mailbox == source {
			left = gone.UIDs
		}
	}
	if left.Len() == uids.Len() || uids.Len() != copies.Len() {
		return left, copies, nil
	}
	next, stop := iter.Pull(copies.All())
	defer stop()
	var again domain.UIDSet
	for uid := range uids.All() {
		if copied, _ := next(); left.Contains(uid) {
			arrived = arrived.Add(copied)
		} else {
			again = again.Add(copied)
		}
	}
	return left, arrived, c.undo(ctx, to, target, again)
}

// undo removes messages that have just arrived, which needs no right.
func (c *conn) undo(ctx context.Context, to owner, target domain.MailboxID, arrived domain.UIDSet) error {
	if arrived == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.server.limits.Work)
	defer cancel()
	done, err := c.accounts.Do(ctx, to.id, "imap:"+c.login, account.Expunge{Mailbox: target, UIDs: arrived, Any: true})
	c.did(to, done.Events)
	if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Erased) {
		return nil
	}
	return err
}
