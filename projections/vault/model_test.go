package vault_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	query "github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/history"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/projections/vault"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
	"pgregory.net/rapid"
)

// server is all between the doors and the log, on a log and a bucket in memory and view files on disk.
type server struct {
	tb        storetest.TB
	ctx       context.Context
	log       *projectiontest.Log
	bucket    *blobtest.Memory
	store     *blob.Store
	runner    *projections.Runner
	accounts  *door.Accounts
	directory *door.Directory
	keeper    *vault.Keeper
	blobs     *blobs.Keeper
	restorer  *history.Restorer
	stop      func()

	mu  sync.Mutex
	now time.Time
}

// views is where package vault and package blobs find their rows.
type views struct {
	runner *projections.Runner
	name   string
}

func (v views) Reader(stream string) (projections.Reader, error) {
	return v.runner.Reader(stream, v.name)
}

func (v views) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	return v.runner.WaitFor(ctx, v.name, stream, seq)
}

type rows struct {
	mailboxes.Store
	log *projectiontest.Log
}

func (r rows) Thread(ctx context.Context, id domain.AccountID, m *message.Summary, upTo domain.Seq) (domain.ThreadID, error) {
	if err := r.WaitFor(ctx, threads.Name, r.log.StreamOf(id), upTo); err != nil {
		return 0, err
	}
	view, err := r.ReaderOf(threads.Name, id)
	if err != nil {
		return 0, err
	}
	return threads.Find(ctx, view, id, m.Keys)
}

func (r rows) ThreadKeys(ctx context.Context, id domain.AccountID, most int, upTo domain.Seq) ([]uint64, error) {
	if err := r.WaitFor(ctx, threads.Name, r.log.StreamOf(id), upTo); err != nil {
		return nil, err
	}
	view, err := r.ReaderOf(threads.Name, id)
	if err != nil {
		return nil, err
	}
	return threads.Keys(ctx, view, id, most)
}

func (r rows) Scripts(ctx context.Context, id domain.AccountID, upTo domain.Seq) (account.Scripts, domain.Tx, error) {
	return account.Scripts{}, 0, nil
}

func (r rows) Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx, upTo domain.Seq) (domain.UIDSet, bool, error) {
	return changes.Store{Runner: r.Runner}.Vanished(ctx, id, mailbox, since, upTo)
}

func (r rows) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want door.Columns) iter.Seq2[door.Email, error] {
	return func(yield func(door.Email, error) bool) {
		for e, err := range r.Store.Emails(ctx, id, mailbox, uids, mailboxes.Columns(want)) {
			if !yield(door.Email(e), err) {
				return
			}
		}
	}
}

