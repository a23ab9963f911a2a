package wire

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
)

// readBuffer is the size of a connection's read buffer. It stays allocated while a client idles, so it is small; literals bypass it.
const readBuffer = 4096

// Decoder reads commands. It belongs to one goroutine at a time.
type Decoder struct {
	// Continue sends a continuation request and flushes it. It is called before the octets of a synchronising literal are read.
	Continue func() error
	// BeforeRead, when set, is called each time the Decoder is about to wait for the client.
	BeforeRead func() error
	// UTF8 is set once the client has enabled IMAP4rev2 or UTF8=ACCEPT: mailbox names are then UTF-8 and not modified UTF-7.
	UTF8 bool

	src    io.Reader
	buf    *bufio.Reader
	limits Limits

	err     error    // the first error of this command
	read    int64    // octets of this command
	kept    int64    // octets its arguments take
	depth   int      // open parentheses
	nesting int      // see Nest
	items   int      // list elements so far
	ended   bool     // the command's last CRLF is read, or its client waits for a continuation that will not come
	literal *Literal // announced, and neither refused nor read to its end
	tail    []byte   // end of a token that ran into the end of its line, for the search for a literal by Finish
	scratch []byte   // the token being read
}

// NewDecoder makes a Decoder that reads from r.
func NewDecoder(r io.Reader, limits Limits) *Decoder {
	d := &Decoder{src: r, limits: limits.withDefaults(), ended: true}
	d.buf = bufio.NewReaderSize(source{d}, readBuffer)
	return d
}

// source lets BeforeRead run at the one moment at which the Decoder may block.
type source struct{ d *Decoder }

func (s source) Read(p []byte) (int, error) {
	if s.d.BeforeRead != nil {
		if err := s.d.BeforeRead(); err != nil {
			return 0, err
		}
	}
	return s.d.src.Read(p)
}

// Reset makes the Decoder read from r and forgets what was buffered, as STARTTLS demands (RFC 9051 section 11.1: commands sent before the
// handshake must not run after it).
func (d *Decoder) Reset(r io.Reader) {
	d.src = r
	d.buf.Reset(source{d})
}

// SetLimits replaces the limits, from the next command on.
func (d *Decoder) SetLimits(limits Limits) { d.limits = limits.withDefaults() }

// Buffered is the number of octets that are read from the connection but not decoded: above zero when the client pipelines.
func (d *Decoder) Buffered() int { return d.buf.Buffered() }

// Wait blocks until the first octet of a command is there. It returns the error of the connection.
func (d *Decoder) Wait() error {
	_, err := d.buf.Peek(1)
	return err
}

// Begin starts a command with a full budget. Finish must have ended the one before.
func (d *Decoder) Begin() {
	d.err, d.read, d.kept, d.depth, d.nesting, d.items = nil, 0, 0, 0, 0, 0
	d.ended, d.literal, d.tail = false, nil, nil
	if cap(d.scratch) > readBuffer { // one large argument does not stay for the life of the connection.
		d.scratch = nil
	}
}

// Err gives the command's first error: a *SyntaxError, a *CloseError or the connection's own.
func (d *Decoder) Err() error { return d.err }

// Ended reports whether the whole command has been read.
func (d *Decoder) Ended() bool { return d.ended }

// Fail records an error unless there is one, and returns false.
func (d *Decoder) Fail(err error) bool {
	if d.err == nil {
		d.err = err
	}
	return false
}

func (d *Decoder) syntax(format string, args ...any) bool { return d.Fail(Syntaxf(format, args...)) }

func (d *Decoder) expected(ok bool, what string) bool {
	if !ok && d.err == nil {
		if c, got := d.peek(); got {
			d.syntax("expected %s, found %s", what, describe(c))
		}
	}
	return ok
}

func describe(c byte) string {
	switch c {
	case '\r', '\n':
		return "the end of the line"
	case ' ':
		return "a space"
	}
	return strconv.QuoteToASCII(string(rune(c)))
}

// peek shows the next octet of the command.
func (d *Decoder) peek() (byte, bool) {
	if d.err != nil {
		return 0, false
	}
	if d.ended {
		return 0, d.syntax("unexpected end of the command")
	}
	if d.literal != nil {
		return 0, d.syntax("unexpected literal")
	}
	b, err := d.buf.Peek(1)
	if err != nil {
		return 0, d.Fail(err)
	}
	if b[0] == 0 {
		return 0, d.syntax("NUL is not allowed") // RFC 9051 section 9: CHAR and CHAR8 exclude it.
	}
	return b[0], true
}

// take consumes the octet that peek showed.
func (d *Decoder) take() bool {
	_, _ = d.buf.Discard(1)
	if d.read++; d.read > d.limits.Command {
		return d.Fail(&SyntaxError{Code: "TOOBIG", Text: "the command is too long"})
	}
	return true
}

// keep charges n octets of memory to the command.
func (d *Decoder) keep(n int64) bool {
	if d.kept += n; d.kept > d.limits.Kept {
		return d.Fail(&SyntaxError{Code: "TOOBIG", Text: "the command's arguments are too large"})
	}
	return true
}

