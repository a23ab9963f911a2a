package mailboxes_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
	"pgregory.net/rapid"
)

// TestViewIsTheFold drives accounts with random commands. Whatever the batches are, wherever a commit fails or the process restarts: the rows
// give back the state that folding the log gives, counters and quota agree with it, and a comparison with the log finds nothing.
func TestViewIsTheFold(t *testing.T) {
	tempDir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := newModel(t, fmt.Sprintf("%s/%d", tempDir, n))
		defer func() { m.stop() }()
		t.Repeat(map[string]func(*rapid.T){
			"commands":     func(t *rapid.T) { m.commands(t, 5) },
			"crash":        m.crash,
			"restart":      m.restart,
			"look":         m.look,
			"lose a view":  m.lose,
			"make it anew": m.rebuild,
		})
		m.look(t)
		for repair := range 2 { // files that were lost may not be made anew yet, or nobody noticed
			report, err := m.runner.Verify(m.ctx, projections.Selection{}, projections.VerifyOptions{Limit: 10, Repair: repair == 0}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range report.Differences {
				if repair == 1 || d.Table != "" {
					t.Error(d)
				}
			}
		}
		count, err := m.runner.Count(m.ctx, projections.Selection{}, projections.CountOptions{Limit: 10}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range count.Miscounts {
			t.Error(c)
		}
	})
}

// model is a log, the states that folding it gives, and a runner on real view files.
type model struct {
	ctx    context.Context
	dir    string
	log    *projectiontest.Log
	states map[domain.AccountID]*account.State
	added  map[domain.AccountID][]*event.MessageAdded
	ids    []domain.AccountID
	now    int64

	runner *projections.Runner
	views  *crashing
	lost   bool // a file was deleted under this runner
	stop   func()
}

func newModel(t *rapid.T, dir string) *model {
	m := &model{
		dir: dir, log: projectiontest.New(2),
		states: map[domain.AccountID]*account.State{}, added: map[domain.AccountID][]*event.MessageAdded{}, now: 1_700_000_000,
	}
	for i := range 2 {
		id := domain.NewAccountID([10]byte{byte(i)})
		m.ids = append(m.ids, id)
		m.states[id] = account.New()
	}
	m.start(t)
	return m
}