func newServer(tb storetest.TB, dir string) *server {
	s := &server{tb: tb, ctx: context.Background(), log: projectiontest.New(2), bucket: new(blobtest.Memory), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	s.bucket.Clock = s.clock
	s.store = blob.New(s.bucket, [32]byte{7})
	files, err := storetest.Open(tb, dir, sqlview.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	s.runner = projections.NewRunner(projections.Config{Log: s.log, Views: files, Logger: quiet, Limits: projections.Limits{Linger: time.Millisecond}, Projections: []projections.Projection{
		mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New(), vault.New(), blobs.New(), dirview.New(),
	}})
	s.accounts, s.directory, err = door.New(s.ctx, door.Config{Log: s.log, Views: rows{mailboxes.Store{Runner: s.runner}, s.log}, Blobs: s.store, Logger: quiet, Clock: s.clock})
	if err != nil {
		tb.Fatal(err)
	}
	s.runner.Notify(s.accounts.Observe)
	s.runner.OnRebuilt(func(stream, projection string, id domain.AccountID) {
		if projection == mailboxes.Name {
			s.accounts.Rebuilt(stream, id)
		}
	})
	running, cancel := context.WithCancel(s.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.runner.Run(running) }()
	s.stop = func() { cancel(); <-ended; _ = files.Close() }
	s.keeper = &vault.Keeper{Log: s.log, Views: views{s.runner, vault.Name}, Accounts: s.accounts, Blobs: s.store, Clock: s.clock}
	s.blobs = &blobs.Keeper{Log: s.log, Views: views{s.runner, blobs.Name}, Store: s.store, Clock: s.clock}
	s.restorer = &history.Restorer{Log: s.log, Accounts: s.accounts, Blobs: s.store, Clock: s.clock}
	if err := s.directory.AddDomain(s.ctx, "test", "example.org"); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *server) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *server) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

const hash = "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI"

func (s *server) account(name string) domain.AccountID {
	s.tb.Helper()
	a, err := s.directory.AddAccount(s.ctx, "test", name+"@example.org", hash)
	if err != nil {
		s.tb.Fatal(err)
	}
	return a.ID
}

func letter(subject string) string {
	return "From: Bob <bob@example.net>\r\nTo: alice@example.org\r\nSubject: " + subject + "\r\n\r\n" + subject + " in full.\r\n"
}

func (s *server) deliver(id domain.AccountID, mailbox, subject string, flags ...string) {
	s.tb.Helper()
	stored, err := s.accounts.Ingest(s.ctx, strings.NewReader(letter(subject)))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.do(id, account.AddMessage{Mailbox: mailbox, Blob: stored.Blob, Summary: stored.Summary, Flags: flags, Internal: s.clock().Unix() - 60, Now: s.clock().Unix(), Fallback: true})
}

func (s *server) do(id domain.AccountID, c account.Command) domain.Tx {
	s.tb.Helper()
	outcome, err := s.accounts.Do(s.ctx, id, "test", c)
	if err != nil {
		s.tb.Fatalf("%T: %v", c, err)
	}
	return outcome.Tx
}

// expunge deletes messages of a mailbox for good; all of them without numbers.
func (s *server) expunge(id domain.AccountID, mailbox string, uids ...domain.UID) {
	s.tb.Helper()
	box := s.box(id, mailbox)
	set := domain.UIDs(uids...)
	if uids == nil {
		set = domain.UIDSet{{Lo: 1, Hi: 1<<32 - 1}}
	}
	s.do(id, account.StoreFlags{Mailbox: box, UIDs: set, Mode: account.AddFlags, Flags: []string{`\Deleted`}})
	s.do(id, account.Expunge{Mailbox: box, UIDs: set})
}

func (s *server) box(id domain.AccountID, mailbox string) (box domain.MailboxID) {
	s.tb.Helper()
	s.view(id, func(state *account.State) {
		m, ok := state.Mailbox(mailbox)
		if !ok {
			s.tb.Fatalf("there is no mailbox %s", mailbox)
		}
		box = m.ID
	})
	return box
}

func (s *server) view(id domain.AccountID, f func(*account.State)) {
	s.tb.Helper()
	if err := s.accounts.View(s.ctx, id, func(state *account.State) error { f(state); return nil }); err != nil {
		s.tb.Fatal(err)
	}
}

// deleted lists the vault as "subject" of each message, sorted.
func (s *server) deleted(id domain.AccountID, terms string) []string {
	s.tb.Helper()
	q, err := query.ParseTerms(terms)
	if err != nil {
		s.tb.Fatal(err)
	}
	subjects := []string{}
	if err := s.keeper.Browse(s.ctx, id, q, func(r *vault.Row) error { subjects = append(subjects, r.Subject); return nil }); err != nil {
		s.tb.Fatal(err)
	}
	slices.Sort(subjects)
	return subjects
}

// TestReferencesAreExact runs random commands, deletions, restorations, purges and erasures on two accounts that share messages. At every look,
// the vault holds what was deleted and not purged, the claims are those of all that can be read or restored, and a collection deletes exactly
// what nobody claims.
func TestReferencesAreExact(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := &model{server: newServer(t, fmt.Sprintf("%s/%d", dir, n)), purged: map[domain.AccountID]map[domain.EmailID]bool{}, texts: map[domain.AccountID][]string{}}
		defer m.stop()
		for _, name := range []string{"alice", "bob"} {
			id := m.account(name)
			m.ids = append(m.ids, id)
			m.purged[id] = map[domain.EmailID]bool{}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        m.look,
			"deliver": m.deliverSome,
			"file":    m.file,
			"delete":  m.remove,
			"empty":   m.empty,
			"restore": m.restore,
			"travel":  m.travel,
			"purge":   m.purge,
			"expire":  m.expire,
			"erase":   m.erase,
			"collect": m.collect,
			"rebuild": m.rebuild,
		})
		report, err := m.runner.Verify(m.ctx, projections.Selection{}, projections.VerifyOptions{}, nil)
		if err != nil || report.Total > 0 {
			t.Fatalf("%v, %+v", err, report)
		}
	})
}

