package dirview

import (
	"context"
	"fmt"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Account is what the view knows of one account.
type Account struct {
	ID        domain.AccountID
	Login     string
	Addresses []string // in the order in which they were added; the first is Login
	Disabled  bool
	Shared    bool
	Hash      string // PHC string, or empty
	Scram     event.ScramKeys
	Added     domain.Tx

	AppPasswords []directory.AppPassword // in the order in which they were added
	Placements   []directory.Placement   // in the order in which they are promoted
}

// Directory is the whole view, in order of name and of account.
type Directory struct {
	At       streams.Position
	Domains  []string
	Accounts []Account
	Erased   map[domain.AccountID]domain.Tx

	Enrolments map[string]directory.Enrolment
	Mappings   []rewriting.Mapping // in order of source, kind and target
}

// Load reads the whole view in one snapshot.
func Load(ctx context.Context, r projections.Reader) (*Directory, error) {
	d := &Directory{Erased: map[domain.AccountID]domain.Tx{}, Enrolments: map[string]directory.Enrolment{}}
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
		if err := each(ctx, r, `select e.selector, e.keep, d.node, d.priority from directory_enrolments e join directory_destinations d on d.selector = e.selector
			order by e.selector, d.node`, func(scan scan) error {
			var selector string
			var keep int
			var to event.Destination
			err := scan(&selector, &keep, &to.Node, &to.Priority)
			d.Enrolments[selector] = directory.Enrolment{Keep: keep, Destinations: append(d.Enrolments[selector].Destinations, to)}
			return err
		}); err != nil {
			return err
		}
		var err error
		if d.Mappings, err = mappings(ctx, r, `select source, kind, target from directory_mappings order by source, kind, target`); err != nil {
			return err
		}
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
	if err := each(ctx, r, `select a.account, a.login, a.disabled, a.shared, a.added, coalesce(c.hash, ''), coalesce(c.iterations, 0), c.salt, c.stored_key, c.server_key
		from directory_accounts a left join directory_credentials c on c.account = a.account order by a.account`, func(scan scan) error {
		var a Account
		err := scan(&a.ID, &a.Login, &a.Disabled, &a.Shared, &a.Added, &a.Hash, &a.Scram.Iterations, &a.Scram.Salt, &a.Scram.StoredKey, &a.Scram.ServerKey)
		index[a.ID] = len(all)
		all = append(all, a)
		return err
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, r, `select account, name, hash, created, expires, protocols from directory_app_passwords order by account, added, place`, func(scan scan) error {
		var id domain.AccountID
		var p directory.AppPassword
		var hash []byte
		var protocols string
		if err := scan(&id, &p.Name, &hash, &p.Created, &p.Expires, &protocols); err != nil {
			return err
		}
		i, ok := index[id]
		if !ok || len(hash) != len(p.Hash) {
			return domain.Errorf(domain.Unavailable, "view of the directory: an app password of account %s is malformed, or the account is missing", id)
		}
		p.Hash = [32]byte(hash)
		if protocols != "" {
			p.Protocols = strings.Fields(protocols)
		}
		all[i].AppPasswords = append(all[i].AppPasswords, p)
		return nil
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, r, `select account, node, priority, paused from directory_replicas order by account, priority, node`, func(scan scan) error {
		var id domain.AccountID
		var p directory.Placement
		if err := scan(&id, &p.Node, &p.Priority, &p.Paused); err != nil {
			return err
		}
		i, ok := index[id]
		if !ok {
			return domain.Errorf(domain.Unavailable, "view of the directory: account %s has a replica and is missing", id)
		}
		all[i].Placements = append(all[i].Placements, p)
		return nil
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

// Of reads the mappings of a source, and To those that lead to a target, as rewriting.Mapping.Key spells it.
func Of(ctx context.Context, r projections.Reader, source string) ([]rewriting.Mapping, error) {
	return mappings(ctx, r, `select source, kind, target from directory_mappings where source = $1 order by source, kind, target`, source)
}

// To is the other direction of Of.
func To(ctx context.Context, r projections.Reader, target string) ([]rewriting.Mapping, error) {
	return mappings(ctx, r, `select source, kind, target from directory_mappings where goal = $1 order by source, kind, target`, target)
}

func mappings(ctx context.Context, r projections.Reader, query string, args ...any) (all []rewriting.Mapping, err error) {
	err = each(ctx, r, query, func(scan scan) error {
		var m rewriting.Mapping
		err := scan(&m.Source, &m.Kind, &m.Target)
		all = append(all, m)
		return err
	}, args...)
	return all, err
}

type scan = func(dest ...any) error

func each(ctx context.Context, r projections.Reader, query string, f func(scan) error, args ...any) error {
	rows, err := r.Query(ctx, query, args...)
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
