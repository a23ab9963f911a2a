package search

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/text"
)

// state is an account that knows one keyword.
func state() *account.State {
	s := account.New()
	s.Keywords = []string{"$Junk"}
	return s
}

// scan describes a message.
func scan(text string) *message.Summary {
	s := message.NewScanner()
	_, _ = io.WriteString(s, text)
	summary := s.Finish()
	return &summary
}

// opener reads from a message in memory, and counts how often it is opened.
func opener(octets string, opened *int) text.Opener {
	return func(off, n int64) (io.ReadCloser, error) {
		*opened++
		return io.NopCloser(strings.NewReader(octets[off : off+n])), nil
	}
}

const multipart = "From: =?utf-8?q?J=C3=BCrgen_M=C3=BCller?= <jm@example.org>\r\n" +
	"To: Team <team@example.com>, other@example.net\r\n" +
	"Cc: A Group: one@example.org, two@example.org;\r\n" +
	"Subject: =?iso-8859-1?q?Gr=FC=DFe_aus?=\r\n =?utf-8?b?5Y+w5YyX?=\r\n" +
	"Date: Wed, 17 Jul 1996 23:44:25 -0700\r\n" +
	"X-Folded: one\r\n\ttwo\r\n" +
	"X-Empty:\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n" +
	"\r\npreamble\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Stra=C3=9Fe und sch=\r\n=C3=B6n, d=C3=A9j=C3=A0 vu\r\n" +
	"--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p>caf&eacute; <b>frit</b>tiert \xe4rger</p>\r\n" +
	"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nX-Part: hidden\r\n\r\nc2VjcmV0\r\n" +
	"--b\r\nContent-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: base64\r\n\r\nzKixsQ==\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner subject\r\n\r\ninner text\r\n" +
	"--b--\r\nepilogue\r\n"

// judge runs all stages and tells how many it took.
func judge(t *testing.T, k Key, c Candidate, text string) (v Verdict, stage int) {
	t.Helper()
	q := Compile(k, state())
	c.Summary = nil
	if v = q.Judge(&c); v != Unknown {
		return v, 1
	}
	if c.Summary = scan(text); q.Judge(&c) != Unknown {
		return q.Judge(&c), 2
	}
	opened := 0
	if err := q.Read(&c, opener(text, &opened)); err != nil {
		t.Fatal(err)
	}
	if opened > 1 {
		t.Errorf("%#v: the message is opened %d times", k, opened)
	}
	if v = q.Judge(&c); v == Unknown {
		t.Errorf("%#v: unknown after stage 3", k)
	}
	return v, 3
}

