package search_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/postgres"
	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/projectiontest"
	index "github.com/streampost/streampost/projections/search"
	"pgregory.net/rapid"
)

// blobs is messages in memory.
type blobs struct {
	mu   sync.Mutex
	all  map[domain.BlobID]string
	n    int
	down error // what Open fails with
}

func (b *blobs) put(text string) domain.BlobRef {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	n := b.n
	id := domain.BlobID{byte(n), byte(n >> 8), byte(n >> 16)}
	b.all[id] = text
	return domain.BlobRef{ID: id, Size: int64(len(text))}
}

func (b *blobs) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, found := b.all[ref.ID]
	switch {
	case b.down != nil:
		return nil, b.down
	case !found:
		return nil, domain.Errorf(domain.NotFound, "there is no such message")
	}
	return io.NopCloser(strings.NewReader(text[off : off+n])), nil
}

// lose forgets a message, fail makes every Open fail until it is called with nil.
func (b *blobs) lose(ref domain.BlobRef) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, ref.ID)
}

func (b *blobs) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
}

// scan describes a message.
func scan(text string) message.Summary {
	s := message.NewScanner()
	_, _ = io.WriteString(s, text)
	return s.Finish()
}

// words are what messages and needles are made of.
var words = []string{
	"invoice", "Invoice", "INVOICE-2024", "budget", "Straße", "strasse", "café", "cafe\u0301", "台北", "東京都", "メール", "がくせい", "привет", "ﬁne", "a", "I/O",
	"x-spam", "foo\"bar", "AND", "NOT", "*", "it's", "100%", "naïve", "\U0001f600", "e\u0323\u0301", "\ue020", "ÆØÅ", "ß", "ab\tcd",
}

func someWords(t *rapid.T, most int) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, most).Draw(t, "words"), rapid.SampledFrom([]string{" ", "", "\r\n "}).Draw(t, "between"))
}

func someMessage(t *rapid.T) string {
	if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		return "From: \"" + strings.NewReplacer(`"`, "", "\r\n ", "").Replace(someWords(t, 2)) + "\" <jm@example.org>\r\nSubject: outer\r\n" +
			"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\nX-Part: " + someWords(t, 2) + "\r\n\r\n<p>" + someWords(t, 5) +
			"</p>\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: " + someWords(t, 2) + "\r\n\r\ninner " + someWords(t, 3) + "\r\n--b--\r\n"
	}
	return "From: smith@example.org\r\nTo: " + rapid.SampledFrom([]string{"a@example.org", "A B <ab@example.com>, c@d"}).Draw(t, "to") +
		"\r\nSubject: " + someWords(t, 3) + "\r\nX-Spam: " + someWords(t, 1) + "\r\nDate: Tue, 1 Feb 1994 23:00:00 -0800\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n\r\n" + someWords(t, 8) + "\r\n"
}

// needle is a piece of a word, or of several.
func needle(t *rapid.T) string {
	all := []rune(someWords(t, 2))
	from := rapid.IntRange(0, len(all)-1).Draw(t, "from")
	return string(all[from:rapid.IntRange(from, len(all)).Draw(t, "to")])
}

func someKey(t *rapid.T, depth int) search.Key {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "join") {
		case 0:
			return search.Not{Key: someKey(t, depth-1)}
		case 1:
			return search.Or{someKey(t, depth-1), someKey(t, depth-1)}
		case 2:
			return search.And{someKey(t, depth-1), someKey(t, depth-1)}
		}
	}
	switch rapid.IntRange(0, 8).Draw(t, "key") {
	case 0:
		return search.Subject{Text: needle(t)}
	case 1:
		return search.Address{In: rapid.SampledFrom([]search.List{search.From, search.To, search.Cc, search.Bcc}).Draw(t, "list"), Text: needle(t)}
	case 2:
		return search.Header{Field: rapid.SampledFrom([]string{"X-Spam", "subject", "x-part", "none"}).Draw(t, "field"), Text: needle(t)}
	case 3:
		return search.Header{Field: "X-Spam"}
	case 4, 5:
		return search.Body{Text: needle(t)}
	case 6:
		return search.Sent{From: search.Ever, To: search.DayOf(760_147_200)}
	}
	return search.Text{Text: needle(t)}
}

// model is a log, the states that folding it gives, the messages, and an index on real files.
type model struct {
	ctx    context.Context
	dir    string
	url    string // of a PostgreSQL database; empty: SQLite
	log    *projectiontest.Log
	blobs  *blobs
	states map[domain.AccountID]*account.State
	ids    []domain.AccountID
	refs   map[domain.AccountID]map[domain.EmailID]*event.MessageAdded
	now    int64
	octets int64 // of a message that are indexed; 0 is the default
	later  func(domain.AccountID) bool

	projection *index.Projection
	index      *index.Index
	runner     *projections.Runner
	stop       func()
}

