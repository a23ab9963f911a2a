package viewtest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
)

// digestsOf reads those that a view keeps.
func (b *bench) digestsOf(v projections.View) map[string]account.Digest {
	b.Helper()
	rows, err := v.Query(b.Context(), `select account, digest from `+projections.Digests)
	b.ok(err)
	defer rows.Close()
	all := map[string]account.Digest{}
	for rows.Next() {
		var id string
		var digest int64
		b.ok(rows.Scan(&id, &digest))
		all[id] = account.Digest(digest)
	}
	b.ok(rows.Err())
	return all
}

// counted adds up the rows that are there.
func (b *bench) counted(v projections.View) map[string]account.Digest {
	b.Helper()
	rows, err := v.Query(b.Context(), `select * from quota`)
	b.ok(err)
	defer rows.Close()
	all := map[string]account.Digest{}
	columns, err := rows.Columns()
	b.ok(err)
	row, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		dest[i] = &row[i]
	}
	for rows.Next() {
		b.ok(rows.Scan(dest...))
		all[row[0].(string)] += projections.RowDigest("quota", row)
	}
	b.ok(rows.Err())
	return all
}

// digests follow the rows, whatever statement changes them, in the same transaction.
func (b *bench) digests() {
	v := b.view(1)
	for _, step := range []struct {
		what string
		do   func(ctx context.Context, tx projections.Tx) error
	}{
		{"nothing", func(context.Context, projections.Tx) error { return nil }},
		{"an upsert of a new row", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, upsert, "a", int64(1))
			return err
		}},
		{"an upsert of a row that is there", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, upsert, "a", int64(-1))
			return err
		}},
		{"a few rows", func(ctx context.Context, tx projections.Tx) error {
			return tx.Insert(ctx, "quota", []string{"messages", "bytes", "limit_messages", "limit_bytes", "account"}, [][]any{
				{int64(7), int64(8), int64(9), int64(10), "b"}, {int64(1 << 62), int64(-1 << 62), int64(0), int64(1), "größer"},
			})
		}},
		{"rows of all columns", func(ctx context.Context, tx projections.Tx) error {
			return tx.Insert(ctx, "quota", []string{"account", "limit_mailboxes", "bytes", "messages", "mailboxes", "limit_bytes", "limit_messages"}, [][]any{
				{"c", int64(1), int64(2), int64(3), int64(4), int64(5), int64(6)}, {"d", int64(1), int64(2), int64(3), int64(4), int64(5), int64(6)},
			})
		}},
		{"many rows", func(ctx context.Context, tx projections.Tx) error {
			var rows [][]any
			for i := range 1000 {
				rows = append(rows, []any{fmt.Sprintf("many%d", i), int64(i), int64(-i), int64(1), int64(2), int64(3), int64(4)})
			}
			return tx.Insert(ctx, "quota", []string{"account", "bytes", "messages", "mailboxes", "limit_bytes", "limit_messages", "limit_mailboxes"}, rows)
		}},
		{"an update of many", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, `update quota set bytes = bytes + 5 where messages < -500`)
			return err
		}},
		{"each", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Each(ctx, `update quota set limit_bytes = $2 where account = $1`, [][]any{{"a", int64(3)}, {"many7", int64(4)}, {"a", int64(5)}})
			return err
		}},
		{"rows that are merged", func(ctx context.Context, tx projections.Tx) error {
			return tx.Merge(ctx, "quota", []string{"account", "bytes", "messages"}, [][]any{{"a", int64(1), int64(1)}, {"new", int64(1), int64(1)}, {"b", int64(-1 << 40), int64(0)}},
				"(account) do update set bytes = quota.bytes + excluded.bytes")
		}},
		{"numbers that are amended", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Amend(ctx, "quota", []string{"account", "mailboxes"}, []string{"bytes"}, [][]any{{"many1", int64(2)}, {"many2", int64(2)}}, func(_ int, numbers []int64) { numbers[0]-- })
			return err
		}},
		{"another account", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, `update quota set account = 'z' where account = 'many9'`)
			return err
		}},
		{"a row of another row", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, `insert into quota (account, bytes, messages) select 'copy', bytes, messages from quota where account = 'a'`)
			return err
		}},
		{"a row that is there already", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, `insert into quota (account, bytes, messages) values ('copy', 1, 1) on conflict do nothing`)
			return err
		}},
		{"made and deleted at once", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, upsert, "brief", int64(1))
			if err == nil {
				_, err = tx.Exec(ctx, `delete from quota where account = 'brief'`)
			}
			return err
		}},
		{"a deletion", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, `delete from quota where account = 'b'`)
			return err
		}},
		{"a deletion of all", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, `delete from quota`)
			return err
		}},
		{"a row again", func(ctx context.Context, tx projections.Tx) error {
			_, err := tx.Exec(ctx, upsert, "a", int64(4))
			return err
		}},
	} {
		b.ok(v.Update(b.Context(), func(tx projections.Tx) error { return step.do(b.Context(), tx) }))
		if kept, rows := b.digestsOf(v), b.counted(v); !maps.Equal(kept, rows) {
			b.Fatalf("%s: %d accounts have digests and %d rows, or not the same", step.what, len(kept), len(rows))
		}
	}
	broken := errors.New("broken")
	if err := v.Update(b.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(b.Context(), upsert, "a", int64(5))
		b.ok(err)
		return broken
	}); !errors.Is(err, broken) {
		b.Error(err)
	}
	b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
		if _, err := tx.Exec(b.Context(), upsert, "c", int64(5)); err != nil {
			return err
		}
		if err := tx.Restart(b.Context(), "a", 0); err != nil {
			return err
		}
		return tx.Restart(b.Context(), "nobody", 0)
	}))
	if kept, rows := b.digestsOf(v), b.counted(v); len(kept) != 1 || kept["c"] != rows["c"] {
		b.Errorf("after that of a was begun anew: %v of %v", kept, rows)
	}
	b.ok(b.views.Copy(b.Context(), generation(1), generation(2)))
	if kept, copied := b.digestsOf(v), b.digestsOf(b.view(2)); !maps.Equal(kept, copied) {
		b.Errorf("the copy has %v of %v", copied, kept)
	}
	b.shut(b.views)
	b.views = b.open()
	v = b.view(2)
	b.ok(set(b.Context(), v, "c", 6))
	if kept, rows := b.digestsOf(v), b.counted(v); len(kept) != 1 || kept["c"] != rows["c"] {
		b.Errorf("in the copy that was opened again: %v of %v", kept, rows)
	}
	b.copied(v)
}

