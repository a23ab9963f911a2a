package smtp

import (
	"bytes"
	"io"
)

// message gives the message of a command: r, as go-smtp reads it, where it comes in chunks, and what follows DATA straight from the connection.
// go-smtp would look at each of its octets twice.
func (c *conn) message(r io.Reader) io.Reader {
	if _, chunks := r.(*io.PipeReader); chunks { // BDAT
		return r
	}
	return content{c}
}

// content is the message behind a DATA, without the dots that lines were stuffed with (RFC 5321 section 4.5.2).
type content struct{ c *conn }

func (m content) Read(p []byte) (int, error) {
	if !m.c.data {
		return 0, io.EOF
	}
	n, err := m.c.listen(p, m.c.dialogue.readMessage)
	switch {
	case err == io.EOF: // before the end
		err = io.ErrUnexpectedEOF
	case n == 0 && err == nil && !m.c.data:
		err = io.EOF
	}
	return n, err
}

// readMessage gives the next octets of a message's content. What lies behind its end stays: a command begins there.
func (d *dialogue) readMessage(c *conn, p []byte) (n int, err error) {
	for n == 0 && d.data && len(p) > 0 {
		if _, err := c.in.Peek(1); err != nil {
			return 0, err
		}
		next, _ := c.in.Peek(c.in.Buffered())
		var read int
		n, read = d.unstuff(p, next)
		if _, err := c.in.Discard(read); err != nil {
			return n, err
		}
	}
	return n, nil
}

// place is where in a message the next octet lies.
type place uint8

const (
	lineStart  place = iota
	inLine           // and not behind a CR
	afterCR          // of a line, perhaps of its end
	afterDot         // the first octet of the line, which is not given
	afterDotCR       // nor is this CR yet
)

// unstuff copies content, without dots that were added, up to the end of the message. The end is CRLF "." CRLF and nothing else (RFC 5321 section
// 4.1.1.4). A CR or LF that stands alone is content, for which the message is refused.
func (d *dialogue) unstuff(to, from []byte) (written, read int) {
	for d.data && read < len(from) && written < len(to) {
		next := from[read]
		switch {
		case d.at == lineStart && next == '.':
			d.at = afterDot
			read++
		case d.at == afterDot && next == '\r':
			d.at = afterDotCR
			read++
		case d.at == afterDotCR && next == '\n':
			d.data = false
			read++
		case d.at == afterDotCR:
			to[written], d.at = '\r', afterCR
			written++
		case d.at == afterCR && next == '\n':
			to[written], d.at = '\n', lineStart
			written++
			read++
		default:
			piece := from[read:]
			cr := bytes.IndexByte(piece, '\r')
			if cr >= 0 {
				piece = piece[:cr+1]
			}
			n := copy(to[written:], piece)
			written += n
			read += n
			if d.at = inLine; cr >= 0 && n == len(piece) {
				d.at = afterCR
			}
		}
	}
	return written, read
}
