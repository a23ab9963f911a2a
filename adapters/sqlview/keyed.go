package sqlview

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Merge is of projections.Tx.
func (t *tx) Merge(ctx context.Context, table string, columns []string, rows [][]any, conflict string) error {
	text := fmt.Sprintf("insert into %s (%s) values (?%s) on conflict %s", table, strings.Join(columns, ", "), strings.Repeat(", ?", len(columns)-1), conflict)
	_, err := t.Each(ctx, text, rows)
	return err
}

// lookups is how many rows one query of Amend finds. Binding a parameter costs less than a query of its own.
const lookups = 16

// Amend is of projections.Tx. It finds the rows whose keys differ in their last value together.
func (t *tx) Amend(ctx context.Context, table string, key, columns []string, keys [][]any, f func(place int, numbers []int64)) (missing int, err error) {
	a := amendment{t: t, last: len(key) - 1, row: make([]int64, 1+len(columns)), numbers: make([]int64, lookups*len(columns))}
	for i := range a.row {
		a.dest = append(a.dest, &a.row[i])
	}
	equal, set := strings.Join(key[:a.last], " = ? and ")+" = ?", strings.Join(columns, " = ?, ")+" = ?"
	a.find = fmt.Sprintf("select %s, %s from %s where %s and %s in (?%s)", key[a.last], strings.Join(columns, ", "), table, equal, key[a.last], strings.Repeat(", ?", lookups-1))
	update := fmt.Sprintf("update %s set %s where %s and %s = ?", table, set, equal, key[a.last])
	rows := make([][]any, 0, len(keys))
	for from := 0; from < len(keys); {
		n := 1
		for from+n < len(keys) && n < lookups && slices.Equal(keys[from+n][:a.last], keys[from][:a.last]) {
			n++
		}
		if lacks, err := a.lookup(ctx, keys[from:from+n]); err != nil || lacks >= 0 {
			return from + lacks, err
		}
		for i, k := range keys[from : from+n] {
			numbers := a.numbers[i*len(columns):][:len(columns)]
			f(from+i, numbers)
			row := make([]any, 0, len(columns)+len(key))
			for _, number := range numbers {
				row = append(row, number)
			}
			rows = append(rows, append(row, k...))
		}
		from += n
	}
	_, err = t.Each(ctx, update, rows)
	return -1, err
}

type amendment struct {
	t       *tx
	last    int // which value of a key is the last
	find    string
	row     []int64 // room for what a query gives: the last value of a key, and the numbers
	dest    []any   // pointers to it
	numbers []int64 // of the rows that were looked up, one after the other
}

// lookup reads the numbers of at most that many rows. missing is the place of a key that none has, or -1.
func (a *amendment) lookup(ctx context.Context, keys [][]any) (missing int, err error) {
	args := slices.Clone(keys[0][:a.last])
	for i := range lookups {
		args = append(args, keys[min(i, len(keys)-1)][a.last])
	}
	rows, err := a.t.Query(ctx, a.find, args...)
	if err != nil {
		return -1, err
	}
	defer rows.Close()
	var found [lookups]bool
	for rows.Next() {
		if err := rows.Scan(a.dest...); err != nil {
			return -1, err
		}
		if at, asked := slices.BinarySearchFunc(keys, a.row[0], func(k []any, last int64) int { return cmp.Compare(k[a.last].(int64), last) }); asked {
			copy(a.numbers[at*(len(a.row)-1):], a.row[1:])
			found[at] = true
		}
	}
	return slices.Index(found[:len(keys)], false), rows.Err()
}
