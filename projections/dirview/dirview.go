// Package dirview is the view of the directory: domains, accounts with their credentials, addresses, which are found both by address and
// by account, and mappings, which are found both by source and by target.
//
// Its rows are directory.State.Apply written as SQL. Like every view they hold verifiers of passwords, never passwords.
package dirview

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "directory"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 5 }
func (projection) Scope() projections.Scope { return projections.DirectoryStream }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "directory_position", Key: []string{"account"}},
		{Name: "directory_domains", Key: []string{"name"}},
		{Name: "directory_accounts", Key: []string{"account"}},
		{Name: "directory_addresses", Key: []string{"address"}},
		{Name: "directory_credentials", Key: []string{"account"}, Secret: []string{"hash", "salt", "stored_key", "server_key"}},
		{Name: "directory_app_passwords", Key: []string{"account", "name"}, Secret: []string{"hash"}},
		{Name: "directory_replicas", Key: []string{"account", "node"}},
		{Name: "directory_enrolments", Key: []string{"selector"}},
		{Name: "directory_destinations", Key: []string{"selector", "node"}},
		{Name: "directory_mappings", Key: []string{"source", "kind", "target"}},
		{Name: "directory_erased", Key: []string{"account"}},
	}
}

func (projection) Begin(ctx context.Context, tx projections.Tx) (projections.Batch, error) {
	b := &batch{tx: tx}
	var hash []byte
	err := tx.QueryRow(ctx, `select seq, tx, hash from directory_position where account = $1`, string(domain.DirectoryID)).
		Scan(&b.at.Seq, &b.at.Tx, &hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the directory's position: %w", err)
	}
	copy(b.at.Hash[:], hash)
	return b, nil
}

// batch writes every fact at once: the directory changes rarely.
type batch struct {
	tx projections.Tx
	at streams.Position
}

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Account != domain.DirectoryID {
		return domain.Errorf(domain.Corrupt, "the directory's stream has an entry of account %s", e.Account)
	}
	if err := projections.Link(b.at, e); err != nil {
		return err
	}
	if e.Erased {
		return domain.Errorf(domain.Corrupt, "the directory's key is gone: transaction %d cannot be read", e.Tx)
	}
	for place, ev := range e.Transaction.Events {
		if err := b.fold(ctx, e.Tx, place, ev); err != nil {
			return fmt.Errorf("directory, transaction %d: %w", e.Tx, err)
		}
	}
	b.at = e.Position()
	return nil
}

