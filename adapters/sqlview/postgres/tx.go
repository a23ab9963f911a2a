package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/streampost/streampost/projections"
)

// tx is the open write transaction of a view. It runs on one connection, which database/sql and pgx use in turns.
type tx struct {
	w    *view
	conn *sql.Conn
	tx   *sql.Tx
	sums sums
}

var _ projections.Tx = (*tx)(nil)

func (t *tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(ctx, t.w.mark+query, args...)
	if err != nil {
		return 0, t.w.fault(err, "write to a view")
	}
	return result.RowsAffected()
}

func (t *tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := t.tx.QueryContext(ctx, t.w.mark+query, args...)
	if err != nil {
		return nil, t.w.fault(err, "read a view")
	}
	return rows, nil
}

func (t *tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.w.mark+query, args...)
}

const (
	pipelined = 1000 // statements that are sent before their answers are awaited
	copied    = 32   // rows from which on COPY is faster than inserting
)

// Each sends many statements before it waits for the first answer.
func (t *tx) Each(ctx context.Context, query string, rows [][]any) ([]int64, error) {
	changed := make([]int64, 0, len(rows))
	for len(rows) > 0 {
		n := min(pipelined, len(rows))
		var batch pgx.Batch
		for _, row := range rows[:n] {
			batch.Queue(t.w.mark+query, row...)
		}
		if err := t.raw(func(c *pgx.Conn) error {
			results := c.SendBatch(ctx, &batch)
			for range n {
				tag, err := results.Exec()
				if err != nil {
					_ = results.Close() // the same error
					return err
				}
				changed = append(changed, tag.RowsAffected())
			}
			return results.Close()
		}); err != nil {
			return nil, t.w.fault(err, "write to a view")
		}
		rows = rows[n:]
	}
	return changed, nil
}

// Insert uses COPY when there are many rows.
func (t *tx) Insert(ctx context.Context, table string, columns []string, rows [][]any) error {
	if len(rows) < copied {
		places := make([]string, len(columns))
		for i := range places {
			places[i] = fmt.Sprintf("$%d", i+1)
		}
		_, err := t.Each(ctx, fmt.Sprintf("insert into %s (%s) values (%s)", table, strings.Join(columns, ", "), strings.Join(places, ", ")), rows)
		return duplicate(err)
	}
	if t.sums.inserted(t.w.projection, table, columns, rows) { // here it takes less time than in the database
		return t.Copy(ctx, table, columns, rows)
	}
	return t.copy(ctx, table, columns, rows)
}

// Copy keeps the triggers from counting.
func (t *tx) Copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	err := t.count(ctx, "off")
	if err == nil {
		err = t.copy(ctx, table, columns, rows)
	}
	if err == nil {
		err = t.count(ctx, "on")
	}
	return err
}

func (t *tx) copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	err := t.raw(func(c *pgx.Conn) error {
		_, err := c.CopyFrom(ctx, pgx.Identifier{t.w.schema, table}, columns, pgx.CopyFromRows(rows))
		return err
	})
	if err != nil {
		return duplicate(t.w.fault(err, "write to a view"))
	}
	return nil
}

// raw gives f the connection itself.
func (t *tx) raw(f func(*pgx.Conn) error) error {
	return t.conn.Raw(func(c any) error { return f(c.(*stdlib.Conn).Conn()) })
}
