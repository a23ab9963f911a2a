package snapshots_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/streams"
)

func TestHydrateTakesTheSnapshotAndTheTail(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 2500) // more than two chunks of a table
	h := w.make(alice)
	if h.At.Tx != 2501 {
		t.Fatalf("the snapshot is of transaction %d", h.At.Tx)
	}
	w.log.Add(alice, 5, &event.MessagesExpunged{Mailbox: 1, UIDs: domain.UIDSet{{Lo: 10, Hi: 2000}}, Delta: event.Delta{Messages: -1991}})
	w.deliver(alice, 2501, 2510)
	done := w.hydrate(rules(), w.store)
	if done.From != 2501 || done.Tail != 11 || done.Rows == 0 {
		t.Errorf("got %+v", done)
	}
}

// Half-way through a snapshot each projection is half-way through its rows, however many it has, so that nobody who writes them waits long for another.
func TestProjectionsComeToTheirEndTogether(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	for uid := 4; uid <= 6000; uid++ {
		e := delivered(uid)
		e.Summary.Keys = e.Summary.Keys[:1]
		w.log.Add(alice, int64(uid), e)
	}
	w.make(alice)
	snapshot, err := w.store.Open(w.ctx, alice)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	var order []string
	chunks := map[string]int{}
	for chunk, err := range snapshot.Chunks(w.ctx, func(string) bool { return true }) {
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, chunk.Projection)
		chunks[chunk.Projection]++
	}
	if len(order) < 30 || chunks[mailboxes.Name] < 3*chunks[threads.Name] {
		t.Fatalf("there are %v", chunks)
	}
	for _, name := range order[:len(order)/2] {
		chunks[name] -= 2
	}
	for name, left := range chunks {
		if left < -4 || left > 4 {
			t.Errorf("%s is %d chunks from its half", name, left/2)
		}
	}
}

// Nodes need not have the same store: a snapshot made of rows in one is used in the other.
func TestFromOneStoreToTheOther(t *testing.T) {
	server := pgtest.Shared(t)
	w := newWorld(t, snapshots.Limits{})
	w.deliver(alice, 4, 1200)
	w.make(alice)
	w.deliver(alice, 1201, 1210)
	if done := w.hydrateIn(server.Database(t), rules(), w.store); done.From != 1201 || done.Tail != 10 {
		t.Errorf("into PostgreSQL: %+v", done)
	}
	w.node.end()
	w.node = start(t, server.Database(t), w.log, rules(), projections.Limits{})
	w.cfg.Views = w.node.runner
	w.maker = snapshots.NewMaker(w.cfg)
	w.make(alice)
	if done := w.hydrate(rules(), w.store); done.From != 1211 || done.Tail != 0 {
		t.Errorf("into SQLite: %+v", done)
	}
}

func TestWhatTheSnapshotSaysIsWhatTheLogSays(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.make(alice)
	w.deliver(alice, 4, 6)
	report, err := w.node.runner.VerifySnapshot(w.ctx, alice, w.store, projections.VerifyOptions{Limit: 10}, nil)
	if err != nil || report.Total != 0 || report.Rows == 0 {
		t.Fatalf("got %+v, %v", report, err)
	}
}

// A view that is wrong makes a snapshot that is wrong: that is what verify is for.
func TestVerifyFindsWhatAWrongViewLeft(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.node.wait(t, w.log)
	lying := snapshots.NewMaker(snapshots.Config{Store: w.store, Views: liar{w.node.runner}})
	if _, err := lying.Make(w.ctx, alice); err != nil {
		t.Fatal(err)
	}
	report, err := w.node.runner.VerifySnapshot(w.ctx, alice, w.store, projections.VerifyOptions{Limit: 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if report.Total != 1 || report.Differences[0].Table != "quota" || report.Differences[0].Account != alice || report.Differences[0].Tx != 4 {
		t.Errorf("got %+v", report.Differences)
	}
}

// Rows that did not agree with their digest where they were taken do not where they are copied to: a copy hides nothing.
func TestACopyKeepsADisagreement(t *testing.T) {
	for what, c := range map[string]struct{ projection, statement string }{
		"a row":    {quota.Name, `update quota set bytes = bytes + 1 where account = $1`},
		"a digest": {threads.Name, `update digests set digest = digest + 1 where account = $1`},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, snapshots.Limits{})
			w.node.wait(t, w.log)
			w.node.spoil(t, c.projection, c.statement, string(alice))
			w.make(alice)
			w.deliver(alice, 4, 5)
			w.log.Add(bob, 9, &event.SubscriptionChanged{Name: "INBOX", Subscribed: true})
			other := start(t, t.TempDir(), without{w.log}, rules(), projections.Limits{})
			defer other.end()
			other.wait(t, w.log)
			if done, err := other.runner.Hydrate(other.ctx, alice, w.store); err != nil || done.From == 0 || done.Tail != 2 {
				t.Fatalf("%+v, %v", done, err)
			}
			counted, err := other.runner.Count(other.ctx, projections.Selection{Stream: stream, Accounts: []domain.AccountID{alice}}, projections.CountOptions{Limit: 5}, nil)
			if err != nil || counted.Total != 1 || counted.Miscounts[0].Projection != c.projection {
				t.Errorf("the copy is counted: %+v, %v", counted, err)
			}
			report, err := w.node.runner.VerifySnapshot(w.ctx, alice, w.store, projections.VerifyOptions{Limit: 10}, nil)
			if err != nil || report.Total != 1 || report.Differences[0].Projection != c.projection {
				t.Errorf("the snapshot is compared with the log: %+v, %v", report, err)
			}
		})
	}
}

