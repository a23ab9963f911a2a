package text

import (
	"bufio"
	"bytes"
	"io"
)

// unflow joins the lines that format=flowed broke (RFC 3676 section 4.1): a line that ends in a space goes on in the next one, if that is quoted
// as deeply. With delsp the space was added by the break. Quote marks go where lines are joined, stuffed spaces go everywhere.
func unflow(r io.Reader, delsp bool) io.Reader { return &flowed{in: bufio.NewReader(r), delsp: delsp} }

// maxQuotes is how many quote marks of a line are shown.
const maxQuotes = 100

type flowed struct {
	in    *bufio.Reader
	delsp bool
	out   []byte
	at    int
	err   error

	begun  bool // there was a line before
	inside bool // a long line goes on
	depth  int  // of the line's quotes
	space  bool // the last octet of the line so far, not written yet, is a space
	flows  bool // and the line ended with it
	length int  // octets of the line so far
	dashes bool // the line so far is "--"
}

func (f *flowed) Read(p []byte) (int, error) {
	for f.at == len(f.out) {
		if f.err != nil {
			return 0, f.err
		}
		f.out, f.at = f.out[:0], 0
		if !f.inside {
			f.begin()
		}
		if f.err == nil {
			f.rest()
		}
	}
	n := copy(p, f.out[f.at:])
	f.at += n
	return n, nil
}

// begin reads what a line begins with, and ends the line before it or joins the two.
func (f *flowed) begin() {
	depth := 0
	c, err := f.in.ReadByte()
	for ; err == nil && c == '>'; c, err = f.in.ReadByte() {
		depth++
	}
	if err == nil && c != ' ' { // RFC 3676 section 4.4: one space may be stuffed.
		_ = f.in.UnreadByte() // it was read just now
	}
	joined := f.flows && depth == f.depth && (err == nil || depth > 0)
	if f.space && !(joined && f.delsp) {
		f.out = append(f.out, ' ')
	}
	if !joined && (err == nil || depth > 0) {
		if f.begun {
			f.out = append(f.out, '\r', '\n')
		}
		for range min(depth, maxQuotes) {
			f.out = append(f.out, '>')
		}
		if depth > 0 {
			f.out = append(f.out, ' ')
		}
	}
	f.begun, f.depth, f.space, f.flows, f.length, f.dashes = true, depth, false, false, 0, false
	f.err = err
}

// rest reads a line to its end, or as much of it as fits the buffer.
func (f *flowed) rest() {
	piece, err := f.in.ReadSlice('\n')
	f.inside = err == bufio.ErrBufferFull
	switch {
	case !f.inside:
		piece = bytes.TrimRight(piece, "\r\n")
	case piece[len(piece)-1] == '\r':
		_ = f.in.UnreadByte() // it was read just now
		piece = piece[:len(piece)-1]
	}
	if len(piece) > 0 {
		if f.space {
			f.out, f.space = append(f.out, ' '), false
		}
		f.dashes = f.length == 0 && string(piece) == "-- "
		f.length += len(piece)
		if f.space = piece[len(piece)-1] == ' '; f.space {
			piece = piece[:len(piece)-1]
		}
		f.out = append(f.out, piece...)
	}
	f.flows = f.space && !f.inside && !f.dashes // RFC 3676 section 4.3: the line above a signature does not flow.
	if err != nil && !f.inside {
		if f.space {
			f.out, f.space = append(f.out, ' '), false
		}
		f.err = err
	}
}
