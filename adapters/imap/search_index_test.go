package imap

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/projections"
	index "github.com/streampost/streampost/projections/search"
	"github.com/streampost/streampost/streams"
)

// indexed is an index that folds what it is told to, so that a test decides how far it has come.
type indexed struct {
	*index.Index
	t          testing.TB
	projection *index.Projection
	view       projections.View
	waiting    []streams.Entry
	asked      atomic.Int64
	down       atomic.Bool
}

func (x *indexed) Answer(ctx context.Context, id domain.AccountID, questions []search.Question) (*search.Answers, error) {
	x.asked.Add(1)
	if x.down.Load() {
		return nil, domain.Errorf(domain.Unavailable, "the index is away")
	}
	return x.Index.Answer(ctx, id, questions)
}

// ReaderOf gives the one view that there is.
func (x *indexed) ReaderOf(string, domain.AccountID) (projections.Reader, error) { return x.view, nil }

// catchUp folds all that happened.
func (x *indexed) catchUp() {
	x.t.Helper()
	err := x.view.Update(x.t.Context(), func(tx projections.Tx) error {
		batch, err := x.projection.Begin(x.t.Context(), tx)
		for i := 0; err == nil && i < len(x.waiting); i++ {
			err = batch.Apply(x.t.Context(), &x.waiting[i])
		}
		if err == nil {
			err = batch.Flush(x.t.Context())
		}
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	x.waiting = nil
}

// startIndexed starts a server with an index that is empty until it catches up.
func startIndexed(t testing.TB) (*testServer, *indexed) {
	x := &indexed{t: t}
	s := start(t, func(c *Config) { c.Index = x })
	s.Log.Observe(func(_ string, entries []streams.Entry) {
		for _, e := range entries {
			if e.Account == s.account {
				x.waiting = append(x.waiting, e)
			}
		}
	})
	views, err := sqlview.Open(t.TempDir(), sqlview.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	view, release, err := views.Scratch(t.Context(), index.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	x.view, x.projection = view, index.New(index.Config{Blobs: s.Blobs})
	x.Index = x.projection.Index(x)
	// What was decided before anybody observed.
	for e, err := range s.Log.ReadAccount(t.Context(), s.account, 0) {
		if err != nil {
			t.Fatal(err)
		}
		x.waiting = append(x.waiting, e)
	}
	return s, x
}

// realMail delivers real messages, and gives words of theirs.
func realMail(s *testServer, most int) (words []string) {
	s.t.Helper()
	for n := range most {
		text := fmt.Sprintf("From: A %d <a%d@example.org>\r\nSubject: number %d\r\nDate: Tue, 1 Feb 1994 23:00:00 -0800\r\n\r\nbody of %d: 東京都 naïve %x\r\n", n, n, n, n, n*n*7919)
		words = append(words, strings.Fields(text)...)
		s.deliver("INBOX", text)
	}
	files, _ := filepath.Glob(filepath.Join(os.Getenv("STREAMPOST_CORPUS"), "*.eml"))
	for i, name := range files {
		if i%max(1, len(files)/200) != 0 {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			s.t.Fatal(err)
		}
		words = append(words, strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), 20_000)]), ""))...)
		s.deliver("INBOX", string(text))
	}
	return words
}

// randomKey is a search that messages made of words may match.
func randomKey(random *rand.Rand, words []string, depth int) string {
	needle := func() string {
		all := []rune(words[random.IntN(len(words))])
		from := random.IntN(len(all))
		text := string(all[from : from+random.IntN(min(len(all)-from, 12)+1)])
		if text = strings.NewReplacer(`\`, "", `"`, "", "\x00", "").Replace(text); random.IntN(2) == 0 {
			text = strings.ToLower(text)
		}
		return `"` + text + `"`
	}
	if depth > 0 {
		switch random.IntN(5) {
		case 0:
			return "NOT " + randomKey(random, words, depth-1)
		case 1:
			return "OR " + randomKey(random, words, depth-1) + " " + randomKey(random, words, depth-1)
		case 2:
			return "(" + randomKey(random, words, depth-1) + " " + randomKey(random, words, depth-1) + ")"
		}
	}
	switch random.IntN(10) {
	case 0:
		return "UNSEEN"
	case 1:
		return "SENTBEFORE 2-Feb-1994"
	case 2:
		return "HEADER " + []string{"Subject", "Received", "X-Mailer", "List-Id", "Content-Type"}[random.IntN(5)] + " " + needle()
	}
	return []string{"SUBJECT ", "FROM ", "TO ", "CC ", "BODY ", "TEXT ", "BODY "}[random.IntN(7)] + needle()
}

// Whatever is asked and however far the index has come, the answer is the one that reading every message gives.
func TestSearchIndexChangesNothing(t *testing.T) {
	s, x := startIndexed(t)
	words := realMail(s, 60)
	random := rand.New(rand.NewPCG(1, 2))
	c := s.selected("INBOX")
	compare := func(n int) {
		t.Helper()
		for range n {
			key := randomKey(random, words, 2)
			got := c.cmd("UID SEARCH %s", key)
			x.down.Store(true)
			want := c.cmd("UID SEARCH %s", key)
			x.down.Store(false)
			if fmt.Sprint(got.untagged) != fmt.Sprint(want.untagged) || got.tagged != want.tagged {
				t.Fatalf("%s: with the index %q %s, without it %q %s", key, got.untagged, got.tagged, want.untagged, want.tagged)
			}
		}
	}
	compare(20) // the index is empty
	x.catchUp()
	compare(200)
	c.cmd("UID STORE 5:9 +FLAGS (\\Deleted)")
	c.cmd("EXPUNGE")
	c.cmd("UID COPY 20:30 INBOX")
	words = append(words, realMail(s, 10)...) // the index lags behind
	c.cmd("NOOP")
	compare(50)
	x.catchUp()
	compare(50)
	if x.asked.Load() < 100 {
		t.Errorf("the index was asked %d times", x.asked.Load())
	}
}

// A client's charset is undone before the index is asked.
func TestSearchIndexCharset(t *testing.T) {
	s, x := startIndexed(t)
	for range fewMessages + 1 {
		library(s)
	}
	x.catchUp()
	c := s.selected("INBOX")
	c.cmd("SEARCH RETURN (COUNT) CHARSET KOI8-R BODY {6+}\r\n\xf0\xd2\xc9\xd7\xc5\xd4").want(`* ESEARCH (TAG "...") COUNT 9`, "OK SEARCH completed")
	if x.asked.Load() == 0 {
		t.Error("the index was not asked")
	}
}
