// Package viewtest says what projections.Views promise, as tests that every view store passes.
//
// The tests work on the tables of the projections counters and quota, which every store defines, and on nothing else of theirs.
package viewtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// Open opens a store on a place; the same place again after shut gives what was there.
type Open func(t *testing.T, place string) projections.Views

// Test runs every test, each on a place of its own. shut closes a store as the end of a process does.
func Test(t *testing.T, open Open, shut func(projections.Views)) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"tables and head are made", (*bench).made},
		{"commit and rollback", (*bench).commits},
		{"a duplicate key", (*bench).duplicate},
		{"values", (*bench).values},
		{"each", (*bench).each},
		{"insert", (*bench).inserts},
		{"merge", (*bench).merges},
		{"amend", (*bench).amends},
		{"digests", (*bench).digests},
		{"a snapshot is one state", (*bench).snapshot},
		{"a reader cannot write", (*bench).readOnly},
		{"readers and a writer", (*bench).concurrency},
		{"generations are apart", (*bench).apart},
		{"copy", (*bench).copies},
		{"drop", (*bench).drops},
		{"drop while it is read", (*bench).dropsWhileRead},
		{"aside", (*bench).aside},
		{"reopen", (*bench).reopens},
		{"scratch", (*bench).scratch},
		{"scrub", (*bench).scrub},
		{"cancelled contexts", (*bench).cancelled},
		{"an unknown projection", (*bench).unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := t.TempDir()
			b := &bench{T: t, open: func() projections.Views { return open(t, place) }, shut: shut}
			b.views = b.open()
			c.test(b)
		})
	}
}

type bench struct {
	*testing.T
	views projections.Views
	open  func() projections.Views
	shut  func(projections.Views)
}

func generation(n int) projections.Generation {
	return projections.Generation{Stream: "ACCOUNTS_0", Projection: "quota", Number: n}
}

func (b *bench) view(n int) projections.View {
	b.Helper()
	v, err := b.views.Open(b.Context(), generation(n))
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// is fails unless an error is of a kind.
func (b *bench) is(err error, kind domain.Kind) {
	b.Helper()
	if !domain.Is(err, kind) {
		b.Errorf("the error is %v, not of kind %v", err, kind)
	}
}

const upsert = `insert into quota (account, bytes, messages, limit_bytes, limit_messages) values ($1, $2, 0, 0, 0)
	on conflict (account) do update set bytes = excluded.bytes`

// set writes one row.
func set(ctx context.Context, v projections.View, account string, octets int64) error {
	return v.Update(ctx, func(tx projections.Tx) error {
		_, err := tx.Exec(ctx, upsert, account, octets)
		return err
	})
}

// sum adds up the rows.
func (b *bench) sum(r projections.Reader) int64 {
	b.Helper()
	n, err := number(b.Context(), r, `select cast(coalesce(sum(bytes), 0) as bigint) from quota`)
	b.ok(err)
	return n
}

func number(ctx context.Context, r projections.Reader, query string, args ...any) (n int64, err error) {
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

func (b *bench) made() {
	v := b.view(1)
	if b.sum(v) != 0 {
		b.Error("there are rows")
	}
	for column, want := range map[string]int64{"version": 0, "ready": 0, "seq": 0, "at": 0, "counted": 0, "count(*)": 1} {
		n, err := number(b.Context(), v, `select `+column+` from head`)
		if err != nil || n != want {
			b.Errorf("head.%s is %d, %v", column, n, err)
		}
	}
	if again := b.view(1); again != v {
		b.Error("another View is given")
	}
}

func (b *bench) commits() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	changedMind := errors.New("changed my mind")
	err := v.Update(b.Context(), func(tx projections.Tx) error {
		n, err := tx.Exec(b.Context(), `update quota set bytes = 9 where account = $1`, "a")
		if n != 1 || err != nil {
			b.Errorf("%d rows, %v", n, err)
		}
		var seen int64
		if err := tx.QueryRow(b.Context(), `select bytes from quota where account = $1`, "a").Scan(&seen); err != nil || seen != 9 {
			b.Errorf("the transaction sees %d, %v", seen, err)
		}
		return changedMind
	})
	if !errors.Is(err, changedMind) {
		b.Errorf("update: %v", err)
	}
	if n := b.sum(v); n != 1 {
		b.Errorf("after a rollback the sum is %d", n)
	}
}

func (b *bench) duplicate() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	b.is(v.Update(b.Context(), func(tx projections.Tx) error {
		if _, err := tx.Exec(b.Context(), upsert, "b", 5); err != nil {
			return err
		}
		_, err := tx.Exec(b.Context(), `insert into quota (account, bytes, messages, limit_bytes, limit_messages) values ('a', 0, 0, 0, 0)`)
		return err
	}), domain.Exists)
	b.is(v.Update(b.Context(), func(tx projections.Tx) error {
		return tx.Insert(b.Context(), "quota", quotaColumns, [][]any{{"c", int64(1), int64(0), int64(0), int64(0)}, {"a", int64(1), int64(0), int64(0), int64(0)}})
	}), domain.Exists)
	var many [][]any // the last but one of which is there already
	for i := range 300 {
		many = append(many, []any{fmt.Sprint(i), int64(1), int64(0), int64(0), int64(0)})
	}
	many[298][0] = "a"
	err := v.Update(b.Context(), func(tx projections.Tx) error { return tx.Insert(b.Context(), "quota", quotaColumns, many) })
	b.is(err, domain.Exists)
	if whose := new(projections.Duplicate); !errors.As(err, &whose) || whose.Account != "a" {
		b.Errorf("%v does not tell whose row is there already", err)
	}
	if n := b.sum(v); n != 1 {
		b.Errorf("of failed transactions %d is left", n-1)
	}
	b.ok(set(b.Context(), v, "a", 2)) // the store is none the worse
}

