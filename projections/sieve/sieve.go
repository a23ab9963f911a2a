// Package sieve is the view of the accounts' Sieve scripts (RFC 5228, RFC 5804): what account.Scripts.Apply gives, as rows. The marks
// that deliveries leave lie beside them.
//
// Invariant: scripted holds the Tx of the last change of an account's scripts, so that whoever reads the rows can tell whether they are those of the
// transaction at which the rest of the account stands. Marks need no such note: see account.Marks.
package sieve

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Name is the projection's name.
const Name = "sieve"

type projection struct{}

// New gives the projection.
func New() projections.Projection { return projection{} }

func (projection) Name() string             { return Name }
func (projection) Version() int             { return 2 }
func (projection) Scope() projections.Scope { return projections.AccountStreams }

func (projection) Tables() []projections.Table {
	return []projections.Table{
		{Name: "scripts", Key: []string{"account", "name"}, Tx: "tx"},
		{Name: "scripted", Key: []string{"account"}, Tx: "tx"},
		{Name: "vacations", Key: []string{"account"}, Tx: "tx"},
		{Name: "marks", Key: []string{"account", "kind", "name"}},
	}
}

func (projection) Begin(_ context.Context, tx projections.Tx) (projections.Batch, error) {
	return &batch{tx}, nil
}

// batch writes at once: scripts change rarely.
type batch struct{ tx projections.Tx }

