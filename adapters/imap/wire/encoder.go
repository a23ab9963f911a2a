package wire

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"
)

// writeBuffer is how much an Encoder gathers before it writes: two full TLS records.
const writeBuffer = 32 << 10

// buffers lends write buffers to connections that are answering, so that an idle one has none.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, writeBuffer+4096)
	return &b
}}

// Encoder writes responses. Its methods chain and do nothing after the first error, which Err, Flush and End give.
type Encoder struct {
	// UTF8 is set once the client has enabled IMAP4rev2 or UTF8=ACCEPT: quoted strings may then hold UTF-8, and mailbox names are not
	// encoded in modified UTF-7.
	UTF8 bool

	w    io.Writer
	buf  *[]byte
	err  error
	lit  int64 // octets that the open literal still wants
	sent int64 // octets handed to w
}

// NewEncoder makes an Encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Reset makes the Encoder write to w; what was not flushed is dropped.
func (e *Encoder) Reset(w io.Writer) {
	e.w = w
	e.release()
}

// Err gives the first error.
func (e *Encoder) Err() error { return e.err }

// Sent counts the octets produced so far, buffered ones included.
func (e *Encoder) Sent() int64 {
	if e.buf == nil {
		return e.sent
	}
	return e.sent + int64(len(*e.buf))
}

// Fail makes the Encoder refuse everything from here on: the response that was begun cannot be ended, so the connection must be closed.
func (e *Encoder) Fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// room gives the buffer to append to; the caller stores what it has appended with set.
func (e *Encoder) room() []byte {
	if e.buf == nil {
		e.buf = buffers.Get().(*[]byte)
		*e.buf = (*e.buf)[:0]
	}
	return *e.buf
}

func (e *Encoder) set(b []byte) *Encoder {
	*e.buf = b
	if len(b) >= writeBuffer {
		e.write()
	}
	return e
}

// write hands the buffer's content to the connection and keeps the buffer.
func (e *Encoder) write() {
	if e.err == nil && len(*e.buf) > 0 {
		e.sent += int64(len(*e.buf))
		if _, err := e.w.Write(*e.buf); err != nil {
			e.err = err
		}
	}
	*e.buf = (*e.buf)[:0]
}

func (e *Encoder) release() {
	if e.buf == nil {
		return
	}
	if cap(*e.buf) <= 2*writeBuffer {
		buffers.Put(e.buf)
	}
	e.buf = nil
}

// Flush writes everything out and gives the first error.
func (e *Encoder) Flush() error {
	if e.buf != nil {
		e.write()
		e.release()
	}
	return e.err
}

// Append hands the buffer to f, which returns it with octets appended, for responses in their own wire form and for loops that must not
// allocate.
func (e *Encoder) Append(f func(b []byte) []byte) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(f(e.room()))
}

// Raw appends text as it stands.
func (e *Encoder) Raw(s string) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(append(e.room(), s...))
}

// Bytes appends octets as they stand.
func (e *Encoder) Bytes(p []byte) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(append(e.room(), p...))
}

// Byte appends one octet as it stands.
func (e *Encoder) Byte(c byte) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(append(e.room(), c))
}

// Atom appends an atom, a flag, a number in text form: anything that the caller knows to need no quotes.
func (e *Encoder) Atom(s string) *Encoder { return e.Raw(s) }

// SP appends a space.
func (e *Encoder) SP() *Encoder { return e.Byte(' ') }

// NIL appends NIL.
func (e *Encoder) NIL() *Encoder { return e.Raw("NIL") }

// CRLF ends a response. It does not flush.
func (e *Encoder) CRLF() *Encoder { return e.Raw("\r\n") }

// Number appends a number.
func (e *Encoder) Number(n uint64) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(strconv.AppendUint(e.room(), n, 10))
}

// DateTime appends an instant, Unix seconds, as INTERNALDATE shows it.
func (e *Encoder) DateTime(unix int64) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(AppendDateTime(e.room(), unix))
}

// String appends a string: quoted where that is possible, else a literal. A NUL, which a string cannot hold, becomes a "?".
func (e *Encoder) String(s string) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(AppendString(e.room(), s, e.UTF8))
}