// model knows the subject of every message that an account got, in order of their emails, and which were purged.
type model struct {
	*server
	ids    []domain.AccountID
	texts  map[domain.AccountID][]string
	purged map[domain.AccountID]map[domain.EmailID]bool
}

func (m *model) some(t *rapid.T) domain.AccountID {
	m.tb = t
	m.wait(time.Minute)
	if len(m.ids) == 0 {
		t.Skip("everybody is erased")
	}
	return rapid.SampledFrom(m.ids).Draw(t, "account")
}

var someBox = rapid.SampledFrom([]string{"INBOX", "Archive", "Trash", "a", "a/b"})

func (m *model) deliverSome(t *rapid.T) {
	id := m.some(t)
	for range rapid.IntRange(1, 4).Draw(t, "messages") {
		subject := rapid.SampledFrom([]string{"one", "two", "three", "four", "five", "six", "seven"}).Draw(t, "subject")
		m.deliver(id, someBox.Draw(t, "mailbox"), subject, rapid.SampledFrom([]string{`\Seen`, `\Flagged`, "work"}).Draw(t, "flag"))
		m.texts[id] = append(m.texts[id], subject)
	}
}

func (m *model) file(t *rapid.T) {
	id := m.some(t)
	box := someBox.Draw(t, "mailbox")
	switch rapid.IntRange(0, 3).Draw(t, "how") {
	case 0:
		_, _ = m.accounts.Do(m.ctx, id, "test", account.CreateMailbox{Name: box, UIDValidity: 1})
	case 1:
		_, _ = m.accounts.Do(m.ctx, id, "test", account.RenameMailbox{From: box, To: someBox.Draw(t, "to"), Now: 1, UIDValidity: 1})
	default:
		box = rapid.SampledFrom([]string{box, "INBOX"}).Draw(t, "to")
		_, _ = m.accounts.Do(m.ctx, id, "test", account.Transfer{From: 1, To: box, UIDs: someUIDs.Draw(t, "uids"), Move: rapid.Bool().Draw(t, "move"), Now: 1})
	}
}

var someUIDs = rapid.Custom(func(t *rapid.T) domain.UIDSet {
	lo := domain.UID(rapid.IntRange(1, 10).Draw(t, "lo"))
	return domain.UIDSet{{Lo: lo, Hi: lo + domain.UID(rapid.IntRange(0, 3).Draw(t, "more"))}}
})

func (m *model) remove(t *rapid.T) {
	id := m.some(t)
	box := someBox.Draw(t, "mailbox")
	if rapid.IntRange(0, 3).Draw(t, "how") == 0 {
		_, _ = m.accounts.Do(m.ctx, id, "test", account.DeleteMailbox{Name: box})
		return
	}
	var number domain.MailboxID = 1
	m.view(id, func(s *account.State) {
		if b, ok := s.Mailbox(box); ok {
			number = b.ID
		}
	})
	uids := someUIDs.Draw(t, "uids")
	m.do(id, account.StoreFlags{Mailbox: number, UIDs: uids, Mode: account.AddFlags, Flags: []string{`\Deleted`}})
	m.do(id, account.Expunge{Mailbox: number, UIDs: uids})
}

// empty deletes all that is in INBOX.
func (m *model) empty(t *rapid.T) { m.expunge(m.some(t), "INBOX") }

