package mailboxes_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/streams"
)

// damaged is two accounts' rows in every view, and a way to change those of the first behind the projections' back.
type damaged struct {
	*testing.T
	log    *projectiontest.Log
	dir    string
	runner *projections.Runner
	store  mailboxes.Store
}

func newDamaged(t *testing.T) *damaged {
	dir := t.TempDir()
	views, err := storetest.Open(t, dir, sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	d := &damaged{T: t, log: projectiontest.New(1), dir: dir}
	for n := range 2 {
		d.log.Add(id(n), 0, opened()...)
		for uid := range 4 {
			d.log.Add(id(n), 0, added(uid+1))
		}
		d.log.Add(id(n), 0,
			&event.KeywordCreated{Number: 0, Name: "$Junk"},
			&event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(1, 2), Add: event.Seen | event.KeywordFlag(0), Delta: event.Delta{Unseen: -2}},
			&event.MessagesCopied{From: 1, To: 2, UIDs: domain.UIDs(1, 3), First: 1, Saved: 9, Delta: event.Delta{Messages: 2, Unseen: 1, Bytes: 2 * 8192}},
			&event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDs(4), Delta: event.DeltaOf(0, 8192).Negate()},
			&event.MetadataChanged{Mailbox: 1, Entry: "/private/comment", Value: "to do"},
			&event.MetadataChanged{Entry: "/private/comment", Value: "\x00"},
			&event.RightsChanged{Mailbox: 1, Identifier: "anyone", Rights: "lr"},
			&event.SubscriptionChanged{Name: "INBOX", Subscribed: true})
	}
	d.runner = projectiontest.Run(t, d.log, views, mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New())
	d.store = mailboxes.Store{Runner: d.runner}
	projectiontest.Settle(t, d.log, d.runner)
	return d
}

// write changes rows of the first account. Statements say $ for its id.
func (d *damaged) write(projection, statement string) {
	d.Helper()
	storetest.Spoil(d, d.dir, projectiontest.Live(d, d.runner, "ACCOUNTS_0", projection), strings.ReplaceAll(statement, "$", "'"+string(id(0))+"'"))
}

func (d *damaged) differences() int64 {
	d.Helper()
	report, err := d.runner.Verify(d.Context(), projections.Selection{}, projections.VerifyOptions{Limit: 1}, nil)
	if err != nil {
		d.Fatal(err)
	}
	return report.Total
}

func (d *damaged) compare(n int) (mailboxes.Audit, error) {
	d.Helper()
	r, err := d.runner.ReaderOf(mailboxes.Name, id(n))
	if err != nil {
		d.Fatal(err)
	}
	return mailboxes.Compare(d.Context(), r, d.log, id(n))
}

func (d *damaged) sound(n int) bool {
	d.Helper()
	a, err := d.compare(n)
	return err == nil && a.Sound()
}

