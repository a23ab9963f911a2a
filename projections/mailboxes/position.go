package mailboxes

import (
	"context"
	"database/sql"
	"slices"
	"strconv"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Standing is where the rows of an account stand in its log, with what is kept beside them.
type Standing struct {
	Account domain.AccountID
	At      streams.Position
	Erased  bool
	Email   domain.EmailID // the highest that the account has given
	Digest  account.Digest // of all that the state of the account is, see account.State.Digest
}

// Position tells where an account's rows stand: at the zero Position without any.
func Position(ctx context.Context, r projections.Reader, id domain.AccountID) (s Standing, err error) {
	s.Account = id
	err = standings(ctx, r, `where account = $1`, []any{string(id)}, func(found Standing) { s = found })
	return s, err
}

// LongLogs lists the accounts whose rows show at least a number of transactions, without those that were erased.
func LongLogs(ctx context.Context, r projections.Reader, least domain.Tx) (all []Standing, err error) {
	err = standings(ctx, r, `where tx >= $1 and erased = 0`, []any{int64(least)}, func(found Standing) { all = append(all, found) })
	return all, err
}

// Standings tells where the rows of some accounts stand. Those without rows are not among them.
func Standings(ctx context.Context, r projections.Reader, ids []domain.AccountID) (all []Standing, err error) {
	for some := range slices.Chunk(ids, 500) {
		where, args := "where account in (", []any(nil)
		for i, id := range some {
			if i > 0 {
				where += ", "
			}
			where += "$" + strconv.Itoa(i+1)
			args = append(args, string(id))
		}
		if err := standings(ctx, r, where+")", args, func(found Standing) { all = append(all, found) }); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func standings(ctx context.Context, r projections.Reader, where string, args []any, f func(Standing)) error {
	rows, err := r.Query(ctx, `select account, seq, tx, hash, erased, next_email, digest from accounts `+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s Standing
		var hash sql.RawBytes
		if err := rows.Scan(&s.Account, &s.At.Seq, &s.At.Tx, &hash, &s.Erased, &s.Email, (*bits)(&s.Digest)); err != nil {
			return err
		}
		copy(s.At.Hash[:], hash)
		s.Email = max(s.Email, 1) - 1 // the column has the next one
		f(s)
	}
	return rows.Err()
}
