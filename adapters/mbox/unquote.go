package mbox

import (
	"bufio"
	"bytes"
	"io"
)

// unquoter takes one ">" off quoted "From " lines and makes every line end CRLF.
type unquoter struct {
	r      *bufio.Reader
	quoted bool
	inLine bool // the next octet is not the first of its line
	cr     bool // the last octet was CR
	out    bytes.Buffer
	err    error
}

func (u *unquoter) Read(p []byte) (int, error) {
	for u.out.Len() == 0 && u.err == nil {
		var piece []byte
		piece, u.err = u.r.ReadSlice('\n')
		if u.err == bufio.ErrBufferFull {
			u.err = nil
		}
		u.line(piece)
	}
	if u.out.Len() > 0 {
		return u.out.Read(p)
	}
	return 0, u.err
}

// line takes a line, or a piece of one that is longer than the buffer.
func (u *unquoter) line(piece []byte) {
	if len(piece) == 0 {
		return
	}
	if u.quoted && !u.inLine && piece[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(piece, ">"), []byte("From ")) {
		piece = piece[1:]
	}
	body, ended := bytes.CutSuffix(piece, []byte("\n"))
	u.out.Write(body)
	if len(body) > 0 {
		u.cr = body[len(body)-1] == '\r'
	}
	if ended {
		if !u.cr {
			u.out.WriteByte('\r')
		}
		u.out.WriteByte('\n')
		u.cr = false
	}
	u.inLine = !ended
}

var _ io.Reader = (*unquoter)(nil)