func TestKeys(t *testing.T) {
	day := func(y, m, d int) Day { // RFC 9051 dates without a clock
		sent, _ := message.ParseDate(fmt.Sprintf("%d %s %d 00:00:00 +0000", d, "JanFebMarAprMayJunJulAugSepOctNovDec"[m*3-3:m*3], y))
		return DayOf(sent.Unix())
	}
	on := func(d Day) Days { return Days{d, d + 1} }
	row := account.Message{UID: 7, Modified: 40, Flags: event.Seen | event.KeywordFlag(0), Size: 1000, Internal: 86400*3 + 5, Saved: -1, Email: 9, Thread: 8}
	for _, test := range []struct {
		key   Key
		want  Verdict
		stage int
	}{
		{All{}, Yes, 1},
		{None{}, No, 1},
		{Flag{`\seen`}, Yes, 1},
		{Flag{`\Deleted`}, No, 1},
		{Flag{`$junk`}, Yes, 1},
		{Flag{`$Unknown`}, No, 1},
		{Not{Flag{`$Unknown`}}, Yes, 1},
		{UIDs{domain.UIDs(1, 7)}, Yes, 1},
		{UIDs{domain.UIDs(6, 8)}, No, 1},
		{Internal(on(3)), Yes, 1},
		{Internal{Ever, 3}, No, 1},
		{Internal{3, Never}, Yes, 1},
		{Saved(on(-1)), Yes, 1},
		{Within{86400*3 + 5, 86400*3 + 6}, Yes, 1},
		{Within{86400*3 + 6, 1 << 62}, No, 1},
		{Larger{999}, Yes, 1},
		{Larger{1000}, No, 1},
		{Smaller{1000}, No, 1},
		{Smaller{1001}, Yes, 1},
		{Modified{40}, Yes, 1},
		{Modified{41}, No, 1},
		{EmailID{ID: 9}, Yes, 1},
		{ThreadID{ID: 9}, No, 1},
		{And{}, Yes, 1},
		{Or{}, No, 1},
		{And{All{}, None{}}, No, 1},
		{Or{None{}, All{}}, Yes, 1},

		// The cheap key decides, wherever it stands.
		{And{Text{"x"}, None{}}, No, 1},
		{Or{Text{"x"}, All{}}, Yes, 1},
		{And{Subject{"grü"}, Text{"nowhere"}, Subject{"no"}}, No, 2},

		{Sent(on(day(1996, 7, 17))), Yes, 2}, // as the sender's clock showed it; in UTC it is the 18th.
		{Sent{Ever, day(1996, 7, 17)}, No, 2},
		{Subject{"GRÜSSE"}, No, 2}, // i;unicode-casemap keeps ß one letter.
		{Subject{"grüße AUS"}, Yes, 2},
		{Subject{"台北"}, Yes, 2},
		{Subject{""}, Yes, 2},
		{Address{From, "jürgen mü"}, Yes, 2},
		{Address{From, "JM@EXAMPLE"}, Yes, 2},
		{Address{From, "müller <jm@example.org>"}, Yes, 2},
		{Address{To, "other@"}, Yes, 2},
		{Address{To, "jm@"}, No, 2},
		{Address{Cc, "two@example.org"}, Yes, 2},
		{Address{Cc, "a group"}, Yes, 2},
		{Address{Bcc, ""}, No, 2},

		{Header{"x-folded", "one\ttwo"}, Yes, 3},
		{Header{"X-FOLDED", ""}, Yes, 3},
		{Header{"X-Empty", ""}, Yes, 3},
		{Header{"X-Empty", "x"}, No, 3},
		{Header{"X-Absent", ""}, No, 3},
		{Header{"X-Part", ""}, No, 3}, // of a part, not of the message
		{Header{"Subject", "grüße"}, Yes, 3},
		{Body{"straße UND schön"}, Yes, 3},
		{Body{"déjà"}, Yes, 3},
		{Body{"de\u0301ja\u0300"}, Yes, 3}, // decomposed
		{Body{"ＤÉJÀ"}, Yes, 3},             // full width
		{Body{"café frittiert ärger"}, Yes, 3},
		{Body{"<b>"}, No, 3},
		{Body{"台北"}, Yes, 3},
		{Body{"c2VjcmV0"}, No, 3}, // what is encoded is not text
		{Body{"inner text"}, Yes, 3},
		{Body{"inner subject"}, Yes, 3}, // the header of a message in the body
		{Body{"x-folded"}, No, 3},
		{Body{"text/html"}, No, 3},
		{Body{""}, Yes, 3},
		{Text{"x-folded: ONE"}, Yes, 3},
		{Text{"x-part: hidden"}, Yes, 3},
		{Text{"déjà"}, Yes, 3},
		{Text{"vu\r\ncafé"}, No, 3}, // not across parts
		{Text{"nowhere"}, No, 3},
		{Not{Body{"nowhere"}}, Yes, 3},
		{And{Body{"déjà"}, Body{"台北"}, Text{"hidden"}, Header{"X-Folded", "two"}}, Yes, 3},
		{Or{Body{"nowhere"}, Body{"inner"}}, Yes, 3},
	} {
		if v, stage := judge(t, test.key, Candidate{Row: row}, multipart); v != test.want || stage != test.stage {
			t.Errorf("%#v: %d in stage %d, want %d in stage %d", test.key, v, stage, test.want, test.stage)
		}
	}
}

func TestSentDay(t *testing.T) {
	for date, want := range map[string]string{
		"Wed, 17 Jul 1996 23:44:25 -0700":   "1996-07-17",
		"17 jul 96 23:44 EST":               "1996-07-17",
		"Sat, 1 Jan 101 00:00:00 +0000":     "2001-01-01",
		"Fri, 01-Mar-2024 00:30:00 +0200":   "2024-03-01",
		"Mon Jan  2 15:04:05 2006":          "2006-01-02", // asctime: by its instant
		"2006-01-02T15:04:05Z":              "2006-01-02",
		"the day after tomorrow":            "",
		"":                                  "",
		"Wed, 99 Jul 1996 23:44:25 -0700":   "",
		"17 Jul 99999 23:44:25 -0700":       "",
		"17 Jul 1996 (5 Aug 1997) 23:44:25": "1996-07-17",
	} {
		day, ok := SentDay(scan("Date: " + date + "\r\n\r\n"))
		got := ""
		if ok {
			got = time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", date, got, want)
		}
	}
}

// A text is found wherever the pieces in which it arrives are cut, and whatever its size.
func TestMatcherKnowsNoPieces(t *testing.T) {
	text := strings.Repeat("aäߔ\U0001f600e\u0301 台北 ﬁ ", 3000) + "Ende: Straße, ÉCOLE, ﬁn"
	for _, piece := range []int{1, 2, 3, 7, 1000, window - 1, window, window + 1, 1 << 20} {
		m := newMatcher([][]byte{Fold("ende: straße"), Fold("école"), Fold("FIN"), Fold("absent"), Fold("北 fi aä")})
		for rest := []byte(text); len(rest) > 0; {
			n := min(piece, len(rest))
			m.write(rest[:n])
			rest = rest[n:]
		}
		m.boundary()
		if got := fmt.Sprint(m.found); got != "[true true true false true]" {
			t.Errorf("in pieces of %d: found %s", piece, got)
		}
		if cap(m.text) > 16*window || cap(m.folder.pending) > 16*window {
			t.Errorf("in pieces of %d: holds %d octets", piece, cap(m.text)+cap(m.folder.pending))
		}
	}
}

