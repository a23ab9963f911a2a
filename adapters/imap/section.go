package imap

import (
	"strconv"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
)

// Sections of messages: BODY[...] and its relatives (RFC 9051 section 6.4.5.1, RFC 3501 section 6.4.5).

func init() {
	fetchesParsed("", "BODY", parseBody)
	fetchesParsed("", "BODY.PEEK", parseBody)
	for name, s := range map[string]section{ // RFC 3501 section 6.4.5; IMAP4rev2 has them no more, but its clients may speak as rev1 ones.
		"RFC822":        {},
		"RFC822.HEADER": {kind: headerOf, peek: true},
		"RFC822.TEXT":   {kind: textOf},
	} {
		s.name = name
		fetches("", s.item())
	}
}

// sectionKind says which octets of a part a section means.
type sectionKind uint8

const (
	contentOf   sectionKind = iota // the part's body; of the message, everything
	headerOf                       // HEADER
	fieldsOf                       // HEADER.FIELDS
	fieldsNotOf                    // HEADER.FIELDS.NOT
	textOf                         // TEXT
	mimeOf                         // MIME
)

var sectionKinds = map[string]sectionKind{"HEADER": headerOf, "HEADER.FIELDS": fieldsOf, "HEADER.FIELDS.NOT": fieldsNotOf, "TEXT": textOf, "MIME": mimeOf}

const (
	maxSectionPath = 2 * message.MaxDepth // part numbers of a section
	maxFields      = 256                  // names of HEADER.FIELDS
)

// section is what stands between "[" and "]", and a partial's "<" and ">".
type section struct {
	name    string // the whole item as the response shows it
	path    []uint32
	kind    sectionKind
	fields  []string // of HEADER.FIELDS
	partial bool
	origin  int64 // octets to leave out
	count   int64 // octets to send at the most
	peek    bool
}

// item makes a section an item of FETCH.
func (s section) item() fetchItem {
	want := door.WantBlob
	if len(s.path) > 0 || s.kind != contentOf {
		want |= door.WantSummary // for the offsets of its parts
	}
	return fetchItem{name: s.name, want: want, sees: !s.peek, send: func(r *fetchReply) error { return s.send(r) }}
}

// parseBody is BODY, the structure without extensions, or BODY[section]<partial>.
func parseBody(_ *conn, d *wire.Decoder, name string) (fetchItem, bool) {
	s := section{name: "BODY", peek: name == "BODY.PEEK"}
	if !s.peek && !d.Next('[') {
		return fetchItem{name: "BODY", want: door.WantSummary, send: func(r *fetchReply) error {
			r.item("BODY").Append(func(b []byte) []byte { return message.AppendStructure(b, &r.mail.summary.Root, false) })
			return nil
		}}, d.Err() == nil
	}
	ok := s.parse(d) && s.parsePartial(d)
	return s.item(), ok
}

// parse reads what stands in brackets, with them.
func (s *section) parse(d *wire.Decoder) bool {
	if !d.ExpectSpecial('[') || !s.parsePath(d) {
		return false
	}
	if !d.Next(']') {
		var kind string
		if !d.ExpectLabel(&kind) {
			return false
		}
		known, ok := sectionKinds[kind]
		if !ok || known == mimeOf && len(s.path) == 0 { // RFC 9051 section 9, section-text: MIME needs a part.
			return d.Fail(wire.Syntaxf("unknown section %s", kind))
		}
		s.kind = known
		s.name += kind
		if (known == fieldsOf || known == fieldsNotOf) && !s.parseFields(d) {
			return false
		}
	}
	s.name += "]"
	return d.ExpectSpecial(']')
}

// parsePath reads part numbers and, when something follows them, the dot behind. It extends the name with "[" and what it read.
func (s *section) parsePath(d *wire.Decoder) bool {
	s.name += "["
	for {
		var n uint32
		if !d.Number(&n) {
			if len(s.path) > 0 && d.Next(']') {
				return d.Fail(wire.Syntaxf("a section does not end in a dot"))
			}
			return d.Err() == nil
		}
		if n == 0 || len(s.path) == maxSectionPath {
			return d.Fail(wire.Syntaxf("no message has such a part"))
		}
		s.path = append(s.path, n)
		s.name += strconv.Itoa(int(n))
		if !d.Special('.') {
			return d.Err() == nil && (d.Next(']') || d.ExpectSpecial('.'))
		}
		s.name += "."
	}
}

