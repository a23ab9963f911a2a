package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// view is the schema of one generation. It implements projections.View.
type view struct {
	schema     string
	projection string
	mark       string // begins every statement, so that no connection mixes up the plans of two generations
	db         *sql.DB
	ended      atomic.Bool

	writing sync.Mutex
}

var errGone = domain.Errorf(domain.Unavailable, "the view is closed")

// end refuses what comes. What runs has its connections and goes on.
func (w *view) end() {
	if !w.ended.Swap(true) {
		_ = w.db.Close() // gives back connections; those in use are given back by who uses them
	}
}

// whole tells whether the head is there.
func (w *view) whole(ctx context.Context) error {
	var n int
	if err := w.db.QueryRowContext(ctx, w.mark+"select count(*) from head").Scan(&n); err != nil {
		return damaged(classify(err, "open a view"))
	}
	if n != 1 {
		return domain.Wrap(domain.Corrupt, projections.ErrDamaged, "open a view")
	}
	return nil
}

// damaged gives what cannot be opened for good its kind.
func damaged(err error) error {
	if errors.Is(err, projections.ErrDamaged) {
		return domain.Wrap(domain.Corrupt, err, "open a view")
	}
	return err
}

// Query reads committed rows.
func (w *view) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if w.ended.Load() {
		return nil, errGone
	}
	rows, err := w.db.QueryContext(ctx, w.mark+query, args...)
	if err != nil {
		return nil, w.fault(err, "read a view")
	}
	return rows, nil
}

// Snapshot runs g on one committed state.
func (w *view) Snapshot(ctx context.Context, g func(projections.Reader) error) error {
	if w.ended.Load() {
		return errGone
	}
	tx, err := w.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return w.fault(err, "read a view")
	}
	defer tx.Rollback() // nothing was written
	return w.scanned(g(snapshot{w, tx}))
}

type snapshot struct {
	w  *view
	tx *sql.Tx
}

func (s snapshot) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := s.tx.QueryContext(ctx, s.w.mark+query, args...)
	if err != nil {
		return nil, s.w.fault(err, "read a view")
	}
	return rows, nil
}

func (s snapshot) Snapshot(_ context.Context, g func(projections.Reader) error) error { return g(s) }

// Update runs g in a write transaction. When the connection breaks during the commit nobody knows whether it took place; the head tells.
func (w *view) Update(ctx context.Context, g func(projections.Tx) error) error {
	if w.ended.Load() {
		return errGone
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return w.fault(err, "write to a view")
	}
	defer conn.Close()
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return w.fault(err, "write to a view")
	}
	writer := &tx{w, conn, t, sums{}}
	if err = g(writer); err == nil {
		err = writer.sum(ctx)
	}
	if err == nil {
		err = t.Commit()
	} else {
		_ = t.Rollback() // the connection is dropped when that fails
	}
	return w.scanned(err)
}

// Scrub rewrites the tables without what was deleted. Their readers wait meanwhile. The write-ahead log of the database is its operator's.
func (w *view) Scrub(ctx context.Context) error {
	if w.ended.Load() {
		return errGone
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	rows, err := w.Query(ctx, "select tablename::text from pg_tables where schemaname = $1 order by tablename", w.schema)
	if err != nil {
		return err
	}
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return errors.Join(err, rows.Close())
		}
		tables = append(tables, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return w.fault(err, "scrub a view")
	}
	for _, name := range tables {
		if _, err := w.db.ExecContext(ctx, fmt.Sprintf("vacuum (full) %s.%s", w.schema, name)); err != nil {
			return w.fault(err, "scrub a view")
		}
	}
	return nil
}

func (w *view) fault(err error, doing string) error {
	if w.ended.Load() {
		return errGone
	}
	return classify(err, doing)
}

// scanned classifies an error of the database that was met while rows were scanned; other errors of a caller's function pass as they are.
func (w *view) scanned(err error) error {
	if foreign(err) {
		return w.fault(err, "use a view")
	}
	return err
}
