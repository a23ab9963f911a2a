// Package text finds what is written in a message: its header fields decoded (RFC 2047), the text of its parts with transfer encoding, charset,
// format=flowed (RFC 3676) and HTML undone, the headers of messages in it, and the names of its attachments (RFC 2231).
//
// It exists so that everything that looks for words sees the same ones: SEARCH reading a message (package search), the index (projections/search)
// and a search cluster. Walk is the one way through a message; Document is what it leads past, collected.
//
// Invariants:
//   - Where parts lie is taken from the Summary; nothing is parsed twice. The message is read forwards, in as few ranged reads as pay.
//   - Any octets are a message: what cannot be decoded ends its part. Only a blob that cannot be read is an error.
//   - Memory is bounded by a few buffers, and by Limits where text is kept.
package text

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/streampost/streampost/domain/message"
)

// Opener reads n octets of a message from off on.
type Opener func(off, n int64) (io.ReadCloser, error)

// Header says whose header a field is of.
type Header uint8

// The headers in a message.
const (
	Own      Header = iota // the message's
	OfPart                 // of a part of a multipart
	Embedded               // of a message in the body, which is text of the body as well
)

// Visitor is led through a message by Walk.
type Visitor interface {
	// Wants tells whether the fields of a header, or the text of bodies, would still change anything.
	WantsHeader(h Header) bool
	WantsText() bool
	// Field takes a field: its name in lower case, its value unfolded and decoded.
	Field(h Header, name, value string)
	// Text takes a piece of a part's text in UTF-8, which may end inside a character. EndText ends the part's text.
	Text(piece []byte)
	EndText()
}

// Bounds of a walk.
const (
	maxField = 64 << 10 // octets of one header field that are looked at
	pieces   = 16 << 10 // octets of text that are handed over at a time
	near     = 64 << 10 // octets between two wanted places that are read over; beyond them a new ranged read is cheaper
)

// Walk leads v through the message that root describes, in the order in which it is stored. Errors: those of the opener and its readers.
func Walk(root *message.Part, open Opener, v Visitor) (err error) {
	w := walk{v: v, source: source{open: open, end: root.End}}
	defer func() { err = errors.Join(err, w.source.Close()) }()
	return w.part(root, Own)
}

type walk struct {
	v      Visitor
	source source
	fields *bufio.Reader // reused
	buf    []byte        // reused
}

// part visits one part and what is inside it.
func (w *walk) part(p *message.Part, h Header) error {
	if p.Body > p.Start && w.v.WantsHeader(h) {
		if err := w.header(p, h); err != nil {
			return err
		}
	}
	inside := OfPart
	if p.Type == "message" {
		inside = Embedded
	}
	for i := range p.Parts {
		if err := w.part(&p.Parts[i], inside); err != nil {
			return err
		}
	}
	if len(p.Parts) > 0 || p.Size() == 0 || p.Type != "text" && p.Type != "message" && p.Type != "multipart" || !w.v.WantsText() {
		return nil
	}
	if err := w.source.seek(p.Body); err != nil {
		return err
	}
	text, err := Decoded(p, io.LimitReader(&w.source, p.Size()))
	if err != nil { // an encoding that nobody knows: there is no text to be found.
		return nil
	}
	return w.text(text)
}

// Decoded undoes what a part's header says of its body: transfer encoding, charset, HTML and format=flowed. Errors: domain.Invalid when the
// encoding is unknown.
func Decoded(p *message.Part, body io.Reader) (io.Reader, error) {
	text, err := message.TransferReader(p.Encoding, body)
	if err != nil {
		return nil, err
	}
	text, _ = message.CharsetReader(p.Param("charset"), text)
	switch {
	case p.Subtype == "html":
		text = message.HTMLText(text)
	case p.Type == "text" && p.Subtype == "plain" && strings.EqualFold(p.Param("format"), "flowed"):
		text = unflow(text, strings.EqualFold(p.Param("delsp"), "yes"))
	}
	return text, nil
}

// text hands over text until there is no more or no need. What a decoder cannot decode ends the part and is no error.
func (w *walk) text(text io.Reader) error {
	if w.buf == nil {
		w.buf = make([]byte, pieces)
	}
	for w.v.WantsText() {
		n, err := text.Read(w.buf)
		if n > 0 {
			w.v.Text(w.buf[:n])
		}
		if err != nil {
			if w.source.err != nil {
				return w.source.err
			}
			break
		}
	}
	w.v.EndText()
	return nil
}

// header visits a header field by field.
func (w *walk) header(p *message.Part, h Header) error {
	if err := w.source.seek(p.Start); err != nil {
		return err
	}
	lines := w.fields
	if lines == nil {
		lines = bufio.NewReaderSize(nil, 4096)
		w.fields = lines
	}
	lines.Reset(io.LimitReader(&w.source, p.Body-p.Start))
	var field []byte
	for {
		line, err := lines.ReadSlice('\n')
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if len(field) > 0 && (!folded || err == io.EOF && len(line) == 0) {
			w.field(h, field)
			field = field[:0]
		}
		for {
			line = line[:min(len(line), maxField-len(field))]
			field = append(field, bytes.TrimRight(line, "\r\n")...)
			if err != bufio.ErrBufferFull {
				break
			}
			line, err = lines.ReadSlice('\n')
		}
		if err == io.EOF {
			if len(field) > 0 {
				w.field(h, field)
			}
			return w.source.err
		}
		if err != nil {
			return err
		}
	}
}

// field visits one unfolded field.
func (w *walk) field(h Header, field []byte) {
	name, value, ok := bytes.Cut(field, []byte(":"))
	if !ok {
		return
	}
	w.v.Field(h, string(bytes.ToLower(bytes.TrimRight(name, " \t"))), strings.TrimLeft(message.DecodeWords(string(value)), " \t"))
}

// source reads a message forwards.
type source struct {
	open Opener
	end  int64
	r    io.ReadCloser
	at   int64
	err  error // of the blob, not of what is in it
}

// seek moves to an offset.
func (s *source) seek(to int64) error {
	if s.r != nil && s.at <= to && to-s.at <= near {
		_, err := io.CopyN(io.Discard, s, to-s.at)
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	r, err := s.open(to, s.end-to)
	if err != nil {
		return err
	}
	s.r, s.at = r, to
	return nil
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.at += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Close ends the present ranged read.
func (s *source) Close() error {
	if s.r == nil {
		return nil
	}
	err := s.r.Close()
	s.r = nil
	return err
}