var quotaColumns = []string{"account", "bytes", "messages", "limit_bytes", "limit_messages"}

func (b *bench) values() {
	v := b.view(1)
	for _, text := range []string{"", "plain", "quote ' and \\ and $1", "snowman \u2603 \U0001f600", "\x01\x7f"} {
		b.ok(set(b.Context(), v, text, -1<<63))
		rows, err := v.Query(b.Context(), `select account, bytes, nullif(bytes, bytes) from quota where account = $1`, text)
		b.ok(err)
		found := 0
		for rows.Next() {
			var got [3]any
			b.ok(rows.Scan(&got[0], &got[1], &got[2]))
			if got != [3]any{text, int64(-1 << 63), nil} {
				b.Errorf("%q comes back as %#v", text, got)
			}
			found++
		}
		b.ok(rows.Err())
		if found != 1 {
			b.Errorf("%q is there %d times", text, found)
		}
	}
}

// each also shows that rows are written in order: the last of two for the same key wins.
func (b *bench) each() {
	v := b.view(1)
	var rows [][]any
	for i := range 1000 {
		rows = append(rows, []any{fmt.Sprint(i % 700), int64(i)})
	}
	b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
		changed, err := tx.Each(b.Context(), upsert, rows)
		if len(changed) != len(rows) || slices.Min(changed) != 1 || slices.Max(changed) != 1 {
			b.Errorf("changed %v", changed)
		}
		if err != nil {
			return err
		}
		changed, err = tx.Each(b.Context(), `update quota set messages = 1 where account = $1 and bytes = $2`, [][]any{{"0", int64(700)}, {"0", int64(0)}, {"none", int64(0)}})
		if !slices.Equal(changed, []int64{1, 0, 0}) {
			b.Errorf("changed %v", changed)
		}
		if err == nil {
			_, err = tx.Each(b.Context(), `delete from quota where account = $1`, nil)
		}
		return err
	}))
	want := int64(0)
	for i := 300; i < 1000; i++ {
		want += int64(i)
	}
	if n := b.sum(v); n != want {
		b.Errorf("sum %d, want %d", n, want)
	}
}

func (b *bench) inserts() {
	v := b.view(1)
	for _, n := range []int{0, 1, 14, 15, 16, 119, 120, 121, 1000} {
		var rows [][]any
		for i := range n {
			rows = append(rows, []any{fmt.Sprintf("%d of %d", i, n), int64(1), int64(i), int64(0), int64(0)})
		}
		before := b.sum(v)
		b.ok(v.Update(b.Context(), func(tx projections.Tx) error { return tx.Insert(b.Context(), "quota", quotaColumns, rows) }))
		if got := b.sum(v) - before; got != int64(n) {
			b.Errorf("%d of %d rows were inserted", got, n)
		}
	}
	if n, err := number(b.Context(), v, `select messages from quota where account = '999 of 1000'`); err != nil || n != 999 {
		b.Errorf("the last row has %d, %v", n, err)
	}
}

