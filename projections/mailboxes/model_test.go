package mailboxes_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
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
		report, err := m.runner.Verify(m.ctx, projections.Selection{}, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range report.Differences {
			t.Error(d)
		}
	})
}

// model is a log, the states that folding it gives, and a runner on real view files.
type model struct {
	ctx    context.Context
	dir    string
	log    *projectiontest.Log
	states map[domain.AccountID]*account.State
	ids    []domain.AccountID
	now    int64

	runner *projections.Runner
	views  *crashing
	stop   func()
}

func newModel(t *rapid.T, dir string) *model {
	m := &model{
		dir: dir, log: projectiontest.New(2),
		states: map[domain.AccountID]*account.State{}, now: 1_700_000_000,
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
	store, err := sqlview.Open(m.dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	m.ctx = ctx
	m.views = &crashing{Views: store}
	m.runner = projections.NewRunner(projections.Config{
		Log: m.log, Views: m.views, Projections: []projections.Projection{mailboxes.New(), counters.New(), quota.New()},
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
	events, err := account.Decide(s, m.draw(t, s))
	if err != nil || len(events) == 0 {
		return
	}
	position := m.log.Add(id, m.now*1000, events...)
	for _, e := range events {
		s.Apply(position.Tx, e)
	}
}

func (m *model) draw(t *rapid.T, s *account.State) account.Command {
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
	switch rapid.IntRange(0, 24).Draw(t, "command") {
	case 0:
		return account.CreateMailbox{Name: name.Draw(t, "name"), UIDValidity: uint32(m.now)}
	case 1:
		return account.DeleteMailbox{Name: name.Draw(t, "name")}
	case 2:
		return account.RenameMailbox{From: name.Draw(t, "from"), To: name.Draw(t, "to"), Now: m.now, UIDValidity: uint32(m.now)}
	case 3:
		return account.Subscribe{Name: name.Draw(t, "name"), On: rapid.Bool().Draw(t, "on")}
	case 4:
		return account.SetLimits{Limits: account.Limits{Bytes: rapid.Int64Range(0, 100_000).Draw(t, "bytes"), Messages: rapid.Int64Range(0, 100).Draw(t, "messages")}}
	case 5, 6, 11, 12, 13, 14, 15:
		return account.StoreFlags{Mailbox: box.Draw(t, "box"), UIDs: uids.Draw(t, "uids"), Flags: flags.Draw(t, "flags"),
			Mode: rapid.SampledFrom([]account.StoreMode{account.ReplaceFlags, account.AddFlags, account.RemoveFlags}).Draw(t, "mode")}
	case 7, 8, 16:
		return account.Transfer{From: box.Draw(t, "box"), To: name.Draw(t, "to"), UIDs: uids.Draw(t, "uids"), Move: rapid.Bool().Draw(t, "move"), Now: m.now}
	case 9, 10:
		return account.Expunge{Mailbox: box.Draw(t, "box")}
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

// lose deletes a view file while the server is down.
func (m *model) lose(t *rapid.T) {
	m.stop()
	store, err := sqlview.Open(m.dir, sqlview.Options{})
	if err == nil {
		err = store.Reset(context.Background(), rapid.SampledFrom(m.log.Streams()).Draw(t, "stream"))
	}
	if err != nil {
		t.Fatal(err)
	}
	m.start(t)
}

func (m *model) rebuild(t *rapid.T) {
	sel := projections.Selection{Projection: rapid.SampledFrom([]string{"", "mailboxes", "counters", "quota"}).Draw(t, "projection")}
	if rapid.Bool().Draw(t, "one account") {
		sel.Account = rapid.SampledFrom(m.ids).Draw(t, "account")
	}
	if err := m.runner.Rebuild(m.ctx, sel, nil); err != nil && !domain.Is(err, domain.Unavailable) { // a crash came in between
		t.Fatal(err)
	}
}

// look compares every account's rows with its state.
func (m *model) look(t *rapid.T) {
	for _, id := range m.ids {
		want := m.states[id]
		last, _ := m.log.Last(m.ctx, id)
		if err := m.runner.Wait(m.ctx, m.log.StreamOf(id), last.Seq); err != nil {
			t.Fatal(err)
		}
		r, err := m.runner.Reader(m.log.StreamOf(id))
		if err != nil {
			t.Fatal(err)
		}
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
		counted, err := counters.Load(m.ctx, r, id)
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
		rows, err := r.Query(m.ctx, `select e.email, e.refs, count(s.email) from emails e left join summaries s on s.account = e.account and s.email = e.email
			where e.account = $1 group by e.email, e.refs`, string(id))
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var email domain.EmailID
			var refs, summaries int
			if err := rows.Scan(&email, &refs, &summaries); err != nil {
				t.Fatal(err)
			}
			if refs != emails[email] || summaries != 1 {
				t.Fatalf("email %d has %d messages, %d references and %d summaries", email, emails[email], refs, summaries)
			}
			delete(emails, email)
		}
		if rows.Err() != nil || len(emails) > 0 {
			t.Fatal(rows.Err(), emails)
		}
		use, err := quota.Load(m.ctx, r, id)
		if want := (quota.Row{Account: id, Bytes: want.Usage.Bytes, Messages: want.Usage.Messages, Limits: want.Limits}); err != nil || use != want {
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

func (c *crashing) Open(ctx context.Context, stream string) (projections.View, error) {
	v, err := c.Views.Open(ctx, stream)
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
