package extracts_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	"github.com/streampost/streampost/domain/message"
	domainsearch "github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/extracts"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/search"
)

// blobs is messages in memory.
type blobs map[domain.BlobID]string

func (b blobs) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	text, found := b[ref.ID]
	if !found {
		return nil, domain.Errorf(domain.NotFound, "there is no such message")
	}
	return io.NopCloser(strings.NewReader(text[off : off+n])), nil
}

// extractor finds what files say in capitals, or fails as it is told to.
type extractor struct {
	mu    sync.Mutex
	fault map[string]error // by file name; that of "" is every file's
	asked []string         // file names
	says  string           // behind every text
}

func (x *extractor) Extract(_ context.Context, _, name string, file io.Reader, most int64) (string, bool, error) {
	content, err := io.ReadAll(file)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked = append(x.asked, name)
	for _, n := range []string{"", name} {
		if x.fault[n] != nil {
			return "", false, x.fault[n]
		}
	}
	text := strings.ToUpper(string(content)) + x.says
	return text[:min(int64(len(text)), most)], int64(len(text)) > most, err
}

func (x *extractor) fail(name string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fault[name] = err
}

// nothing is an index that knows every email, and finds nothing in any.
type nothing struct{}

func (nothing) Answer(_ context.Context, _ domain.AccountID, questions []domainsearch.Question) (*domainsearch.Answers, error) {
	a := &domainsearch.Answers{Next: 1 << 20, To: make([]domainsearch.Answer, len(questions))}
	for i := range a.To {
		a.To[i] = domainsearch.Answer{Known: true, Exact: true}
	}
	return a, nil
}

// world is a log, its messages, the view, and a clock.
type world struct {
	*testing.T
	log       *projectiontest.Log
	blobs     blobs
	id        domain.AccountID
	state     *account.State
	now       int64
	rows      *projections.Runner
	rule      *extracts.Projection
	worker    *extracts.Worker
	extractor *extractor
	index     *extracts.Index
}

func newWorld(t *testing.T, url string, limits extracts.Limits) *world {
	w := &world{T: t, log: projectiontest.New(1), blobs: blobs{}, id: domain.NewAccountID([10]byte{1}), state: account.New(), now: 1_700_000_000, extractor: &extractor{fault: map[string]error{}}}
	var store interface {
		projections.Views
		Close() error
	}
	var postings search.Postings
	var err error
	quiet := slog.New(slog.DiscardHandler)
	if url == "" {
		store, err = sqlview.Open(t.TempDir(), sqlview.Options{Logger: quiet})
	} else {
		postings = search.Postgres{}
		store, err = postgres.Open(t.Context(), url, postgres.Options{Schema: "extracts", Logger: quiet})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.rule = extracts.New(postings)
	w.rows = projections.NewRunner(projections.Config{Log: w.log, Views: store, Projections: []projections.Projection{w.rule}, Limits: projections.Limits{BackoffMin: time.Millisecond}, Logger: quiet})
	w.worker = w.rule.Worker(extracts.Config{
		Extractor: w.extractor, Blobs: w.blobs, Rows: w.rows, Streams: w.log.Streams(), Types: []string{"application/pdf", "application/vnd.*"}, Limits: limits,
		Now: func() time.Time { return time.Unix(w.now, 0) },
	})
	w.index = w.rule.Index(w.rows, nothing{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.rows.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; _ = store.Close() })
	w.do(account.Open{UIDValidity: 1})
	return w
}

func (w *world) do(c account.Command) {
	w.Helper()
	events, err := account.Decide(w.state, c)
	if err != nil {
		w.Fatal(err)
	}
	position := w.log.Add(w.id, w.now*1000, events...)
	for _, e := range events {
		w.state.Apply(position.Tx, e)
	}
}

// deliver adds a message with files, each given as type, name and content.
func (w *world) deliver(files ...[3]string) domain.EmailID {
	w.Helper()
	var b strings.Builder
	b.WriteString("Subject: files\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n")
	for _, f := range files {
		fmt.Fprintf(&b, "--b\r\nContent-Type: %s; name=%s\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n", f[0], f[1], base64.StdEncoding.EncodeToString([]byte(f[2])))
	}
	b.WriteString("--b--\r\n")
	text := b.String()
	n := len(w.blobs) + 1
	ref := domain.BlobRef{ID: domain.BlobID{byte(n)}, Size: int64(len(text))}
	w.blobs[ref.ID] = text
	s := message.NewScanner()
	_, _ = io.WriteString(s, text)
	w.do(account.AddMessage{Mailbox: "INBOX", Internal: w.now, Now: w.now, Blob: ref, Summary: s.Finish()})
	return domain.EmailID(n)
}

func (w *world) caughtUp() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	stream := w.log.StreamOf(w.id)
	head, _ := w.log.Head(ctx, stream)
	if err := w.rows.WaitFor(ctx, extracts.Name, stream, head); err != nil {
		w.Fatal(err)
	}
}

