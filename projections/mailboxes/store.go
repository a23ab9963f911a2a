package mailboxes

import (
	"context"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Store finds the rows of any account in the views that a Runner keeps. None of its methods waits for the projector; Wait does.
type Store struct{ *projections.Runner }

// Load is Load on the account's view.
func (s Store) Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	r, err := s.ReaderOf(id)
	if err != nil {
		return nil, streams.Position{}, err
	}
	return Load(ctx, r, id)
}

// Emails is Emails on the account's view.
func (s Store) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) iter.Seq2[Email, error] {
	r, err := s.ReaderOf(id)
	if err != nil {
		return func(yield func(Email, error) bool) { yield(Email{}, err) }
	}
	return Emails(ctx, r, id, mailbox, uids, want)
}

// Thread finds the conversation that a message belongs to; 0 if it begins one.
func (s Store) Thread(ctx context.Context, id domain.AccountID, m *message.Summary) (domain.ThreadID, error) {
	r, err := s.ReaderOf(id)
	if err != nil {
		return 0, err
	}
	return Thread(ctx, r, id, m.Keys)
}
