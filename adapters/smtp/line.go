package smtp

import (
	"bufio"
	"bytes"
	"errors"

	gosmtp "github.com/emersion/go-smtp"
)

// The longest lines, each with its CRLF.
const (
	// commandLine holds RFC 5321 section 4.5.3.1.4's 512 octets and what the extensions add to MAIL and RCPT: 26 for SIZE (RFC 1870), 17 for BODY
	// (RFC 6152), 10 for SMTPUTF8 (RFC 6531), 500 for AUTH (RFC 4954), and as many again for those to come.
	commandLine = 2 << 10
	// authLine holds AUTH and the answers to its challenges (RFC 4954 section 4).
	authLine = 12288 + 2
	// endless is where a line that does not end is no longer read.
	endless = 1 << 20
)

var errEndless = errors.New("a line does not end")

// next reads a line and says what is wrong with it. A line ends with CRLF and nothing else (RFC 5321 section 2.3.8). One that ends with LF alone is
// answered at once, for its author waits, but what follows up to the next CRLF is taken for its rest and refused as well: whoever passed it on as one
// line has let no command through. A line that is too long is refused as a whole.
func (d *dialogue) next(c *conn) (line []byte, wrong *gosmtp.SMTPError, err error) {
	line, err = c.in.ReadSlice('\n')
	auth := d.literal || len(line) > 4 && bytes.EqualFold(line[:4], []byte("AUTH"))
	long := 0
	for errors.Is(err, bufio.ErrBufferFull) {
		if long += len(line); long > endless {
			return nil, nil, errEndless
		}
		line, err = c.in.ReadSlice('\n')
	}
	if err != nil { // The beginning of a command is none.
		return nil, nil, err
	}
	text, whole := bytes.CutSuffix(line, []byte("\r\n"))
	rest := d.torn
	d.torn = !whole
	switch {
	case auth && (long > 0 || len(line) > authLine):
		wrong = errAuthLong
	case !auth && (long > 0 || len(line) > commandLine):
		wrong = errLongLine
	case rest || !whole || bytes.IndexByte(text, '\r') >= 0:
		wrong = errBareLine
	}
	return line, wrong, nil
}