// pass has the worker do all that is due.
func (w *world) pass() error {
	w.Helper()
	w.caughtUp()
	return w.worker.Pass(w.Context())
}

func (w *world) mustPass() {
	w.Helper()
	if err := w.pass(); err != nil {
		w.Fatal(err)
	}
}

// finds checks which emails the index names for a needle, and that their texts, and no other, have it.
func (w *world) finds(needle string, want ...domain.EmailID) {
	w.Helper()
	w.caughtUp()
	folded := string(domainsearch.Fold(needle))
	answers, err := w.index.Answer(w.Context(), w.id, []domainsearch.Question{{Where: domainsearch.InBody, Needle: folded}, {Where: domainsearch.InSubject, Needle: folded}})
	if err != nil {
		w.Fatal(err)
	}
	var got, read []domain.EmailID
	got = append(got, answers.To[0].Emails...)
	slices.Sort(got)
	for email := domain.EmailID(1); int(email) <= len(w.blobs); email++ {
		texts, err := w.index.Texts(w.Context(), w.id, email)
		if err != nil {
			w.Fatal(err)
		}
		for t := range texts {
			if strings.Contains(string(domainsearch.Fold(t)), folded) {
				read = append(read, email)
			}
		}
	}
	if !slices.Equal(got, want) || !slices.Equal(read, want) {
		w.Errorf("%q: the index names %v, the texts are of %v, want %v", needle, got, read, want)
	}
	if len(answers.To[1].Emails) > 0 {
		w.Errorf("%q is found in a subject", needle)
	}
}

func (w *world) stats(check func(s extracts.Stats) bool) {
	w.Helper()
	if s := w.worker.Stats(); !check(s) {
		w.Errorf("the counts are %+v", s)
	}
}

// verify says that the rows are what the log says, whatever was extracted.
func (w *world) verify() {
	w.Helper()
	w.caughtUp()
	report, err := w.rows.Verify(w.Context(), projections.Selection{}, projections.VerifyOptions{Limit: 10}, nil)
	if err != nil {
		w.Fatal(err)
	}
	for _, d := range report.Differences {
		w.Error(d)
	}
	counted, err := w.rows.Count(w.Context(), projections.Selection{}, projections.CountOptions{Limit: 10}, nil)
	if err != nil || counted.Total > 0 {
		w.Errorf("rows and digests: %+v, %v", counted, err)
	}
}

const pdf = "application/pdf"

// both runs a test on both view stores.
func both(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, "") })
	t.Run("Postgres", func(t *testing.T) { test(t, pgtest.Shared(t).Database(t)) })
}

