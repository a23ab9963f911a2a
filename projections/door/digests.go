package door

import (
	"context"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// Digests gives those of an account's state in memory and those that the view keeps beside its rows, at one Tx, which is durable. Where they
// disagree (account.Digests.Against), the rows or the state are wrong. It looks at no message, so it may be asked often.
//
// Errors: those of View; domain.Conflict when the account changed again and again meanwhile.
func (a *Accounts) Digests(ctx context.Context, id domain.AccountID) (hot, view account.Digests, err error) {
	for range a.setup.limits.Attempts {
		if err := a.View(ctx, id, func(s *account.State) error { hot = s.Digests(); return nil }); err != nil {
			return hot, view, err
		}
		if err := a.await(ctx, id, a.setup.limits.RowsTimeout); err != nil {
			return hot, view, err
		}
		if view, err = a.views.Digests(ctx, id); err != nil {
			return hot, view, classify(err, "read the account's digests")
		}
		if view.Tx == hot.Tx {
			return hot, view, nil
		}
	}
	return hot, view, domain.Errorf(domain.Conflict, "account %s changes too fast to be compared: try again", id)
}
