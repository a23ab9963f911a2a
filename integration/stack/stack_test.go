package stack_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/streams"
)

const letter = "From: Bob <bob@example.org>\r\nTo: alice@example.org\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n"

// look describes all of an account that clients can see: its state, its rows and its messages' bytes.
func look(t *testing.T, s *stack.Stack, id domain.AccountID) string {
	t.Helper()
	var out strings.Builder
	uids := map[domain.MailboxID]domain.UIDSet{}
	err := s.Accounts.View(t.Context(), id, func(a *account.State) error {
		out.Reset()
		fmt.Fprintln(&out, a.Tx, a.Keywords, a.Subscribed, a.Usage, a.Limits, a.NextEmail, a.NextMailbox, a.LastUIDValidity)
		for _, m := range a.Sorted() {
			fmt.Fprintf(&out, "%+v\n", *m)
			uids[m.ID] = nil
			for _, uid := range m.UID {
				uids[m.ID] = uids[m.ID].Add(uid)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for box := domain.MailboxID(1); box < 20; box++ {
		for e, err := range s.Accounts.Emails(t.Context(), id, box, uids[box], door.WantEnvelope|door.WantStructure|door.WantSummary|door.WantBlob) {
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Accounts.Open(t.Context(), e.Blob, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			fmt.Fprintf(&out, "%d/%d %d %s %s %q %x\n", box, e.UID, e.Email, e.Envelope, e.Structure, e.Summary.Preview, sha256.Sum256(text))
		}
	}
	return out.String()
}

// TestAnAccountOutlivesEverything works on an account, and then stops, crashes and loses its views: it looks the same each time.
func TestAnAccountOutlivesEverything(t *testing.T) {
	s := stack.New(t)
	alice := s.AddAccount(t, "alice@example.org", "secret")
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() { work(t, s, alice, uint64(c), 25) })
	}
	clients.Wait()
	before := look(t, s, alice)
	for name, disturb := range map[string]func(){"restart": s.Restart, "crash": s.Crash, "views removed": s.RemoveViews} {
		disturb()
		if after := look(t, s, alice); after != before {
			t.Errorf("%s: the account was\n%s\nand is\n%s", name, before, after)
		}
		if who, err := s.Directory.Authenticate(t.Context(), "alice@example.org", "secret"); err != nil || who.Account != alice {
			t.Errorf("%s: alice is %+v, %v", name, who, err)
		}
	}
	s.Settle()
	report, err := s.Runner.Verify(t.Context(), projections.Selection{}, projections.VerifyOptions{Limit: 10}, nil)
	if err != nil || len(report.Differences) > 0 {
		t.Errorf("the views are not what the log folds to: %+v, %v", report, err)
	}
	if log, err := s.Log.Verify(t.Context(), streams.VerifyOptions{}, nil); err != nil || len(log.Findings) > 0 {
		t.Errorf("the log is damaged: %+v, %v", log, err)
	}
}

// work runs random commands.
func work(t *testing.T, s *stack.Stack, id domain.AccountID, seed uint64, n int) {
	random := rand.New(rand.NewPCG(seed, 3))
	names := []string{"INBOX", "a", "a/b", "c", "Trash"}
	name := func() string { return names[random.IntN(len(names))] }
	for i := range n {
		uids := domain.UIDs(domain.UID(1+random.IntN(12)), domain.UID(1+random.IntN(12)))
		box := domain.MailboxID(1 + random.IntN(8))
		var c account.Command
		switch random.IntN(9) {
		case 0:
			c = account.CreateMailbox{Name: name(), UIDValidity: 5}
		case 1:
			c = account.RenameMailbox{From: name(), To: name(), Now: 6}
		case 2:
			c = account.StoreFlags{Mailbox: box, UIDs: uids, Mode: account.StoreMode(random.IntN(3)), Flags: []string{`\Deleted`, fmt.Sprint("w", i%3)}}
		case 3:
			c = account.Transfer{From: box, To: name(), UIDs: uids, Move: random.IntN(2) == 0, Now: 7}
		case 4:
			c = account.Expunge{Mailbox: box, UIDs: uids}
		case 5:
			c = account.Subscribe{Name: name(), On: random.IntN(2) == 0}
		default:
			stored, err := s.Accounts.Ingest(t.Context(), strings.NewReader(fmt.Sprintf("Subject: %d-%d\r\n%s", seed, i, letter)))
			if err != nil {
				t.Error(err)
				return
			}
			c = account.AddMessage{Mailbox: name(), Fallback: true, Blob: stored.Blob, Summary: stored.Summary, Flags: []string{`\Seen`}, Internal: 8, Now: 9}
		}
		if _, err := s.Accounts.Do(t.Context(), id, fmt.Sprint("client ", seed), c); domain.KindOf(err) == domain.Internal && err != nil || domain.Is(err, domain.Unavailable) {
			t.Error(err)
		}
	}
}

func TestAnErasedAccountIsGone(t *testing.T) {
	s := stack.New(t)
	alice := s.AddAccount(t, "alice@example.org", "")
	bob := s.AddAccount(t, "bob@example.org", "")
	doortest.Deliver(t, s.Accounts, alice, "INBOX", letter)
	doortest.Deliver(t, s.Accounts, bob, "INBOX", letter)
	w, err := s.Accounts.Watch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	bobs := look(t, s, bob)
	if err := s.Directory.Erase(t.Context(), "test", alice); err != nil {
		t.Fatal(err)
	}
	<-w.C
	for round := range 2 {
		if err := s.Accounts.View(t.Context(), alice, func(*account.State) error { return nil }); !domain.Is(err, domain.Erased) {
			t.Errorf("a View gave %v", err)
		}
		if n, err := s.Directory.FinishErasures(t.Context()); n != round || err != nil { // a new start looks once more at what Erase did
			t.Errorf("finishing %d erasures gave %v", n, err)
		}
		if got := look(t, s, bob); got != bobs {
			t.Errorf("bob's account was\n%s\nand is\n%s", bobs, got)
		}
		s.RemoveViews()
	}
}

// Rows that were changed by something else are found when the account is loaded, and made anew: whoever asked gets the truth, and nobody is turned away.
func TestDamagedRowsAreMendedOnTheWay(t *testing.T) {
	var logged syncedText
	s := stack.New(t, func(c *stack.Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	alice, bob := s.AddAccount(t, "alice@example.org", ""), s.AddAccount(t, "bob@example.org", "")
	for range 3 {
		doortest.Deliver(t, s.Accounts, alice, "INBOX", letter)
		doortest.Deliver(t, s.Accounts, bob, "INBOX", letter)
	}
	before, bobs := look(t, s, alice), look(t, s, bob)
	s.Settle()
	stream := s.Log.StreamOf(alice)
	view, err := s.Views.Open(t.Context(), projectiontest.Live(t, s.Runner, stream, mailboxes.Name))
	if err != nil {
		t.Fatal(err)
	}
	for _, harm := range []string{
		`update messages set flags = 1 where account = $1 and uid = 2`, `delete from messages where account = $1 and uid = 2`, `delete from accounts where account = $1`,
		`update accounts set tx = tx + 1 where account = $1`, `update accounts set tx = tx - 1 where account = $1`, `update accounts set seq = seq + 1 where account = $1`,
		`update accounts set seq = seq - 1 where account = $1`, `update accounts set hash = substr(hash, 2) where account = $1`, `update accounts set erased = 1 where account = $1`,
	} {
		if err := view.Update(t.Context(), func(tx projections.Tx) error { _, err := tx.Exec(t.Context(), harm, string(alice)); return err }); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(harm, "update messages") {
			hot, stored, err := s.Accounts.Digests(t.Context(), alice)
			if err != nil || hot.Tx == 0 || hot.Against(stored) != nil {
				t.Errorf("the stored digests are not touched, and say %+v in memory, %+v in the view, %v", hot, stored, err)
			}
		}
		s.Accounts.Rebuilt(stream, alice) // as if its state had gone to make room
		mended := s.Accounts.Stats().Mended
		if after := look(t, s, alice); after != before {
			t.Errorf("%s: the account was\n%s\nand is\n%s", harm, before, after)
		}
		if n := s.Accounts.Stats().Mended; n != mended+1 {
			t.Errorf("%s: %d accounts were mended", harm, n-mended)
		}
		if !logged.has("made anew", string(alice)) || logged.has(string(bob)) {
			t.Errorf("%s: the log says %s", harm, logged.text())
		}
		logged.reset()
	}
	if after := look(t, s, bob); after != bobs {
		t.Error("bob's account is another")
	}
	// What comes next is chained to what the log has, not to what the rows said.
	doortest.Deliver(t, s.Accounts, alice, "INBOX", letter)
	s.Settle()
	report, err := s.Runner.Verify(t.Context(), projections.Selection{}, projections.VerifyOptions{Limit: 9}, nil)
	if err != nil || report.Total != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	hot, stored, err := s.Accounts.Digests(t.Context(), alice)
	if err != nil || hot.Against(stored) != nil {
		t.Errorf("%+v, %+v, %v", hot, stored, err)
	}
	if _, _, err := s.Accounts.Digests(t.Context(), domain.NewAccountID([10]byte{99})); !domain.Is(err, domain.NotFound) {
		t.Errorf("an account that is not there: %v", err)
	}
}

// unmendable is views that cannot be written, as on a disk that fails.
type unmendable struct{ door.Views }

func (unmendable) Mend(context.Context, domain.AccountID) error {
	return domain.Errorf(domain.Unavailable, "the disk fell off")
}

// While rows can neither be believed nor made anew, the state comes from the log.
func TestDamagedRowsThatCannotBeMended(t *testing.T) {
	s := stack.New(t, func(c *stack.Config) { c.Door = func(c *door.Config) { c.Views = unmendable{c.Views} } })
	alice := s.AddAccount(t, "alice@example.org", "")
	doortest.Deliver(t, s.Accounts, alice, "INBOX", letter)
	s.Settle()
	stream := s.Log.StreamOf(alice)
	view, err := s.Views.Open(t.Context(), projectiontest.Live(t, s.Runner, stream, mailboxes.Name))
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Update(t.Context(), func(tx projections.Tx) error {
		_, err := tx.Exec(t.Context(), `update messages set flags = 1 where account = $1`, string(alice))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.Accounts.Rebuilt(stream, alice)
	doortest.Deliver(t, s.Accounts, alice, "INBOX", letter)
	if err := s.Accounts.View(t.Context(), alice, func(a *account.State) error {
		if a.Usage.Unseen != 2 || a.Mailboxes[1].Digest != a.Mailboxes[1].Recount() {
			t.Errorf("the state is %+v", a)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// syncedText is a log handler's output.
type syncedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncedText) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncedText) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

func (s *syncedText) has(all ...string) bool {
	for _, what := range all {
		if !strings.Contains(s.text(), what) {
			return false
		}
	}
	return true
}