// What an attachment says is found from when it was extracted until it is purged. Of what nobody wants extracted nothing is sent.
func TestFound(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, extracts.Limits{})
		first := w.deliver([3]string{pdf, "a.pdf", "quarterly Straße"}, [3]string{"image/png", "b.png", "picture"}, [3]string{"application/zip", "c.zip", "archive"})
		second := w.deliver([3]string{"application/vnd.ms-excel", "d.xls", "quarterly sheet"}, [3]string{pdf, "e.pdf", "second file"})
		w.deliver()
		w.finds("quarterly")
		w.mustPass()
		w.finds("QUARTERLY", first, second)
		w.finds("straße", first)
		w.finds("sheetsecond") // not across two files
		w.finds("picture")
		w.verify()
		if slices.Sort(w.extractor.asked); fmt.Sprint(w.extractor.asked) != "[a.pdf d.xls e.pdf]" {
			t.Errorf("sent: %v", w.extractor.asked)
		}
		w.stats(func(s extracts.Stats) bool { return s.Extracted == 2 && s.Waiting == 0 && s.Away == nil })

		w.do(account.Expunge{Mailbox: 1, UIDs: domain.UIDs(2), Any: true})
		w.finds("sheet", second) // it may come back; the account's state says that it is gone
		w.do(account.Purge{Emails: []domain.EmailID{second}})
		w.finds("sheet")
		w.finds("quarterly", first)
		w.verify()
		if err := errors.Join(w.log.Erase(t.Context(), w.id), w.rows.Drop(t.Context(), w.id)); err != nil {
			t.Fatal(err)
		}
		w.finds("quarterly")
		r, err := w.rows.ReaderOf(extracts.Name, w.id)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"extract_accounts", "attachments", "extracts"} {
			rows, err := r.Query(t.Context(), "select 1 from "+table)
			if err != nil {
				t.Fatal(err)
			}
			if rows.Next() {
				t.Errorf("an erased account leaves a row in %s", table)
			}
			_ = rows.Close()
		}
	})
}

// While the extractor is away all waits, and nothing is held against a message.
func TestAway(t *testing.T) {
	w := newWorld(t, "", extracts.Limits{})
	email := w.deliver([3]string{pdf, "a.pdf", "quarterly"})
	w.extractor.fail("", domain.Errorf(domain.Unavailable, "away"))
	for range 10 {
		if err := w.pass(); !domain.Is(err, domain.Unavailable) {
			t.Fatalf("the extractor is away: %v", err)
		}
	}
	w.stats(func(s extracts.Stats) bool { return s.Away != nil && s.Waiting == 1 && s.Failed == 0 })
	w.finds("quarterly")
	w.extractor.fail("", nil)
	w.mustPass()
	w.stats(func(s extracts.Stats) bool { return s.Away == nil && s.Waiting == 0 && s.Extracted == 1 })
	w.finds("quarterly", email)
}

// A file that makes the extractor fail is tried again later, then given up, and holds up no other. Again gives it another chance.
func TestPoison(t *testing.T) {
	w := newWorld(t, "", extracts.Limits{Tries: 3, Parallel: 1})
	poison := w.deliver([3]string{pdf, "bad.pdf", "quarterly"}, [3]string{pdf, "good.pdf", "readable"})
	other := w.deliver([3]string{pdf, "b.pdf", "monthly"})
	w.extractor.fail("bad.pdf", errors.New("it fell over"))
	w.mustPass()
	w.finds("monthly", other)
	w.finds("readable", poison)
	w.mustPass() // its time has not come.
	w.stats(func(s extracts.Stats) bool { return s.Failed == 1 && s.Waiting == 1 })
	for range 2 {
		w.now += 24 * 3600
		w.mustPass()
	}
	w.stats(func(s extracts.Stats) bool { return s.Failed == 3 && s.GivenUp == 1 && s.Waiting == 0 })
	w.extractor.fail("bad.pdf", nil)
	w.now += 24 * 3600
	w.mustPass()
	w.finds("quarterly")
	w.finds("readable", poison)
	for _, want := range []int64{1, 0} {
		if n, err := w.rule.Again(t.Context(), w.rows, w.id, true); n != want || err != nil {
			t.Errorf("%d messages are tried again, %v; want %d", n, err, want)
		}
		w.mustPass()
		w.finds("quarterly", poison)
	}
}