// copied rows have the digest that whoever copies them says, right or wrong, and it follows what changes them afterwards.
func (b *bench) copied(v projections.View) {
	columns := []string{"account", "bytes", "messages", "mailboxes", "limit_bytes", "limit_messages", "limit_mailboxes"} // in the order of the table
	var rows [][]any
	for i := range 100 {
		rows = append(rows, []any{fmt.Sprintf("copied%d", i), int64(i), int64(-i), int64(1), int64(2), int64(3), int64(4)})
	}
	const wrong = 12345
	b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
		for i, row := range rows {
			at := projections.RowDigest("quota", row)
			if i == 7 {
				at += wrong
			}
			if err := tx.Restart(b.Context(), row[0].(string), at); err != nil {
				return err
			}
		}
		if err := tx.Copy(b.Context(), "quota", columns, rows[:1]); err != nil {
			return err
		}
		if err := tx.Copy(b.Context(), "quota", columns, rows[1:]); err != nil {
			return err
		}
		if _, err := tx.Exec(b.Context(), `update quota set bytes = bytes + 5 where messages < 50 and account like 'copied%'`); err != nil {
			return err
		}
		return tx.Insert(b.Context(), "quota", []string{"account", "bytes", "messages"}, [][]any{{"beside", int64(1), int64(1)}})
	}))
	kept, counted := b.digestsOf(v), b.counted(v)
	for i, row := range rows {
		id := row[0].(string)
		if by := kept[id] - counted[id]; (by != 0) != (i == 7) || by != 0 && by != wrong {
			b.Fatalf("the digest of row %d that was copied is off by %d", i, by)
		}
	}
	if kept["beside"] != counted["beside"] || counted["beside"] == 0 {
		b.Error("a row that was inserted beside them is not counted")
	}
}
