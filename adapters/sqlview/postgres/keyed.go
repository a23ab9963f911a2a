package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// arrays turns rows into an argument for each column, and gives the text that turns those into rows again. One statement with arrays takes a fraction of
// the time of as many statements as there are rows.
func (t *tx) arrays(table string, given []string, rows [][]any) (text string, args []any) {
	names, types := columns(t.w.projection, table)
	var places []string
	for i, name := range given {
		kind := types[slices.Index(names, name)]
		places = append(places, fmt.Sprintf("$%d::%s[]", i+1, kind))
		switch kind {
		case "text":
			args = append(args, array[string](rows, i))
		case "bytea":
			args = append(args, array[[]byte](rows, i))
		default:
			args = append(args, array[int64](rows, i))
		}
	}
	return "unnest(" + strings.Join(places, ", ") + ")", args
}

func array[T any](rows [][]any, column int) []T {
	all := make([]T, len(rows))
	for i, row := range rows {
		all[i] = row[column].(T)
	}
	return all
}

// bulk runs a statement with arrays. It is planned each time: a plan for a table that was empty is none for one that has grown.
func (t *tx) bulk(ctx context.Context, text string, args []any, f func(pgx.Rows) error) error {
	err := t.raw(func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, t.w.mark+text, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := f(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		return t.w.fault(err, "write to a view")
	}
	return nil
}

// Merge is of projections.Tx.
func (t *tx) Merge(ctx context.Context, table string, columns []string, rows [][]any, conflict string) error {
	if len(rows) == 0 {
		return nil
	}
	from, args := t.arrays(table, columns, rows)
	return t.bulk(ctx, fmt.Sprintf("insert into %s (%s) select * from %s on conflict %s", table, strings.Join(columns, ", "), from, conflict), args, nil)
}

// Amend is of projections.Tx.
func (t *tx) Amend(ctx context.Context, table string, key, columns []string, keys [][]any, f func(place int, numbers []int64)) (missing int, err error) {
	if len(keys) == 0 {
		return -1, nil
	}
	from, args := t.arrays(table, key, keys)
	names, list := strings.Join(key, ", "), strings.Join(columns, ", ")
	rows := make([][]any, len(keys))
	numbers, dest := make([]int64, 1+len(columns)), []any(nil)
	for i := range numbers {
		dest = append(dest, &numbers[i])
	}
	if err := t.bulk(ctx, fmt.Sprintf("select place, %s from %s with ordinality as k(%s, place) join %s using (%[3]s)", list, from, names, table), args,
		func(found pgx.Rows) error {
			if err := found.Scan(dest...); err != nil {
				return err
			}
			place := int(numbers[0]) - 1
			f(place, numbers[1:])
			rows[place] = slices.Clone(keys[place])
			for _, number := range numbers[1:] {
				rows[place] = append(rows[place], number)
			}
			return nil
		}); err != nil {
		return -1, err
	}
	if missing = slices.IndexFunc(rows, func(row []any) bool { return row == nil }); missing >= 0 {
		return missing, nil
	}
	var sets, same []string
	for _, column := range columns {
		sets = append(sets, column+" = k."+column)
	}
	for _, column := range key {
		same = append(same, "t."+column+" = k."+column)
	}
	from, args = t.arrays(table, slices.Concat(key, columns), rows)
	return -1, t.bulk(ctx, fmt.Sprintf("update %s as t set %s from %s as k(%s, %s) where %s", table, strings.Join(sets, ", "), from, names, list,
		strings.Join(same, " and ")), args, nil)
}