func (b *batch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Erased {
		return b.Remove(ctx, e.Account)
	}
	changed := false
	var marked []string // kinds
	for _, fact := range e.Transaction.Events {
		if m, is := fact.(*event.MarkSet); is && !slices.Contains(marked, m.Kind) {
			marked = append(marked, m.Kind)
		}
		did, err := b.fold(ctx, e.Account, int64(e.Tx), fact)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	for _, kind := range marked {
		if err := b.bound(ctx, e.Account, kind); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	_, err := b.tx.Exec(ctx, `insert into scripted (account, tx) values ($1, $2) on conflict (account) do update set tx = excluded.tx`, string(e.Account), int64(e.Tx))
	return err
}

// fold is account.Scripts.Apply on rows.
func (b *batch) fold(ctx context.Context, id domain.AccountID, tx int64, fact event.Event) (changed bool, err error) {
	switch e := fact.(type) {
	case *event.SieveScriptStored:
		_, err = b.tx.Exec(ctx, `insert into scripts (account, name, content, active, tx) values ($1, $2, $3, 0, $4)
			on conflict (account, name) do update set content = excluded.content, tx = excluded.tx`, string(id), e.Name, e.Content, tx)
	case *event.SieveScriptRenamed:
		err = b.one(ctx, id, e.Name, `update scripts set name = $3, tx = $4 where account = $1 and name = $2`, e.To, tx)
	case *event.SieveScriptDeleted:
		err = b.one(ctx, id, e.Name, `delete from scripts where account = $1 and name = $2`)
	case *event.SieveScriptActivated:
		if _, err = b.tx.Exec(ctx, `update scripts set active = 0, tx = $2 where account = $1 and active = 1`, string(id), tx); err == nil && e.Name != "" {
			err = b.one(ctx, id, e.Name, `update scripts set active = 1, tx = $3 where account = $1 and name = $2`, tx)
		}
	case *event.VacationSet:
		enabled := int64(0)
		if e.Enabled {
			enabled = 1
		}
		_, err = b.tx.Exec(ctx, `insert into vacations (account, enabled, since, until, subject, plain, html, made, tx) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			on conflict (account) do update set enabled = excluded.enabled, since = excluded.since, until = excluded.until, subject = excluded.subject, plain = excluded.plain, html = excluded.html,
			made = excluded.made, tx = excluded.tx`, string(id), enabled, e.From, e.To, e.Subject, e.Text, e.HTML, e.Set, tx)
	case *event.MarkSet:
		return false, b.mark(ctx, id, e)
	default:
		return false, nil
	}
	return true, err
}

// mark is what account.Marks does, but for the bound, which is kept once for each transaction: the marks that end last are the same.
func (b *batch) mark(ctx context.Context, id domain.AccountID, e *event.MarkSet) error {
	if _, err := b.tx.Exec(ctx, `delete from marks where account = $1 and kind = $2 and until <= $3`, string(id), e.Kind, e.At); err != nil || e.Until <= e.At {
		return err
	}
	_, err := b.tx.Exec(ctx, `insert into marks (account, kind, name, until) values ($1, $2, $3, $4)
		on conflict (account, kind, name) do update set until = excluded.until where excluded.until > marks.until`, string(id), e.Kind, e.Name, e.Until)
	return err
}

// bound removes the marks of a kind that end first, where there are too many. Two steps along the index cost less than one statement that says the same.
func (b *batch) bound(ctx context.Context, id domain.AccountID, kind string) error {
	var until int64
	var name string
	err := b.tx.QueryRow(ctx, `select until, name from marks where account = $1 and kind = $2 order by until desc, name desc limit 1 offset $3`, string(id), kind, account.MaxMarks-1).Scan(&until, &name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = b.tx.Exec(ctx, `delete from marks where account = $1 and kind = $2 and (until < $3 or until = $3 and name < $4)`, string(id), kind, until, name)
	return err
}

// one runs a statement that changes the row of a script.
func (b *batch) one(ctx context.Context, id domain.AccountID, name, statement string, args ...any) error {
	n, err := b.tx.Exec(ctx, statement, append([]any{string(id), name}, args...)...)
	if err == nil && n != 1 {
		return &projections.Damage{Account: id, What: fmt.Sprintf("script %q is missing", name)}
	}
	return projections.Fresh(err, id)
}

func (b *batch) Remove(ctx context.Context, id domain.AccountID) error {
	for _, statement := range []string{`delete from scripts where account = $1`, `delete from marks where account = $1`, `delete from vacations where account = $1`, `delete from scripted where account = $1`} {
		if _, err := b.tx.Exec(ctx, statement, string(id)); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) Flush(context.Context) error { return nil }

// Load reads an account's scripts, and the Tx of their last change; 0 if there never was one.
func Load(ctx context.Context, r projections.Reader, id domain.AccountID) (s account.Scripts, tx domain.Tx, err error) {
	err = r.Snapshot(ctx, func(r projections.Reader) error {
		s, tx = account.Scripts{}, 0
		if err := each(ctx, r, `select tx from scripted where account = $1`, id, func(scan func(...any) error) error { return scan(&tx) }); err != nil {
			return err
		}
		if err := each(ctx, r, `select kind, name, until from marks where account = $1`, id, func(scan func(...any) error) error {
			var mark account.Mark
			var until int64
			err := scan(&mark.Kind, &mark.Name, &until)
			s.Marks.Put(mark, until)
			return err
		}); err != nil || tx == 0 {
			return err
		}
		if err := each(ctx, r, `select enabled, since, until, subject, plain, html, made from vacations where account = $1`, id, func(scan func(...any) error) error {
			v, enabled := &s.Vacation, int64(0)
			err := scan(&enabled, &v.From, &v.To, &v.Subject, &v.Text, &v.HTML, &v.Set)
			v.Enabled = enabled != 0
			return err
		}); err != nil {
			return err
		}
		return each(ctx, r, `select name, content, active from scripts where account = $1`, id, func(scan func(...any) error) error {
			var name, content string
			var active int64
			if err := scan(&name, &content, &active); err != nil {
				return err
			}
			s.Apply(&event.SieveScriptStored{Name: name, Content: content})
			if active != 0 {
				s.Active = name
			}
			return nil
		})
	})
	return s, tx, err
}

func each(ctx context.Context, r projections.Reader, query string, id domain.AccountID, f func(scan func(...any) error) error) error {
	rows, err := r.Query(ctx, query, string(id))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Store finds the rows of any account in the views that a Runner keeps.
type Store struct{ *projections.Runner }

// Scripts is Load, once the rows show the account's log up to a position of its stream. Where there are no rows to read yet, it does not wait: domain.Unavailable.
func (s Store) Scripts(ctx context.Context, id domain.AccountID, upTo domain.Seq) (account.Scripts, domain.Tx, error) {
	r, err := s.ReaderOf(Name, id)
	if err == nil {
		err = s.WaitOf(ctx, Name, id, upTo)
	}
	if err != nil {
		return account.Scripts{}, 0, err
	}
	return Load(ctx, r, id)
}
