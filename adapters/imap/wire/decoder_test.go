package wire

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
)

// decode makes a Decoder over a client's octets. Continuation requests go nowhere: the octets are all there.
func decode(input string) *Decoder {
	d := NewDecoder(strings.NewReader(input), Limits{Drain: 1 << 20})
	d.Begin()
	return d
}

// value runs a parser and describes what it gave, the error, and what is left of the input.
func value[T any](input string, parse func(d *Decoder, v *T) bool) string {
	d := decode(input)
	var v T
	ok := parse(d, &v)
	rest, _ := io.ReadAll(d.buf)
	switch {
	case d.err != nil:
		return "error: " + d.err.Error()
	case !ok:
		return fmt.Sprintf("no, %q left", rest)
	}
	return fmt.Sprintf("%q, %q left", fmt.Sprint(v), rest)
}

func TestTokens(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{value("INBOX x", (*Decoder).Atom), `"INBOX", " x" left`},
		{value("(x", (*Decoder).Atom), `no, "(x" left`},
		{value("BODY[1]", (*Decoder).Atom), `"BODY[1", "]" left`},
		{value("body.peek[1]", (*Decoder).Label), `"BODY.PEEK", "[1]" left`},
		{value("a]b\r\n", (*Decoder).AString), `"a]b", "\r\n" left`},
		{value("\"a \\\"b\\\\\" ", (*Decoder).AString), `"a \"b\\", " " left`},
		{value("\"grün\" ", (*Decoder).AString), `"grün", " " left`},
		{value("{3}\r\na\r\n ", (*Decoder).AString), `"a\r\n", " " left`},
		{value("{3+}\r\nabc)", (*Decoder).AString), `"abc", ")" left`},
		{value("~{3+}\r\na\x00c)", (*Decoder).AString), `"a\x00c", ")" left`},
		{value("{3+}\r\na\x00c)", (*Decoder).AString), `error: NUL is not allowed in a literal`},
		{value("\"a\x00\"", (*Decoder).AString), `error: NUL is not allowed`},
		{value("\"a\\b\"", (*Decoder).AString), `error: only " and \ may follow \ in a quoted string`},
		{value("\"ab\r\n", (*Decoder).AString), `error: a quoted string does not end on its line`},
		{value("{3-}\r\nabc", (*Decoder).AString), `error: expected }`},
		{value("{x}\r\nabc", (*Decoder).AString), `error: expected the size of a literal, found "x"`},
		{value("{99999999999999999999}\r\n", (*Decoder).AString), `error: a number is too large`},
		{value("4294967295 ", (*Decoder).Number), `"4294967295", " " left`},
		{value("4294967296 ", (*Decoder).Number), `error: a number is too large`},
		{value("9223372036854775807 ", (*Decoder).Number64), `"9223372036854775807", " " left`},
		{value("9223372036854775808 ", (*Decoder).Number64), `error: a number is too large`},
		{value("\\Seen ", (*Decoder).Flag), `"\\Seen", " " left`},
		{value("$Junk ", (*Decoder).Flag), `"$Junk", " " left`},
		{value("\\ ", (*Decoder).Flag), `error: a flag's name must follow \`},
		{value("(\\Seen $x) ", (*Decoder).FlagList), `"[\\Seen $x]", " " left`},
		{value("() ", (*Decoder).FlagList), `"[]", " " left`},
		{value("(\\Seen  a)", (*Decoder).FlagList), `error: expected a flag, found a space`},
		{value("\\Seen $x\r\n", (*Decoder).ExpectFlags), `"[\\Seen $x]", "\r\n" left`},
		{value("a.%/* x", (*Decoder).ListMailbox), `"a.%/*", " x" left`},
		{value("&U,BTFw-/x ", (*Decoder).Mailbox), `"台北/x", " " left`},
		{value("R&D ", (*Decoder).Mailbox), `error: the mailbox name is not valid modified UTF-7: & without -`},
		{value("A+1 ", (*Decoder).Tag), `"A", "+1 " left`},
		{value("NIL)", func(d *Decoder, s *string) bool { _, ok := d.ExpectNString(s); return ok }), `"", ")" left`},
		{value("\"NIL\")", func(d *Decoder, s *string) bool { _, ok := d.ExpectNString(s); return ok }), `"NIL", ")" left`},
		{value("NILS)", func(d *Decoder, s *string) bool { _, ok := d.ExpectNString(s); return ok }), `error: expected a string or NIL, found "N"`},
		{value("\r\nx", func(d *Decoder, _ *int) bool { return d.CRLF() }), `"0", "x" left`},
		{value("\nx", func(d *Decoder, _ *int) bool { return d.CRLF() }), `error: lines must end in CR LF`},
		{value("\rx", func(d *Decoder, _ *int) bool { return d.CRLF() }), `error: lines must end in CR LF`},
	} {
		if test.got != test.want {
			t.Errorf("got  %s\nwant %s", test.got, test.want)
		}
	}
}

func TestDates(t *testing.T) {
	text := func(parse func(*Decoder, *time.Time) bool) func(d *Decoder, s *string) bool {
		return func(d *Decoder, s *string) bool {
			var v time.Time
			ok := parse(d, &v)
			*s = v.Format(time.RFC3339)
			return ok
		}
	}
	for _, test := range []struct{ got, want string }{
		{value(`"17-Jul-1996 02:44:25 -0700" `, text((*Decoder).ExpectDateTime)), `"1996-07-17T09:44:25Z", " " left`},
		{value(`" 7-Feb-1994 21:52:25 -0800" `, text((*Decoder).ExpectDateTime)), `"1994-02-08T05:52:25Z", " " left`},
		{value(`"7-feb-1994 21:52:25 +0000" `, text((*Decoder).ExpectDateTime)), `"1994-02-07T21:52:25Z", " " left`},
		{value(`"31-Feb-1994 21:52:25 +0000" `, text((*Decoder).ExpectDateTime)), `error: a date and time looks like "17-Jul-1996 02:44:25 -0700"`},
		{value(`"31-Dec-9999 23:59:59 +0000" `, text((*Decoder).ExpectDateTime)), `"9999-12-31T23:59:59Z", " " left`},
		{value(`"31-Dec-9999 23:59:59 -1200" `, text((*Decoder).ExpectDateTime)), `"9999-12-31T23:59:59Z", " " left`},
		{value(`"01-Jan-0000 00:00:00 +0100" `, text((*Decoder).ExpectDateTime)), `"0000-01-01T00:00:00Z", " " left`},
		{value(`1-Feb-1994 `, text((*Decoder).ExpectDate)), `"1994-02-01T00:00:00Z", " " left`},
		{value(`"01-FEB-1994" `, text((*Decoder).ExpectDate)), `"1994-02-01T00:00:00Z", " " left`},
		{value(`30-Feb-1994 `, text((*Decoder).ExpectDate)), `error: a date looks like 1-Feb-1994`},
	} {
		if test.got != test.want {
			t.Errorf("got  %s\nwant %s", test.got, test.want)
		}
	}
}

func TestAppendDateTimeAgreesWithTime(t *testing.T) {
	for _, unix := range []int64{0, 1, -1, 951782400, 951868799, 951868800, 1709164800, 1709251200, 4102444799, 4107542400, -62135596800, 253402300799, 1735689599, 1735689600} {
		want := time.Unix(unix, 0).UTC().Format(`"02-Jan-2006 15:04:05 -0700"`)
		if got := string(AppendDateTime(nil, unix)); got != want {
			t.Errorf("%d: got %s, want %s", unix, got, want)
		}
	}
	for unix := int64(-5e9); unix < 2e10; unix += 86400*3 + 12345 {
		want := time.Unix(unix, 0).UTC().Format(`"02-Jan-2006 15:04:05 -0700"`)
		if got := string(AppendDateTime(nil, unix)); got != want {
			t.Fatalf("%d: got %s, want %s", unix, got, want)
		}
	}
}

func TestNumSet(t *testing.T) {
	for _, test := range []struct {
		set  string
		last domain.UID
		want string
	}{
		{"1", 10, "1"},
		{"2,4:7,9,12:*", 15, "2,4:7,9,12:15"},
		{"*:4,5:7", 10, "4:10"}, // RFC 9051 section 9, sequence-set: the examples in its comments.
		{"*", 10, "10"},
		{"*:*", 10, "10"},
		{"5:*", 3, "3:5"}, // always holds the largest number
		{"4:2", 10, "2:4"},
		{"3,2,1", 10, "1:3"},
		{"1,1,1:2", 10, "1:2"},
		{"4294967295", 10, "4294967295"},
		{"1:4294967295,7", 10, "1:4294967295"},
		{"1:*", 0, ""},
	} {
		d := decode(test.set + "\r\n")
		var s NumSet
		if !d.ExpectNumSet(&s) || !d.ExpectCRLF() {
			t.Errorf("%s: %v", test.set, d.Err())
			continue
		}
		if got := s.Resolve(test.last).String(); got != test.want {
			t.Errorf("%s with %d messages: got %s, want %s", test.set, test.last, got, test.want)
		}
	}
	for _, bad := range []string{"0", "1:0", "1,", ",1", "1:", "a", "1,$", "", "-1", "4294967296"} {
		d := decode(bad + "\r\n")
		var s NumSet
		if d.ExpectNumSet(&s) && d.ExpectCRLF() {
			t.Errorf("%q is taken as a set", bad)
		}
	}
	d := decode("$ x")
	var s NumSet
	if !d.NumSet(&s) || !s.Saved {
		t.Error("$ is not taken")
	}
}

func TestNumSetStaysBounded(t *testing.T) {
	dense := func(yield func(uint32) bool) {
		for n := uint32(1_000_000); n > 0 && yield(n); n-- {
		}
	}
	sparse := func(yield func(uint32) bool) {
		for n := uint32(1_000_001); n > 1 && yield(n); n -= 2 {
		}
	}
	text := func(numbers func(func(uint32) bool)) string {
		var b strings.Builder
		for n := range numbers {
			fmt.Fprintf(&b, ",%d", n)
		}
		return b.String()[1:] + "\r\n"
	}
	var s NumSet
	if d := decode(text(dense)); !d.ExpectNumSet(&s) || s.Resolve(1).String() != "1:1000000" {
		t.Errorf("a million numbers that touch: %v", d.Err())
	}
	if cap(s.ranges) > 100_000 {
		t.Errorf("a million numbers that touch took room for %d ranges", cap(s.ranges))
	}
	d := NewDecoder(strings.NewReader(text(sparse)), Limits{})
	d.Begin()
	if d.ExpectNumSet(&s) {
		t.Error("half a million ranges are taken")
	}
	var syntax *SyntaxError
	if !errors.As(d.Err(), &syntax) || syntax.Code != "LIMIT" || d.Finish() != nil {
		t.Errorf("half a million ranges: %v", d.Err())
	}
}

func TestListDepthAndItems(t *testing.T) {
	nested := func(depth int) error {
		d := NewDecoder(strings.NewReader(strings.Repeat("(", depth)+strings.Repeat(")", depth)+"\r\n"), Limits{Depth: 20})
		d.Begin()
		var list func() bool
		list = func() bool { return d.ExpectList(list) }
		list()
		d.ExpectCRLF()
		return d.Err()
	}
	if err := nested(20); err != nil {
		t.Error(err)
	}
	if nested(21) == nil || nested(100_000) == nil {
		t.Error("depth has no limit")
	}
	d := NewDecoder(strings.NewReader("("+strings.Repeat("a ", 100)+"a)\r\n"), Limits{Items: 100})
	d.Begin()
	var flags []string
	if d.FlagList(&flags) || len(flags) > 100 {
		t.Error("items have no limit")
	}
}

// commands reads tag, name and one argument of each command, as a server does that knows only commands with one argument, and tells which
// commands it would have run.
func commands(d *Decoder) (ran []string, end error) {
	for {
		if err := d.Wait(); err != nil {
			return ran, err
		}
		d.Begin()
		var tag, name, arg string
		if d.ExpectTag(&tag) && d.ExpectSP() && d.ExpectName(&name) && d.ExpectSP() && d.ExpectAString(&arg) && d.ExpectCRLF() {
			if len(arg) > 20 {
				arg = fmt.Sprintf("%.8s...", arg)
			}
			ran = append(ran, tag+" "+name+" "+arg)
		} else {
			ran = append(ran, tag+" BAD")
		}
		if err := d.Finish(); err != nil {
			return ran, err
		}
	}
}

// The octets of a literal never run as a command, whatever becomes of the command that they belong to.
func TestNothingIsSmuggled(t *testing.T) {
	evil := "z DELETE pwned\r\n"
	literal := func(n int) string { return strings.Repeat(evil, n/len(evil)+1)[:n] }
	for _, test := range []struct {
		what, input, ran string
		closed           bool
	}{
		{"an argument literal over the limit", "a CREATE {5000+}\r\n" + literal(5000) + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"one far over the limit", "a CREATE {2000000+}\r\n" + literal(50_000), "a BAD", true},
		{"a size beyond 63 bits", "a CREATE {9223372036854775808+}\r\n" + literal(500), "a BAD", true},
		{"a size of many digits", "a CREATE {" + strings.Repeat("9", 500) + "+}\r\n" + literal(500), "a BAD", true},
		{"a literal after a syntax error", "a CREATE foo)bar {32+}\r\n" + literal(32) + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"two literals after a syntax error", "a CREATE ( {16+}\r\n" + evil + " {16+}\r\n" + evil + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"a literal8 after a syntax error", "a CREATE (~{16+}\r\n" + evil + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"a literal in a bad tag's line", "(a CREATE {16+}\r\n" + evil + "\r\nb NOOP x\r\n", " BAD, b NOOP x", false},
		{"a literal with NUL", "a CREATE {18+}\r\n\x00" + evil + "\x00\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"an unterminated quoted string before a literal", "a CREATE \"foo{16+}\r\n" + evil + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"a synchronising literal after a syntax error", "a CREATE ( {16}\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"an over-long synchronising literal", "a CREATE {5000}\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"an over-long line", "a CREATE " + strings.Repeat("x", 100_000) + " z DELETE pwned\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"an over-long line that ends in a literal", "a CREATE " + strings.Repeat("x", 100_000) + "{16+}\r\n" + evil + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"a line that never ends", "a CREATE " + strings.Repeat("x", 2_000_000), "a BAD", true},
		{"a bare LF", "a CREATE \"x\nz DELETE pwned\r\n", "a BAD", true},
		{"a bare LF as the end", "a CREATE x\nz DELETE pwned\r\n", "a BAD", true},
		{"a bare CR", "a CREATE x\rz DELETE pwned\r\n", "a BAD", true},
		{"a bare LF after an error", "a CREATE (\nz DELETE pwned\r\n", "a BAD", true},
		{"a NUL", "a CREATE x\x00z DELETE pwned\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"a literal that is no literal", "a CREATE x{16+}\r\n" + evil + "\r\nb NOOP x\r\n", "a BAD, b NOOP x", false},
		{"many literals", "a CREATE (" + strings.Repeat(" {16+}\r\n"+evil, 50_000) + "\r\n", "a BAD", true},
	} {
		d := NewDecoder(strings.NewReader(test.input), Limits{Command: 64 << 10, Kept: 8192, Literal: 4096, Drain: 1 << 20})
		ran, end := commands(d)
		if got := strings.Join(ran, ", "); got != test.ran {
			t.Errorf("%s: ran %s, want %s", test.what, got, test.ran)
		}
		var closed *CloseError
		if errors.As(end, &closed) != test.closed {
			t.Errorf("%s: the connection ended with %v", test.what, end)
		}
	}
}

// A streamed literal that the command leaves unread, in part or wholly, does not disturb the next command.
func TestStreamedLiteral(t *testing.T) {
	for _, test := range []struct {
		what string
		use  func(l *Literal)
		want string
	}{
		{"read", func(l *Literal) { r, _ := l.Accept(); _, _ = io.ReadAll(r) }, "continue"},
		{"read in part", func(l *Literal) { r, _ := l.Accept(); _, _ = io.ReadFull(r, make([]byte, 5)) }, "continue"},
		{"accepted only", func(l *Literal) { _, _ = l.Accept() }, "continue"},
		{"refused", func(*Literal) {}, ""},
	} {
		for _, form := range []string{"{16+}", "{16}", "~{16+}"} {
			input := form + "\r\n"
			asked := ""
			if form != "{16}" || test.want != "" {
				input += "z DELETE pwned\r\n\r\n"
			}
			d := NewDecoder(strings.NewReader(input+"b NOOP x\r\n"), Limits{})
			d.Continue = func() error { asked = "continue"; return nil }
			d.Begin()
			l := d.ExpectLiteral()
			if l == nil || l.Size != 16 || l.NonSync != strings.Contains(form, "+") || l.Binary != strings.HasPrefix(form, "~") {
				t.Fatalf("%s %s: %+v, %v", test.what, form, l, d.Err())
			}
			test.use(l)
			want := test.want
			if l.NonSync {
				want = "" // RFC 7888 section 4: no continuation request.
			}
			if asked != want {
				t.Errorf("%s %s: asked %q, want %q", test.what, form, asked, want)
			}
			if err := d.Finish(); err != nil {
				t.Errorf("%s %s: %v", test.what, form, err)
			}
			if ran, _ := commands(d); !slices.Equal(ran, []string{"b NOOP x"}) {
				t.Errorf("%s %s: then ran %q", test.what, form, ran)
			}
		}
	}
}

func TestFlushBeforeWaiting(t *testing.T) {
	waits := 0
	d := NewDecoder(strings.NewReader("a NOOP x\r\nb NOOP y\r\n"), Limits{})
	d.BeforeRead = func() error { waits++; return nil }
	if ran, _ := commands(d); len(ran) != 2 {
		t.Fatal(ran)
	}
	if waits != 2 { // once for both commands, once for the end of the input.
		t.Errorf("waited %d times", waits)
	}
}

func TestLine(t *testing.T) {
	d := NewDecoder(strings.NewReader("DONE\r\n"+strings.Repeat("x", 9000)+"\r\n"+strings.Repeat("x", 9000)+"\r\n"), Limits{})
	if line, err := d.Line(10); err != nil || string(line) != "DONE" {
		t.Error(line, err)
	}
	if line, err := d.Line(9000); err != nil || len(line) != 9000 {
		t.Error(len(line), err)
	}
	if _, err := d.Line(8999); err == nil {
		t.Error("a line over the limit is taken")
	}
}
