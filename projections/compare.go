package projections

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// compare walks both tables in order of their keys.
func (v *verification) compare(ctx context.Context, s *side, table Table, live Reader) error {
	byAccount := table.Key[0] == "account"
	if len(v.accounts) == 0 || !byAccount {
		return v.walk(ctx, s, table, live, "", nil, byAccount)
	}
	for _, id := range v.accounts {
		where, args := " where account = $1", []any{string(id)}
		if v.mailbox != 0 {
			where, args = where+" and mailbox = $2", append(args, int64(v.mailbox))
		}
		if v.uid != 0 {
			where, args = where+" and uid = $3", append(args, int64(v.uid))
		}
		if err := v.walk(ctx, s, table, live, where, args, byAccount); err != nil {
			return err
		}
	}
	return nil
}

// walked is how many rows are compared between two rests.
const walked = 1000

func (v *verification) walk(ctx context.Context, s *side, table Table, live Reader, where string, args []any, byAccount bool) error {
	query := "select * from " + table.Name + where + " order by " + strings.Join(table.Key, ", ")
	a, err := openCursor(ctx, live, query, args, table)
	if err != nil {
		return err
	}
	defer a.rows.Close()
	b, err := openCursor(ctx, s.shadow, query, args, table)
	if err != nil {
		return err
	}
	defer b.rows.Close()
	began := time.Now()
	for n := 1; a.row != nil || b.row != nil; n++ {
		if n%walked == 0 {
			if err := v.opt.pace.rest(ctx, 0, time.Since(began)); err != nil {
				return err
			}
			began = time.Now()
		}
		order := a.against(b)
		either := a
		if order > 0 {
			either = b
		}
		d := Difference{Stream: v.g.stream, Projection: s.slot.name(), Table: table.Name, Key: either.keyText(), key: either.keyValues()}
		if byAccount {
			d.Account = v.owner(fmt.Sprint(d.key[0]))
		}
		if !byAccount || v.sampled(d.Account) {
			v.report.Rows++
			if order >= 0 {
				d.Tx = b.tx(table)
			}
			v.match(s, table, a, b, order, d)
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

// owner gives the account of a row; none when there can be no such account in the stream.
func (v *verification) owner(named string) domain.AccountID {
	id, err := domain.ParseAccountID(named)
	if err != nil || v.g.r.cfg.Log.StreamOf(id) != v.g.stream {
		return ""
	}
	return id
}

// match books how two rows differ, of which order says whether both are there.
func (v *verification) match(s *side, table Table, a, b *tableCursor, order int, d Difference) {
	switch {
	case order < 0:
		d.Live, d.Log = "a row", missing
		v.found(s, d)
	case order > 0:
		d.Live, d.Log = missing, "a row"
		v.found(s, d)
	default:
		for i := range a.row {
			if order, same := compareValues(a.row[i], b.row[i]); !same || order != 0 {
				d := d
				d.Column, d.Live, d.Log = a.columns[i], show(a.row[i]), show(b.row[i])
				if table.Name == Digests {
					d.Live, d.Log = showDigest(a.row[i]), showDigest(b.row[i])
				}
				if slices.Contains(table.Secret, d.Column) {
					d.Live, d.Log = "(secret)", "(another secret)"
				}
				v.found(s, d)
			}
		}
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

func (c *tableCursor) keyValues() []any {
	var all []any
	for _, i := range c.keys {
		all = append(all, c.row[i])
	}
	return all
}

// tx gives the transaction that a row names as its last; 0 when it names none.
func (c *tableCursor) tx(table Table) domain.Tx {
	if i := slices.Index(c.columns, table.Tx); i >= 0 {
		if tx, ok := c.row[i].(int64); ok {
			return domain.Tx(tx)
		}
	}
	return 0
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

// showDigest prints a digest as commands and routes do.
func showDigest(v any) string {
	if n, ok := v.(int64); ok {
		return account.Digest(n).String()
	}
	return show(v)
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