// NString appends NIL or a string.
func (e *Encoder) NString(s string, present bool) *Encoder {
	if !present {
		return e.NIL()
	}
	return e.String(s)
}

// AString appends an atom if the text is one and not NIL, else a string.
func (e *Encoder) AString(s string) *Encoder {
	if e.err != nil {
		return e
	}
	return e.set(AppendAString(e.room(), s, e.UTF8))
}

// Mailbox appends a mailbox name in the client's encoding.
func (e *Encoder) Mailbox(name string) *Encoder {
	if !e.UTF8 {
		name = string(AppendUTF7(nil, name))
	}
	return e.AString(name)
}

// List appends "(", n elements with spaces between, ")".
func (e *Encoder) List(n int, element func(i int)) *Encoder {
	e.Byte('(')
	for i := range n {
		if i > 0 {
			e.SP()
		}
		element(i)
	}
	return e.Byte(')')
}

// Flags appends a list of flags.
func (e *Encoder) Flags(flags []string) *Encoder {
	return e.List(len(flags), func(i int) { e.Raw(flags[i]) })
}

// ErrShortLiteral is a literal that got another number of octets than it announced.
var ErrShortLiteral = errors.New("a literal's octets do not match its size")

// Literal announces n octets, which the caller then writes to the Encoder as an io.Writer and ends with End. binary makes it a literal8.
func (e *Encoder) Literal(n int64, binary bool) *Encoder {
	if binary {
		e.Byte('~')
	}
	e.lit = n
	return e.Append(func(b []byte) []byte {
		return append(strconv.AppendInt(append(b, '{'), n, 10), "}\r\n"...)
	})
}

// Write appends octets of the open literal.
func (e *Encoder) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if int64(len(p)) > e.lit {
		e.err = ErrShortLiteral
		return 0, e.err
	}
	e.lit -= int64(len(p))
	if len(p) >= writeBuffer { // large pieces go straight through.
		e.room()
		e.write()
		if e.err == nil {
			e.sent += int64(len(p))
			_, e.err = e.w.Write(p)
		}
	} else {
		e.Bytes(p)
	}
	if e.err != nil {
		return 0, e.err
	}
	return len(p), nil
}

// End ends the open literal. If it is short, the client cannot be told where the response ends: the error stays and the connection must go.
func (e *Encoder) End() error {
	if e.err == nil && e.lit != 0 {
		e.err = ErrShortLiteral
	}
	e.lit = 0
	return e.err
}

// AppendString appends a string in its shortest wire form. Quoted strings hold UTF-8 only for clients that have enabled it
// (RFC 6855 section 3, RFC 9051 section 4.3).
func AppendString(b []byte, s string, asUTF8 bool) []byte {
	quotable, escapes, ascii := true, 0, true
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\r' || c == '\n' || c == 0:
			quotable = false
		case c == '"' || c == '\\':
			escapes++
		case c >= 0x80:
			ascii = false
		}
	}
	if !ascii && !(asUTF8 && utf8.ValidString(s)) {
		quotable = false
	}
	switch {
	case quotable && escapes == 0 && len(s) <= maxQuoted:
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	case quotable && len(s) <= maxQuoted:
		b = append(b, '"')
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				b = append(b, '\\')
			}
			b = append(b, s[i])
		}
		return append(b, '"')
	}
	b = append(strconv.AppendInt(append(b, '{'), int64(len(s)), 10), "}\r\n"...)
	for i := range len(s) {
		c := s[i]
		if c == 0 {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// AppendAString appends an atom if the text is one and not NIL, else a string.
func AppendAString(b []byte, s string, asUTF8 bool) []byte {
	if isAtom(s) {
		return append(b, s...)
	}
	return AppendString(b, s, asUTF8)
}

// maxQuoted keeps response lines at a length that clients with line buffers survive.
const maxQuoted = 4096

// isAtom reports whether a string may stand as an astring without quotes and is not mistaken for NIL.
func isAtom(s string) bool {
	if s == "" || len(s) == 3 && (s[0]|0x20) == 'n' && (s[1]|0x20) == 'i' && (s[2]|0x20) == 'l' {
		return false
	}
	for i := range len(s) {
		if classes[s[i]]&astringChar == 0 {
			return false
		}
	}
	return true
}