// merges adds to rows that are there and makes others.
func (b *bench) merges() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "b", 5))
	for range 2 {
		b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
			if err := tx.Merge(b.Context(), "quota", []string{"account", "bytes", "messages"}, [][]any{{"c", int64(1), int64(-2)}, {"b", int64(7), int64(0)}},
				"(account) do update set bytes = quota.bytes + excluded.bytes"); err != nil {
				return err
			}
			if err := tx.Merge(b.Context(), "quota", []string{"messages", "account", "bytes"}, [][]any{{int64(9), "c", int64(1000)}, {int64(9), "d", int64(50)}}, "do nothing"); err != nil {
				return err
			}
			return tx.Merge(b.Context(), "quota", []string{"account"}, nil, "do nothing")
		}))
	}
	if n := b.sum(v); n != 5+2*7+2*1+50 {
		b.Errorf("sum %d", n)
	}
	if n, err := number(b.Context(), v, `select messages from quota where account = 'd'`); err != nil || n != 9 {
		b.Errorf("the last row has %d, %v", n, err)
	}
}

// amends changes the numbers of rows, and nothing when one of them is not there.
func (b *bench) amends() {
	v, err := b.views.Open(b.Context(), projections.Generation{Stream: "S", Projection: "counters", Number: 1})
	b.ok(err)
	var rows, keys [][]any
	for i := range 100 {
		rows = append(rows, []any{fmt.Sprintf("%02d", i/40), int64(i), int64(i), int64(1000 + i), int64(0), int64(0)})
		if i%7 != 0 {
			keys = append(keys, rows[i][:2])
		}
	}
	amend := func(keys [][]any) (missing int) {
		met := map[int]bool{}
		b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
			missing, err = tx.Amend(b.Context(), "counters", []string{"account", "mailbox"}, []string{"unseen", "messages"}, keys, func(place int, numbers []int64) {
				if met[place] || numbers[0] != numbers[1]+1000 || numbers[1] != keys[place][1] {
					b.Errorf("%v holds %d", keys[place], numbers)
				}
				met[place], numbers[0], numbers[1] = true, -numbers[1], 7
			})
			return err
		}))
		return missing
	}
	changed := func() int64 {
		n, err := number(b.Context(), v, `select count(*) from counters where unseen = -mailbox and messages = 7 and bytes = 0`)
		b.ok(err)
		return n
	}
	b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
		return tx.Insert(b.Context(), "counters", []string{"account", "mailbox", "messages", "unseen", "deleted", "bytes"}, rows)
	}))
	if at, n := amend(slices.Insert(slices.Clone(keys), 50, []any{"01", int64(1000)})), changed(); at != 50 || n != 0 {
		b.Errorf("without one of the rows %d are changed, and the place of its key is %d", n, at)
	}
	if at, n := amend(keys), changed(); at != -1 || int(n) != len(keys) {
		b.Errorf("%d of %d rows are changed; %d", n, len(keys), at)
	}
	if at := amend(nil); at != -1 {
		b.Error(at)
	}
}

func (b *bench) snapshot() {
	v := b.view(1)
	b.ok(v.Snapshot(b.Context(), func(r projections.Reader) error {
		before := b.sum(r)
		b.ok(set(b.Context(), v, "a", 5))
		b.ok(r.Snapshot(b.Context(), func(r projections.Reader) error {
			if after := b.sum(r); before != 0 || after != 0 {
				b.Errorf("the snapshot changed from %d to %d", before, after)
			}
			return nil
		}))
		if b.sum(v) != 5 {
			b.Error("outside of the snapshot the commit is not seen")
		}
		return nil
	}))
	mine := errors.New("mine")
	if err := v.Snapshot(b.Context(), func(projections.Reader) error { return mine }); !errors.Is(err, mine) {
		b.Errorf("snapshot: %v", err)
	}
}

func (b *bench) readOnly() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 5))
	_ = v.Snapshot(b.Context(), func(r projections.Reader) error {
		rows, err := r.Query(b.Context(), `delete from quota returning bytes`)
		if err != nil {
			return err
		}
		defer rows.Close()
		if rows.Next() || rows.Err() == nil {
			b.Error("a reader wrote")
		}
		return rows.Err()
	})
	if b.sum(v) != 5 {
		b.Error("a reader deleted a row")
	}
}