func newModel(t rapid.TB, dir, url string) *model {
	m := &model{
		ctx: context.Background(), dir: dir, url: url, octets: 4000, log: projectiontest.New(1), blobs: &blobs{all: map[domain.BlobID]string{}}, now: 1_700_000_000,
		states: map[domain.AccountID]*account.State{}, refs: map[domain.AccountID]map[domain.EmailID]*event.MessageAdded{},
	}
	for i := range 2 {
		id := domain.NewAccountID([10]byte{byte(i)})
		m.ids = append(m.ids, id)
		m.states[id], m.refs[id] = account.New(), map[domain.EmailID]*event.MessageAdded{}
	}
	m.start(t, projections.Limits{BackoffMin: time.Millisecond})
	return m
}

func (m *model) start(t rapid.TB, limits projections.Limits) {
	var store interface {
		projections.Views
		Close() error
	}
	var postings index.Postings
	var err error
	if m.url == "" {
		store, err = sqlview.Open(m.dir, sqlview.Options{Logger: slog.New(slog.DiscardHandler)})
	} else {
		postings = index.Postgres{}
		store, err = postgres.Open(m.ctx, m.url, postgres.Options{Schema: "s" + filepath.Base(m.dir), Logger: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		t.Fatal(err)
	}
	m.projection = index.New(index.Config{Blobs: m.blobs, Postings: postings, Limits: index.Limits{Message: search.IndexLimits{Octets: m.octets}}, Defer: m.later})
	m.runner = projections.NewRunner(projections.Config{
		Log: m.log, Views: store, Projections: []projections.Projection{m.projection}, Limits: limits, Logger: slog.New(slog.DiscardHandler),
	})
	m.index = m.projection.Index(m.runner)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.runner.Run(ctx) }()
	m.stop = func() {
		cancel()
		<-ended
		_ = store.Close()
	}
}

// do decides a command and appends what it gives.
func (m *model) do(id domain.AccountID, c account.Command) {
	s := m.states[id]
	m.now++
	events, err := account.Decide(s, c)
	if err != nil || len(events) == 0 {
		return
	}
	position := m.log.Add(id, m.now*1000, events...)
	for _, e := range events {
		s.Apply(position.Tx, e)
		if added, is := e.(*event.MessageAdded); is {
			m.refs[id][added.Email] = added
		}
	}
}

func (m *model) deliver(id domain.AccountID, mailbox, text string) {
	m.do(id, account.AddMessage{Mailbox: mailbox, Internal: m.now, Now: m.now, Fallback: true, Blob: m.blobs.put(text), Summary: scan(text)})
}

func (m *model) wait(t rapid.TB) {
	ctx, cancel := context.WithTimeout(m.ctx, 5*time.Minute)
	defer cancel()
	stream := m.log.StreamOf(m.ids[0])
	head, _ := m.log.Head(ctx, stream)
	if err := m.runner.WaitFor(ctx, index.Name, stream, head); err != nil {
		t.Fatal(err)
	}
}

// find runs a search over all messages of an account, as a session does. Without answers every message is read.
func (m *model) find(t rapid.TB, id domain.AccountID, k search.Key, indexed bool) (found []domain.EmailID, read int) {
	s := m.states[id]
	q := search.Compile(k, s)
	if indexed {
		answers, err := m.index.Answer(m.ctx, id, q.Questions())
		if err != nil && !domain.Is(err, domain.Unavailable) { // just started
			t.Fatal(err)
		}
		q.Use(answers)
	}
	for _, box := range s.Mailboxes {
		for i := range box.UID {
			c := search.Candidate{Row: box.At(i)}
			v := q.Judge(&c)
			if v == search.Unknown {
				added := m.refs[id][c.Row.Email]
				c.Summary = &added.Summary
				if v = q.Judge(&c); v == search.Unknown {
					read++
					err := q.Read(&c, func(off, n int64) (io.ReadCloser, error) { return m.blobs.Open(m.ctx, added.Blob, off, n) })
					if domain.Is(err, domain.NotFound) {
						continue
					} else if err != nil {
						t.Fatal(err)
					}
					v = q.Judge(&c)
				}
			}
			if v == search.Yes {
				found = append(found, c.Row.Email)
			}
		}
	}
	slices.Sort(found)
	return found, read
}

func (m *model) compare(t rapid.TB, id domain.AccountID, k search.Key) {
	want, _ := m.find(t, id, k, false)
	got, _ := m.find(t, id, k, true)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%#v: with the index %v, without it %v", k, got, want)
	}
}

