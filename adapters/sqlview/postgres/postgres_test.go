package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview/postgres"
	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/viewtest"
)

func open(t testing.TB, url string, opt postgres.Options) *postgres.Views {
	t.Helper()
	v, err := postgres.Open(t.Context(), url, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// The store does what every store does, with the rights that the operator's guide lists and no others.
func TestViews(t *testing.T) {
	server := pgtest.Shared(t)
	var mu sync.Mutex
	urls := map[string]string{}
	viewtest.Test(t, func(t *testing.T, place string) projections.Views {
		mu.Lock()
		defer mu.Unlock()
		if urls[place] == "" {
			urls[place] = server.Database(t)
		}
		return open(t, urls[place], postgres.Options{})
	}, func(v projections.Views) { v.(*postgres.Views).Close() })
}

var counters = projections.Generation{Stream: "ACCOUNTS_0", Projection: "counters", Number: 1}

func TestOneServerForASchema(t *testing.T) {
	url := pgtest.Shared(t).Database(t)
	first := open(t, url, postgres.Options{Schema: "node_a"})
	if _, err := postgres.Open(t.Context(), url, postgres.Options{Schema: "node_a", TakeTimeout: time.Second}); !domain.Is(err, domain.Unavailable) || !strings.Contains(err.Error(), "in use by another server") {
		t.Errorf("a second server on the same schema: %v", err)
	}
	other := open(t, url, postgres.Options{Schema: "node_b"})
	if _, err := other.Open(t.Context(), counters); err != nil {
		t.Fatal(err)
	}
	if all, err := first.Generations(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the first node has %v, %v", all, err)
	}
	first.Close()
	open(t, url, postgres.Options{Schema: "node_a"})
}

func TestBadPlaces(t *testing.T) {
	server := pgtest.Shared(t)
	url := server.Database(t)
	for _, c := range []struct {
		url    string
		schema string
		kind   domain.Kind
		hint   string
	}{
		{"postgres://%zz", "", domain.Invalid, ""},
		{url, "No Schema", domain.Invalid, ""},
		{"postgres://nobody@127.0.0.1:1/mail?sslmode=disable", "", domain.Unavailable, "is it running"},
		{strings.Replace(url, "?", "_not_there?", 1), "", domain.Unavailable, "check views.url"},
	} {
		v, err := postgres.Open(t.Context(), c.url, postgres.Options{Schema: c.schema, ConnectTimeout: 30 * time.Second})
		if err == nil {
			v.Close()
		}
		var met *domain.Error
		if !errors.As(err, &met) || met.Kind != c.kind || !strings.Contains(met.Hint, c.hint) || strings.Contains(met.Msg, "secret") {
			t.Errorf("%q with schema %q: %#v", c.url, c.schema, err)
		}
	}
}

// The database goes away and comes back: meanwhile everything is unavailable, afterwards everything is there.
func TestServerGone(t *testing.T) {
	server := pgtest.Own(t)
	views := open(t, server.Database(t), postgres.Options{ConnectTimeout: 30 * time.Second})
	view, err := views.Open(t.Context(), counters)
	if err != nil {
		t.Fatal(err)
	}
	add := func(mailbox int64) error {
		return view.Update(t.Context(), func(tx projections.Tx) error {
			return tx.Insert(t.Context(), "counters", []string{"account", "mailbox", "messages", "unseen", "deleted", "bytes"}, [][]any{{"a", mailbox, int64(1), int64(0), int64(0), int64(10)}})
		})
	}
	if err := add(1); err != nil {
		t.Fatal(err)
	}
	for reads := range 2 { // The connection breaks under a read, and is found broken by the next one.
		if reads > 0 {
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
		}
		err := view.Update(t.Context(), func(tx projections.Tx) (err error) {
			server.Stop()
			for range reads + 1 {
				var n int64
				err = tx.QueryRow(t.Context(), "select count(*) from counters").Scan(&n)
			}
			return err
		})
		if !domain.Is(err, domain.Unavailable) {
			t.Errorf("reading %d times while the server goes: %v", reads+1, err)
		}
	}
	for range 3 {
		if err := add(2); !domain.Is(err, domain.Unavailable) {
			t.Errorf("writing to a server that is gone: %v", err)
		}
		if _, err := view.Query(t.Context(), "select * from counters"); !domain.Is(err, domain.Unavailable) {
			t.Errorf("reading from a server that is gone: %v", err)
		}
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := add(3); err != nil {
		t.Errorf("after the server is back: %v", err)
	}
	if err := add(3); !domain.Is(err, domain.Exists) {
		t.Errorf("what was written after the server was back is not there: %v", err)
	}
}

// A table that somebody dropped is damage.
func TestDamage(t *testing.T) {
	url := pgtest.Shared(t).Database(t)
	views := open(t, url, postgres.Options{})
	view, err := views.Open(t.Context(), counters)
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(t.Context(), "drop table head")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	views.Close()
	views = open(t, url, postgres.Options{})
	if _, err := views.Open(t.Context(), counters); !errors.Is(err, projections.ErrDamaged) || !domain.Is(err, domain.Corrupt) {
		t.Errorf("opening a generation without its head: %v", err)
	}
	if err := views.Aside(t.Context(), counters); err != nil {
		t.Fatal(err)
	}
	if _, err := views.Open(t.Context(), counters); err != nil {
		t.Errorf("making it anew: %v", err)
	}
}

// Many rows go by COPY, few by statements, and a duplicate is noticed in both.
func TestInsertManyAndFew(t *testing.T) {
	views := open(t, pgtest.Shared(t).Database(t), postgres.Options{})
	view, err := views.Open(t.Context(), counters)
	if err != nil {
		t.Fatal(err)
	}
	insert := func(ctx context.Context, from, to int64) error {
		return view.Update(ctx, func(tx projections.Tx) error {
			var rows [][]any
			for n := from; n < to; n++ {
				rows = append(rows, []any{"a", n, n, int64(0), int64(0), int64(0)})
			}
			return tx.Insert(ctx, "counters", []string{"account", "mailbox", "messages", "unseen", "deleted", "bytes"}, rows)
		})
	}
	for _, c := range []struct {
		from, to int64
		ok       bool
	}{{0, 5, true}, {5, 3000, true}, {4, 6, false}, {2999, 4000, false}, {3000, 3001, true}, {4000, 4000, true}} {
		if err := insert(t.Context(), c.from, c.to); (err == nil) != c.ok || err != nil && !domain.Is(err, domain.Exists) {
			t.Errorf("rows %d to %d: %v", c.from, c.to, err)
		}
	}
}

// A copy has all that the definition says, not its tables only: what refers to other tables, views and their rules.
func TestCopyIsWhole(t *testing.T) {
	views := open(t, pgtest.Shared(t).Database(t), postgres.Options{})
	first := projections.Generation{Stream: "ACCOUNTS_0", Projection: "search", Number: 1}
	second := first
	second.Number = 2
	view, err := views.Open(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	run := func(view projections.View, statements ...string) {
		t.Helper()
		if err := view.Update(t.Context(), func(tx projections.Tx) error {
			for _, statement := range statements {
				if _, err := tx.Exec(t.Context(), statement); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	run(view, `insert into documents (doc, account, email, refs, state, digest, octets, grams) values (7, 'a', 7, 1, 0, '', 0, 1)`,
		`insert into grams (doc, grams) values (7, '{1}')`, `update head set seq = 5, ready = 1`)
	if err := views.Copy(t.Context(), first, second); err != nil {
		t.Fatal(err)
	}
	copied, err := views.Open(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	count := func(query string) (n int) {
		t.Helper()
		rows, err := copied.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if n := count(`select count(*) from search_postings where present = 1`); n != 1 {
		t.Errorf("the copy has %d documents", n)
	}
	if seq := count(`select seq from head`); seq != 5 {
		t.Errorf("the copy stands at %d", seq)
	}
	run(copied, `delete from search_postings`, `delete from documents`)
	if n := count(`select count(*) from grams`); n != 0 {
		t.Errorf("%d documents leave their grams behind", n)
	}
}

// Text that the database takes from nobody is an error that trying again does not mend, however the row comes.
func TestUnkeepableText(t *testing.T) {
	views := open(t, pgtest.Shared(t).Database(t), postgres.Options{})
	view, err := views.Open(t.Context(), counters)
	if err != nil {
		t.Fatal(err)
	}
	long := make([]byte, 5000) // of which a compressed form is too long for an index as well
	for i := range long {
		long[i] = "0123456789abcdef"[rand.IntN(16)]
	}
	for _, account := range []string{"nul \x00", "not UTF-8 \xff", string(long)} {
		for _, n := range []int64{1, 100} {
			err := view.Update(t.Context(), func(tx projections.Tx) error {
				var rows [][]any
				for i := range n {
					rows = append(rows, []any{account, i, i, int64(0), int64(0), int64(0)})
				}
				return tx.Insert(t.Context(), "counters", []string{"account", "mailbox", "messages", "unseen", "deleted", "bytes"}, rows)
			})
			if !domain.Is(err, domain.Corrupt) || errors.Is(err, projections.ErrDamaged) {
				t.Errorf("%d rows of %.20q: %v", n, account, err)
			}
		}
	}
}