// item charges one list element to the command.
func (d *Decoder) item() bool {
	if d.items++; d.items > d.limits.Items {
		return d.Fail(&SyntaxError{Code: "LIMIT", Text: "the command has too many items"})
	}
	return true
}

// Special consumes one given octet.
func (d *Decoder) Special(c byte) bool {
	next, ok := d.peek()
	return ok && next == c && d.take()
}

// ExpectSpecial demands one given octet.
func (d *Decoder) ExpectSpecial(c byte) bool { return d.expected(d.Special(c), describe(c)) }

// Next reports whether c comes next, and consumes nothing.
func (d *Decoder) Next(c byte) bool {
	next, ok := d.peek()
	return ok && next == c
}

// SP consumes one space.
func (d *Decoder) SP() bool { return d.Special(' ') }

// ExpectSP demands one space.
func (d *Decoder) ExpectSP() bool { return d.expected(d.SP(), "a space") }

// CRLF consumes the end of the command.
func (d *Decoder) CRLF() bool {
	c, ok := d.peek()
	if !ok || c != '\r' && c != '\n' {
		return false
	}
	if c == '\n' || !d.take() {
		return d.bareEnd()
	}
	if b, err := d.buf.Peek(1); err != nil {
		return d.Fail(err)
	} else if b[0] != '\n' {
		return d.bareEnd()
	}
	d.ended = true
	_, _ = d.buf.Discard(1)
	return true
}

// ExpectCRLF demands the end of the command.
func (d *Decoder) ExpectCRLF() bool { return d.expected(d.CRLF(), "the end of the line") }

// bareEnd refuses a CR or LF that stands alone. Where such a line ends is a matter of opinion, and differing opinions are how commands are
// smuggled; so the connection ends.
func (d *Decoder) bareEnd() bool {
	d.err = &CloseError{Text: "lines must end in CR LF"}
	return false
}

// Finish ends a command, read to its end or not: it skips what is left, literals included, and gives the error that makes the connection
// end, a *CloseError or the connection's own. A nil error means that the next command begins here.
func (d *Decoder) Finish() error {
	if d.err != nil {
		if _, grammar := d.err.(*SyntaxError); !grammar {
			return d.err
		}
	}
	left := d.limits.Drain
	if l := d.literal; l != nil {
		if err := l.drain(&left); err != nil {
			return err
		}
	}
	for !d.ended {
		if err := d.skipLine(&left); err != nil {
			return err
		}
	}
	return nil
}

// tailLength is what a non-synchronising literal's announcement takes at the most: a larger one is as good as endless.
const tailLength = len("{9223372036854775807+}\r\n")

// skipLine skips to the end of the line, and over the literal that the line announces if its client sends that without being asked.
func (d *Decoder) skipLine(left *int64) error {
	tail := d.tail
	d.tail = nil
	for {
		chunk, err := d.buf.ReadSlice('\n')
		tail = append(tail, chunk[max(0, len(chunk)-tailLength):]...)
		tail = tail[max(0, len(tail)-tailLength):]
		if *left -= int64(len(chunk)); *left < 0 {
			return &CloseError{Code: "TOOBIG", Text: "the command is too long"}
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
	line, ok := bytes.CutSuffix(tail, []byte("\r\n"))
	if !ok {
		return &CloseError{Text: "lines must end in CR LF"}
	}
	size, follows := announced(line)
	if !follows {
		d.ended = true // also after {n}: its client waits for a continuation request and gets the tagged answer instead.
		return nil
	}
	return d.discard(size, left)
}

// discard reads n octets away, or refuses if that would be too many.
func (d *Decoder) discard(n int64, left *int64) error {
	if *left -= n; n < 0 || *left < 0 {
		return &CloseError{Code: "TOOBIG", Text: "the literal is too large"} // RFC 7888 section 4.
	}
	_, err := io.CopyN(io.Discard, d.buf, n)
	return err
}

// announced finds a non-synchronising literal's announcement at the end of a line. A size beyond all numbers is -1.
func announced(line []byte) (size int64, ok bool) {
	line, ok = bytes.CutSuffix(line, []byte("+}"))
	if !ok {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	digits := line[open+1:]
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	if len(digits) == 0 {
		return 0, false
	}
	size, err := strconv.ParseInt(string(digits), 10, 64)
	if open < 0 || err != nil {
		return -1, true
	}
	return size, true
}

// Line reads one line of at most limit octets without its CRLF, as AUTHENTICATE and IDLE need. It belongs to the command whose CRLF was
// read last.
func (d *Decoder) Line(limit int) ([]byte, error) {
	var line []byte
	for {
		chunk, err := d.buf.ReadSlice('\n')
		if len(line)+len(chunk) > limit+2 {
			return nil, &CloseError{Code: "TOOBIG", Text: "the line is too long"}
		}
		line = append(line, chunk...)
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return nil, err
		}
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, &CloseError{Text: "lines must end in CR LF"}
	}
	return line, nil
}
