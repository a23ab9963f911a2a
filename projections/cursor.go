package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/streampost/streampost/domain"
)

// cursor is how far a projection has come in a stream.
type cursor struct {
	seq domain.Seq
	at  int64 // of the entry there, Unix milliseconds
}

func lowest(cursors map[string]cursor) domain.Seq {
	if len(cursors) == 0 {
		return 0
	}
	low := domain.Seq(math.MaxUint64)
	for _, c := range cursors {
		low = min(low, c.seq)
	}
	return low
}

// prepare makes the tables of projections that have none, or that have those of another version, and reads all cursors.
func (p *projector) prepare(ctx context.Context, view View) (map[string]cursor, error) {
	cursors := map[string]cursor{}
	err := view.Update(ctx, func(tx Tx) error {
		for _, projection := range p.projections {
			c, version, err := readCursor(ctx, tx, p.stream, projection.Name())
			if err != nil {
				return err
			}
			if version != projection.Version() {
				if version != 0 {
					p.log.Info("a projection of another version is made anew", "projection", projection.Name(), "old", version, "new", projection.Version())
				}
				if err := remake(ctx, tx, p.stream, projection); err != nil {
					return err
				}
				c = cursor{}
			}
			cursors[projection.Name()] = c
		}
		return nil
	})
	return cursors, err
}

// readCursor gives version 0 when there is no row.
func readCursor(ctx context.Context, tx Tx, stream, projection string) (c cursor, version int, err error) {
	err = tx.QueryRow(ctx, `select version, seq, at from cursors where stream = $1 and projection = $2`, stream, projection).Scan(&version, &c.seq, &c.at)
	if errors.Is(err, sql.ErrNoRows) {
		return cursor{}, 0, nil
	}
	if err != nil {
		err = fmt.Errorf("read cursor: %w", err)
	}
	return c, version, err
}

func writeCursor(ctx context.Context, tx Tx, stream string, projection Projection, c cursor) error {
	_, err := tx.Exec(ctx, `insert into cursors (stream, projection, version, seq, at) values ($1, $2, $3, $4, $5)
		on conflict (stream, projection) do update set version = excluded.version, seq = excluded.seq, at = excluded.at`,
		stream, projection.Name(), int64(projection.Version()), int64(c.seq), c.at)
	return err
}

// remake gives a projection empty tables and a cursor at the beginning.
func remake(ctx context.Context, tx Tx, stream string, projection Projection) error {
	for _, table := range projection.Tables() {
		if _, err := tx.Exec(ctx, "drop table if exists "+table.Name); err != nil {
			return err
		}
	}
	if err := tx.Create(ctx, projection.Name()); err != nil {
		return err
	}
	return writeCursor(ctx, tx, stream, projection, cursor{})
}