// TestDamageIsFoundAndMended spoils every view in every way. A comparison with the log finds it; so do the digests, at once, where they cover the
// row; and making anew the one account's rows of the one projection mends it.
func TestDamageIsFoundAndMended(t *testing.T) {
	const theDigest, theRows, nothing = "the digest beside the rows", "the rows", "nothing" // what no longer agrees with the rest
	for name, c := range map[string]struct{ projection, notices, statement string }{
		"flags of a message":        {"mailboxes", theRows, `update messages set flags = 0 where account = $ and uid = 1`},
		"MODSEQ of a message":       {"mailboxes", theRows, `update messages set modseq = modseq - 1 where account = $ and uid = 1`},
		"size of a message":         {"mailboxes", theRows, `update messages set size = 1 where account = $ and mailbox = 1 and uid = 2`},
		"date of a message":         {"mailboxes", theRows, `update messages set internal = -internal where account = $ and mailbox = 2 and uid = 1`},
		"email of a message":        {"mailboxes", theRows, `update messages set email = 2 where account = $ and mailbox = 2 and uid = 1`},
		"thread of a message":       {"mailboxes", theRows, `update messages set thread = 2 where account = $ and mailbox = 2 and uid = 1`},
		"a message lost":            {"mailboxes", theRows, `delete from messages where account = $ and mailbox = 1 and uid = 2`},
		"a message too many":        {"mailboxes", theRows, `insert into messages select account, mailbox, 4, email, thread, flags, modseq, size, internal, saved from messages where account = $ and mailbox = 1 and uid = 1`},
		"a message elsewhere":       {"mailboxes", theRows, `update messages set mailbox = 3 where account = $ and mailbox = 1 and uid = 1`},
		"nonsense in a column":      {"mailboxes", theRows, `update messages set flags = 'x' where account = $ and uid = 1`},
		"a mailbox lost":            {"mailboxes", theRows, `delete from mailboxes where account = $ and mailbox = 1`},
		"an empty mailbox lost":     {"mailboxes", theRows, `delete from mailboxes where account = $ and mailbox = 4`},
		"a mailbox too many":        {"mailboxes", theRows, `insert into mailboxes values ($, 77, 'x', '', 9, 1, 1, 1, 0, 0)`},
		"name of a mailbox":         {"mailboxes", theRows, `update mailboxes set name = 'x' where account = $ and mailbox = 3`},
		"UIDNEXT":                   {"mailboxes", theRows, `update mailboxes set uid_next = uid_next - 1 where account = $ and mailbox = 1`},
		"digest of a mailbox":       {"mailboxes", theDigest, `update mailboxes set digest = digest + 1 where account = $ and mailbox = 1`},
		"digest of an account":      {"mailboxes", theDigest, `update accounts set digest = 0 where account = $`},
		"limits":                    {"mailboxes", theRows, `update accounts set limit_bytes = 1 where account = $`},
		"next email":                {"mailboxes", theRows, `update accounts set next_email = 2 where account = $`},
		"a keyword renamed":         {"mailboxes", theRows, `update keywords set name = 'x' where account = $`},
		"a subscription lost":       {"mailboxes", theRows, `delete from subscriptions where account = $`},
		"a reset of access keys":    {"mailboxes", theRows, `update mailboxes set access_reset = 1 where account = $ and mailbox = 1`},
		"a primary":                 {"mailboxes", theRows, `update accounts set primary_node = 'mail9' where account = $`},
		"an annotation":             {"mailboxes", theRows, `update metadata set value = '' where account = $ and mailbox = 1`},
		"an annotation lost":        {"mailboxes", theRows, `delete from metadata where account = $ and mailbox = 0`},
		"a right":                   {"mailboxes", theRows, `update rights set rights = 'lrs' where account = $`},
		"a right lost":              {"mailboxes", theRows, `delete from rights where account = $`},
		"an envelope":               {"mailboxes", nothing, `update emails set envelope = structure where account = $ and email = 1`},
		"a count of references":     {"mailboxes", nothing, `update emails set refs = refs + 1 where account = $ and email = 1`},
		"a summary lost":            {"mailboxes", nothing, `delete from summaries where account = $ and email = 1`},
		"a thread":                  {"threads", nothing, `update threads set thread = thread + 1 where account = $`},
		"a thread lost":             {"threads", nothing, `delete from threads where account = $ and thread = 1`},
		"a thread too many":         {"threads", nothing, `insert into threads values ($, 1, 1)`},
		"a counter off by one":      {"counters", nothing, `update counters set unseen = unseen + 1 where account = $ and mailbox = 1`},
		"a counter lost":            {"counters", nothing, `delete from counters where account = $ and mailbox = 1`},
		"a counter too many":        {"counters", nothing, `insert into counters values ($, 77, 0, 0, 0, 0)`},
		"a quota off by one":        {"quota", nothing, `update quota set messages = messages - 1 where account = $`},
		"a quota lost":              {"quota", nothing, `delete from quota where account = $`},
		"a vanished message":        {"changes", nothing, `update vanished set lo = 2 where account = $`},
		"a vanished message lost":   {"changes", nothing, `delete from vanished where account = $`},
		"a vanished one too many":   {"changes", nothing, `insert into vanished values ($, 1, 3, 9, 9)`},
		"floor of a history":        {"changes", nothing, `update changed set floor = 5 where account = $ and mailbox = 1`},
		"history of a mailbox lost": {"changes", nothing, `delete from changed where account = $ and mailbox = 1`},
	} {
		if testing.Short() && rand.IntN(3) > 0 { // a short run draws one case of three
			continue
		}
		t.Run(name, func(t *testing.T) {
			if storetest.Postgres() && strings.Contains(c.statement, "'x' where account = $ and uid") {
				t.Skip("the columns of Postgres hold nothing but their type")
			}
			d := newDamaged(t)
			if n := d.differences(); n != 0 || !d.sound(0) || !d.sound(1) {
				t.Fatalf("%d differences before there is any", n)
			}
			d.write(c.projection, c.statement)
			if d.differences() == 0 {
				t.Error("a comparison with the log finds nothing")
			}
			_, _, err := d.store.Load(t.Context(), id(0))
			var found *projections.Damage
			if errors.As(err, &found) != (c.notices != nothing) {
				t.Errorf("loading the account: %v", err)
			}
			if found != nil && found.Account != id(0) {
				t.Errorf("found %+v", found)
			}
			a, err := d.compare(0)
			stored, rows := a.Stored.Against(a.Log) == nil, err == nil && a.Rows.Against(a.Log) == nil
			if rows != (c.notices != theRows) || c.notices == theDigest && stored || c.notices == nothing && !a.Sound() {
				t.Errorf("the stored digests are right: %v, those of the rows: %v, %v", stored, rows, err)
			}
			if _, _, err := d.store.Load(t.Context(), id(1)); err != nil || !d.sound(1) {
				t.Errorf("the other account: %v", err)
			}
			if _, err := d.runner.Rebuild(t.Context(), projections.Selection{Projection: c.projection, Accounts: []domain.AccountID{id(0)}},
				projections.RebuildOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			if _, _, err := d.store.Load(t.Context(), id(0)); err != nil || d.differences() != 0 || !d.sound(0) {
				t.Errorf("after its rows were made anew: %v", err)
			}
		})
	}
}

// What another node would ask for: every account's digests, and where two nodes disagree.
func TestDigestsOfAStream(t *testing.T) {
	here, there := newDamaged(t), newDamaged(t)
	read := func(d *damaged, of domain.AccountID) []mailboxes.AccountDigests {
		t.Helper()
		r, err := d.runner.Reader("ACCOUNTS_0", mailboxes.Name)
		if err != nil {
			t.Fatal(err)
		}
		all, err := mailboxes.Digests(t.Context(), r, of)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	compare := func() (found []string) {
		t.Helper()
		a, b := read(here, ""), read(there, "")
		if len(a) != 2 || len(b) != 2 || a[0].ID >= a[1].ID {
			t.Fatalf("%+v, %+v", a, b)
		}
		for i := range a {
			for _, d := range a[i].Against(b[i].Digests) {
				found = append(found, fmt.Sprint(a[i].ID == id(0), a[i].Tx == b[i].Tx, d.Mailbox))
			}
		}
		return found
	}
	if found := compare(); found != nil {
		t.Errorf("two folds of one log disagree: %v", found)
	}
	state, _, err := here.store.Load(t.Context(), id(1))
	if err != nil {
		t.Fatal(err)
	}
	if one := read(here, id(1)); len(one) != 1 || one[0].ID != id(1) || one[0].Against(state.Digests()) != nil || one[0].Tx != state.Tx || len(one[0].Mailboxes) != len(state.Mailboxes) {
		t.Errorf("one account: %+v", one)
	}
	if none := read(here, id(2)); none != nil {
		t.Errorf("an account that is not there: %+v", none)
	}
	there.write("mailboxes", `update mailboxes set digest = 0 where account = $ and mailbox = 2`)
	there.write("mailboxes", `update accounts set digest = 0 where account = $`)
	if found := compare(); !slices.Equal(found, []string{"true true 0", "true true 2"}) {
		t.Errorf("found %v", found)
	}
	if err := here.log.Erase(t.Context(), id(0)); err != nil {
		t.Fatal(err)
	}
	if err := here.runner.Drop(t.Context(), id(0)); err != nil {
		t.Fatal(err)
	}
	if gone := read(here, id(0)); len(gone) != 1 || gone[0].Account != 0 || len(gone[0].Mailboxes) != 0 {
		t.Errorf("an erased account: %+v", gone)
	}
}

// An audit says what is wrong with a log that cannot be compared.
func TestAuditOfASpoiltLog(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*projectiontest.Log)
		want  domain.Kind
	}{
		"erased":   {func(l *projectiontest.Log) { _ = l.Erase(t.Context(), id(0)) }, domain.Erased},
		"tampered": {func(l *projectiontest.Log) { l.Spoil("ACCOUNTS_0", 3, func(e *streams.Entry) { e.Prev[0]++ }) }, domain.Corrupt},
		"impossible": {func(l *projectiontest.Log) {
			l.Spoil("ACCOUNTS_0", 3, func(e *streams.Entry) { e.Transaction.Events = opened() })
		}, domain.Corrupt},
		"away": {func(l *projectiontest.Log) { l.Fail(domain.Errorf(domain.Unavailable, "away")) }, domain.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDamaged(t)
			r, err := d.runner.ReaderOf(mailboxes.Name, id(0))
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(d.log)
			if a, err := mailboxes.Compare(t.Context(), r, d.log, id(0)); !domain.Is(err, c.want) {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	d := newDamaged(t)
	r, err := d.runner.ReaderOf(mailboxes.Name, id(9))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := mailboxes.Compare(t.Context(), r, d.log, id(9)); err != nil || !a.Sound() || a.Log.Account != account.New().Digest() {
		t.Errorf("an account without entries: %+v, %v", a, err)
	}
}