func (m *model) verify(t rapid.TB) {
	m.wait(t)
	report, err := m.runner.Verify(m.ctx, projections.Selection{}, projections.VerifyOptions{Limit: 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Differences {
		t.Errorf("%v", d)
	}
}

// Whatever happens to messages, and wherever the index stands: a search finds the same with it as without it, and the rows are what the log says.
func TestSameAsReading(t *testing.T) { sameAsReading(t, "") }

// On PostgreSQL, too.
func TestSameAsReadingPostgres(t *testing.T) { sameAsReading(t, pgtest.Shared(t).Database(t)) }

func sameAsReading(t *testing.T, url string) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := newModel(t, filepath.Join(dir, fmt.Sprint(n)), url)
		defer func() { m.stop() }()
		for _, id := range m.ids {
			m.do(id, account.Open{UIDValidity: 1})
			m.deliver(id, "INBOX", someMessage(t))
		}
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				id := rapid.SampledFrom(m.ids).Draw(t, "account")
				box := domain.MailboxID(rapid.IntRange(1, 2).Draw(t, "box"))
				lo := domain.UID(rapid.IntRange(1, 6).Draw(t, "uid"))
				uids := domain.UIDSet{{Lo: lo, Hi: lo + domain.UID(rapid.IntRange(0, 3).Draw(t, "more"))}}
				name := rapid.SampledFrom([]string{"INBOX", "Archive"}).Draw(t, "name")
				switch rapid.IntRange(0, 9).Draw(t, "command") {
				case 0:
					m.do(id, account.CreateMailbox{Name: "Archive", UIDValidity: uint32(m.now)})
				case 1:
					m.do(id, account.DeleteMailbox{Name: "Archive"})
				case 2, 3:
					m.do(id, account.Transfer{From: box, To: name, UIDs: uids, Move: rapid.Bool().Draw(t, "move"), Now: m.now})
				case 4:
					m.do(id, account.StoreFlags{Mailbox: box, UIDs: uids, Flags: []string{`\Deleted`}, Mode: account.AddFlags})
					m.do(id, account.Expunge{Mailbox: box})
				default:
					m.deliver(id, name, someMessage(t))
				}
			},
			"long message": func(t *rapid.T) {
				m.deliver(m.ids[0], "INBOX", "Subject: long\r\n\r\n"+strings.Repeat("filler ", 2000)+someWords(t, 2)+"\r\n")
			},
			"restore": func(t *rapid.T) {
				id := rapid.SampledFrom(m.ids).Draw(t, "account")
				emails := slices.Sorted(maps.Keys(m.refs[id]))
				added := m.refs[id][rapid.SampledFrom(emails).Draw(t, "email")]
				lost := account.Lost{Name: rapid.SampledFrom([]string{"INBOX", "Archive"}).Draw(t, "into"), Email: added.Email, Thread: added.Thread, Blob: added.Blob, Summary: added.Summary}
				m.do(id, account.Restore{Messages: []account.Lost{lost}, Now: m.now, UIDValidity: uint32(m.now), Seen: m.states[id].Tx})
			},
			"lost message": func(t *rapid.T) {
				text := someMessage(t)
				ref := m.blobs.put(text)
				m.blobs.lose(ref)
				m.do(m.ids[1], account.AddMessage{Mailbox: "INBOX", Now: m.now, Fallback: true, Blob: ref, Summary: scan(text)})
			},
			"search": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "caught up") {
					m.wait(t)
				}
				m.compare(t, rapid.SampledFrom(m.ids).Draw(t, "account"), someKey(t, 2))
			},
			"restart": func(t *rapid.T) {
				m.stop()
				m.start(t, projections.Limits{BatchEntries: rapid.IntRange(1, 50).Draw(t, "batch"), BackoffMin: time.Millisecond})
			},
			"rebuild an account": func(t *rapid.T) {
				if _, err := m.runner.Rebuild(m.ctx, projections.Selection{Accounts: m.ids[:1]}, projections.RebuildOptions{}, nil); err != nil {
					t.Fatal(err)
				}
			},
		})
		m.verify(t)
	})
}

