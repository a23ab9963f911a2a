package delivery

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
)

// Limits bound the bytes of one message. A zero field means its default.
type Limits struct {
	Message int64 // octets as they arrive, added fields aside; 50 MiB
	Header  int64 // octets of a header with fields, which ends at the first empty line and nowhere else; 1 MiB
	Fields  int   // fields in the header; 10,000
	Line    int   // octets of one line, CRLF included; 64 KiB. RFC 5321 section 4.5.3.1.6 demands 1,000, and real mail needs far more
	Hops    int   // Received fields in the header; 100 (RFC 5321 section 6.3)
}

func (l Limits) withDefaults() Limits {
	l.Message = cmp.Or(l.Message, 50<<20)
	l.Header = cmp.Or(l.Header, 1<<20)
	l.Fields = cmp.Or(l.Fields, 10_000)
	l.Line = cmp.Or(l.Line, 64<<10)
	l.Hops = cmp.Or(l.Hops, 100)
	return l
}

// Fault is why a message is refused.
type Fault uint8

// The faults. NoFault also means that reading broke off for another reason.
const (
	NoFault   Fault = iota
	BareLine        // a CR without LF, or a LF without CR (RFC 5321 section 2.3.8)
	TooBig          // Limits.Message
	BigHeader       // Limits.Header or Limits.Fields
	LongLine        // Limits.Line
	Loop            // Limits.Hops
)

// Fields are what a Reader adds to a message.
type Fields struct {
	Top       string // whole fields, put in front
	Date      string // value of the Date field if the message has none (RFC 6409 section 8.2); empty adds nothing
	MessageID string // likewise for Message-ID (RFC 6409 section 8.3)
	NoBcc     bool   // takes the Bcc fields out (RFC 5322 section 3.6.3)
}

// bufferSize holds any usual header line; longer ones pass in pieces.
const bufferSize = 4 << 10

// Reader gives a message with the added Fields, and an error of kind Invalid or TooLarge as soon as it breaks a rule.
type Reader struct {
	src    *bufio.Reader
	limits Limits
	add    Fields

	pending []byte // to be given before anything is read; often a slice of src's buffer
	body    bool   // the first empty line is behind us
	settled bool   // nothing more is added: the header has ended, or a line came that is no field
	fault   Fault
	err     error

	size   int64 // octets of the message read
	line   int   // octets of the current line read
	cr     bool  // the last octet was a CR
	fields int
	hops   int
	held   []byte
	hides  bool // the field that is being read
	head   int64
	wide   bool // the header has octets outside ASCII
	from   int
	sender int
	lax    bool // TLS-Required: No
	passed map[string]bool
}

// NewReader checks what r gives.
func NewReader(r io.Reader, limits Limits, add Fields) *Reader {
	return &Reader{src: bufio.NewReaderSize(r, bufferSize), limits: limits.withDefaults(), add: add, pending: []byte(add.Top)}
}

// Size is the number of octets of the message read so far, without what was added.
func (r *Reader) Size() int64 { return r.size }

// HeaderSize is the number of octets of the header read so far, without the empty line behind it and without what was added; Limits.Header at most.
func (r *Reader) HeaderSize() int64 { return r.head }

// Headless reports whether the message has begun with more octets than a header may have, and no field: it is a text, and has no field later.
func (r *Reader) Headless() bool { return !r.body && r.fields == 0 && r.size > r.limits.Header }

// WideHeader reports whether the header read so far has octets outside ASCII, so that it needs SMTPUTF8 (RFC 6532 section 3). Text that follows no field is not looked at.
func (r *Reader) WideHeader() bool { return r.wide }

// Origins is how many From and Sender fields the header read so far has.
func (r *Reader) Origins() (from, sender int) { return r.from, r.sender }

// Lax tells whether the header read so far says that the message shall arrive even without the TLS that domains demand (RFC 8689 section 3).
func (r *Reader) Lax() bool { return r.lax }