// parseFields reads the names of HEADER.FIELDS. The response repeats them.
func (s *section) parseFields(d *wire.Decoder) bool {
	if !d.ExpectSP() {
		return false
	}
	spelt := []byte(" (")
	if !d.ExpectList(func() bool {
		var field string
		if !d.ExpectAString(&field) {
			return false
		}
		if len(s.fields) == maxFields {
			return d.Fail(&wire.SyntaxError{Code: "LIMIT", Text: "HEADER.FIELDS names too many fields"})
		}
		if len(s.fields) > 0 {
			spelt = append(spelt, ' ')
		}
		spelt = wire.AppendAString(spelt, field, false)
		s.fields = append(s.fields, field)
		return true
	}) {
		return false
	}
	if len(s.fields) == 0 { // RFC 9051 section 9, header-list.
		return d.Fail(wire.Syntaxf("HEADER.FIELDS names no field"))
	}
	s.name += string(spelt) + ")"
	return true
}

// parsePartial reads "<origin.count>" if it is there.
func (s *section) parsePartial(d *wire.Decoder) bool {
	if !d.Special('<') {
		return d.Err() == nil
	}
	if !d.ExpectNumber64(&s.origin) || !d.ExpectSpecial('.') || !d.ExpectNumber64(&s.count) || !d.ExpectSpecial('>') {
		return false
	}
	if s.count == 0 { // RFC 9051 section 9, partial: nz-number64.
		return d.Fail(wire.Syntaxf("a partial of no octets"))
	}
	s.partial = true
	s.name += "<" + strconv.FormatInt(s.origin, 10) + ">" // RFC 9051 section 7.5.2: the response shows the origin only.
	return true
}

// span is a range of octets of the whole message.
type span struct{ from, to int64 }

// locate finds the octets that a section is, or is taken from. It is false when the message has no such section.
func (s *section) locate(root *message.Part) (span, bool) {
	p := root.Section(s.path...)
	if p == nil {
		return span{}, false
	}
	whole := len(s.path) == 0 // p stands for a message with its header, not for a body part.
	switch {
	case s.kind == mimeOf:
		return span{p.Start, p.Body}, true
	case s.kind == contentOf && whole:
		return span{p.Start, p.End}, true
	case s.kind == contentOf:
		return span{p.Body, p.End}, true
	case !whole: // RFC 9051 section 6.4.5.1: HEADER and TEXT of a part are those of the message in it.
		if p.Embedded == nil || len(p.Parts) == 0 {
			return span{}, false
		}
		p = &p.Parts[0]
	}
	if s.kind == textOf {
		return span{p.Body, p.End}, true
	}
	return span{p.Start, p.Body}, true
}

// cut applies a partial to a length: the octets from skip on, n of them.
func (s *section) cut(size int64) (skip, n int64) {
	if !s.partial {
		return 0, size
	}
	skip = min(s.origin, size)
	return skip, min(s.count, size-skip)
}

// send writes the section of one message.
func (s *section) send(r *fetchReply) error {
	at := span{0, r.mail.blob.Size}
	if summary := r.mail.summary; summary != nil {
		var found bool
		if at, found = s.locate(&summary.Root); !found {
			r.item(s.name).NIL()
			return nil
		}
		if at.to > r.mail.blob.Size {
			return domain.Errorf(domain.Corrupt, "the description of message %d does not fit its bytes", r.row.UID)
		}
	}
	if s.kind == fieldsOf || s.kind == fieldsNotOf {
		return r.sendProduced(s, false, s.header(r, at))
	}
	skip, n := s.cut(at.to - at.from)
	return r.sendRange(s.name, at.from+skip, n)
}
