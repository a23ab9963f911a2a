package main

import (
	"context"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/streams"
)

// rows gives the door the views that the runner keeps: door.Views on top of projections.Runner.
type rows struct {
	log    *streams.Log
	runner *projections.Runner
}

func (v rows) reader(id domain.AccountID) (projections.Reader, error) {
	return v.runner.Reader(v.log.StreamOf(id))
}

func (v rows) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	return v.runner.Wait(ctx, stream, seq)
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

func (v rows) Thread(ctx context.Context, id domain.AccountID, s *message.Summary) (domain.ThreadID, error) {
	r, err := v.reader(id)
	if err != nil {
		return 0, err
	}
	return mailboxes.Thread(ctx, r, id, s.Keys)
}

func (v rows) Drop(ctx context.Context, id domain.AccountID) error { return v.runner.Drop(ctx, id) }

// The two packages number the same columns.
var _ = [1]struct{}{}[door.WantBlob-door.Columns(mailboxes.WantBlob)]
