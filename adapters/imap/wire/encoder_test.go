package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func encode(asUTF8 bool, f func(e *Encoder)) string {
	var out bytes.Buffer
	e := NewEncoder(&out)
	e.UTF8 = asUTF8
	f(e)
	if err := e.Flush(); err != nil {
		return "error: " + err.Error()
	}
	return out.String()
}

func TestEncoder(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{encode(false, func(e *Encoder) { e.Raw("* ").Number(7).SP().Atom("EXISTS").CRLF() }), "* 7 EXISTS\r\n"},
		{encode(false, func(e *Encoder) { e.String("plain") }), `"plain"`},
		{encode(false, func(e *Encoder) { e.String(`a "b\`) }), `"a \"b\\"`},
		{encode(false, func(e *Encoder) { e.String("two\r\nlines") }), "{10}\r\ntwo\r\nlines"},
		{encode(false, func(e *Encoder) { e.String("é") }), "{2}\r\né"},
		{encode(true, func(e *Encoder) { e.String("é") }), `"é"`},
		{encode(true, func(e *Encoder) { e.String("\xff") }), "{1}\r\n\xff"},
		{encode(true, func(e *Encoder) { e.String("a\x00b") }), "{3}\r\na?b"},
		{encode(false, func(e *Encoder) { e.String("") }), `""`},
		{encode(false, func(e *Encoder) { e.NString("x", false) }), `NIL`},
		{encode(false, func(e *Encoder) { e.AString("nil") }), `"nil"`},
		{encode(false, func(e *Encoder) { e.AString("") }), `""`},
		{encode(false, func(e *Encoder) { e.AString("a]b") }), `a]b`},
		{encode(false, func(e *Encoder) { e.Mailbox("台北/x y") }), `"&U,BTFw-/x y"`},
		{encode(true, func(e *Encoder) { e.Mailbox("台北") }), `"台北"`},
		{encode(false, func(e *Encoder) { e.Mailbox("R&D") }), `R&-D`},
		{encode(true, func(e *Encoder) { e.Mailbox("R&D") }), `R&D`},
		{encode(false, func(e *Encoder) { e.Flags([]string{`\Seen`, "$Junk"}) }), `(\Seen $Junk)`},
		{encode(false, func(e *Encoder) { e.Flags(nil) }), `()`},
		{encode(false, func(e *Encoder) { e.DateTime(0) }), `"01-Jan-1970 00:00:00 +0000"`},
		{encode(false, func(e *Encoder) { e.Literal(3, false).Write([]byte("abc")); e.End() }), "{3}\r\nabc"},
		{encode(false, func(e *Encoder) { e.Literal(3, true).Write([]byte("a\x00c")); e.End() }), "~{3}\r\na\x00c"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestLiteralMustKeepItsSize(t *testing.T) {
	for _, body := range []string{"ab", "abcd"} {
		var out bytes.Buffer
		e := NewEncoder(&out)
		_, _ = e.Literal(3, false).Write([]byte(body))
		if err := e.End(); !errors.Is(err, ErrShortLiteral) {
			t.Errorf("%d octets in a literal of 3: %v", len(body), err)
		}
		e.CRLF()
		if !errors.Is(e.Flush(), ErrShortLiteral) || strings.Contains(out.String(), "abcd") {
			t.Errorf("the response goes on: %q", out.String())
		}
	}
}

// counter counts writes.
type counter struct {
	writes int
	bytes.Buffer
}

func (c *counter) Write(p []byte) (int, error) {
	c.writes++
	return c.Buffer.Write(p)
}

func TestLinesShareWrites(t *testing.T) {
	var out counter
	e := NewEncoder(&out)
	for range 10_000 {
		e.Raw("* 1 FETCH (FLAGS ())").CRLF()
	}
	if err := e.Flush(); err != nil || out.Len() != 10_000*22 {
		t.Fatal(out.Len(), err)
	}
	if out.writes > 10 {
		t.Errorf("220,000 octets took %d writes", out.writes)
	}
	if e.buf != nil {
		t.Error("an idle encoder keeps its buffer")
	}
	if allocs := testing.AllocsPerRun(100, func() { e.Raw("* 1 FETCH (FLAGS ())").CRLF() }); allocs > 0.1 {
		t.Errorf("%v allocations a line", allocs)
	}
}
