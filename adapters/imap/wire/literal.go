package wire

import (
	"bytes"
	"io"
	"math"
)

// Literal is a literal that the client has announced (RFC 9051 section 4.3). It is streamed with Accept, or it is refused by accepting
// nothing: Decoder.Finish then sees to its octets.
type Literal struct {
	Size    int64
	Binary  bool // literal8, "~{n}" (RFC 9051 section 4.3.1): it may hold NUL
	NonSync bool // the octets come without being asked for (RFC 7888)

	d        *Decoder
	accepted bool
	left     int64
}

// ExpectLiteral demands the announcement of a literal. It is nil, with an error recorded, if something else comes.
func (d *Decoder) ExpectLiteral() *Literal {
	l := &Literal{d: d, Binary: d.Special('~')}
	var size uint64
	if !d.ExpectSpecial('{') || !d.expected(d.digits(&size, math.MaxInt64), "the size of a literal") {
		return nil
	}
	l.NonSync = d.Special('+')
	if !l.NonSync && d.Special('-') {
		d.syntax("expected }") // RFC 7888 section 6: only + was ever defined.
		return nil
	}
	if !d.ExpectSpecial('}') || !d.ExpectCRLF() {
		return nil
	}
	d.ended = false
	l.Size, l.left = int64(size), int64(size)
	d.literal = l
	return l
}

// Accept asks the client for the octets, unless they come by themselves, and gives them. The reader ends after Size octets; the command goes on
// once they are all read.
func (l *Literal) Accept() (io.Reader, error) {
	if l.d.err != nil {
		return nil, l.d.err
	}
	l.accepted = true
	if !l.NonSync && l.d.Continue != nil {
		if err := l.d.Continue(); err != nil {
			l.d.Fail(err)
			return nil, err
		}
	}
	l.done()
	return l, nil
}

// Read gives the next octets of an accepted literal.
func (l *Literal) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.d.buf.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err == io.EOF && l.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		l.d.Fail(err)
	}
	l.done()
	return n, err
}

// done lets the command go on behind the literal.
func (l *Literal) done() {
	if l.left == 0 && l.d.literal == l {
		l.d.literal = nil
	}
}

// Skip reads the rest of an accepted literal away, so that the command can go on.
func (l *Literal) Skip() error {
	_, err := io.Copy(io.Discard, l)
	return err
}

// drain gets rid of what the client sends of the literal, or makes the connection end.
func (l *Literal) drain(left *int64) error {
	l.d.literal = nil
	switch {
	case l.accepted: // its size was agreed to.
		return l.Skip()
	case l.NonSync:
		return l.d.discard(l.left, left)
	}
	l.d.ended = true // RFC 9051 section 4.3: without a continuation request the client sends nothing more of this command.
	return nil
}

// bytes gives the whole of a literal among the arguments.
func (l *Literal) bytes() ([]byte, bool) {
	d := l.d
	if l.Size > d.limits.Literal {
		return nil, d.Fail(&SyntaxError{Code: "TOOBIG", Text: "the literal is too large"})
	}
	if !d.keep(l.Size) {
		return nil, false
	}
	r, err := l.Accept()
	if err != nil {
		return nil, false
	}
	if d.read += l.Size; d.read > d.limits.Command {
		return nil, d.Fail(&SyntaxError{Code: "TOOBIG", Text: "the command is too long"})
	}
	b := make([]byte, l.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, d.Fail(err)
	}
	if !l.Binary && bytes.IndexByte(b, 0) >= 0 {
		return nil, d.syntax("NUL is not allowed in a literal") // RFC 9051 section 4.3: only in literal8.
	}
	return b, true
}
