// Package dirview is the view of the directory: domains, accounts with their credentials, and addresses, which are found both by address and
// by account.
//
// Its rows are directory.State.Apply written as SQL. Like every view they hold verifiers of passwords, never passwords.
package dirview

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "directory"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 1 }
func (projection) Scope() projections.Scope { return projections.DirectoryStream }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "directory_position", Key: []string{"account"}},
		{Name: "directory_domains", Key: []string{"name"}},
		{Name: "directory_accounts", Key: []string{"account"}},
		{Name: "directory_addresses", Key: []string{"address"}},
		{Name: "directory_credentials", Key: []string{"account"}, Secret: []string{"hash", "salt", "stored_key", "server_key"}},
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
		if err := b.exec(ctx, `insert into directory_accounts (account, login, disabled, added) values ($1, $2, 0, $3)`,
			string(e.Account), e.Address, int64(tx)); err != nil {
			return err
		}
		return b.link(ctx, tx, place, e.Address, e.Account)
	case *event.AccountDisabled:
		return b.exec(ctx, `update directory_accounts set disabled = $2 where account = $1`, string(e.Account), number(e.Disabled))
	case *event.AccountErased:
		return errors.Join(
			b.exec(ctx, `delete from directory_addresses where account = $1`, string(e.Account)),
			b.exec(ctx, `delete from directory_credentials where account = $1`, string(e.Account)),
			b.exec(ctx, `delete from directory_accounts where account = $1`, string(e.Account)),
			b.exec(ctx, `insert into directory_erased (account, tx) values ($1, $2)`, string(e.Account), int64(tx)))
	case *event.AddressAdded:
		return b.link(ctx, tx, place, e.Address, e.Account)
	case *event.AddressRemoved:
		return b.exec(ctx, `delete from directory_addresses where address = $1`, e.Address)
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
