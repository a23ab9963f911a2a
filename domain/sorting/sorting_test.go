package sorting

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/message"
	"pgregory.net/rapid"
)

// scan gives what is known of a message with this header.
func scan(header ...string) *message.Summary {
	s := message.NewScanner()
	_, _ = s.Write([]byte(strings.Join(append(header, "", "text"), "\r\n")))
	summary := s.Finish()
	return &summary
}

// shelf is four messages; the last one says nothing of itself.
func shelf() (*Table, []account.Message) {
	t := NewTable()
	t.Add(1, scan("From: =?utf-8?q?=C3=89mile?= <zola@example.org>", "To: b@example.org", "Cc: x@example.org", "Subject: Re: germinal", "Date: Tue, 1 Feb 1994 23:00:00 -0800"))
	t.Add(2, scan("From: Ann <yes@example.org>", "To: friends: a@example.org, b@example.org;", "Subject: [books] Germinal (fwd)", "Date: Wed, 2 Feb 1994 06:00:00 +0000"))
	t.Add(3, scan("From: ABE@example.org", "To: A@example.org", "Cc: x@example.net", "Subject: =?utf-8?q?=C3=A9tude?=", "Date: Wed, 2 Feb 1994 06:00:00 +0000"))
	t.Add(4, scan("X-Nothing: here"))
	return t, []account.Message{
		{UID: 10, Email: 1, Internal: 40, Size: 4}, {UID: 20, Email: 2, Internal: 30, Size: 3}, {UID: 30, Email: 3, Internal: 20, Size: 4}, {UID: 40, Email: 4, Internal: 10, Size: 1},
	}
}

// RFC 5256 section 3 and RFC 5957 section 3.
func TestOrder(t *testing.T) {
	table, rows := shelf()
	for _, test := range []struct {
		by   []Criterion
		want string
	}{
		{[]Criterion{{Key: Arrival}}, "[3 2 1 0]"},
		{[]Criterion{{Key: Arrival, Reverse: true}}, "[0 1 2 3]"},
		{[]Criterion{{Key: Size}}, "[3 1 0 2]"},
		{[]Criterion{{Key: Size, Reverse: true}}, "[0 2 1 3]"}, // REVERSE leaves the last criterion alone.
		{[]Criterion{{Key: Size}, {Key: Arrival}}, "[3 1 2 0]"},
		{[]Criterion{{Key: Date}}, "[3 1 2 0]"},    // section 2.2: in UTC, and INTERNALDATE where there is none.
		{[]Criterion{{Key: Subject}}, "[3 2 0 1]"}, // an accent follows its letter
		{[]Criterion{{Key: From}}, "[3 2 1 0]"},    // the mailbox only, in any case
		{[]Criterion{{Key: To}}, "[3 2 0 1]"},      // a group's name is its mailbox
		{[]Criterion{{Key: Cc}}, "[1 3 0 2]"},      // none is the empty one
		{[]Criterion{{Key: Cc}, {Key: To}}, "[3 1 2 0]"},
		{[]Criterion{{Key: DisplayFrom}}, "[3 2 1 0]"},
		{[]Criterion{{Key: DisplayTo}}, "[3 2 0 1]"},
		{[]Criterion{{Key: Relevancy}}, "[1 3 2 0]"}, // RFC 6203 section 6
		{[]Criterion{{Key: Relevancy, Reverse: true}}, "[0 2 1 3]"},
	} {
		if got := fmt.Sprint(table.Order(rows, test.by, func(i int) int { return []int{10, 99, 50, 99}[i] })); got != test.want {
			t.Errorf("%v: %s, want %s", test.by, got, test.want)
		}
	}
	if Needs([]Criterion{{Key: Size}, {Key: Arrival}, {Key: Relevancy}}) || !Needs([]Criterion{{Key: Size}, {Key: Cc}}) {
		t.Error("it is not the header that these criteria want")
	}
}