func TestSnapshotsThatAreRefused(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	for name, c := range map[string]struct {
		damage func([]byte) []byte
		says   string
	}{
		"a flipped bit in the prelude":   {flip(10), "damaged"},
		"a flipped bit in the account":   {flip(40), ""},
		"a flipped bit in the header":    {flip(120), "damaged"},
		"a flipped bit in the rows":      {flip(-300), "damaged"},
		"a flipped last bit":             {flip(-1), "damaged"},
		"a last octet that is missing":   {func(b []byte) []byte { return b[:len(b)-1] }, "damaged"},
		"a last package that is missing": {func(b []byte) []byte { return b[:len(b)-len(b)%(64<<10+32)] }, ""},
		"a header only":                  {func(b []byte) []byte { return b[:500] }, "damaged"},
		"an empty file":                  {func([]byte) []byte { return nil }, "damaged"},
		"another sort of file":           {func([]byte) []byte { return []byte(strings.Repeat("hello", 100)) }, "damaged"},
		"the format of another build":    {func(b []byte) []byte { b[3]--; return b }, "another version of Streampost"},
		"octets at its end":              {func(b []byte) []byte { return append(b, "more"...) }, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, snapshots.Limits{})
			w.deliver(alice, 4, 500)
			w.make(alice)
			w.bucket.Damage(w.store.Name(alice), c.damage)
			done := w.hydrate(rules(), w.store)
			if done.From != 0 || done.Tail != 501 || !strings.Contains(done.Refused, c.says) || done.Refused == "" {
				t.Errorf("got %+v", done)
			}
			if _, err := w.node.runner.VerifySnapshot(w.ctx, alice, w.store, projections.VerifyOptions{}, nil); !domain.Is(err, domain.Corrupt) {
				t.Errorf("verify says %v", err)
			}
		})
	}
}