func FuzzMatcher(f *testing.F) {
	f.Add("Straße é", "ße", 3)
	f.Add("e\u0301\u0323x", "\u1eb9", 1)
	f.Fuzz(func(t *testing.T, text, needle string, piece int) {
		text, needle = strings.ToValidUTF8(text, "?"), strings.ToValidUTF8(needle, "?")
		if piece < 1 {
			piece = 1
		}
		m := newMatcher([][]byte{Fold(needle)})
		for rest := []byte(text); len(rest) > 0; {
			n := min(piece, len(rest))
			m.write(rest[:n])
			rest = rest[n:]
		}
		m.boundary()
		if want := bytes.Contains(Fold(text), Fold(needle)); m.found[0] != want {
			t.Errorf("%q in %q in pieces of %d: %v, want %v", needle, text, piece, m.found[0], want)
		}
	})
}

// What a blob says is an error, what a message says is not.
func TestUnreadable(t *testing.T) {
	damaged := errors.New("damaged")
	for _, text := range []string{multipart, "Subject: x\r\n\r\nbody"} {
		q := Compile(Body{"nowhere"}, state())
		c := Candidate{Summary: scan(text)}
		if err := q.Read(&c, func(off, n int64) (io.ReadCloser, error) { return nil, damaged }); !errors.Is(err, damaged) {
			t.Errorf("an error of opening comes as %v", err)
		}
		if err := q.Read(&c, func(off, n int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(text[off:off+3]), broken{damaged})), nil
		}); !errors.Is(err, damaged) {
			t.Errorf("an error of reading comes as %v", err)
		}
	}
	text := "Content-Type: text/plain; charset=x-nonsense\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\xff\r\n"
	opened := 0
	if err := Compile(Body{"x"}, state()).Read(&Candidate{Summary: scan(text)}, opener(text, &opened)); err != nil {
		t.Error(err)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestUses(t *testing.T) {
	k := And{Flag{"x"}, Or{Not{Modified{3}}, All{}}}
	if !Uses[Modified](k) || Uses[Text](k) {
		t.Error("Uses is wrong")
	}
}

// The columns of a mailbox are matched against the session's view: what is only in one of them is left out.
func TestColumns(t *testing.T) {
	m := &account.Mailbox{}
	for _, uid := range []domain.UID{2, 4, 5, 9} {
		m.Append(account.Message{UID: uid, Size: int64(uid)})
	}
	var got []string
	Compile(Larger{4}, state()).Columns(m, []domain.UID{1, 2, 3, 5, 8}, func(row account.Message, v Verdict) {
		got = append(got, fmt.Sprint(row.UID, v))
	})
	if fmt.Sprint(got) != "[2 -1 5 1]" {
		t.Error(got)
	}
}

// What was extracted from attachments is text of the body, beside what the message says. It is asked for only where that does not decide.
func TestExtracts(t *testing.T) {
	for _, test := range []struct {
		key   Key
		want  Verdict
		asked int
	}{
		{Body{Text: "QUARTERLY"}, Yes, 1},
		{Text{Text: "arterly fig"}, Yes, 1},
		{Body{Text: "figures budget"}, No, 1}, // no text goes across two attachments.
		{Not{Key: Body{Text: "budget"}}, No, 1},
		{Body{Text: "inner text"}, Yes, 0},
		{Header{Field: "Subject", Text: "quarterly"}, No, 0},
		{Subject{Text: "quarterly"}, No, 0},
		{And{Body{Text: "inner text"}, Body{Text: "budget"}}, Yes, 1},
	} {
		asked, opened := 0, 0
		q := Compile(test.key, state())
		c := Candidate{Row: account.Message{UID: 1}, Summary: scan(multipart), Extracts: func() (iter.Seq[string], error) {
			asked++
			return slices.Values([]string{"Quarterly figures", "budget"}), nil
		}}
		if q.Judge(&c) == Unknown {
			if err := q.Read(&c, opener(multipart, &opened)); err != nil {
				t.Fatal(err)
			}
		}
		if got := q.Judge(&c); got != test.want || asked != test.asked {
			t.Errorf("%#v: %v, want %v; the extracts are asked for %d times, want %d", test.key, got, test.want, asked, test.asked)
		}
	}
	lost := errors.New("lost")
	c := Candidate{Summary: scan(multipart), Extracts: func() (iter.Seq[string], error) { return nil, lost }}
	if err := Compile(Body{Text: "budget"}, state()).Read(&c, opener(multipart, new(int))); !errors.Is(err, lost) {
		t.Errorf("extracts that cannot be read: %v", err)
	}
}
