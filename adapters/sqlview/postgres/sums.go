package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/migrations"
	"github.com/streampost/streampost/projections"
)

// Triggers tell of each row that a writer of ours makes, changes or deletes (projections.Digests), in a table that is empty at the end of each transaction.
// Who has not set streampost.count is no writer of ours: rows that others change do not agree with the digests.
const counted = "set streampost.count = 'on'"

// column is a line that defines one, in a definition for Postgres.
var column = regexp.MustCompile(`(?m)^    (\w+)\s+(bigint|text|bytea)\b`)

// columns gives the names and types of the columns of a table, in order.
func columns(projection, table string) (names, types []string) {
	_, text, _ := strings.Cut(migrations.Postgres(projection), "create table "+table+" (")
	text, _, _ = strings.Cut(text, "\n);")
	for _, found := range column.FindAllStringSubmatch(text, -1) {
		names, types = append(names, found[1]), append(types, found[2])
	}
	return names, types
}

// digests is the SQL that makes the table of digests and all that keeps it, for tables of a projection. A statement's rows are added up when it ends, which
// takes a fraction of the time of a trigger for each row.
func digests(projection string, tables []string) string {
	var text strings.Builder
	text.WriteString(migrations.Postgres("digests") + "create table digest_changes (account text not null, digest bigint not null, made boolean not null);\n")
	for _, table := range tables {
		names, types := columns(projection, table)
		owner := "''"
		if slices.Contains(names, "account") {
			owner = "account"
		}
		sum := "insert into digest_changes select account, " + signed("by") + ", %s from (select " + owner + " as account, " + modulo("sum("+digest(table, "r", names, types)+")") +
			" as by from %s as r group by 1) as sums;"
		fmt.Fprintf(&text, `create function count_%[1]s() returns trigger language plpgsql as $$ begin
			if tg_op <> 'INSERT' then %[2]s end if;
			if tg_op <> 'DELETE' then %[3]s end if;
			return null;
		end $$;
		`, table, fmt.Sprintf(sum, "false", "gone"), fmt.Sprintf(sum, "true", "come"))
		for _, on := range []struct{ what, rows string }{
			{"insert", "new table as come"}, {"update", "old table as gone new table as come"}, {"delete", "old table as gone"},
		} {
			fmt.Fprintf(&text, `create trigger count_%[1]s_%[2]s after %[2]s on %[1]s referencing %[3]s for each statement
				when (current_setting('streampost.count', true) = 'on') execute function count_%[1]s();
			`, table, on.what, on.rows)
		}
	}
	return text.String()
}

// modulo is an SQL number modulo 2^64, and signed that as a number of 64 bits.
func modulo(number string) string {
	return "mod(mod(" + number + ", 18446744073709551616) + 18446744073709551616, 18446744073709551616)"
}

func signed(name string) string {
	return "case when " + name + " < 9223372036854775808 then " + name + " else " + name + " - 18446744073709551616 end"
}

// digest is projections.RowDigest in SQL.
func digest(table, row string, names, types []string) string {
	parts := []string{fmt.Sprintf(`'\x74'::bytea || int8send(%d) || '%s'::bytea`, len(table), table)}
	for i, name := range names {
		value := row + "." + name
		form := map[string]string{
			"bigint": `'\x69'::bytea || int8send(%[1]s)`,
			"text":   `'\x74'::bytea || int8send(octet_length(%[1]s)) || convert_to(%[1]s, 'UTF8')`,
			"bytea":  `'\x62'::bytea || int8send(octet_length(%[1]s)) || %[1]s`,
		}[types[i]]
		parts = append(parts, fmt.Sprintf("coalesce("+form+`, '\x6e'::bytea)`, value))
	}
	return `('x' || encode(substr(sha256(` + strings.Join(parts, " || ") + `), 1, 8), 'hex'))::bit(64)::bigint`
}

// sums are the digests of rows that the transaction inserted by COPY, by account.
type sums map[string]account.Digest

// inserted counts rows of which all columns are at hand.
func (s sums) inserted(projection, table string, given []string, rows [][]any) (counted bool) {
	names, _ := columns(projection, table)
	if len(names) != len(given) || !slices.Contains(migrations.Counted(projection), table) {
		return false
	}
	places := make([]int, len(names))
	for i, name := range names {
		if places[i] = slices.Index(given, name); places[i] < 0 {
			return false
		}
	}
	owner := slices.Index(given, "account")
	row := make([]any, len(names))
	for _, values := range rows {
		for i, place := range places {
			row[i] = values[place]
		}
		id := ""
		if owner >= 0 {
			id, _ = values[owner].(string)
		}
		s[id] += projections.RowDigest(table, row)
	}
	return true
}

// count has the triggers tell of rows, or not, until the transaction ends.
func (t *tx) count(ctx context.Context, rows string) error {
	_, err := t.Exec(ctx, `select set_config('streampost.count', $1, true)`, rows)
	return err
}

// sum writes what was added up, modulo 2^64.
func (t *tx) sum(ctx context.Context) error {
	var ids []string
	var by []int64
	for id, d := range t.sums {
		ids, by = append(ids, id), append(by, int64(d))
	}
	rows, err := t.Query(ctx, `with changes as (delete from digest_changes returning account, digest, made),
		given as (select account, case when made then digest else -digest::numeric end as by from changes
			union all select * from unnest(cast($1 as text[]), cast($2 as bigint[]))),
		sums as (select account, `+modulo("sum(by)")+` as by from given group by account),
		nows as (select account, `+modulo("sums.by + coalesce(digests.digest, 0)")+` as now from sums left join digests using (account) where by <> 0)
		insert into digests (account, digest) select account, `+signed("now")+` from nows on conflict (account) do update set digest = excluded.digest
		returning account, digest`, ids, by)
	if err != nil {
		return err
	}
	defer rows.Close()
	var none []string
	for rows.Next() {
		var id string
		var digest int64
		if err := rows.Scan(&id, &digest); err != nil {
			return err
		}
		if digest == 0 {
			none = append(none, id)
		}
	}
	if err := rows.Err(); err != nil || len(none) == 0 {
		return err
	}
	_, err = t.Exec(ctx, `delete from digests where account = any($1)`, none)
	return err
}

// Restart is of projections.Tx.
func (t *tx) Restart(ctx context.Context, id string, at account.Digest) error {
	t.sums[id] = at
	if _, err := t.Exec(ctx, `delete from digest_changes where account = $1`, id); err != nil {
		return err
	}
	_, err := t.Exec(ctx, `delete from digests where account = $1`, id)
	return err
}