// An extractor with which file after file fails counts as away.
func TestFailsAlways(t *testing.T) {
	w := newWorld(t, "", extracts.Limits{Failures: 3, Parallel: 1})
	for range 4 {
		w.deliver([3]string{pdf, "a.pdf", "quarterly"})
	}
	w.extractor.fail("", errors.New("it hangs"))
	if err := w.pass(); !domain.Is(err, domain.Unavailable) || len(w.extractor.asked) != 3 {
		t.Errorf("after %d failures: %v", len(w.extractor.asked), err)
	}
	w.stats(func(s extracts.Stats) bool { return s.Away != nil && s.Waiting == 4 })
}

// New mail does not queue behind old, nor behind what failed.
func TestNewestFirst(t *testing.T) {
	w := newWorld(t, "", extracts.Limits{Parallel: 1})
	w.deliver([3]string{pdf, "bad.pdf", "quarterly"})
	w.extractor.fail("bad.pdf", errors.New("it fell over"))
	w.mustPass()
	w.now += 24 * 3600
	for _, name := range []string{"old.pdf", "new.pdf"} {
		w.now += 60
		w.deliver([3]string{pdf, name, "quarterly"})
	}
	w.mustPass()
	if fmt.Sprint(w.extractor.asked) != "[bad.pdf new.pdf old.pdf bad.pdf]" {
		t.Errorf("sent: %v", w.extractor.asked)
	}
}

// What cannot be read is no failure; what is too large is not sent; what is too much is cut, in texts and grams alike.
func TestLimits(t *testing.T) {
	w := newWorld(t, "", extracts.Limits{File: 100, Text: 12})
	w.extractor.fail("locked.pdf", domain.Errorf(domain.Invalid, "locked"))
	email := w.deliver([3]string{pdf, "locked.pdf", "secret"}, [3]string{pdf, "a.pdf", "quarterly €€€€ budget"}, [3]string{pdf, "b.pdf", "behind"})
	w.deliver([3]string{pdf, "large.pdf", strings.Repeat("word ", 30)})
	w.mustPass()
	w.finds("quarterly", email)
	w.finds("budget")
	w.finds("behind")
	w.finds("word")
	w.stats(func(s extracts.Stats) bool {
		return s.Refused == 1 && s.TooLarge == 1 && s.Failed == 0 && s.Extracted == 2 && s.Waiting == 0
	})
	w.verify()
}

// Rows that are made anew are filled in anew, by whatever the extractor is by then; comparing them finds no fault with that.
func TestRebuilt(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		w := newWorld(t, url, extracts.Limits{})
		email := w.deliver([3]string{pdf, "a.pdf", "quarterly"})
		w.mustPass()
		for i, sel := range []projections.Selection{{Projection: extracts.Name}, {Projection: extracts.Name, Accounts: []domain.AccountID{w.id}}} {
			w.extractor.says = fmt.Sprint(" version", i)
			if _, err := w.rows.Rebuild(t.Context(), sel, projections.RebuildOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			w.finds("quarterly")
			w.mustPass()
			w.finds(fmt.Sprint("quarterly version", i), email)
			w.verify()
		}
		if n, err := w.rule.Again(t.Context(), w.rows, w.id, false); n != 1 || err != nil {
			t.Errorf("%d messages are read again: %v", n, err)
		}
		w.extractor.says = " version9"
		w.mustPass()
		w.finds("version1")
		w.finds("version9", email)
	})
}

// A message that is lost is given up at once.
func TestLostMessage(t *testing.T) {
	w := newWorld(t, "", extracts.Limits{})
	w.deliver([3]string{pdf, "a.pdf", "quarterly"})
	clear(w.blobs)
	w.mustPass()
	w.stats(func(s extracts.Stats) bool { return s.GivenUp == 1 && s.Waiting == 0 && s.Away == nil })
}