func TestThreadingOf(t *testing.T) {
	table := NewTable()
	table.Add(1, scan("Message-ID: <1@x>", "Subject: lunch", "Date: Wed, 2 Feb 1994 06:00:00 +0000"))
	table.Add(2, scan("Message-ID: <2@x>", "Subject: RE: LUNCH", "In-Reply-To: <\"1\"@x> <3@x>"))
	table.Add(3, scan("Message-ID: <3@x>", "In-Reply-To: <1@x>", "References: <2@x> <1@x>"))
	all := table.Threading([]account.Message{{Email: 3, Internal: 5}, {Email: 1, Internal: 6}, {Email: 2, Internal: 7}})
	if a, b := all[1], all[2]; a.Subject != b.Subject || a.Subject == 0 || a.Reply || !b.Reply || a.Sent != 760168800 || b.Sent != 7 ||
		len(a.References) != 0 || len(b.References) != 1 || b.References[0] != a.ID {
		t.Errorf("a message %+v and a reply %+v", a, b)
	}
	if c := all[0]; c.Subject != 0 || len(c.References) != 2 || c.References[0] != all[2].ID || c.References[1] != all[1].ID {
		t.Errorf("the third is %+v", c)
	}
}

// Many rows and few, numbers that lie near each other and far apart: the order is the same.
func TestArrange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 4*few).Draw(t, "rows")
		columns := make([][]int64, rapid.IntRange(1, 3).Draw(t, "columns"))
		for i := range columns {
			number := rapid.Int64Range(-3, 3)
			if rapid.Bool().Draw(t, "wide") {
				number = rapid.SampledFrom([]int64{-1 << 63, -1 << 40, 0, 1 << 32, 1<<63 - 1})
			}
			columns[i] = rapid.SliceOfN(number, n, n).Draw(t, "column")
		}
		order := make([]int32, n)
		for i := range order {
			order[i] = int32(i)
		}
		want := slices.Clone(order)
		slices.SortStableFunc(want, func(a, b int32) int {
			for _, column := range columns {
				if c := cmp.Compare(column[a], column[b]); c != 0 {
					return c
				}
			}
			return 0
		})
		if arrange(order, columns); !slices.Equal(order, want) {
			t.Fatalf("%d, want %d", order, want)
		}
	})
}

// Ranks that come bit by bit are those of all at once.
func TestRanksGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := interner{numbers: map[string]uint32{}}
		for _, part := range rapid.SliceOf(rapid.SliceOf(rapid.StringMatching(`[a-c]{0,3}`))).Draw(t, "texts") {
			for _, s := range part {
				x.number(s)
			}
			ranks := x.order()
			sorted := slices.Sorted(slices.Values(x.all))
			for n, rank := range ranks {
				if sorted[rank] != x.all[n] {
					t.Fatalf("%q has rank %d in %q", x.all[n], rank, sorted)
				}
			}
		}
	})
}

func TestLongTextsAreBounded(t *testing.T) {
	table := NewTable()
	long := strings.Repeat("x", 60_000)
	for i := range 100 {
		table.Add(domain.EmailID(i+1), scan("Subject: "+long+fmt.Sprint(i%2)))
	}
	if table.Weight() > 100_000 {
		t.Errorf("the table takes %d octets", table.Weight())
	}
	all := table.Threading([]account.Message{{Email: 1}, {Email: 2}, {Email: 3}})
	if all[0].Subject == all[1].Subject || all[0].Subject != all[2].Subject {
		t.Error("long subjects are no longer told apart")
	}
}

func BenchmarkOrder(b *testing.B) {
	table := NewTable()
	rows := make([]account.Message, 50_000)
	for i := range rows {
		rows[i] = account.Message{Email: domain.EmailID(i + 1), Internal: int64(i)}
		table.Add(rows[i].Email, &message.Summary{Envelope: message.Envelope{Subject: fmt.Sprintf("Re: about %d", i*7919%20_000), From: []message.Address{{Mailbox: fmt.Sprint(i % 500), Host: "x"}}}, SentAt: int64(i * 7919 % 50_000)})
	}
	for name, by := range map[string][]Criterion{"date": {{Key: Date}}, "subject": {{Key: Subject}}, "from, date": {{Key: From}, {Key: Date}}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				table.Order(rows, by, nil)
			}
		})
	}
}