func (m *model) restore(t *rapid.T) {
	id := m.some(t)
	before := m.deleted(id, "")
	q := vault.Restoration{Original: rapid.Bool().Draw(t, "original"), Query: someQuery.Draw(t, "query")}
	result, err := m.keeper.Restore(m.ctx, id, "test", q)
	if err != nil || result.Failed > 0 {
		t.Fatalf("%v, %+v", err, result)
	}
	if after := m.deleted(id, ""); len(before)-len(after) != int(result.Found) {
		t.Fatalf("of %v %v are left, but the result is %+v", before, after, result)
	}
	if again, err := m.keeper.Restore(m.ctx, id, "test", q); err != nil || again.Restored > 0 {
		t.Fatalf("a second run restored %+v, %v", again, err)
	}
}

var someQuery = rapid.Custom(func(t *rapid.T) query.Query {
	q, err := query.ParseTerms(rapid.SampledFrom([]string{"", "", "", "", "one", "two", "from:bob three", "mailbox:Trash"}).Draw(t, "terms"))
	if err != nil {
		t.Fatal(err)
	}
	return q
})

// travel restores what was there at some transaction. What was purged stays away, and all else is back.
func (m *model) travel(t *rapid.T) {
	id := m.some(t)
	last, err := m.log.Last(m.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	q := history.Request{At: history.Point{Tx: domain.Tx(rapid.IntRange(1, int(last.Tx)).Draw(t, "tx"))}, DeletedOnly: rapid.Bool().Draw(t, "deleted only")}
	past, err := history.At(m.ctx, m.log, id, q.At, m.clock())
	if err != nil {
		t.Fatal(err)
	}
	plan := q
	plan.DryRun = true
	planned, err := m.restorer.Restore(m.ctx, id, "test", plan)
	if err != nil {
		t.Fatal(err)
	}
	result, err := m.restorer.Restore(m.ctx, id, "test", q)
	if err != nil || result.Restored != planned.Restored || result.Failed != planned.Failed {
		t.Fatalf("%v, planned %+v, got %+v", err, planned, result)
	}
	m.view(id, func(s *account.State) {
		for _, then := range past.State.Mailboxes {
			box := s.Mailboxes[then.ID]
			if box == nil {
				box, _ = s.Mailbox(then.Name)
			}
			for i, email := range then.Email {
				switch {
				case m.purged[id][email]:
				case q.DeletedOnly:
					if !s.Has(map[domain.EmailID]bool{email: true})[email] {
						t.Fatalf("email %d is nowhere", email)
					}
				case box == nil:
					t.Fatalf("mailbox %s did not come back", then.Name)
				default:
					at := slices.Index(box.Email, email)
					if at < 0 {
						t.Fatalf("email %d of %s did not come back", email, then.Name)
					}
					if box.Internal[at] != then.Internal[i] || box.Thread[at] != then.Thread[i] || box.Size[at] != then.Size[i] {
						t.Fatalf("email %d is %+v and was %+v", email, box.At(at), then.At(i))
					}
				}
			}
		}
	})
	if again, err := m.restorer.Restore(m.ctx, id, "test", q); err != nil || again.Restored > 0 {
		t.Fatalf("a second run restored %+v, %v", again, err)
	}
}

func (m *model) purge(t *rapid.T) {
	id := m.some(t)
	q := someQuery.Draw(t, "query")
	if err := m.keeper.Browse(m.ctx, id, q, func(r *vault.Row) error { m.purged[id][r.Email] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := m.keeper.Purge(m.ctx, id, "test", q, false); err != nil {
		t.Fatal(err)
	}
}

// expire purges what was deleted before this step, and nothing that is deleted in the minute before it.
func (m *model) expire(t *rapid.T) {
	m.some(t)
	keep := time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute
	want := int64(0)
	for _, id := range m.ids {
		if err := m.keeper.Browse(m.ctx, id, query.Query{}, func(r *vault.Row) error {
			if r.Deleted < m.clock().Add(-keep).UnixMilli() {
				m.purged[id][r.Email] = true
				want++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if sum, err := m.keeper.Expire(m.ctx, "test", keep, false, nil); err != nil || sum.Messages != want {
		t.Fatalf("%v, %+v; want %d", err, sum, want)
	}
}

func (m *model) erase(t *rapid.T) {
	id := m.some(t)
	if rapid.IntRange(0, 5).Draw(t, "really") > 0 {
		t.Skip("not this time")
	}
	if err := m.directory.Erase(m.ctx, "test", id); err != nil {
		t.Fatal(err)
	}
	m.ids = slices.DeleteFunc(m.ids, func(other domain.AccountID) bool { return other == id })
}

func (m *model) rebuild(t *rapid.T) {
	m.some(t)
	sel := projections.Selection{Projection: rapid.SampledFrom([]string{vault.Name, blobs.Name}).Draw(t, "projection")}
	if _, err := m.runner.Rebuild(m.ctx, sel, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
}

// claims gives the blobs that the model says are claimed, with the number of claims.
func (m *model) claims(t *rapid.T) map[string]int {
	all := map[string]int{}
	for _, id := range m.ids {
		for i, subject := range m.texts[id] {
			if !m.purged[id][domain.EmailID(i+1)] {
				all[subject]++
			}
		}
	}
	return all
}

func (m *model) look(t *rapid.T) {
	m.tb = t
	got := map[string]int{}
	read := func(c blobs.Claim) error {
		r, err := m.store.Open(m.ctx, c.Blob, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		_, subject, _ := strings.Cut(string(text), "Subject: ")
		subject, _, _ = strings.Cut(subject, "\r")
		got[subject]++
		return err
	}
	for _, id := range m.ids {
		live := map[domain.EmailID]bool{}
		m.view(id, func(s *account.State) {
			for _, box := range s.Mailboxes {
				for _, e := range box.Email {
					live[e] = true
				}
			}
		})
		want := []string{}
		for i, subject := range m.texts[id] {
			if e := domain.EmailID(i + 1); !live[e] && !m.purged[id][e] {
				want = append(want, subject)
			}
		}
		slices.Sort(want)
		if got := m.deleted(id, ""); !slices.Equal(got, want) {
			t.Fatalf("the vault has %v, the model %v", got, want)
		}
	}
	for _, stream := range m.log.Streams() {
		if !strings.HasPrefix(stream, "ACCOUNTS_") {
			continue
		}
		head, err := m.log.Head(m.ctx, stream)
		if err == nil {
			err = m.runner.Wait(m.ctx, stream, head)
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.runner.Reader(stream, blobs.Name)
		if err == nil {
			err = blobs.Claims(m.ctx, r, "", read)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := m.claims(t); !maps.Equal(got, want) {
		t.Fatalf("claimed are %v, the model has %v", got, want)
	}
}

// collect deletes what nobody claims: first nothing, since all is young, then all of it.
func (m *model) collect(t *rapid.T) {
	m.tb = t
	const grace = 1000 * time.Hour // the actions of one run take less
	if sum, err := m.blobs.Collect(m.ctx, blobs.Request{Grace: grace}); err != nil || sum.Deleted > 0 {
		t.Fatalf("%v, %+v", err, sum)
	}
	keeper := *m.blobs
	keeper.Clock = func() time.Time { return m.clock().Add(grace + time.Minute) }
	before := m.bucket.Len()
	planned, err := keeper.Collect(m.ctx, blobs.Request{Grace: grace, DryRun: true})
	if err != nil || m.bucket.Len() != before {
		t.Fatalf("a dry run: %v, %d blobs of %d are left", err, m.bucket.Len(), before)
	}
	sum, err := keeper.Collect(m.ctx, blobs.Request{Grace: grace})
	if err != nil || sum.Deleted != planned.Deleted || sum.Octets != planned.Octets {
		t.Fatalf("%v, planned %+v, got %+v", err, planned, sum)
	}
	if want := len(m.claims(t)); m.bucket.Len() != want {
		t.Fatalf("%d blobs are left, %d are claimed", m.bucket.Len(), want)
	}
	if v, err := keeper.Verify(m.ctx, blobs.Check{Deep: true}); err != nil || v.Missing+v.Damaged > 0 {
		t.Fatalf("%v, %+v", err, v)
	}
}
