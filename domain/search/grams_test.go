package search

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"pgregory.net/rapid"
)

func gramsOf(t rapid.TB, text string) []Gram {
	s := scan("Content-Type: text/plain; charset=utf-8\r\n\r\n" + text)
	found, err := NewIndexer(IndexLimits{}).Index(s, func(off, n int64) (io.ReadCloser, error) {
		if off < s.Root.Body {
			return io.NopCloser(strings.NewReader(("Content-Type: text/plain; charset=utf-8\r\n\r\n" + text)[off : off+n])), nil
		}
		return io.NopCloser(strings.NewReader(text[off-s.Root.Body:][:n])), nil
	})
	if err != nil || !found.Whole {
		t.Fatalf("%v, %+v", err, found)
	}
	return found.Grams
}

// A text that contains a needle has all grams of it; when they are exact, the converse holds as well.
func TestGramsFindSubstrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]rune("aAbß é\u0301台北都がメ\u3099\ue000\ue080-.1\U0001f600\uFFFD"))
		text := string(rapid.SliceOf(letters).Draw(t, "text"))
		needle := string(Fold(string(rapid.SliceOfN(letters, 1, 5).Draw(t, "needle"))))
		has := gramsOf(t, text)
		grams, exact := NeedleGrams(needle, rapid.IntRange(1, 10).Draw(t, "most"))
		all := true
		for _, g := range grams {
			all = all && slices.Contains(has, g)
		}
		contained := contains(text, needle) || contains("content-type: text/plain; charset=utf-8", needle)
		if contained && !all {
			t.Errorf("%q is in %q, but one of its grams %v is not", needle, text, grams)
		}
		if exact && all && !contained {
			t.Errorf("%q is not in %q, but its grams %v are", needle, text, grams)
		}
	})
}

func TestNeedleGrams(t *testing.T) {
	for _, test := range []struct {
		needle string
		most   int
		want   string
	}{
		{"", 9, "[] false"},
		{"AB", 9, "[] false"},
		{"ABC", 9, "[ABC] true"},
		{"ABCDE", 9, "[ABC BCD CDE] false"},
		{"ABCDE", 2, "[ABC BCD] false"},
		{"北", 9, "[北] true"},
		{"台北", 9, "[台北] true"},
		{"A北", 9, "[北] false"},
		{"台北市", 9, "[台北市] true"},
		{"A\x00BCD", 9, "[] false"},
		{"\xff\xff\xff", 9, "[] false"},
	} {
		grams, exact := NeedleGrams(test.needle, test.most)
		var all []string
		for _, g := range grams {
			all = append(all, string(g.Runes()))
		}
		if got := fmt.Sprint(all, exact); got != test.want {
			t.Errorf("%q: %s, want %s", test.needle, got, test.want)
		}
	}
}

// A message beyond the limits is not whole, and takes bounded memory.
func TestIndexLimits(t *testing.T) {
	text := "\r\n" + strings.Repeat("some text ", 10_000)
	s := scan(text)
	opened := 0
	for _, limits := range []IndexLimits{{Octets: 1000}, {Grams: 5}} {
		x := NewIndexer(limits)
		found, err := x.Index(s, opener(text, &opened))
		if err != nil || found.Whole || found.Octets > 100_000 {
			t.Errorf("%+v: %+v, %v", limits, found, err)
		}
		small := "Subject: x\r\n\r\nabc"
		if found, err = x.Index(scan(small), opener(small, &opened)); limits.Grams == 0 && (err != nil || !found.Whole) {
			t.Errorf("what a message leaves behind spoils the next: %+v, %v", found, err)
		}
	}
	var summary message.Summary
	if found, err := NewIndexer(IndexLimits{}).Index(&summary, opener("", &opened)); err != nil || !found.Whole || len(found.Grams) != 0 {
		t.Errorf("an empty message: %+v, %v", found, err)
	}
}

// An index decides only on what it knows.
func TestAnswers(t *testing.T) {
	q := Compile(Or{Text{"abc"}, Not{Subject{"x"}}}, state())
	q.Use(&Answers{Tx: 9, Next: 10, Except: []domain.EmailID{3}, To: []Answer{
		{Known: true, Emails: []domain.EmailID{5, 2}},
		{Known: true, Exact: true, Emails: []domain.EmailID{4, 5, 1, 2}},
	}})
	for email, want := range map[domain.EmailID]Verdict{
		1:  No,      // no such text, and such a subject
		2:  Unknown, // perhaps such a text
		3:  Unknown, // not known whole
		7:  Yes,     // no such subject
		10: Unknown, // not taken in at all
	} {
		if got := q.Judge(&Candidate{Row: account.Message{Email: email, Modified: 9}}); got != want {
			t.Errorf("email %d: %d, want %d", email, got, want)
		}
		if got := q.Judge(&Candidate{Row: account.Message{Email: email, Modified: 10}}); got != Unknown { // not come to yet
			t.Errorf("email %d, changed since: %d", email, got)
		}
	}
	q.Use(nil)
	if got := q.Judge(&Candidate{Row: account.Message{Email: 7}}); got != Unknown {
		t.Errorf("without an index: %d", got)
	}
}
