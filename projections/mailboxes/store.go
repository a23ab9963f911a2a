package mailboxes

import (
	"context"
	"database/sql"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Store finds the rows of any account in the views that a Runner keeps. None of its methods waits for the projector; Wait does.
type Store struct{ *projections.Runner }

// Wait returns once the rows of an account in this view show its log up to a position of its stream.
func (s Store) Wait(ctx context.Context, id domain.AccountID, seq domain.Seq) error {
	return s.WaitOf(ctx, Name, id, seq)
}

// Load is Load on the account's view.
func (s Store) Load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	r, err := s.ReaderOf(Name, id)
	if err != nil {
		return nil, streams.Position{}, err
	}
	return Load(ctx, r, id)
}

// Emails is Emails on the account's view.
func (s Store) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) iter.Seq2[Email, error] {
	r, err := s.ReaderOf(Name, id)
	if err != nil {
		return func(yield func(Email, error) bool) { yield(Email{}, err) }
	}
	return Emails(ctx, r, id, mailbox, uids, want)
}

// Digests is Digests of one account; those of nothing before its first entry.
func (s Store) Digests(ctx context.Context, id domain.AccountID) (account.Digests, error) {
	r, err := s.ReaderOf(Name, id)
	if err != nil {
		return account.Digests{}, err
	}
	all, err := Digests(ctx, r, id)
	if err != nil || len(all) == 0 {
		return account.Digests{}, err
	}
	return all[0].Digests, nil
}

// Granted is Granted of all accounts.
func (s Store) Granted(ctx context.Context, f func(who account.Identifier, owner domain.AccountID)) error {
	readers, err := s.Readers(ctx, Name)
	for _, r := range readers {
		if err == nil {
			err = Granted(ctx, r, f)
		}
	}
	return err
}

// Mend makes the account's rows in this view anew from the log.
func (s Store) Mend(ctx context.Context, id domain.AccountID) error {
	_, err := s.Rebuild(ctx, projections.Selection{Projection: Name, Accounts: []domain.AccountID{id}}, projections.RebuildOptions{}, nil)
	return err
}

// Primaries gives the primaries of the accounts that have one, as far as the rows have come.
func (s Store) Primaries(ctx context.Context) (map[domain.AccountID]string, error) {
	all := map[domain.AccountID]string{}
	err := s.eachPrimary(ctx, func(id domain.AccountID, node string) { all[id] = node }, "")
	return all, err
}

// OfPrimary lists the accounts whose primary is a node, in no order, as far as the rows have come.
func (s Store) OfPrimary(ctx context.Context, node string) (ids []domain.AccountID, err error) {
	err = s.eachPrimary(ctx, func(id domain.AccountID, _ string) { ids = append(ids, id) }, ` and primary_node = $1`, node)
	return ids, err
}

// eachPrimary calls f with the accounts that have a primary and fulfil a further condition.
func (s Store) eachPrimary(ctx context.Context, f func(id domain.AccountID, node string), condition string, args ...any) error {
	readers, err := s.Readers(ctx, Name)
	for _, r := range readers {
		if err != nil {
			break
		}
		var rows *sql.Rows
		// The first condition is what the index has.
		if rows, err = r.Query(ctx, `select account, primary_node from accounts where primary_node <> '' and erased = 0`+condition, args...); err != nil {
			break
		}
		err = eachRow(rows, func(scan scan) error {
			var id domain.AccountID
			var node string
			err := scan(&id, &node)
			if err == nil {
				f(id, node)
			}
			return err
		})
	}
	return err
}