func (m *model) start(t *rapid.T) {
	store, err := storetest.Open(t, m.dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	m.ctx = ctx
	m.views, m.lost = &crashing{Views: store}, false
	m.runner = projections.NewRunner(projections.Config{
		Log: m.log, Views: m.views, Projections: []projections.Projection{mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New()},
		Limits: projections.Limits{
			BatchEntries: rapid.IntRange(1, 50).Draw(t, "batch"), BatchOctets: rapid.SampledFrom([]int{0, 1, 3000}).Draw(t, "octets"),
			FarBehind: rapid.IntRange(1, 5).Draw(t, "far"), Replays: 1, BackoffMin: time.Millisecond,
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.runner.Run(ctx) }()
	m.stop = func() {
		cancel()
		<-ended
		_ = store.Close()
	}
}

func (m *model) commands(t *rapid.T, most int) {
	for range rapid.IntRange(1, most).Draw(t, "commands") {
		m.command(t)
	}
}

// command decides a random command on a random account and appends what it gives.
func (m *model) command(t *rapid.T) {
	id := rapid.SampledFrom(m.ids).Draw(t, "account")
	s := m.states[id]
	m.now++
	events, err := account.Decide(s, m.draw(t, id, s))
	if err != nil || len(events) == 0 {
		return
	}
	for _, e := range events {
		if added, ok := e.(*event.MessageAdded); ok {
			m.added[id] = append(m.added[id], added)
		}
	}
	position := m.log.Add(id, m.now*1000, events...)
	for _, e := range events {
		s.Apply(position.Tx, e)
	}
}

func (m *model) draw(t *rapid.T, id domain.AccountID, s *account.State) account.Command {
	if len(s.Mailboxes) == 0 {
		return account.Open{UIDValidity: uint32(m.now)}
	}
	names := []string{"INBOX", "INBOX", "Archive", "a", "a/b"}
	name := rapid.SampledFrom(names)
	box := rapid.Custom(func(t *rapid.T) domain.MailboxID {
		if b, ok := s.Mailbox(name.Draw(t, "mailbox")); ok {
			return b.ID
		}
		return 1
	})
	uids := rapid.Custom(func(t *rapid.T) domain.UIDSet {
		return domain.UIDs(rapid.SliceOfN(rapid.Map(rapid.Uint32Range(1, 12), func(u uint32) domain.UID { return domain.UID(u) }), 0, 12).Draw(t, "uids")...)
	})
	flags := rapid.SliceOfN(rapid.SampledFrom([]string{`\Seen`, `\Deleted`, `\Flagged`, "$Junk"}), 0, 3)
	switch rapid.IntRange(0, 33).Draw(t, "command") {
	case 0:
		return account.CreateMailbox{Name: name.Draw(t, "name"), UIDValidity: uint32(m.now)}
	case 1:
		return account.DeleteMailbox{Name: name.Draw(t, "name")}
	case 2:
		return account.RenameMailbox{From: name.Draw(t, "from"), To: name.Draw(t, "to"), Now: m.now, UIDValidity: uint32(m.now)}
	case 3:
		return account.Subscribe{Name: name.Draw(t, "name"), On: rapid.Bool().Draw(t, "on")}
	case 4:
		return account.SetLimits{Limits: account.Limits{Bytes: rapid.Int64Range(0, 100_000).Draw(t, "bytes"), Messages: rapid.Int64Range(0, 100).Draw(t, "messages"),
			Mailboxes: rapid.Int64Range(0, 12).Draw(t, "mailboxes")}}
	case 5, 6, 11, 12, 13, 14, 15:
		return account.StoreFlags{Mailbox: box.Draw(t, "box"), UIDs: uids.Draw(t, "uids"), Flags: flags.Draw(t, "flags"),
			Mode: rapid.SampledFrom([]account.StoreMode{account.ReplaceFlags, account.AddFlags, account.RemoveFlags}).Draw(t, "mode")}
	case 7, 8, 16:
		return account.Transfer{From: box.Draw(t, "box"), To: name.Draw(t, "to"), UIDs: uids.Draw(t, "uids"), Move: rapid.Bool().Draw(t, "move"), Now: m.now}
	case 9, 10:
		return account.Expunge{Mailbox: box.Draw(t, "box")}
	case 17, 18:
		if len(m.added[id]) == 0 {
			return account.Restore{}
		}
		c := account.Restore{Now: m.now, UIDValidity: uint32(m.now), Seen: s.Tx, OverQuota: rapid.Bool().Draw(t, "over quota")}
		for _, e := range rapid.SliceOfN(rapid.SampledFrom(m.added[id]), 1, 6).Draw(t, "lost") {
			c.Messages = append(c.Messages, account.Lost{Mailbox: e.Mailbox, Name: name.Draw(t, "name"), Email: e.Email, Thread: e.Thread, Blob: e.Blob,
				Flags: e.Flags, Internal: e.Internal, Summary: e.Summary})
		}
		return c
	case 27:
		return account.ResetAccessKeys{Mailbox: rapid.SampledFrom([]string{"", "INBOX"}).Draw(t, "reset")}
	case 30, 31:
		return account.SetRights{Mailbox: name.Draw(t, "name"), Identifier: rapid.SampledFrom([]account.Identifier{account.Anyone, account.Identifier(m.ids[0]), "-anyone"}).Draw(t, "who"),
			Mode: rapid.SampledFrom([]account.RightsMode{account.ReplaceRights, account.AddRights, account.RemoveRights}).Draw(t, "mode"), Rights: account.Rights(rapid.Uint16().Draw(t, "rights"))}
	case 32: // by somebody who may not take all flags along
		return account.As{Actor: m.ids[0], Command: account.Transfer{From: box.Draw(t, "box"), To: name.Draw(t, "to"), UIDs: uids.Draw(t, "uids"), Now: m.now}}
	case 33:
		return account.Promote{Node: rapid.SampledFrom([]string{"mail1", "mail2"}).Draw(t, "node")}
	case 28, 29:
		c := account.SetMetadata{
			Mailbox: rapid.SampledFrom([]string{"", "INBOX", "Archive"}).Draw(t, "annotated"), Limits: account.MetadataLimits{Value: 100, Entries: 10, Octets: 1000},
			Changes: []account.MetadataChange{{Entry: rapid.SampledFrom([]string{"/private/comment", "/shared/comment"}).Draw(t, "entry")}},
		}
		if rapid.Bool().Draw(t, "set") {
			value := rapid.SampledFrom([]string{"", "a", "\x00\xff"}).Draw(t, "value")
			c.Changes[0].Value = &value
		}
		return c
	case 19:
		return account.Purge{Emails: []domain.EmailID{domain.EmailID(rapid.IntRange(1, 20).Draw(t, "email"))}}
	}
	return account.AddMessage{
		Mailbox: name.Draw(t, "mailbox"), Flags: flags.Draw(t, "flags"), Internal: m.now - 5, Now: m.now, Fallback: true,
		Blob: domain.BlobRef{ID: domain.BlobID{byte(m.now)}, Key: domain.BlobKey{byte(m.now >> 8)}, Size: rapid.Int64Range(1, 5000).Draw(t, "size")},
		Summary: message.Summary{
			Envelope: message.Envelope{Subject: fmt.Sprintf("message %d", m.now), Has: message.HasSubject},
			Root:     message.Part{Type: "text", Subtype: "plain", Encoding: "7bit", Body: 10, End: 20},
			Keys:     rapid.SliceOfN(rapid.Uint64Range(1, 20), 0, 3).Draw(t, "keys"),
		},
	}
}

// crash makes some of the next commits fail after their work was done.
func (m *model) crash(t *rapid.T) {
	m.views.failures.Store(int64(rapid.IntRange(1, 3).Draw(t, "failures")))
}

// restart lets entries gather that then come in large batches.
func (m *model) restart(t *rapid.T) {
	m.stop()
	m.commands(t, 40)
	m.start(t)
}

// lose deletes a view while the server is down, or while it runs.
func (m *model) lose(t *rapid.T) {
	down := rapid.Bool().Draw(t, "while it is down")
	if down {
		m.stop()
	}
	if found, _ := filepath.Glob(m.dir + "/ACCOUNTS*.db"); len(found) > 0 {
		name := found[rapid.IntRange(0, 5).Draw(t, "view")%len(found)]
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		m.lost = m.lost || !down
	}
	if down {
		m.start(t)
	}
}

func (m *model) rebuild(t *rapid.T) {
	sel := projections.Selection{Projection: rapid.SampledFrom([]string{"", "mailboxes", "threads", "counters", "quota", "changes"}).Draw(t, "projection")}
	if rapid.Bool().Draw(t, "one account") {
		sel.Accounts = []domain.AccountID{rapid.SampledFrom(m.ids).Draw(t, "account")}
	}
	opt := projections.RebuildOptions{Verify: rapid.Bool().Draw(t, "verify")}
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	ahead := rapid.IntRange(1, 20).Draw(t, "cancelled after")
	_, err := m.runner.Rebuild(ctx, sel, opt, func(projections.Progress) {
		if ahead--; ahead == 0 {
			cancel()
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) && !domain.Is(err, domain.Unavailable) { // a crash came in between
		t.Fatal(err)
	}
}

// look compares every account's rows with its state, once no view that was lost is read any more.
func (m *model) look(t *rapid.T) {
	if m.lost { // a write finds what a read does not
		m.lost = false
		for _, id := range m.ids {
			m.now++
			e := &event.LimitsChanged{Bytes: m.now}
			m.states[id].Apply(m.log.Add(id, m.now*1000, e).Tx, e)
		}
	}
	for _, id := range m.ids {
		want := m.states[id]
		last, _ := m.log.Last(m.ctx, id)
		if err := m.runner.Wait(m.ctx, m.log.StreamOf(id), last.Seq); err != nil {
			t.Fatal(err)
		}
		rows := func(projection string) projections.Reader {
			r, err := m.runner.ReaderOf(projection, id)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := rows(mailboxes.Name)
		got, at, err := mailboxes.Load(m.ctx, r, id)
		if err != nil {
			t.Fatal(err)
		}
		if at != last {
			t.Fatalf("loaded at %v, the log is at %v", at, last)
		}
		if !reflect.DeepEqual(tidy(want), tidy(got)) {
			t.Fatalf("loaded\n%+v\nfolded\n%+v", got, want)
		}
		if want.Primary.Node != "" {
			of, err := mailboxes.Store{Runner: m.runner}.OfPrimary(m.ctx, want.Primary.Node)
			if err != nil || !slices.Contains(of, id) {
				t.Fatalf("the accounts of %s are %v, %v", want.Primary.Node, of, err)
			}
		}
		counted, err := counters.Load(m.ctx, rows(counters.Name), id)
		if err != nil {
			t.Fatal(err)
		}
		folded := map[domain.MailboxID]event.Delta{}
		for _, box := range want.Mailboxes {
			folded[box.ID] = box.Counts
		}
		if !reflect.DeepEqual(counted, folded) {
			t.Fatalf("counters %v, folded %v", counted, folded)
		}
		emails := map[domain.EmailID]int{}
		for _, box := range want.Mailboxes {
			i := 0
			for e, err := range mailboxes.Emails(m.ctx, r, id, box.ID, domain.UIDSet{{Lo: 1, Hi: 1<<32 - 1}}, mailboxes.WantEnvelope|mailboxes.WantSummary) {
				if err != nil {
					t.Fatal(err)
				}
				if e.UID != box.UID[i] || e.Email != box.Email[i] || !bytes.Contains(e.Envelope, []byte(e.Summary.Envelope.Subject)) {
					t.Fatalf("email %+v of mailbox %d is that of UID %d", e, box.ID, box.UID[i])
				}
				emails[e.Email]++
				i++
			}
			if i != box.Len() {
				t.Fatalf("mailbox %d has %d emails for %d messages", box.ID, i, box.Len())
			}
		}
		joined, err := r.Query(m.ctx, `select e.email, e.refs, count(s.email) from emails e left join summaries s on s.account = e.account and s.email = e.email
			where e.account = $1 group by e.email, e.refs`, string(id))
		if err != nil {
			t.Fatal(err)
		}
		for joined.Next() {
			var email domain.EmailID
			var refs, summaries int
			if err := joined.Scan(&email, &refs, &summaries); err != nil {
				t.Fatal(err)
			}
			if refs != emails[email] || summaries != 1 {
				t.Fatalf("email %d has %d messages, %d references and %d summaries", email, emails[email], refs, summaries)
			}
			delete(emails, email)
		}
		if joined.Err() != nil || len(emails) > 0 {
			t.Fatal(joined.Err(), emails)
		}
		use, err := quota.Load(m.ctx, rows(quota.Name), id)
		if want := (quota.Row{Account: id, Bytes: want.Usage.Bytes, Messages: want.Usage.Messages, Mailboxes: int64(len(want.Mailboxes)), Limits: want.Limits}); err != nil || use != want {
			t.Fatalf("quota %v, folded %v, %v", use, want, err)
		}
	}
}

// tidy makes empty columns nil: whether a mailbox once had messages is no part of its state.
func tidy(s *account.State) *account.State {
	for _, m := range s.Mailboxes {
		if m.Len() == 0 {
			m.UID, m.Modified, m.Flags, m.Size, m.Internal, m.Saved, m.Email, m.Thread = nil, nil, nil, nil, nil, nil, nil, nil
		}
	}
	return s
}

// crashing is a view store whose commits fail when told to.
type crashing struct {
	projections.Views
	failures atomic.Int64 // how many more commits fail
}

func (c *crashing) Open(ctx context.Context, g projections.Generation) (projections.View, error) {
	v, err := c.Views.Open(ctx, g)
	if err != nil {
		return nil, err
	}
	return crashingView{v, c}, nil
}

type crashingView struct {
	projections.View
	c *crashing
}

func (v crashingView) Update(ctx context.Context, f func(projections.Tx) error) error {
	return v.View.Update(ctx, func(tx projections.Tx) error {
		err := f(tx)
		if err == nil && v.c.failures.Add(-1) >= 0 {
			err = domain.Errorf(domain.Unavailable, "the disk fell off")
		}
		return err
	})
}
