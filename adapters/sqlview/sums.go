package sqlview

import (
	"context"
	"database/sql/driver"
	"maps"
	"regexp"
	"slices"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/migrations"
	"github.com/streampost/streampost/projections"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sums adds up the digests of rows that a transaction makes, changes and deletes (projections.Digests). SQLite itself tells of each row
// (https://www.sqlite.org/c3ref/preupdate_blobwrite.html), whatever the statement was, but for those that another connection writes.
type sums struct {
	tables map[string]*columns
	quiet  map[string]bool           // by text: the statement writes no table that counts
	told   bool                      // SQLite tells of rows
	of     map[string]account.Digest // by account
	err    error
}

// columns are those of a table.
type columns struct {
	names   []string
	account int   // which one names the account; -1: none does
	row     []any // room for the values of a row
}

// counted looks up the tables of a projection. A generation of another version may not have them all.
func (f *file) counted(ctx context.Context, projection string) (sums, error) {
	s := sums{tables: map[string]*columns{}, quiet: map[string]bool{}}
	for _, name := range migrations.Counted(projection) {
		rows, err := f.readers.QueryContext(ctx, "select name from pragma_table_info($1) order by cid", name)
		if err != nil {
			return s, f.fault(err, "open a view file")
		}
		table := &columns{account: -1}
		for rows.Next() {
			var column string
			if err := rows.Scan(&column); err != nil {
				_ = rows.Close()
				return s, f.fault(err, "open a view file")
			}
			if column == "account" {
				table.account = len(table.row)
			}
			table.names, table.row = append(table.names, column), append(table.row, nil)
		}
		if err := rows.Err(); err != nil {
			return s, f.fault(err, "open a view file")
		}
		if len(table.row) > 0 {
			s.tables[name] = table
		}
	}
	return s, nil
}

func (s *sums) begin() { s.of, s.err = map[string]account.Digest{}, nil }

// inserted counts rows of which all columns are at hand. SQLite takes longer to tell of them, and need not when it returns true.
func (s *sums) inserted(name string, names []string, rows [][]any) (counted bool) {
	table := s.tables[name]
	if table == nil {
		return true // they do not count
	}
	if len(names) != len(table.names) {
		return false
	}
	places := make([]int, len(names))
	for i, column := range table.names {
		if places[i] = slices.Index(names, column); places[i] < 0 {
			return false
		}
	}
	for _, row := range rows {
		for i, place := range places {
			table.row[i] = row[place]
		}
		s.book(table, name, true)
	}
	return true
}

// target is the table that a statement writes.
var target = regexp.MustCompile(`^(?:insert into|update|delete from) (\w+)`)

// uncounted tells whether a statement writes no table that counts. SQLite need not tell of its rows then, which takes time.
func (s *sums) uncounted(query string) bool {
	quiet, known := s.quiet[query]
	if !known && s.quiet != nil {
		if found := target.FindStringSubmatch(query); found != nil {
			quiet = s.tables[found[1]] == nil
		}
		s.quiet[query] = quiet
	}
	return quiet
}

// tell has SQLite tell of rows, or not. The caller holds writing.
func (f *file) tell(rows bool) error {
	if f.sums.told == rows {
		return nil
	}
	f.sums.told = rows
	err := f.conn.Raw(func(c any) error {
		if rows {
			c.(sqlite.HookRegisterer).RegisterPreUpdateHook(f.sums.count)
		} else {
			c.(sqlite.HookRegisterer).RegisterPreUpdateHook(nil)
		}
		return nil
	})
	if err != nil {
		return f.fault(err, "write to a view")
	}
	return nil
}

// count is called by SQLite for each row, before it is written.
func (s *sums) count(change sqlite.SQLitePreUpdateData) {
	table := s.tables[change.TableName]
	if table == nil || s.err != nil {
		return
	}
	if change.Op != sqlite3.SQLITE_INSERT {
		s.add(table, change.TableName, change.Old, false)
	}
	if change.Op != sqlite3.SQLITE_DELETE {
		s.add(table, change.TableName, change.New, true)
	}
}

func (s *sums) add(table *columns, name string, read func(...any) error, made bool) {
	if s.err = read(table.row...); s.err == nil {
		s.book(table, name, made)
	}
}

// book books the row that table holds.
func (s *sums) book(table *columns, name string, made bool) {
	digest, id := projections.RowDigest(name, table.row), ""
	if table.account >= 0 {
		id, _ = table.row[table.account].(string) // it is not null, and text
	}
	if !made {
		digest = -digest
	}
	s.of[id] += digest
}

// sum writes what was added up.
func (t *tx) sum(ctx context.Context) error {
	of, err := t.f.sums.of, t.f.sums.err
	if err != nil {
		return t.f.fault(err, "read a row that is written")
	}
	for _, id := range slices.Sorted(maps.Keys(of)) {
		if of[id] == 0 {
			continue
		}
		var now int64
		if err := t.QueryRow(ctx, `insert into digests (account, digest) values ($1, $2)
			on conflict (account) do update set digest = sum64(digests.digest, excluded.digest) returning digest`, id, int64(of[id])).Scan(&now); err != nil {
			return t.f.fault(err, "write to a view")
		}
		if now == 0 {
			if _, err := t.Exec(ctx, `delete from digests where account = $1`, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// Restart is of projections.Tx.
func (t *tx) Restart(ctx context.Context, id string, at account.Digest) error {
	t.f.sums.of[id] = at
	_, err := t.Exec(ctx, `delete from digests where account = $1`, id)
	return err
}

// sum64 adds modulo 2^64; SQLite's own addition goes over to floating point.
func init() {
	sqlite.MustRegisterDeterministicScalarFunction("sum64", 2, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		a, _ := args[0].(int64) // of columns that hold nothing else
		b, _ := args[1].(int64)
		return a + b, nil
	})
}