// Passed tells whether the header read so far has a Delivered-To field with this address, given as Address.Key spells it: the message was there already.
func (r *Reader) Passed(key string) bool { return r.passed[key] }

// maxPassed is how many Delivered-To fields are remembered.
const maxPassed = 100

// pass remembers a Delivered-To field. It has no RFC: mail servers write the address in it for which a message was sent on, and look for their own.
func (r *Reader) pass(value []byte) {
	if len(r.passed) >= maxPassed || len(value) > MaxLocal+MaxDomain {
		return
	}
	if a, err := ParseAddress(strings.Trim(string(value), "<> \t\r\n")); err == nil {
		if r.passed == nil {
			r.passed = map[string]bool{}
		}
		r.passed[a.Key()] = true
	}
}

// Fault says which rule the message broke, once Read has given an error.
func (r *Reader) Fault() Fault { return r.fault }

// Err is the error that ended reading, io.EOF aside. It helps when somebody in between has wrapped it.
func (r *Reader) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

func (r *Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.pending) == 0 {
			if r.pending, r.held = r.held, nil; len(r.pending) == 0 {
				if r.err != nil || n > 0 && r.src.Buffered() == 0 {
					break
				}
				if r.body && r.src.Buffered() == 0 && len(p)-n >= bufferSize { // Nothing is copied twice.
					m, err := r.src.Read(p[n:])
					r.check(p[n : n+m])
					r.end(err)
					n += m
					break
				}
				r.fill()
				continue
			}
		}
		m := copy(p[n:], r.pending)
		r.pending = r.pending[m:]
		n += m
	}
	if r.fault != NoFault || n == 0 {
		return 0, r.err
	}
	return n, nil
}

// fill makes the next octets pending: of the header a line, or a piece of a very long one; of the body whatever there is.
func (r *Reader) fill() {
	var data []byte
	var err error
	if r.body {
		if _, err = r.src.Peek(1); err == nil {
			data, _ = r.src.Peek(r.src.Buffered())
			_, _ = r.src.Discard(len(data)) // The octets stay where they are until the next read.
		}
	} else if data, err = r.src.ReadSlice('\n'); err == bufio.ErrBufferFull {
		err = nil
	}
	begins := r.line == 0
	r.check(data)
	if !r.body {
		data = r.header(data, begins)
	}
	r.pending = data
	r.end(err)
}

// end notes why src gave no more.
func (r *Reader) end(err error) {
	if err == nil || r.err != nil {
		return
	}
	if err == io.EOF {
		if r.cr {
			r.fail(BareLine)
			return
		}
		if missing := r.missing(); !r.settled && missing != "" { // The message is only a header.
			if r.line > 0 && !r.hides {
				r.held = append(r.held, "\r\n"...)
			}
			r.held = append(r.held, missing...)
			r.settled = true
		}
	}
	r.err = err
}

func (r *Reader) fail(f Fault) {
	if r.fault != NoFault {
		return
	}
	r.fault = f
	switch f {
	case BareLine:
		r.err = domain.Errorf(domain.Invalid, "the message contains a CR or LF that is not part of a line end")
	case TooBig:
		r.err = domain.Errorf(domain.TooLarge, "the message is larger than %d octets", r.limits.Message)
	case BigHeader:
		r.err = domain.Errorf(domain.TooLarge, "the message header is larger than %d octets or %d fields", r.limits.Header, r.limits.Fields)
	case LongLine:
		r.err = domain.Errorf(domain.TooLarge, "the message has a line of more than %d octets", r.limits.Line)
	case Loop:
		r.err = domain.Errorf(domain.Invalid, "the message has passed %d servers: it goes round in a loop", r.limits.Hops)
	}
}

