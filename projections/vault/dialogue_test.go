package vault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	query "github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/history"
	"github.com/streampost/streampost/projections/vault"
)

func start(t *testing.T) *server {
	s := newServer(t, t.TempDir())
	t.Cleanup(s.stop)
	return s
}

// shown is a mailbox as it was: "uid subject flags" of each message.
func (s *server) shown(id domain.AccountID, at, mailbox string) string {
	s.tb.Helper()
	point, err := history.ParsePoint(at, s.clock())
	if err != nil {
		s.tb.Fatal(err)
	}
	past, err := history.At(s.ctx, s.log, id, point, s.clock())
	if err != nil {
		s.tb.Fatal(err)
	}
	page, err := past.Messages(s.ctx, s.log, id, mailbox, 0, 100)
	if err != nil {
		s.tb.Fatal(err)
	}
	var lines []string
	for _, m := range page {
		lines = append(lines, fmt.Sprintf("%d %s %s", m.UID, m.Subject, strings.Join(m.Flags, " ")))
	}
	return strings.Join(lines, "\n")
}

// has is a mailbox as it is: "uid flags email" of each message.
func (s *server) has(id domain.AccountID, mailbox string) string {
	s.tb.Helper()
	var lines []string
	s.view(id, func(state *account.State) {
		m, ok := state.Mailbox(mailbox)
		if !ok {
			lines = []string{"no mailbox"}
			return
		}
		for i := range m.Len() {
			lines = append(lines, fmt.Sprintf("%d %s e%d", m.UID[i], strings.Join(state.FlagNames(m.Flags[i]), " "), m.Email[i]))
		}
	})
	return strings.Join(lines, "\n")
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnAccountAsItWas(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.wait(time.Hour)
	s.deliver(alice, "INBOX", "first", "work")
	s.deliver(alice, "INBOX", "second", `\Seen`)
	s.wait(24 * time.Hour)
	s.expunge(alice, "INBOX", 1)
	s.do(alice, account.Transfer{From: 1, To: "Archive", UIDs: domain.UIDs(2), Move: true, Now: s.clock().Unix()})
	s.do(alice, account.DeleteMailbox{Name: "Drafts"})
	s.wait(time.Hour)

	same(t, s.shown(alice, "-2h", "INBOX"), "1 first work\n2 second \\Seen")
	same(t, s.shown(alice, "1d ago", "Archive"), "")
	same(t, s.shown(alice, "2026-03-01T13:30:00Z", "inbox"), "1 first work\n2 second \\Seen")
	same(t, s.shown(alice, "Tx 2", "INBOX"), "1 first work")
	same(t, s.shown(alice, "-1m", "INBOX"), "")
	same(t, s.shown(alice, "-1m", "Archive"), "1 second \\Seen")
	same(t, s.shown(alice, "-3h", "Drafts"), "")

	for at, why := range map[string]string{
		"99":                   "stands at Tx",
		"2030-01-01":           "lies in the future",
		"2020-01-01":           "did not exist",
		"tomorrow":             "neither a time",
		"0":                    "numbered from 1",
		"-5parsecs":            "how long ago",
		"-99999999999999999d":  "how long ago",
		"-9999999999999999999": "how long ago",
	} {
		point, err := history.ParsePoint(at, s.clock())
		if err == nil {
			_, err = history.At(s.ctx, s.log, alice, point, s.clock())
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s gave %v, want something on %q", at, err, why)
		}
	}
	past, err := history.At(s.ctx, s.log, alice, history.Point{Tx: 1}, s.clock())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := past.Messages(s.ctx, s.log, alice, "nowhere", 0, 1); !domain.Is(err, domain.NotFound) {
		t.Errorf("an unknown mailbox: %v", err)
	}
	if _, err := history.At(s.ctx, s.log, domain.NewAccountID([10]byte{1}), history.Point{Tx: 1}, s.clock()); !domain.Is(err, domain.NotFound) {
		t.Errorf("an unknown account: %v", err)
	}
	if err := s.directory.Erase(s.ctx, "test", alice); err != nil {
		t.Fatal(err)
	}
	if _, err := history.At(s.ctx, s.log, alice, history.Point{Tx: 1}, s.clock()); !domain.Is(err, domain.Erased) {
		t.Errorf("an erased account: %v", err)
	}
}

func TestRestoreAsItWas(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.do(alice, account.CreateMailbox{Name: "Work", UIDValidity: 9, SpecialUse: `\Important`})
	s.deliver(alice, "INBOX", "one", "work", `\Seen`)
	s.deliver(alice, "Work", "two", `\Flagged`)
	s.deliver(alice, "Work", "three")
	s.do(alice, account.Transfer{From: 1, To: "Work", UIDs: domain.UIDs(1), Now: 1}) // email 1 is in both
	s.wait(time.Hour)
	s.expunge(alice, "INBOX", 1)
	s.do(alice, account.DeleteMailbox{Name: "Work"})
	s.deliver(alice, "INBOX", "four")
	s.wait(time.Hour)
	ago := history.Point{Time: s.clock().Add(-90 * time.Minute)}

	plan, err := s.restorer.Restore(s.ctx, alice, "test", history.Request{At: ago, DryRun: true})
	if err != nil || plan.Found != 4 || plan.Restored != 4 || plan.Mailboxes["Work"] != 3 || len(plan.Transactions) > 0 {
		t.Fatalf("%v, %+v", err, plan)
	}
	same(t, s.has(alice, "Work"), "no mailbox")

	result, err := s.restorer.Restore(s.ctx, alice, "test", history.Request{At: ago})
	if err != nil || result.Restored != 4 || len(result.Transactions) != 1 {
		t.Fatalf("%v, %+v", err, result)
	}
	same(t, s.has(alice, "INBOX"), "2  e4\n3 \\Seen work e1")
	same(t, s.has(alice, "Work"), "1 \\Seen work e1\n2 \\Flagged e2\n3  e3")
	s.view(alice, func(state *account.State) {
		if m, _ := state.BySpecialUse(`\Important`); m == nil || m.Name != "Work" || m.UIDValidity <= 9 {
			t.Errorf("the mailbox came back as %+v", m)
		}
	})
	again, err := s.restorer.Restore(s.ctx, alice, "test", history.Request{At: ago})
	if err != nil || again.Restored != 0 || again.Present != 4 {
		t.Errorf("a second run: %v, %+v", err, again)
	}
	if left := s.deleted(alice, ""); len(left) > 0 {
		t.Errorf("in the vault are still %v", left)
	}
}

func TestRestoreAPart(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	for _, subject := range []string{"one", "two", "three"} {
		s.deliver(alice, "INBOX", subject)
	}
	s.do(alice, account.Transfer{From: 1, To: "Archive", UIDs: domain.UIDs(3), Move: true, Now: 1})
	at := history.Point{Tx: 4}
	s.expunge(alice, "INBOX")

	restore := func(q history.Request) history.Result {
		t.Helper()
		q.At = at
		result, err := s.restorer.Restore(s.ctx, alice, "test", q)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	restore(history.Request{Mailbox: "inbox", UIDs: domain.UIDs(2, 7), Into: "Found"})
	same(t, s.has(alice, "Found"), "1  e2")
	if r := restore(history.Request{Mailbox: "INBOX", DeletedOnly: true}); r.Restored != 1 || r.Present != 2 { // two lives in Found, three in Archive
		t.Errorf("%+v", r)
	}
	same(t, s.has(alice, "INBOX"), "4  e1")
	terms, err := query.ParseTerms("subject:three from:bob")
	if err != nil {
		t.Fatal(err)
	}
	if r := restore(history.Request{Query: terms}); r.Found != 1 || r.Restored != 1 {
		t.Errorf("%+v", r)
	}
	same(t, s.has(alice, "INBOX"), "4  e1\n5  e3")
	if _, err := s.restorer.Restore(s.ctx, alice, "test", history.Request{At: at, UIDs: domain.UIDs(1)}); !domain.Is(err, domain.Invalid) {
		t.Errorf("UIDs without a mailbox: %v", err)
	}
	if _, err := s.restorer.Restore(s.ctx, alice, "test", history.Request{At: at, Mailbox: "nowhere"}); !domain.Is(err, domain.NotFound) {
		t.Errorf("a mailbox that never was: %v", err)
	}
}

func TestRestoreHonoursQuota(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.deliver(alice, "INBOX", "one")
	s.deliver(alice, "INBOX", "two")
	s.expunge(alice, "INBOX")
	s.do(alice, account.SetLimits{Limits: account.Limits{Messages: 1}})
	q := history.Request{At: history.Point{Tx: 3}}
	if r, err := s.restorer.Restore(s.ctx, alice, "test", q); !domain.Is(err, domain.OverQuota) || r.Restored != 0 {
		t.Errorf("%v, %+v", err, r)
	}
	if _, err := s.keeper.Restore(s.ctx, alice, "test", vault.Restoration{}); !domain.Is(err, domain.OverQuota) {
		t.Errorf("out of the vault: %v", err)
	}
	q.OverQuota = true
	if r, err := s.restorer.Restore(s.ctx, alice, "test", q); err != nil || r.Restored != 2 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestWhatIsPurgedStaysAway(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.deliver(alice, "INBOX", "secret")
	s.deliver(alice, "INBOX", "plain")
	s.expunge(alice, "INBOX")
	terms, _ := query.ParseTerms("secret")
	if sum, err := s.keeper.Purge(s.ctx, alice, "test", terms, true); err != nil || sum.Messages != 1 {
		t.Fatalf("%v, %+v", err, sum)
	}
	if got := s.deleted(alice, ""); len(got) != 2 {
		t.Fatalf("after a dry run %v are left", got)
	}
	if sum, err := s.keeper.Purge(s.ctx, alice, "test", terms, false); err != nil || sum.Messages != 1 {
		t.Fatalf("%v, %+v", err, sum)
	}
	r, err := s.restorer.Restore(s.ctx, alice, "test", history.Request{At: history.Point{Tx: 3}})
	if err != nil || r.Restored != 1 || r.Failed != 1 || r.Failures[0].Subject != "secret" || !strings.Contains(r.Failures[0].Why, "purged") {
		t.Errorf("%v, %+v", err, r)
	}
	// Whoever looked before the purge is told to look again.
	if _, err := s.accounts.Do(s.ctx, alice, "test", account.Restore{Seen: 3}); !domain.Is(err, domain.Conflict) {
		t.Errorf("got %v", err)
	}
}

func TestALostBlobIsListed(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.deliver(alice, "INBOX", "lost")
	s.deliver(alice, "INBOX", "damaged")
	s.deliver(alice, "INBOX", "kept")
	s.expunge(alice, "INBOX")
	refs := map[string]domain.BlobRef{}
	if err := s.keeper.Browse(s.ctx, alice, query.Query{}, func(r *vault.Row) error { refs[r.Subject] = r.Blob; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.bucket.Delete(s.ctx, refs["lost"].ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.bucket.Damage(refs["damaged"].ID, func(sealed []byte) []byte { sealed[20] ^= 1; return sealed })

	var found []string
	check := blobs.Check{Each: func(c blobs.Claim, err error) {
		found = append(found, fmt.Sprintf("%s %d %v", c.Account, c.Email, domain.KindOf(err)))
	}}
	sum, err := s.blobs.Verify(s.ctx, check)
	if err != nil || sum.Claims != 3 || sum.Missing != 1 || sum.Damaged != 0 || len(found) != 1 || found[0] != fmt.Sprintf("%s 1 not-found", alice) {
		t.Errorf("%v, %+v, %v", err, sum, found)
	}
	check.Deep = true
	if sum, err = s.blobs.Verify(s.ctx, check); err != nil || sum.Missing != 1 || sum.Damaged != 1 {
		t.Errorf("%v, %+v", err, sum)
	}
	s.bucket.Damage(refs["damaged"].ID, func(sealed []byte) []byte { return sealed[1:] })
	r, err := s.keeper.Restore(s.ctx, alice, "test", vault.Restoration{})
	if err != nil || r.Restored != 1 || r.Failed != 2 || r.Failures[0].Subject != "lost" || r.Failures[0].Mailbox != vault.DefaultMailbox {
		t.Errorf("%v, %+v", err, r)
	}
	same(t, s.has(alice, vault.DefaultMailbox), "1  e3")
	same(t, strings.Join(s.deleted(alice, ""), " "), "damaged lost")
}

func TestTheVaultKnowsWhatWasDeleted(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.do(alice, account.CreateMailbox{Name: "Old", UIDValidity: 1})
	s.deliver(alice, "INBOX", "copied", `\Seen`, "work")
	s.do(alice, account.Transfer{From: 1, To: "Old", UIDs: domain.UIDs(1), Now: 1})
	s.do(alice, account.Transfer{From: 1, To: "INBOX", UIDs: domain.UIDs(1), Now: 1}) // twice in INBOX
	s.do(alice, account.RenameMailbox{From: "Old", To: "New/Name"})
	s.expunge(alice, "INBOX")
	if got := s.deleted(alice, ""); len(got) > 0 {
		t.Fatalf("a copy is left, but %v is in the vault", got)
	}
	s.wait(time.Hour)
	s.do(alice, account.DeleteMailbox{Name: "New/Name"})
	var row vault.Row
	if err := s.keeper.Browse(s.ctx, alice, query.Query{}, func(r *vault.Row) error { row = *r; return nil }); err != nil {
		t.Fatal(err)
	}
	if row.Deleted != s.clock().UnixMilli() || row.Sender != "bob@example.net" || !slices.Equal(row.Recipients, []string{"alice@example.org"}) ||
		fmt.Sprint(row.Origins) != "[{1 INBOX} {7 New/Name}]" || row.Size != int64(len(letter("copied"))) || row.Delivered == 0 {
		t.Errorf("%+v", row)
	}
	var text string
	if err := s.keeper.Export(s.ctx, alice, query.Query{}, func(_ *vault.Row, r io.Reader) error {
		octets, err := io.ReadAll(r)
		text = string(octets)
		return err
	}, nil); err != nil || text != letter("copied") {
		t.Errorf("%v, exported %q", err, text)
	}
	r, err := s.keeper.Restore(s.ctx, alice, "test", vault.Restoration{Original: true})
	if err != nil || r.Restored != 1 || r.Mailboxes["New/Name"] != 1 {
		t.Fatalf("%v, %+v", err, r)
	}
	same(t, s.has(alice, "New/Name"), "1 \\Seen work e1")
	if _, err := s.keeper.Restore(s.ctx, domain.NewAccountID([10]byte{9}), "test", vault.Restoration{}); !domain.Is(err, domain.NotFound) {
		t.Errorf("an unknown account: %v", err)
	}
}

func TestRetention(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.deliver(alice, "INBOX", "old")
	s.deliver(alice, "INBOX", "new")
	s.deliver(alice, "INBOX", "back")
	s.expunge(alice, "INBOX", 1, 3)
	terms, _ := query.ParseTerms("back")
	if _, err := s.keeper.Restore(s.ctx, alice, "test", vault.Restoration{Query: terms}); err != nil {
		t.Fatal(err)
	}
	s.wait(100 * 24 * time.Hour)
	s.expunge(alice, "INBOX", 2)
	s.wait(time.Hour)
	if sum, err := s.keeper.Expire(s.ctx, "test", 101*24*time.Hour, false, nil); err != nil || sum.Messages != 0 {
		t.Errorf("%v, %+v", err, sum)
	}
	if sum, err := s.keeper.Expire(s.ctx, "test", 99*24*time.Hour, false, nil); err != nil || sum.Messages != 1 || sum.Octets == 0 {
		t.Errorf("%v, %+v", err, sum)
	}
	same(t, strings.Join(s.deleted(alice, ""), " "), "new")
	if total, err := s.keeper.Stats(s.ctx); err != nil || total.Messages != 1 || total.Oldest == 0 {
		t.Errorf("%v, %+v", err, total)
	}
}

// TestManyAreSplit restores more than one transaction takes, and a restoration that was cut short is finished by the next.
func TestManyAreSplit(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	const n = account.MaxRestored + 100
	for i := range n {
		s.deliver(alice, "INBOX", fmt.Sprint("message ", i))
	}
	s.expunge(alice, "INBOX")
	ctx, cancel := context.WithCancel(s.ctx)
	first := *s.restorer
	first.Accounts = cancelling{s.accounts, cancel}
	q := history.Request{At: history.Point{Tx: n + 1}}
	if _, err := first.Restore(ctx, alice, "test", q); err == nil {
		t.Fatal("it was not cut short")
	}
	r, err := s.restorer.Restore(s.ctx, alice, "test", q)
	if err != nil || r.Found != n || r.Restored != 100 || r.Present != account.MaxRestored {
		t.Fatalf("%v, %+v", err, r)
	}
	s.view(alice, func(state *account.State) {
		m, _ := state.Mailbox("INBOX")
		if m.Len() != n || !slices.IsSorted(m.Email) {
			t.Errorf("%d messages, in order: %v", m.Len(), slices.IsSorted(m.Email))
		}
	})
}

// cancelling ends its context after the first command.
type cancelling struct {
	history.Accounts
	cancel context.CancelFunc
}

func (c cancelling) Do(ctx context.Context, id domain.AccountID, actor string, cmd account.Command) (door.Outcome, error) {
	defer c.cancel()
	return c.Accounts.Do(ctx, id, actor, cmd)
}

// TestCollectBesideDeliveries delivers, deletes and purges the same few messages in two accounts, again and again, while collections run without
// end. Time passes by the hour, but never while a message is on its way from the bucket into the log: that is what the grace period is for.
func TestCollectBesideDeliveries(t *testing.T) {
	s := start(t)
	ids := []domain.AccountID{s.account("alice"), s.account("bob")}
	stop := make(chan struct{})
	var collecting, delivering sync.WaitGroup
	deleted := int64(0)
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			sum, err := s.blobs.Collect(s.ctx, blobs.Request{Grace: 90 * time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			deleted += sum.Deleted
		}
	})
	var underway sync.RWMutex // shared by deliveries
	for n, id := range ids {
		delivering.Go(func() {
			for round := range 40 {
				underway.RLock()
				s.deliver(id, "INBOX", fmt.Sprint("message ", (round+n)%4))
				underway.RUnlock()
				if sum, err := s.blobs.Verify(s.ctx, blobs.Check{Account: id, Deep: true}); err != nil || sum.Claims != 1 || sum.Missing+sum.Damaged > 0 {
					t.Errorf("%v, %+v", err, sum)
				}
				s.expunge(id, "INBOX")
				if _, err := s.keeper.Purge(s.ctx, id, "test", query.Query{}, false); err != nil {
					t.Error(err)
				}
				underway.Lock()
				s.wait(time.Hour)
				underway.Unlock()
			}
		})
	}
	delivering.Wait()
	close(stop)
	collecting.Wait()
	s.wait(24 * time.Hour)
	sum, err := s.blobs.Collect(s.ctx, blobs.Request{Grace: time.Hour})
	if err != nil || s.bucket.Len() != 0 {
		t.Errorf("%v, %+v, %d blobs are left", err, sum, s.bucket.Len())
	}
	t.Logf("%d blobs were deleted meanwhile", deleted)
}

// TestCollectNeedsEveryView refuses to delete while it cannot be told what is claimed.
func TestCollectNeedsEveryView(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.deliver(alice, "INBOX", "kept")
	s.wait(48 * time.Hour)
	stream := s.log.StreamOf(alice)
	broken := errors.New("stopped")
	for why, v := range map[string]spoilt{
		"a view that has stopped":                           {Views: views{s.runner, blobs.Name}, stream: stream, wait: broken},
		"a view that is not open":                           {Views: views{s.runner, blobs.Name}, stream: stream, open: broken},
		"a view that was emptied after it had caught up":    {Views: views{s.runner, blobs.Name}, stream: stream, other: s.log.Streams()[1]},
		"a view of another stream instead of the one asked": {Views: views{s.runner, blobs.Name}, stream: stream, other: s.log.Streams()[2]},
	} {
		if v.other == stream {
			continue
		}
		keeper := *s.blobs
		keeper.Views = v
		if sum, err := keeper.Collect(s.ctx, blobs.Request{}); !domain.Is(err, domain.Unavailable) || sum.Deleted > 0 {
			t.Errorf("%s: %v, %+v", why, err, sum)
		}
	}
	if s.bucket.Len() != 1 {
		t.Error("the message is gone")
	}
	if sum, err := s.blobs.Collect(s.ctx, blobs.Request{}); err != nil || sum.Claimed != 1 {
		t.Errorf("%v, %+v", err, sum)
	}
	if total, err := s.blobs.Stats(s.ctx); err != nil || total.Stored != 1 || total.Claims != (blobs.Totals{Claims: 1, Blobs: 1, Octets: int64(len(letter("kept")))}) {
		t.Errorf("%v, %+v", err, total)
	}
}

// TestCollectSparesWhatOthersNeed, such as mail that is on its way, and deletes nothing while they cannot tell.
func TestCollectSparesWhatOthersNeed(t *testing.T) {
	s := start(t)
	queued, err := s.store.Put(s.ctx, strings.NewReader("queued"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Put(s.ctx, strings.NewReader("nobody's")); err != nil {
		t.Fatal(err)
	}
	s.wait(48 * time.Hour)
	down := domain.Errorf(domain.Unavailable, "down")
	for _, c := range []struct {
		other claimant
		err   error
		left  int
	}{{claimant{queued.ID, down}, down, 2}, {claimant{queued.ID, nil}, nil, 1}, {claimant{}, nil, 0}} {
		keeper := *s.blobs
		keeper.Others = []blobs.Claimant{c.other}
		if sum, err := keeper.Collect(s.ctx, blobs.Request{Grace: time.Hour}); !errors.Is(err, c.err) || s.bucket.Len() != c.left {
			t.Errorf("%v, %+v, %d blobs are left", err, sum, s.bucket.Len())
		}
	}
}

// claimant needs one blob.
type claimant struct {
	blob domain.BlobID
	err  error
}

func (c claimant) Claims(_ context.Context, ids []domain.BlobID) ([]bool, error) {
	needed := make([]bool, len(ids))
	for n, id := range ids {
		needed[n] = id == c.blob
	}
	return needed, c.err
}

// spoilt fails for one stream, or gives the rows of another one for it.
type spoilt struct {
	blobs.Views
	stream, other string
	wait, open    error
}

func (v spoilt) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	if stream == v.stream && v.wait != nil {
		return v.wait
	}
	return v.Views.Wait(ctx, stream, seq)
}

func (v spoilt) Reader(stream string) (projections.Reader, error) {
	switch {
	case stream == v.stream && v.open != nil:
		return nil, v.open
	case stream == v.stream && v.other != "":
		stream = v.other
	}
	return v.Views.Reader(stream)
}

// A message that a mailbox gets and loses again and again has a row that does not grow.
func TestOriginsAreNamedOnce(t *testing.T) {
	s := start(t)
	alice := s.account("alice")
	s.deliver(alice, "INBOX", "first")
	for uid := range domain.UID(3) {
		s.do(alice, account.Transfer{From: 1, To: "Archive", UIDs: domain.UIDs(1), Now: s.clock().Unix()})
		s.expunge(alice, "Archive", uid+1)
	}
	s.expunge(alice, "INBOX", 1)
	if err := s.runner.WaitFor(s.ctx, vault.Name, s.log.StreamOf(alice), s.last(alice)); err != nil {
		t.Fatal(err)
	}
	r, err := s.runner.ReaderOf(vault.Name, alice)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := r.Query(s.ctx, `select origins from vault_emails where account = $1`, string(alice))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var origins string
		if err := rows.Scan(&origins); err != nil || strings.Count(origins, "\n") != 2 || !strings.HasSuffix(origins, " INBOX\n") || origins[0] == '\n' {
			t.Errorf("origins are %q, %v", origins, err)
		}
	}
}

func (s *server) last(id domain.AccountID) domain.Seq {
	s.tb.Helper()
	at, err := s.log.Last(s.ctx, id)
	if err != nil {
		s.tb.Fatal(err)
	}
	return at.Seq
}
