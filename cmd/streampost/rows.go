package main

import (
	"context"
	"errors"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/sieve"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/streams"
)

// rows gives the door the views that the runner keeps: door.Views on top of projections.Runner.
type rows struct {
	log    *streams.Log
	runner *projections.Runner
	maker  *snapshots.Maker
	erase  func(context.Context, domain.AccountID) error // in the archive
}

func (v rows) reader(id domain.AccountID) (projections.Reader, error) {
	return v.runner.ReaderOf(mailboxes.Name, id)
}

// Wait waits for what the door reads, so that another projection which stands still holds nobody up.
func (v rows) Wait(ctx context.Context, id domain.AccountID, seq domain.Seq) error {
	if id == domain.DirectoryID {
		return v.runner.WaitOf(ctx, dirview.Name, id, seq)
	}
	return v.runner.WaitOf(ctx, mailboxes.Name, id, seq)
}

func (v rows) Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	r, err := v.reader(id)
	if err != nil {
		return nil, streams.Position{}, err
	}
	return mailboxes.Load(ctx, r, id)
}

func (v rows) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error] {
	return func(yield func(door.Email, error) bool) {
		r, err := v.reader(id)
		if err != nil {
			yield(door.Email{}, err)
			return
		}
		for e, err := range mailboxes.Emails(ctx, r, id, mailbox, uids, mailboxes.Columns(want)) {
			if !yield(door.Email(e), err) {
				return
			}
		}
	}
}

func (v rows) Thread(ctx context.Context, id domain.AccountID, s *message.Summary, upTo domain.Seq) (domain.ThreadID, error) {
	if err := v.runner.WaitOf(ctx, threads.Name, id, upTo); err != nil {
		return 0, err
	}
	r, err := v.runner.ReaderOf(threads.Name, id)
	if err != nil {
		return 0, err
	}
	return threads.Find(ctx, r, id, s.Keys)
}

func (v rows) ThreadKeys(ctx context.Context, id domain.AccountID, most int, upTo domain.Seq) ([]uint64, error) {
	if err := v.runner.WaitOf(ctx, threads.Name, id, upTo); err != nil {
		return nil, err
	}
	r, err := v.runner.ReaderOf(threads.Name, id)
	if err != nil {
		return nil, err
	}
	return threads.Keys(ctx, r, id, most)
}

func (v rows) Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx, upTo domain.Seq) (domain.UIDSet, bool, error) {
	return changes.Store{Runner: v.runner}.Vanished(ctx, id, mailbox, since, upTo)
}

func (v rows) Scripts(ctx context.Context, id domain.AccountID, upTo domain.Seq) (account.Scripts, domain.Tx, error) {
	return sieve.Store{Runner: v.runner}.Scripts(ctx, id, upTo)
}

func (v rows) Digests(ctx context.Context, id domain.AccountID) (account.Digests, error) {
	return mailboxes.Store{Runner: v.runner}.Digests(ctx, id)
}

func (v rows) Granted(ctx context.Context, f func(who account.Identifier, owner domain.AccountID)) error {
	return mailboxes.Store{Runner: v.runner}.Granted(ctx, f)
}

func (v rows) Mend(ctx context.Context, id domain.AccountID) error {
	return mailboxes.Store{Runner: v.runner}.Mend(ctx, id)
}

// Drop leaves nothing readable of an erased account, its snapshot and what is archived of it included.
func (v rows) Drop(ctx context.Context, id domain.AccountID) error {
	return errors.Join(v.erase(ctx, id), v.maker.Remove(ctx, id), v.runner.Drop(ctx, id))
}

// The two packages number the same columns.
var _ = [1]struct{}{}[door.WantHead-door.Columns(mailboxes.WantHead)]
