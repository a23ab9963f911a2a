package dirview

import (
	"context"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Account is what the view knows of one account.
type Account struct {
	ID        domain.AccountID
	Login     string
	Addresses []string // in the order in which they were added; the first is Login
	Disabled  bool
	Hash      string // PHC string, or empty
	Scram     event.ScramKeys
	Added     domain.Tx
}

// Directory is the whole view, in order of name and of account.
type Directory struct {
	At       streams.Position
	Domains  []string
	Accounts []Account
	Erased   map[domain.AccountID]domain.Tx
}

// Load reads the whole view in one snapshot.
func Load(ctx context.Context, r projections.Reader) (*Directory, error) {
	d := &Directory{Erased: map[domain.AccountID]domain.Tx{}}
	err := r.Snapshot(ctx, func(r projections.Reader) error {
		var hash []byte
		if err := each(ctx, r, `select seq, tx, hash from directory_position`, func(scan scan) error {
			return scan(&d.At.Seq, &d.At.Tx, &hash)
		}); err != nil {
			return err
		}
		copy(d.At.Hash[:], hash)
		if err := each(ctx, r, `select name from directory_domains order by name`, func(scan scan) error {
			d.Domains = append(d.Domains, "")
			return scan(&d.Domains[len(d.Domains)-1])
		}); err != nil {
			return err
		}
		if err := each(ctx, r, `select account, tx from directory_erased`, func(scan scan) error {
			var id domain.AccountID
			var tx domain.Tx
			err := scan(&id, &tx)
			d.Erased[id] = tx
			return err
		}); err != nil {
			return err
		}
		var err error
		d.Accounts, err = accounts(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func accounts(ctx context.Context, r projections.Reader) ([]Account, error) {
	var all []Account
	index := map[domain.AccountID]int{}
	if err := each(ctx, r, `select a.account, a.login, a.disabled, a.added, coalesce(c.hash, ''), coalesce(c.iterations, 0), c.salt, c.stored_key, c.server_key
		from directory_accounts a left join directory_credentials c on c.account = a.account order by a.account`, func(scan scan) error {
		var a Account
		err := scan(&a.ID, &a.Login, &a.Disabled, &a.Added, &a.Hash, &a.Scram.Iterations, &a.Scram.Salt, &a.Scram.StoredKey, &a.Scram.ServerKey)
		index[a.ID] = len(all)
		all = append(all, a)
		return err
	}); err != nil {
		return nil, err
	}
	return all, each(ctx, r, `select account, address from directory_addresses order by account, added, place`, func(scan scan) error {
		var id domain.AccountID
		var address string
		if err := scan(&id, &address); err != nil {
			return err
		}
		i, ok := index[id]
		if !ok {
			return domain.Errorf(domain.Unavailable, "view of the directory: account %s is missing", id)
		}
		all[i].Addresses = append(all[i].Addresses, address)
		return nil
	})
}

type scan = func(dest ...any) error

func each(ctx context.Context, r projections.Reader, query string, f func(scan) error) error {
	rows, err := r.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return fmt.Errorf("read the directory: %w", err)
		}
	}
	return rows.Err()
}