// With an index that has caught up only messages that may match are read, and another account's are nobody's business.
func TestReadsLittle(t *testing.T) {
	m := newModel(t, t.TempDir(), "")
	defer func() { m.stop() }()
	for _, id := range m.ids {
		m.do(id, account.Open{UIDValidity: 1})
		for n := range 60 {
			m.deliver(id, "INBOX", fmt.Sprintf("Subject: report %d\r\nFrom: sender%d@example.org\r\n\r\nthe word is needle%dx of %s, 台北市 %d\r\n", n, n, n, id, n))
		}
	}
	m.wait(t)
	for _, test := range []struct {
		key         search.Key
		found, read int
	}{
		{search.Text{Text: "needle7x"}, 1, 1},
		{search.Body{Text: "NEEDLE7X"}, 1, 1},
		{search.Text{Text: "nowhere"}, 0, 0},
		{search.Not{Key: search.Text{Text: "nowhere"}}, 60, 0},
		{search.Text{Text: string(m.ids[1])}, 0, 0}, // of the first account, nothing of the second is found
		{search.Text{Text: "the"}, 60, 0},           // three characters are a gram: all that have it match
		{search.Text{Text: "台北"}, 60, 0},
		{search.Text{Text: "北"}, 60, 0},
		{search.Text{Text: "zz"}, 0, 60}, // two others are none
		{search.Subject{Text: "7"}, 6, 0},
		{search.Subject{Text: "report 7"}, 1, 0},
		{search.Address{In: search.From, Text: "sender7@"}, 1, 0},
		{search.Header{Field: "X-None"}, 0, 0},
		{search.Header{Field: "subject", Text: "t 7"}, 1, 1},
		{search.And{search.Text{Text: "needle"}, search.Subject{Text: "t 7"}}, 1, 1},
	} {
		if found, read := m.find(t, m.ids[0], test.key, true); len(found) != test.found || read != test.read {
			t.Errorf("%#v: %d found and %d read, want %d and %d", test.key, len(found), read, test.found, test.read)
		}
	}
}

// Nothing of an erased account is left in the files, not even grams.
func TestEraseLeavesNothing(t *testing.T) {
	m := newModel(t, t.TempDir(), "")
	defer func() { m.stop() }()
	for i, id := range m.ids {
		m.do(id, account.Open{UIDValidity: 1})
		m.deliver(id, "INBOX", fmt.Sprintf("Subject: x\r\n\r\nqzv%dwk\r\n", i))
	}
	m.wait(t)
	if err := m.log.Erase(m.ctx, m.ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := m.runner.Drop(m.ctx, m.ids[0]); err != nil {
		t.Fatal(err)
	}
	var all []byte
	files, _ := filepath.Glob(filepath.Join(m.dir, m.log.StreamOf(m.ids[0])+"*"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	// The tokens of one posting list lie behind each other without what they begin with in common.
	if !strings.Contains(string(all), "1wk") || strings.Contains(string(all), "0wk") {
		t.Error("grams of the erased account are in the files, or those of the other are not")
	}
	if answers, err := m.index.Answer(m.ctx, m.ids[0], []search.Question{{Needle: "QZV"}}); err != nil || answers.Next != 0 {
		t.Errorf("an erased account has answers: %+v, %v", answers, err)
	}
	if found, _ := m.find(t, m.ids[1], search.Text{Text: "qzv1"}, true); len(found) != 1 {
		t.Errorf("another account's search finds %v", found)
	}
}

// A store of messages that does not answer holds the index up, and nothing is skipped.
func TestWaitsForBlobs(t *testing.T) {
	m := newModel(t, t.TempDir(), "")
	defer func() { m.stop() }()
	m.blobs.fail(domain.Errorf(domain.Unavailable, "the store is away"))
	id := m.ids[0]
	m.do(id, account.Open{UIDValidity: 1})
	m.deliver(id, "INBOX", "Subject: x\r\n\r\nlater\r\n")
	for m.runner.Status(m.ctx)[0].State != projections.Retrying {
		time.Sleep(time.Millisecond)
	}
	m.blobs.fail(nil)
	m.wait(t)
	if found, read := m.find(t, id, search.Text{Text: "late"}, true); len(found) != 1 || read != 1 {
		t.Errorf("%v found, %d read", found, read)
	}
	if s := m.projection.Stats(); s.Documents != 1 || s.Missing != 0 {
		t.Errorf("%+v", s)
	}
}

// A row that is there already is the damage of its account, and not of those whose messages are written with it: the index mends it and goes on.
func TestDamageIsOfItsAccount(t *testing.T) {
	m := newModel(t, t.TempDir(), "")
	defer func() { m.stop() }()
	for _, id := range m.ids {
		m.do(id, account.Open{UIDValidity: 1})
	}
	m.wait(t)
	last := m.ids[len(m.ids)-1]
	if err := m.runner.Change(m.ctx, index.Name, last, func(ctx context.Context, tx projections.Tx) error {
		_, err := tx.Exec(ctx, `insert into search_messages (account, mailbox, uid, email) values ($1, 1, 1, 99)`, string(last))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	m.blobs.fail(domain.Errorf(domain.Unavailable, "the store is away"))
	for _, id := range m.ids {
		m.deliver(id, "INBOX", "Subject: x\r\n\r\nthere\r\n")
	}
	m.blobs.fail(nil)
	m.wait(t)
	for _, id := range m.ids {
		if found, _ := m.find(t, id, search.Text{Text: "the"}, true); len(found) != 1 {
			t.Errorf("account %s: %v found", id, found)
		}
	}
}