func TestTheSnapshotOfAnotherAccountIsRefused(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.make(alice)
	w.make(bob)
	var others []byte
	w.bucket.Damage(w.store.Name(bob), func(b []byte) []byte { others = slices.Clone(b); return b })
	w.bucket.Damage(w.store.Name(alice), func([]byte) []byte { return others })
	if done := w.hydrate(rules(), w.store); done.From != 0 || !strings.Contains(done.Refused, "damaged") {
		t.Errorf("got %+v", done)
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.make(alice)
	upgraded := rules()
	upgraded[2] = newer{upgraded[2]}
	if done := w.hydrate(upgraded, w.store); done.From != 0 || !strings.Contains(done.Refused, "counters 1") || !strings.Contains(done.Refused, "counters 2") {
		t.Errorf("got %+v", done)
	}
	if done := w.hydrate(rules()[:3], w.store); done.From != 0 || !strings.Contains(done.Refused, fmt.Sprintf("quota %d", quota.New().Version())) {
		t.Errorf("with fewer projections: %+v", done)
	}
}

func TestTheSnapshotOfAnotherLogIsRefused(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	h := w.make(alice)
	for name, spoil := range map[string]func(){
		"another entry": func() { w.log.Spoil(stream, h.At.Seq, func(e *streams.Entry) { e.Hash[0] ^= 1 }) },
	} {
		t.Run(name, func(t *testing.T) {
			spoil()
			err := w.node.runner.Usable(w.ctx, h.Taken())
			if !errors.Is(err, projections.ErrRefused) {
				t.Errorf("got %v", err)
			}
		})
	}
	taken := h.Taken()
	taken.At.Seq += 1000
	if err := w.node.runner.Usable(w.ctx, taken); !errors.Is(err, projections.ErrRefused) {
		t.Errorf("beyond the end of the log: %v", err)
	}
}

func TestAnErasedAccountHasNoSnapshot(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.make(alice)
	w.make(bob)
	if err := w.log.Erase(w.ctx, alice); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Open(w.ctx, alice); !domain.Is(err, domain.Erased) {
		t.Errorf("it opens with %v", err)
	}
	if _, err := w.maker.Make(w.ctx, alice); !domain.Is(err, domain.Erased) {
		t.Errorf("another is made with %v", err)
	}
	var listed []domain.AccountID
	if err := w.store.List(w.ctx, func(l snapshots.Listed) error { listed = append(listed, l.Account); return l.Err }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(listed, []domain.AccountID{bob}) || w.bucket.Len() != 1 {
		t.Errorf("%v are listed, %d stored", listed, w.bucket.Len())
	}
	for range 2 {
		if err := w.maker.Remove(w.ctx, alice); err != nil {
			t.Fatal(err)
		}
	}
}

// What is erased while its snapshot is being made leaves none.
func TestErasedMeanwhile(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.node.wait(t, w.log)
	w.cfg.Failpoint = func(string) { _ = w.log.Erase(w.ctx, alice) }
	if _, err := snapshots.NewMaker(w.cfg).Make(w.ctx, alice); !domain.Is(err, domain.Erased) {
		t.Errorf("it was made with %v", err)
	}
	if w.bucket.Len() != 0 {
		t.Error("it is still there")
	}
}

// A crash while one is being made leaves the one before.
func TestACrashLeavesTheOldOne(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	old := w.make(alice)
	w.deliver(alice, 4, 10)
	w.node.wait(t, w.log)
	w.cfg.Failpoint = func(string) { panic(errCrash) }
	func() {
		defer func() {
			if recover() != errCrash {
				t.Error("the failpoint was not met")
			}
		}()
		_, _ = snapshots.NewMaker(w.cfg).Make(w.ctx, alice)
	}()
	if done := w.hydrate(rules(), w.store); done.From != old.At.Tx || done.Tail != 7 {
		t.Errorf("got %+v", done)
	}
}

func TestTheMakerWaitsForEnough(t *testing.T) {
	w := newWorld(t, snapshots.Limits{Every: 10, Share: 1})
	round := func(want int) {
		t.Helper()
		w.node.wait(t, w.log)
		if made, err := w.maker.Round(w.ctx); err != nil || made != want {
			t.Errorf("%d were made instead of %d: %v", made, want, err)
		}
	}
	round(0)
	w.deliver(alice, 4, 10) // with her first, 11 transactions
	round(1)
	round(0)
	w.deliver(alice, 11, 19)
	w.maker = snapshots.NewMaker(w.cfg) // a new process knows what is stored
	round(0)
	w.deliver(alice, 20, 20)
	round(1)
	w.bucket.Damage(w.store.Name(alice), func(b []byte) []byte { return b[:100] })
	round(0) // nobody knows
	w.maker = snapshots.NewMaker(w.cfg)
	round(1)
	if err := w.maker.Remove(w.ctx, alice); err != nil {
		t.Fatal(err)
	}
	round(1)
}

func TestNothingToSnapshot(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.node.wait(t, w.log)
	if _, err := w.maker.Make(w.ctx, domain.NewAccountID([10]byte{7})); !domain.Is(err, domain.NotFound) {
		t.Errorf("an account without a log: %v", err)
	}
	if _, err := w.store.Open(w.ctx, alice); !domain.Is(err, domain.NotFound) {
		t.Errorf("no snapshot yet: %v", err)
	}
	if done := w.hydrate(rules(), w.store); done.From != 0 || done.Refused == "" {
		t.Errorf("got %+v", done)
	}
}

// A rebuild of one account whose log is long takes the snapshot's rows while the old ones are read.
func TestRebuildFromTheSnapshot(t *testing.T) {
	w := newWorld(t, snapshots.Limits{})
	w.node.end()
	w.node = start(t, t.TempDir(), w.log, rules(), projections.Limits{InPlace: 5})
	w.cfg.Views = w.node.runner
	w.maker = snapshots.NewMaker(w.cfg)
	w.deliver(alice, 4, 20)
	w.make(alice)
	w.deliver(alice, 21, 30)
	w.node.wait(t, w.log)
	sel := projections.Selection{Accounts: []domain.AccountID{alice}}
	if _, err := w.node.runner.Rebuild(w.ctx, sel, projections.RebuildOptions{Snapshots: w.store}, nil); err != nil {
		t.Fatal(err)
	}
	if stats := w.node.runner.Stats(); stats.Hydrated != 7 || stats.Refused != 0 {
		t.Errorf("got %+v", stats)
	}
	w.node.clean(t)
	w.bucket.Damage(w.store.Name(alice), func(b []byte) []byte { return b[:len(b)-40] })
	if _, err := w.node.runner.Rebuild(w.ctx, sel, projections.RebuildOptions{Snapshots: w.store}, nil); err != nil {
		t.Fatal(err)
	}
	if stats := w.node.runner.Stats(); stats.Hydrated != 7 || stats.Refused != 7 {
		t.Errorf("of a damaged one: %+v", stats)
	}
	w.node.clean(t)
}
