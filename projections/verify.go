package projections

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
)

// Report is what a comparison of views with the log found.
type Report struct {
	Streams     int          `json:"streams"`
	Rows        int64        `json:"rows"`        // compared
	Total       int64        `json:"total"`       // differences found
	Differences []Difference `json:"differences"` // the first of them
}

// Difference is one value that a view has otherwise than the log says.
type Difference struct {
	Stream     string `json:"stream"`
	Projection string `json:"projection"`
	Table      string `json:"table"`
	Key        string `json:"key"`    // "account=..., mailbox=1"
	Column     string `json:"column"` // empty when the whole row is missing on one side
	Live       string `json:"live"`   // what the view has
	Log        string `json:"log"`    // what replaying the log gives
}

func (d Difference) String() string {
	where := fmt.Sprintf("%s %s: %s[%s]", d.Stream, d.Projection, d.Table, d.Key)
	if d.Column != "" {
		where += "." + d.Column
	}
	return fmt.Sprintf("%s is %s in the view and %s by the log", where, d.Live, d.Log)
}

// missing stands for a row that is not there.
const missing = "missing"

// Verify folds the log into an empty store beside the live one, up to the cursors of one snapshot of the live view, and compares all rows. At
// most limit differences are listed; all are counted. Mail goes on meanwhile. Differences are no error; a log that cannot be folded is
// (domain.Corrupt).
func (r *Runner) Verify(ctx context.Context, sel Selection, limit int, progress func(Progress)) (Report, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	var report Report
	chosen, err := r.chosen(sel)
	if err != nil {
		return report, err
	}
	for _, p := range chosen {
		if err := r.Wait(ctx, p.stream, 0); err != nil {
			return report, fmt.Errorf("verify stream %s: %w", p.stream, err)
		}
		live, err := r.Reader(p.stream)
		if err != nil {
			return report, fmt.Errorf("verify stream %s: %w", p.stream, err)
		}
		v := verification{p: p, sel: sel, limit: limit, progress: progress, report: &report}
		if err := live.Snapshot(ctx, func(live Reader) error { return v.run(ctx, live) }); err != nil {
			return report, fmt.Errorf("verify stream %s: %w", p.stream, err)
		}
		report.Streams++
	}
	return report, nil
}

// verification compares one stream's view.
type verification struct {
	p        *projector
	sel      Selection
	limit    int
	progress func(Progress)
	report   *Report
}

func (v *verification) run(ctx context.Context, live Reader) error {
	ends, err := v.ends(ctx, live)
	if err != nil {
		return err
	}
	shadow, release, err := v.p.r.cfg.Views.Shadow(ctx, v.p.stream)
	if err != nil {
		return err
	}
	defer release()
	if err := v.fill(ctx, shadow, ends); err != nil {
		return err
	}
	for _, projection := range v.p.chosen(v.sel) {
		for _, table := range projection.Tables() {
			if err := v.compare(ctx, projection, table, live, shadow); err != nil {
				return fmt.Errorf("compare table %s: %w", table.Name, err)
			}
		}
	}
	return nil
}

// ends reads the cursors of the snapshot.
func (v *verification) ends(ctx context.Context, live Reader) (map[string]domain.Seq, error) {
	rows, err := live.Query(ctx, `select projection, seq from cursors where stream = $1`, v.p.stream)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ends := map[string]domain.Seq{}
	for rows.Next() {
		var name string
		var seq domain.Seq
		if err := rows.Scan(&name, &seq); err != nil {
			return nil, err
		}
		ends[name] = seq
	}
	return ends, rows.Err()
}

// fill replays the log into the shadow.
func (v *verification) fill(ctx context.Context, shadow View, ends map[string]domain.Seq) error {
	return shadow.Update(ctx, func(tx Tx) error {
		var works []*work
		var upTo domain.Seq
		for _, projection := range v.p.chosen(v.sel) {
			if err := tx.Create(ctx, projection.Name()); err != nil {
				return err
			}
			end := ends[projection.Name()]
			works = append(works, &work{projection: projection, upTo: end})
			upTo = max(upTo, end)
		}
		log := v.p.r.cfg.Log
		entries := log.Read(ctx, v.p.stream, 0, upTo)
		if v.sel.Account != "" {
			entries = log.ReadAccount(ctx, v.sel.Account, 0)
		}
		return v.p.replay(ctx, tx, entries, works, func(done domain.Seq) { v.progress(Progress{v.p.stream, min(done, upTo), upTo}) })
	})
}