// check looks at octets that come next in the message: every LF must follow a CR and every CR must be followed by a LF.
func (r *Reader) check(p []byte) {
	if r.size += int64(len(p)); r.size > r.limits.Message {
		r.fail(TooBig)
	}
	for len(p) > 0 {
		if r.cr && p[0] != '\n' {
			r.fail(BareLine)
			return
		}
		i := bytes.IndexByte(p, '\n')
		text := p
		if i >= 0 {
			text = p[:i]
			if cr := i > 0 && p[i-1] == '\r'; cr {
				text = p[:i-1]
			} else if i > 0 || !r.cr {
				r.fail(BareLine)
				return
			}
			r.line, p, r.cr = r.line+i+1, p[i+1:], false
		} else {
			if r.cr = p[len(p)-1] == '\r'; r.cr {
				text = p[:len(p)-1]
			}
			r.line, p = r.line+len(p), nil
		}
		if bytes.IndexByte(text, '\r') >= 0 {
			r.fail(BareLine)
			return
		}
		if r.line > r.limits.Line {
			r.fail(LongLine)
			return
		}
		if i >= 0 {
			r.line = 0
		}
	}
}

// header looks at a line of the header, or a piece of one, and gives what shall be passed on in its place. begins tells that the line begins here. Everybody reads a header up to the first
// empty line, so that all rules hold up to there; but a message may be a text without header, so what is missing is added in front of the first line that is no field.
func (r *Reader) header(line []byte, begins bool) []byte {
	if r.fields > 0 && r.size > r.limits.Header {
		r.fail(BigHeader)
	}
	if begins && string(line) == "\r\n" {
		r.body = true
	} else if r.size <= r.limits.Header {
		r.head = r.size
	}
	r.wide = r.wide || !r.settled && bytes.IndexFunc(line, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0
	if !begins || len(line) == 0 || (line[0] == ' ' || line[0] == '\t') && r.fields > 0 {
		if r.hides {
			return nil
		}
		return line
	}
	r.hides = false
	name, isField := FieldName(line)
	if !isField && !(r.fields == 0 && mboxLine(line)) {
		if r.settled {
			return line
		}
		r.settled = true
		if missing := r.missing(); missing != "" {
			r.held = append(r.held, line...) // line lies in src's buffer, which stays untouched until held has been given.
			return []byte(missing)
		}
		return line
	}
	if r.fields++; r.fields > r.limits.Fields || r.size > r.limits.Header {
		r.fail(BigHeader)
	}
	switch {
	case equalFold(name, "Received"):
		if r.hops++; r.hops > r.limits.Hops {
			r.fail(Loop)
		}
	case equalFold(name, "Delivered-To"):
		r.pass(line[bytes.IndexByte(line, ':')+1:])
	case equalFold(name, "From"):
		r.from++
	case equalFold(name, "Sender"):
		r.sender++
	case equalFold(name, "TLS-Required"):
		_, value, _ := bytes.Cut(line, []byte(":"))
		r.lax = r.lax || equalFold(bytes.TrimSpace(value), "No")
	case equalFold(name, "Date"):
		r.add.Date = ""
	case equalFold(name, "Message-ID"):
		r.add.MessageID = ""
	case r.add.NoBcc && equalFold(name, "Bcc"):
		r.hides = true
		return nil
	}
	return line
}

// missing gives the fields that a submitted message should have had.
func (r *Reader) missing() string {
	var b strings.Builder
	if r.add.Date != "" {
		b.WriteString("Date: " + r.add.Date + "\r\n")
	}
	if r.add.MessageID != "" {
		b.WriteString("Message-ID: " + r.add.MessageID + "\r\n")
	}
	return b.String()
}

// FieldName reads the name of a field that a line begins: printable ASCII (RFC 5322 section 2.2; section 4.5 allows space before the colon).
func FieldName(line []byte) (name []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return nil, false
	}
	name = bytes.TrimRight(line[:colon], " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return nil, false
		}
	}
	return name, len(name) > 0
}

// mboxLine recognises the separator of mbox files, which some programs leave in front of the header.
func mboxLine(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimPrefix(line, []byte(">")), []byte("From "))
}

func equalFold(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}
