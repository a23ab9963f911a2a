package message

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// Section finds the part that a section path names, counted from the message whose root p is (RFC 9051 section 6.4.5.1). An empty path is
// the root itself. A message that is no multipart has its body as part 1; below a part that holds a message, numbers count that
// message's parts. It is nil when there is no such part.
func (p *Part) Section(path ...uint32) *Part {
	message := true // p is the root of a message.
	for _, n := range path {
		if !message {
			if p.Embedded == nil && p.Type != "multipart" {
				return nil
			}
			if p.Embedded != nil {
				p, message = &p.Parts[0], true
			}
		}
		switch {
		case p.Type == "multipart" && n >= 1 && uint64(n) <= uint64(len(p.Parts)):
			p = &p.Parts[n-1]
		case p.Type != "multipart" && message && n == 1: // The body of a message of one part.
		default:
			return nil
		}
		message = false
	}
	return p
}

// All calls f for p and every part inside it, in the order of the message, with its depth counted from p, until f returns false.
func (p *Part) All(f func(part *Part, depth int) bool) bool { return p.all(f, 0) }

func (p *Part) all(f func(part *Part, depth int) bool, depth int) bool {
	if !f(p, depth) {
		return false
	}
	for i := range p.Parts {
		if !p.Parts[i].all(f, depth+1) {
			return false
		}
	}
	return true
}

// Param gives a parameter's value, or "".
func (p *Part) Param(name string) string { return find(p.Params, name) }

// Filename gives the name under which the part wants to be saved, decoded, or "".
func (p *Part) Filename() string {
	name := find(p.DispParams, "filename")
	if name == "" {
		name = find(p.Params, "name")
	}
	return DecodeWords(name) // RFC 2047 section 5 forbids encoded words here, and many senders write them.
}

// FieldReader passes the fields of a header that are named, or with not those that are not named, and the empty line that ends it, as
// HEADER.FIELDS and HEADER.FIELDS.NOT of RFC 9051 section 6.4.5.1 want. Order, case and folding stay. What is no field belongs to none and
// passes only with not. Names are compared without regard to case.
func FieldReader(header io.Reader, not bool, names ...string) io.Reader {
	return &fieldReader{r: header, not: not, names: names, start: true}
}

type fieldReader struct {
	r     io.Reader
	not   bool
	names []string

	pass  bool   // the current field passes
	start bool   // a line begins here
	known bool   // whether the current line passes is decided
	head  []byte // the beginning of a line, until that is decided
	in    [4 << 10]byte
	out   []byte
	at    int
	err   error
}

// maxName bounds what is held back to find a field's name.
const maxName = 1 << 10

func (f *fieldReader) Read(p []byte) (int, error) {
	for f.at == len(f.out) {
		if f.err != nil {
			return 0, f.err
		}
		n, err := f.r.Read(f.in[:])
		f.out, f.at, f.err = f.out[:0], 0, err
		f.take(f.in[:n])
		if err != nil && len(f.head) > 0 { // The last line has no end.
			f.decide()
		}
	}
	n := copy(p, f.out[f.at:])
	f.at += n
	return n, nil
}

func (f *fieldReader) take(in []byte) {
	for len(in) > 0 {
		n := bytes.IndexByte(in, '\n') + 1
		ended := n > 0
		if !ended {
			n = len(in)
		}
		if f.known {
			if f.pass {
				f.out = append(f.out, in[:n]...)
			}
		} else {
			f.head = append(f.head, in[:n]...)
			if ended || len(f.head) > maxName || bytes.IndexByte(f.head, ':') >= 0 {
				f.decide()
			}
		}
		if ended {
			f.known = false
		}
		in = in[n:]
	}
}

// decide finds out from its beginning whether the current line passes.
func (f *fieldReader) decide() {
	line := f.head
	switch name, _, colon := bytes.Cut(line, []byte{':'}); {
	case len(bytes.TrimRight(line, "\r\n")) == 0: // The end of the header always passes.
		f.pass = true
	case line[0] == ' ' || line[0] == '\t': // The field goes on.
	default:
		named := colon && f.named(bytes.TrimRight(name, " \t"))
		f.pass = named != f.not
	}
	if f.pass {
		f.out = append(f.out, line...)
	}
	f.head, f.known = f.head[:0], true
}

func (f *fieldReader) named(name []byte) bool {
	return slices.ContainsFunc(f.names, func(n string) bool { return len(n) == len(name) && strings.EqualFold(n, string(name)) })
}
