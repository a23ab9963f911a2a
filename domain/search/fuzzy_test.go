package search

import (
	"slices"
	"testing"

	"github.com/streampost/streampost/domain/message"
	"pgregory.net/rapid"
)

// closeness finds how close a subject comes to a text; -1 when it does not.
func closeness(subject, text string) int {
	s := &message.Summary{Envelope: message.Envelope{Subject: subject, Has: message.HasSubject}}
	for i, c := range Closenesses() {
		if Compile(c.Within(Fuzzy{Subject{text}}), state()).Judge(&Candidate{Summary: s}) == Yes {
			return i
		}
	}
	return -1
}

func TestCloseness(t *testing.T) {
	for _, test := range []struct {
		subject, text string
		want          int
	}{
		{"the annual report", "annual report", 0},
		{"the annual report", "REPORT, annual!", 1},
		{"the annual report", "report anual", 2},
		{"the annual report", "reports", 2},
		{"the annual report", "annual report attached", 3},
		{"the annual report", "quarterly report", -1}, // one word of two is not most of them
		{"the annual report", "xyz", -1},
		{"the annual report", "the", 0},
		{"the annual report", "teh", -1}, // too short to have been meant otherwise
		{"the annual report", "...", -1},
		{"\u6771\u4eac\u90fd\u5e81", "\u6771\u4eac\u90fd\u5e81", 0},
		{"\u6771\u4eac\u90fd x \u90fd\u5e81", "\u6771\u4eac\u90fd\u5e81", 2},
	} {
		if got := closeness(test.subject, test.text); got != test.want {
			t.Errorf("%q is at %d of %q, want %d", test.subject, got, test.text, test.want)
		}
	}
	k := And{Not{Fuzzy{Subject{"anual"}}}, Or{Fuzzy{And{Flag{"x"}, Fuzzy{Body{"y"}}}}, All{}}}
	if Texts(k) != 2 || !Uses[Fuzzy](k) || !Uses[Body](k) || Uses[Text](k) {
		t.Error("what is inside a fuzzy key is not seen")
	}
	for _, c := range Closenesses() {
		if Uses[Fuzzy](c.Within(k)) || c.Score() < 1 || c.Score() > 100 { // RFC 6203 section 4.
			t.Errorf("closeness %d", c)
		}
	}
}

// What is close is also less close, and words have a bounded number of variants.
func TestClosenessesHoldEachOther(t *testing.T) {
	words := rapid.StringMatching(`[a-d\x{e9}\x{4eac}]{1,10}( [a-d]{1,7}){0,10}`)
	rapid.Check(t, func(t *rapid.T) {
		subject, text := words.Draw(t, "subject"), words.Draw(t, "text")
		s := &message.Summary{Envelope: message.Envelope{Subject: subject, Has: message.HasSubject}}
		before := No
		for _, c := range Closenesses() {
			v := Compile(c.Within(Fuzzy{Subject{text}}), state()).Judge(&Candidate{Summary: s})
			if v < before {
				t.Fatalf("%q comes close to %q at %d only", subject, text, c-1)
			}
			before = v
		}
		all := variants([]rune(string(Fold(text))))
		if len(all) > maxVariants || len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) {
			t.Fatalf("%d variants of %q", len(all), text)
		}
	})
}
