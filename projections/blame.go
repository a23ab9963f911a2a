package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Limits of looking for the transaction that wrote a row, which reads the account's log twice.
const (
	blamed     = 16  // accounts of one comparison
	blameChunk = 256 // entries between two looks at first
	blameKeys  = 64  // rows of an account
	blameTx    = 1e6 // transactions of an account
)

// blame finds the transactions that last wrote the rows of the listed differences, where the rows do not name them: it folds the accounts' logs
// again and watches the rows.
func (v *verification) blame(ctx context.Context) error {
	type place struct {
		slot    *slot
		account domain.AccountID
	}
	rows := map[place]map[string]*watched{}
	var order []place
	for i := range v.report.Differences {
		d := &v.report.Differences[i]
		if d.Tx != 0 || d.Account == "" || d.Table == Digests || d.Stream != v.g.stream {
			continue
		}
		for _, s := range v.sides {
			if s.slot.name() != d.Projection || !s.slot.byAccount() {
				continue
			}
			at := place{s.slot, d.Account}
			if rows[at] == nil {
				if len(rows) == blamed {
					continue
				}
				rows[at] = map[string]*watched{}
				order = append(order, at)
			}
			name := d.Table + "[" + d.Key
			if w := rows[at][name]; w != nil {
				w.of = append(w.of, i)
			} else if len(rows[at]) < blameKeys {
				rows[at][name] = newWatched(s.slot, d, i)
			}
		}
	}
	for _, at := range order {
		if err := v.watch(ctx, at.slot, at.account, rows[at]); err != nil {
			return err
		}
		for _, w := range rows[at] {
			for _, i := range w.of {
				v.report.Differences[i].Tx = w.tx
			}
		}
	}
	return nil
}

// watched is one row whose changes are looked for.
type watched struct {
	query string
	args  []any
	of    []int // the differences in the report

	was   string
	chunk int // in which it last changed; -1: in none
	tx    domain.Tx
}

func newWatched(s *slot, d *Difference, of int) *watched {
	w := &watched{args: d.key, of: []int{of}, chunk: -1}
	for _, table := range s.projection.Tables() {
		if table.Name != d.Table {
			continue
		}
		var where []string
		for i, column := range table.Key {
			where = append(where, fmt.Sprintf("%s = $%d", column, i+1))
		}
		w.query = "select * from " + d.Table + " where " + strings.Join(where, " and ")
	}
	return w
}

// look tells whether the row is another than at the last look.
func (w *watched) look(ctx context.Context, tx Tx) (changed bool, err error) {
	rows, err := tx.Query(ctx, w.query, w.args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	is := ""
	columns, err := rows.Columns()
	if err != nil {
		return false, err
	}
	for rows.Next() {
		row, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return false, err
		}
		is = fmt.Sprintf("%#v", row)
	}
	changed, w.was = is != w.was, is
	return changed, rows.Err()
}

// watch folds an account's log twice: first in chunks, to find the last one that changed each row, then those chunks entry by entry.
func (v *verification) watch(ctx context.Context, s *slot, id domain.AccountID, rows map[string]*watched) error {
	last, err := v.g.r.cfg.Log.Last(ctx, id)
	if err != nil || last.Tx > blameTx {
		return err
	}
	var end domain.Seq
	for _, side := range v.sides {
		if side.slot == s {
			end = side.seq
		}
	}
	for fine := range 2 {
		shadow, release, err := v.g.r.cfg.Views.Scratch(ctx, s.name())
		if err != nil {
			return err
		}
		for _, w := range rows {
			w.was = ""
		}
		err = shadow.Update(ctx, func(tx Tx) error { return v.chunks(ctx, tx, s, id, end, rows, fine == 1) })
		release()
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) chunks(ctx context.Context, tx Tx, s *slot, id domain.AccountID, end domain.Seq, rows map[string]*watched, fine bool) error {
	var chunk []streams.Entry
	n := 0
	fold := func(entries []streams.Entry) error {
		batch, err := s.projection.Begin(ctx, tx)
		if err != nil {
			return err
		}
		for i := range entries {
			if err := batch.Apply(ctx, &entries[i]); err != nil {
				return err
			}
		}
		return batch.Flush(ctx)
	}
	flush := func() error {
		step := len(chunk)
		var here []*watched
		for _, w := range rows {
			if !fine || w.chunk == n {
				here = append(here, w)
			}
		}
		if fine && len(here) > 0 {
			step = 1
		}
		for len(chunk) > 0 {
			if err := fold(chunk[:step]); err != nil {
				return err
			}
			for _, w := range here {
				changed, err := w.look(ctx, tx)
				if err != nil {
					return err
				}
				if changed {
					w.chunk, w.tx = n, chunk[step-1].Tx
				}
			}
			chunk = chunk[step:]
		}
		n++
		return ctx.Err()
	}
	for e, err := range v.g.r.cfg.Log.ReadAccount(ctx, id, 0) {
		if err != nil {
			return err
		}
		if e.Seq > end {
			break
		}
		if chunk = append(chunk, e); len(chunk) == blameChunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
