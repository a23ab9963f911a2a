package message

import (
	"encoding/base64"
	"io"
	"strings"
)

// Edit is what becomes of a range of a message's octets when its binary parts are written as text.
type Edit struct {
	From, To int64
	// Encoding is the Content-Transfer-Encoding that the header in the range gets; empty where it is no such header.
	Encoding string
	Base64   bool // the range is encoded
}

// Textual gives the edits that make a message of parts in "binary" one whose bodies are lines of text: each such part is encoded in base64 (RFC
// 3516 sections 4.4 and 6), and a message inside another is labelled 8bit. The edits cover the message from its first octet up to size. There are
// none when no part is binary.
func Textual(root *Part, size int64) []Edit {
	t := textual{}
	t.part(root)
	if t.edits != nil {
		t.copy(size)
	}
	return t.edits
}

type textual struct {
	edits []Edit
	at    int64 // covered so far
}

func (t *textual) copy(to int64) {
	if to > t.at {
		t.edits = append(t.edits, Edit{From: t.at, To: to})
		t.at = to
	}
}

func (t *textual) part(p *Part) {
	if p.Encoding == "binary" && p.Type != "multipart" {
		encoding := "base64"
		if p.Embedded != nil {
			encoding = "8bit"
		}
		t.copy(p.Start)
		t.edits = append(t.edits, Edit{From: p.Start, To: p.Body, Encoding: encoding})
		if t.at = p.Body; p.Embedded == nil {
			t.edits = append(t.edits, Edit{From: p.Body, To: p.End, Base64: true})
			t.at = p.End
		}
	}
	for i := range p.Parts {
		t.part(&p.Parts[i])
	}
}

// Apply gives the octets of an edit from those of its range.
func (e *Edit) Apply(r io.Reader) io.Reader {
	switch {
	case e.Base64:
		return &base64Lines{r: r}
	case e.Encoding != "":
		return io.MultiReader(strings.NewReader("Content-Transfer-Encoding: "+e.Encoding+"\r\n"), FieldReader(r, true, "Content-Transfer-Encoding"))
	}
	return r
}

// base64Lines encodes in lines of 76 characters (RFC 2045 section 6.8). The last one has no line end, which belongs to what follows.
type base64Lines struct {
	r     io.Reader
	out   []byte
	err   error
	begun bool // a line is there
}

// lineOctets fill a line.
const lineOctets = 57

func (b *base64Lines) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		var in [16 * lineOctets]byte
		n, err := io.ReadFull(b.r, in[:])
		if b.err = err; err == io.ErrUnexpectedEOF {
			b.err = io.EOF
		}
		for line := in[:n]; len(line) > 0; line = line[min(len(line), lineOctets):] {
			if b.begun {
				b.out = append(b.out, "\r\n"...)
			}
			b.begun = true
			b.out = base64.StdEncoding.AppendEncode(b.out, line[:min(len(line), lineOctets)])
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}