func (b *bench) concurrency() {
	v := b.view(1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			last := int64(0)
			for range 50 {
				n, err := number(b.Context(), v, `select cast(coalesce(sum(bytes), 0) as bigint) from quota`)
				if err != nil || n < last || n%2 != 0 {
					b.Errorf("sum %d after %d, %v", n, last, err)
				}
				last = n
			}
		})
	}
	for i := range 50 {
		b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
			_, err := tx.Each(b.Context(), upsert, [][]any{{fmt.Sprint(i), int64(1)}, {fmt.Sprint(-1 - i), int64(1)}})
			return err
		}))
	}
	wg.Wait()
	if n := b.sum(v); n != 100 {
		b.Errorf("sum %d", n)
	}
}

// listed names what the store has, sorted.
func (b *bench) listed() []string {
	b.Helper()
	all, err := b.views.Generations(b.Context())
	b.ok(err)
	var names []string
	for _, g := range all {
		names = append(names, g.String())
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}

func (b *bench) apart() {
	if got := b.listed(); len(got) != 0 {
		b.Errorf("a new store has %v", got)
	}
	b.ok(set(b.Context(), b.view(1), "a", 1))
	b.ok(set(b.Context(), b.view(12), "a", 2))
	other, err := b.views.Open(b.Context(), projections.Generation{Stream: "ACCOUNTS_1", Projection: "counters", Number: 1})
	b.ok(err)
	b.ok(other.Update(b.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(b.Context(), `insert into counters (account, mailbox, messages, unseen, deleted, bytes) values ('a', 1, 1, 1, 1, 1)`)
		return err
	}))
	if _, err := other.Query(b.Context(), `select bytes from quota`); err == nil {
		b.Error("a generation has another projection's table")
	}
	if b.sum(b.view(1)) != 1 || b.sum(b.view(12)) != 2 {
		b.Error("generations share rows")
	}
	if got := b.listed(); !slices.Equal(got, []string{"ACCOUNTS_0.quota.1", "ACCOUNTS_0.quota.12", "ACCOUNTS_1.counters.1"}) {
		b.Errorf("the store has %v", got)
	}
	if n, err := b.views.Size(b.Context(), generation(1)); err != nil || n <= 0 {
		b.Errorf("size %d, %v", n, err)
	}
	if n, err := b.views.Size(b.Context(), generation(7)); err != nil || n != 0 {
		b.Errorf("size of none: %d, %v", n, err)
	}
}

func (b *bench) copies() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(b.Context(), `update head set version = 3, ready = 1, seq = 77, at = 5`)
		return err
	}))
	var wg sync.WaitGroup
	wg.Go(func() { // the copy is one committed state: account and head move together
		for i := int64(78); i < 128; i++ {
			b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
				if _, err := tx.Exec(b.Context(), upsert, "a", i-76); err != nil {
					return err
				}
				_, err := tx.Exec(b.Context(), `update head set seq = $1`, i)
				return err
			}))
		}
	})
	b.ok(b.views.Copy(b.Context(), generation(1), generation(2)))
	wg.Wait()
	copied := b.view(2)
	seq, err := number(b.Context(), copied, `select seq from head`)
	b.ok(err)
	if n := b.sum(copied); n != seq-76 {
		b.Errorf("the copy has %d at position %d", n, seq)
	}
	for _, column := range []string{"ready", "version"} {
		if n, err := number(b.Context(), copied, `select `+column+` from head`); err != nil || n != 0 {
			b.Errorf("%s of the copy: %d, %v", column, n, err)
		}
	}
	if ready, err := number(b.Context(), v, `select ready from head`); err != nil || ready != 1 {
		b.Errorf("the original is ready: %d, %v", ready, err)
	}
	b.ok(set(b.Context(), copied, "b", 1000))
	if b.sum(v) != 51 {
		b.Error("the copy writes into the original")
	}
	b.is(b.views.Copy(b.Context(), generation(1), generation(2)), domain.Exists)
	b.ok(b.views.Drop(b.Context(), generation(1)))
	if b.sum(copied) < 1000 {
		b.Error("the copy went with the original")
	}
}

func (b *bench) drops() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	for range 2 {
		b.ok(b.views.Drop(b.Context(), generation(1)))
	}
	_, err := v.Query(b.Context(), `select bytes from quota`)
	b.is(err, domain.Unavailable)
	b.is(v.Snapshot(b.Context(), func(projections.Reader) error { return nil }), domain.Unavailable)
	b.is(set(b.Context(), v, "a", 1), domain.Unavailable)
	b.is(v.Scrub(b.Context()), domain.Unavailable)
	if got := b.listed(); len(got) != 0 {
		b.Errorf("left are %v", got)
	}
	if fresh := b.view(1); b.sum(fresh) != 0 {
		b.Error("what was dropped is back")
	}
}

