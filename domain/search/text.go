package search

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/streampost/streampost/domain/message"
)

// maxField is how much of one header field is looked at, in octets.
const maxField = 64 << 10

// Opener reads n octets of the candidate's message from off on.
type Opener func(off, n int64) (io.ReadCloser, error)

// Read is stage 3: it looks for the query's texts in the message, after which Judge knows all. The candidate must have its Summary. The message
// is read forwards, at most once, and no further than needed.
func (q *Query) Read(c *Candidate, open Opener) (err error) {
	r := &reading{query: q, found: make([]bool, len(q.texts)), source: source{open: open, end: c.Summary.Root.End}}
	defer func() { err = errors.Join(err, r.source.Close()) }()
	var headers, bodies [][]byte
	for i, t := range q.texts {
		switch t.where {
		case inField:
			r.fields = append(r.fields, i)
		case inHeader:
			headers = append(headers, t.needle)
		case inBody:
			bodies = append(bodies, t.needle)
		}
	}
	r.header, r.body = newMatcher(headers), newMatcher(bodies)
	if err := r.part(&c.Summary.Root, true, false); err != nil {
		return err
	}
	h, b := 0, 0
	for i, t := range q.texts {
		switch t.where {
		case inHeader:
			r.found[i] = r.header.found[h]
			h++
		case inBody:
			r.found[i] = r.body.found[b]
			b++
		}
	}
	c.found = r.found
	return nil
}

// reading is one pass over a message.
type reading struct {
	query        *Query
	fields       []int // the texts of the query that are in one field of the header
	found        []bool
	header, body *matcher
	source       source
}

// part reads one part and what is inside it. root says that its header is the message's own, embedded that it is that of a message in the body.
func (r *reading) part(p *message.Part, root, embedded bool) error {
	if p.Body > p.Start && (root && len(r.fields) > 0 || !r.header.done() || embedded && !r.body.done()) {
		if err := r.fieldsOf(p, root, embedded); err != nil {
			return err
		}
	}
	for i := range p.Parts {
		if r.header.done() && r.body.done() {
			return nil
		}
		if err := r.part(&p.Parts[i], false, p.Type == "message"); err != nil {
			return err
		}
	}
	if len(p.Parts) > 0 || r.body.done() || p.Size() == 0 || p.Type != "text" && p.Type != "message" && p.Type != "multipart" {
		return nil
	}
	if err := r.source.seek(p.Body); err != nil {
		return err
	}
	text, err := message.TransferReader(p.Encoding, io.LimitReader(&r.source, p.Size()))
	if err != nil { // an encoding that nobody knows: there is no text to be found.
		return nil
	}
	if text, _ = message.CharsetReader(p.Param("charset"), text); p.Subtype == "html" {
		text = message.HTMLText(text)
	}
	if err := r.drain(text); err != nil {
		return err
	}
	r.body.boundary()
	return nil
}

// drain hands text to the body's matcher until there is no more or no need. What a decoder cannot decode ends the part and is no error; a
// blob that cannot be read is one.
func (r *reading) drain(text io.Reader) error {
	buf := make([]byte, window)
	for !r.body.done() {
		n, err := text.Read(buf)
		_, _ = r.body.Write(buf[:n])
		if err != nil {
			return r.source.err
		}
	}
	return nil
}

// fieldsOf reads a header field by field.
func (r *reading) fieldsOf(p *message.Part, root, embedded bool) error {
	if err := r.source.seek(p.Start); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(io.LimitReader(&r.source, p.Body-p.Start), 4096)
	var field []byte
	for {
		line, err := lines.ReadSlice('\n')
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if len(field) > 0 && (!folded || err == io.EOF && len(line) == 0) {
			r.fieldIs(field, root, embedded)
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
				r.fieldIs(field, root, embedded)
			}
			return r.source.err
		}
		if err != nil {
			return err
		}
	}
}

// fieldIs takes one unfolded field.
func (r *reading) fieldIs(field []byte, root, embedded bool) {
	name, value, ok := bytes.Cut(field, []byte(":"))
	if !ok {
		return
	}
	name = bytes.ToLower(bytes.TrimRight(name, " \t"))
	text := strings.TrimLeft(message.DecodeWords(string(value)), " \t")
	if root {
		for _, i := range r.fields {
			if t := &r.query.texts[i]; !r.found[i] && t.field == string(name) {
				r.found[i] = contains(text, t.needle)
			}
		}
	}
	for _, m := range []*matcher{r.header, r.body} {
		if m == r.body && !embedded || m.done() {
			continue
		}
		_, _ = m.Write(name)
		_, _ = m.Write([]byte(": "))
		_, _ = m.Write([]byte(text))
		m.boundary()
	}
}

// source reads a message forwards.
type source struct {
	open Opener
	end  int64
	r    io.ReadCloser
	at   int64
	err  error // of the blob, not of what is in it
}

// near is a gap that is read over; beyond it a new ranged read is cheaper.
const near = 64 << 10

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