// compare walks both tables in order of their keys.
func (v *verification) compare(ctx context.Context, projection Projection, table Table, live, shadow Reader) error {
	query, args := "select * from "+table.Name, []any(nil)
	if v.sel.Account != "" && table.Key[0] == "account" {
		query, args = query+" where account = $1", []any{string(v.sel.Account)}
	}
	query += " order by " + strings.Join(table.Key, ", ")
	a, err := openCursor(ctx, live, query, args, table)
	if err != nil {
		return err
	}
	defer a.rows.Close()
	b, err := openCursor(ctx, shadow, query, args, table)
	if err != nil {
		return err
	}
	defer b.rows.Close()
	for a.row != nil || b.row != nil {
		v.report.Rows++
		d := Difference{Stream: v.p.stream, Projection: projection.Name(), Table: table.Name}
		order := a.against(b)
		switch {
		case order < 0:
			d.Key, d.Live, d.Log = a.keyText(), "a row", missing
			v.found(d)
		case order > 0:
			d.Key, d.Live, d.Log = b.keyText(), missing, "a row"
			v.found(d)
		default:
			d.Key = a.keyText()
			for i := range a.row {
				if order, same := compareValues(a.row[i], b.row[i]); !same || order != 0 {
					d.Column, d.Live, d.Log = a.columns[i], show(a.row[i]), show(b.row[i])
					if slices.Contains(table.Secret, d.Column) {
						d.Live, d.Log = "(secret)", "(another secret)"
					}
					v.found(d)
				}
			}
		}
		if order <= 0 {
			err = a.next()
		}
		if order >= 0 && err == nil {
			err = b.next()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) found(d Difference) {
	if v.report.Total++; len(v.report.Differences) < v.limit {
		v.report.Differences = append(v.report.Differences, d)
	}
}

// tableCursor walks a table in order of its key.
type tableCursor struct {
	rows    *sql.Rows
	columns []string
	keys    []int // which columns are the key
	row     []any // nil at the end
	dest    []any
}

func openCursor(ctx context.Context, r Reader, query string, args []any, table Table) (*tableCursor, error) {
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	c := &tableCursor{rows: rows}
	if c.columns, err = rows.Columns(); err == nil {
		for _, key := range table.Key {
			for i, column := range c.columns {
				if column == key {
					c.keys = append(c.keys, i)
				}
			}
		}
		c.row, c.dest = make([]any, len(c.columns)), make([]any, len(c.columns))
		for i := range c.row {
			c.dest[i] = &c.row[i]
		}
		err = c.next()
	}
	if err != nil {
		_ = rows.Close()
		return nil, err
	}
	return c, nil
}

func (c *tableCursor) next() error {
	if !c.rows.Next() {
		c.row = nil
		return c.rows.Err()
	}
	return c.rows.Scan(c.dest...)
}

// against compares keys; the end comes after all rows.
func (c *tableCursor) against(o *tableCursor) int {
	switch {
	case c.row == nil:
		return 1
	case o.row == nil:
		return -1
	}
	for i := range c.keys {
		if order, _ := compareValues(c.row[c.keys[i]], o.row[o.keys[i]]); order != 0 {
			return order
		}
	}
	return 0
}

func (c *tableCursor) keyText() string {
	var parts []string
	for _, i := range c.keys {
		parts = append(parts, c.columns[i]+"="+show(c.row[i]))
	}
	return strings.Join(parts, ", ")
}

// compareValues orders two values as the store does. They are not the same when their types differ.
func compareValues(a, b any) (order int, same bool) {
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b), true
		}
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b), true
		}
	case []byte:
		if b, ok := b.([]byte); ok {
			return bytes.Compare(a, b), true
		}
	case nil:
		return 0, b == nil
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)), false
}

// show prints a value for people, long ones cut.
func show(v any) string {
	const most = 60
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		if utf8.Valid(v) && bytes.IndexFunc(v, func(r rune) bool { return r < ' ' }) < 0 && len(v) > 0 {
			return show(string(v))
		}
		if len(v) > most/2 {
			return fmt.Sprintf("%x... (%d octets)", v[:most/2], len(v))
		}
		return fmt.Sprintf("%x", v)
	case string:
		if len(v) > most {
			return fmt.Sprintf("%.*q... (%d octets)", most, v, len(v))
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}