func (b *batch) fold(ctx context.Context, tx domain.Tx, place int, e event.Event) error {
	switch e := e.(type) {
	case *event.DomainAdded:
		return b.exec(ctx, `insert into directory_domains (name) values ($1)`, e.Name)
	case *event.DomainRemoved:
		return b.exec(ctx, `delete from directory_domains where name = $1`, e.Name)
	case *event.AccountAdded:
		if err := b.exec(ctx, `insert into directory_accounts (account, login, disabled, shared, added) values ($1, $2, 0, 0, $3)`,
			string(e.Account), e.Address, int64(tx)); err != nil {
			return err
		}
		return b.link(ctx, tx, place, e.Address, e.Account)
	case *event.AccountDisabled:
		return b.exec(ctx, `update directory_accounts set disabled = $2 where account = $1`, string(e.Account), number(e.Disabled))
	case *event.AccountShared:
		return b.exec(ctx, `update directory_accounts set shared = $2 where account = $1`, string(e.Account), number(e.Shared))
	case *event.AccountErased:
		return errors.Join(
			b.exec(ctx, `delete from directory_mappings where source in (select address from directory_addresses where account = $1)
				or kind in ('alias', 'group', 'forward', 'address') and goal in (select address from directory_addresses where account = $1)`, string(e.Account)),
			b.exec(ctx, `delete from directory_addresses where account = $1`, string(e.Account)),
			b.exec(ctx, `delete from directory_credentials where account = $1`, string(e.Account)),
			b.exec(ctx, `delete from directory_app_passwords where account = $1`, string(e.Account)),
			b.exec(ctx, `delete from directory_replicas where account = $1`, string(e.Account)),
			b.exec(ctx, `delete from directory_accounts where account = $1`, string(e.Account)),
			b.exec(ctx, `insert into directory_erased (account, tx) values ($1, $2)`, string(e.Account), int64(tx)))
	case *event.AddressAdded:
		return b.link(ctx, tx, place, e.Address, e.Account)
	case *event.AddressRemoved:
		return b.exec(ctx, `delete from directory_addresses where address = $1`, e.Address)
	case *event.AppPasswordAdded:
		return b.exec(ctx, `insert into directory_app_passwords (account, name, hash, created, expires, protocols, added, place) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			string(e.Account), e.Name, e.Hash, e.Created, e.Expires, strings.Join(e.Protocols, " "), int64(tx), int64(place))
	case *event.AppPasswordRemoved:
		return b.exec(ctx, `delete from directory_app_passwords where account = $1 and name = $2`, string(e.Account), e.Name)
	case *event.ReplicaPlaced:
		return b.exec(ctx, `insert into directory_replicas (account, node, priority, paused) values ($1, $2, $3, 0)
			on conflict (account, node) do update set priority = excluded.priority`, string(e.Account), e.Node, int64(e.Priority))
	case *event.ReplicaRemoved:
		return b.exec(ctx, `delete from directory_replicas where account = $1 and node = $2`, string(e.Account), e.Node)
	case *event.ReplicaPaused:
		return b.exec(ctx, `update directory_replicas set paused = $3 where account = $1 and node = $2`, string(e.Account), e.Node, number(e.Paused))
	case *event.EnrolmentSet:
		err := errors.Join(
			b.exec(ctx, `insert into directory_enrolments (selector, keep) values ($1, $2) on conflict (selector) do update set keep = excluded.keep`, e.Selector, int64(e.Keep)),
			b.exec(ctx, `delete from directory_destinations where selector = $1`, e.Selector))
		for _, d := range e.Destinations {
			err = errors.Join(err, b.exec(ctx, `insert into directory_destinations (selector, node, priority) values ($1, $2, $3)`, e.Selector, d.Node, int64(d.Priority)))
		}
		return err
	case *event.EnrolmentRemoved:
		return errors.Join(
			b.exec(ctx, `delete from directory_destinations where selector = $1`, e.Selector),
			b.exec(ctx, `delete from directory_enrolments where selector = $1`, e.Selector))
	case *event.MappingAdded:
		return b.exec(ctx, `insert into directory_mappings (source, kind, target, goal, added, place) values ($1, $2, $3, $4, $5, $6)`,
			e.Source, string(e.Kind), e.Target, rewriting.Mapping(*e).Key(), int64(tx), int64(place))
	case *event.MappingRemoved:
		return b.exec(ctx, `delete from directory_mappings where source = $1 and kind = $2 and target = $3`, e.Source, string(e.Kind), e.Target)
	case *event.DKIMKeyAdded, *event.DKIMKeyActivated, *event.DKIMKeyRetired, *event.DKIMKeyRemoved:
		return nil // Private keys stay in the sealed log; the door has them from there.
	case *event.PasswordChanged:
		return b.exec(ctx, `insert into directory_credentials (account, hash, iterations, salt, stored_key, server_key) values ($1, $2, $3, $4, $5, $6)
			on conflict (account) do update set hash = excluded.hash, iterations = excluded.iterations, salt = excluded.salt,
			stored_key = excluded.stored_key, server_key = excluded.server_key`,
			string(e.Account), e.Hash, int64(e.Scram.Iterations), octets(e.Scram.Salt), octets(e.Scram.StoredKey), octets(e.Scram.ServerKey))
	}
	return domain.Errorf(domain.Corrupt, "%s is not an event of the directory", event.Name(e))
}

func (b *batch) exec(ctx context.Context, query string, args ...any) error {
	_, err := b.tx.Exec(ctx, query, args...)
	if domain.Is(err, domain.Exists) {
		return &projections.Damage{Account: domain.DirectoryID, What: err.Error()}
	}
	return err
}

func (b *batch) link(ctx context.Context, tx domain.Tx, place int, address string, id domain.AccountID) error {
	return b.exec(ctx, `insert into directory_addresses (address, account, added, place) values ($1, $2, $3, $4)`,
		address, string(id), int64(tx), int64(place))
}

// Remove has nothing to do: AccountErased, a fact of this log, removes the rows.
func (b *batch) Remove(context.Context, domain.AccountID) error { return nil }

func (b *batch) Flush(ctx context.Context) error {
	if b.at.Tx == 0 {
		return nil
	}
	return b.exec(ctx, `insert into directory_position (account, seq, tx, hash) values ($1, $2, $3, $4)
		on conflict (account) do update set seq = excluded.seq, tx = excluded.tx, hash = excluded.hash`,
		string(domain.DirectoryID), int64(b.at.Seq), int64(b.at.Tx), b.at.Hash[:])
}

// octets is never null.
func octets(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
