package message

import (
	"bytes"
	"strings"
)

// field is a header field of which something is kept.
type field uint8

const (
	other field = iota
	date
	subject
	from
	sender
	replyTo
	to
	cc
	bcc
	inReplyTo
	messageID
	references
	contentType
	contentEncoding
	contentID
	contentDescription
	contentMD5
	contentDisposition
	contentLanguage
	contentLocation
)

// fieldOf finds a field by its name, whatever its case.
func fieldOf(name []byte) field {
	var lower [25]byte // The longest is Content-Transfer-Encoding.
	if len(name) > len(lower) {
		return other
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "date":
		return date
	case "subject":
		return subject
	case "from":
		return from
	case "sender":
		return sender
	case "reply-to":
		return replyTo
	case "to":
		return to
	case "cc":
		return cc
	case "bcc":
		return bcc
	case "in-reply-to":
		return inReplyTo
	case "message-id":
		return messageID
	case "references":
		return references
	case "content-type":
		return contentType
	case "content-transfer-encoding":
		return contentEncoding
	case "content-id":
		return contentID
	case "content-description":
		return contentDescription
	case "content-md5":
		return contentMD5
	case "content-disposition":
		return contentDisposition
	case "content-language":
		return contentLanguage
	case "content-location":
		return contentLocation
	}
	return other
}

// fieldLine takes one line of a header, without its end.
func (s *Scanner) fieldLine(line []byte) {
	if line[0] == ' ' || line[0] == '\t' { // RFC 5322 section 2.2.3: a folded field goes on.
		if s.field != other {
			s.append(line)
		}
		return
	}
	s.endField()
	colon := bytes.IndexByte(line, ':')
	if colon < 0 { // Not a field: mbox's "From " line, or the text of a message without a header.
		return
	}
	f := fieldOf(bytes.TrimRight(line[:colon], " \t")) // RFC 5322 section 4.5 allows white space before the colon.
	top := &s.open[len(s.open)-1]
	switch {
	case f == other, f < contentType && top.envelope == nil:
		return
	case f != to && f != cc && f != bcc && top.seen&(1<<f) != 0: // RFC 5322 section 3.6: the first counts; lists of recipients add up.
		return
	}
	top.seen |= 1 << f
	s.field = f
	s.append(line[colon+1:])
}

// append adds to the current field's value what fits. NUL is dropped and a bare CR is white space: neither may appear in a protocol's text.
func (s *Scanner) append(text []byte) {
	text = text[:min(len(text), maxField-len(s.value))]
	if bytes.IndexByte(text, 0) < 0 && bytes.IndexByte(text, '\r') < 0 {
		s.value = append(s.value, text...)
		return
	}
	for _, c := range text {
		switch c {
		case 0:
		case '\r':
			s.value = append(s.value, ' ')
		default:
			s.value = append(s.value, c)
		}
	}
}

// endField stores the current field, if there is one of interest.
func (s *Scanner) endField() {
	f := s.field
	s.field = other
	if f == other {
		return
	}
	raw := bytes.Trim(s.value, " \t")
	s.value = s.value[:0]
	if s.budget -= len(raw); s.budget < 0 {
		s.budget = 0
		return
	}
	value := string(raw)
	top := &s.open[len(s.open)-1]
	e, p := top.envelope, top.part
	switch f {
	case date:
		e.Date, e.Has = value, e.Has|HasDate
	case subject:
		e.Subject, e.Has = value, e.Has|HasSubject
	case inReplyTo:
		e.InReplyTo, e.Has = value, e.Has|HasInReplyTo
	case messageID:
		e.MessageID, e.Has = value, e.Has|HasMessageID
	case references:
		if len(s.open) == 1 {
			s.references = value
		}
	case from:
		s.addresses(&e.From, value)
	case sender:
		s.addresses(&e.Sender, value)
	case replyTo:
		s.addresses(&e.ReplyTo, value)
	case to:
		s.addresses(&e.To, value)
	case cc:
		s.addresses(&e.Cc, value)
	case bcc:
		s.addresses(&e.Bcc, value)
	default:
		p.contentField(f, value)
	}
}

// complete fills in what a header leaves out: RFC 9051 section 7.5.2 shows From where Sender or Reply-To is absent or empty.
func (e *Envelope) complete() {
	if len(e.Sender) == 0 {
		e.Sender = e.From
	}
	if len(e.ReplyTo) == 0 {
		e.ReplyTo = e.From
	}
}

func (s *Scanner) addresses(list *[]Address, value string) {
	before := len(*list)
	*list = parseAddresses(*list, value, s.places)
	s.places -= len(*list) - before
}

// contentField stores one of the Content- fields (RFC 2045, RFC 2183, RFC 3282, RFC 2557, RFC 1864).
func (p *Part) contentField(f field, value string) {
	switch f {
	case contentType:
		if kind, subtype, params, ok := parseContentType(value); ok {
			p.Type, p.Subtype, p.Params = kind, subtype, params
		}
	case contentEncoding:
		if token := firstToken(value); token != "" {
			p.Encoding = strings.ToLower(token)
		}
	case contentID:
		p.ID = value
	case contentDescription:
		p.Description = value
	case contentMD5:
		p.MD5 = value
	case contentDisposition:
		p.Disposition, p.DispParams = parseDisposition(value)
	case contentLanguage:
		p.Language = parseLanguages(value)
	case contentLocation:
		p.Location = strings.Join(strings.Fields(value), "") // RFC 2557 section 4.4.1: white space only folds it.
	}
}