func (b *bench) dropsWhileRead() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	b.ok(set(b.Context(), v, "b", 2))
	var wg sync.WaitGroup
	dropped := make(chan error, 1)
	b.ok(v.Snapshot(b.Context(), func(r projections.Reader) error {
		if b.sum(r) != 3 {
			b.Error("the rows are not there")
		}
		wg.Go(func() { dropped <- b.views.Drop(b.Context(), generation(1)) })
		if n := b.sum(r); n != 3 {
			b.Errorf("the sum changed to %d", n)
		}
		return nil
	}))
	wg.Wait()
	b.ok(<-dropped)
	if got := b.listed(); len(got) != 0 {
		b.Errorf("left are %v", got)
	}
}

func (b *bench) aside() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	for range 2 {
		b.ok(b.views.Aside(b.Context(), generation(1)))
	}
	b.is(set(b.Context(), v, "a", 1), domain.Unavailable)
	if got := b.listed(); len(got) != 0 {
		b.Errorf("left are %v", got)
	}
}

func (b *bench) reopens() {
	b.ok(set(b.Context(), b.view(1), "a", 1))
	old := b.view(1)
	b.shut(b.views)
	b.is(set(b.Context(), old, "a", 2), domain.Unavailable)
	b.views = b.open()
	if got := b.listed(); !slices.Equal(got, []string{"ACCOUNTS_0.quota.1"}) {
		b.Errorf("the store has %v", got)
	}
	if b.sum(b.view(1)) != 1 {
		b.Error("the row did not outlive the store")
	}
}

func (b *bench) scratch() {
	v := b.view(1)
	s, release, err := b.views.Scratch(b.Context(), "quota")
	b.ok(err)
	other, releaseOther, err := b.views.Scratch(b.Context(), "quota")
	b.ok(err)
	b.ok(set(b.Context(), s, "a", 1))
	if b.sum(s) != 1 || b.sum(other) != 0 || b.sum(v) != 0 {
		b.Error("scratches share rows")
	}
	if got := b.listed(); len(got) != 1 {
		b.Errorf("a scratch is listed: %v", got)
	}
	release()
	releaseOther()
	b.is(set(b.Context(), s, "a", 1), domain.Unavailable)
}

func (b *bench) scrub() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "secret", 1))
	b.ok(v.Update(b.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(b.Context(), `delete from quota`)
		return err
	}))
	b.ok(v.Scrub(b.Context()))
	b.ok(set(b.Context(), v, "a", 1))
	if b.sum(v) != 1 {
		b.Error("after a scrub nothing can be written")
	}
}

func (b *bench) cancelled() {
	v := b.view(1)
	b.ok(set(b.Context(), v, "a", 1))
	gone, cancel := context.WithCancel(b.Context())
	cancel()
	if err := set(gone, v, "a", 2); !errors.Is(err, context.Canceled) {
		b.Errorf("update: %v", err)
	}
	if _, err := v.Query(gone, `select bytes from quota`); !errors.Is(err, context.Canceled) {
		b.Errorf("query: %v", err)
	}
	if err := v.Snapshot(gone, func(projections.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		b.Errorf("snapshot: %v", err)
	}
	// Whoever goes away in the middle leaves nothing half done.
	during, cancel := context.WithCancel(b.Context())
	defer cancel()
	err := v.Update(during, func(tx projections.Tx) error {
		if _, err := tx.Exec(during, upsert, "b", 7); err != nil {
			return err
		}
		cancel()
		return during.Err()
	})
	if !errors.Is(err, context.Canceled) {
		b.Errorf("update: %v", err)
	}
	if n := b.sum(v); n != 1 {
		b.Errorf("sum %d", n)
	}
	b.ok(set(b.Context(), v, "a", 3))
}

func (b *bench) unknown() {
	if _, err := b.views.Open(b.Context(), projections.Generation{Stream: "ACCOUNTS_0", Projection: "weather", Number: 1}); err == nil {
		b.Error("a projection without a definition was opened")
	}
	if _, _, err := b.views.Scratch(b.Context(), "weather"); err == nil {
		b.Error("a projection without a definition has a scratch")
	}
	if got := b.listed(); len(got) != 0 {
		b.Errorf("left are %v", got)
	}
}
