package pipeline

import (
	"iter"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
)

// Edit is a change of a message's header: fields of the name are removed, unless it only adds, and one is put on top, unless the value is empty.
type Edit struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	Keep  bool   `json:"keep,omitempty"` // the fields of the name that are there stay
}

// field is a header field: its lines as they are, its name, and what follows the colon, folded as it is.
type field struct{ raw, name, body string }

// value is the field's body, unfolded (RFC 5322 section 2.2.3). It costs as much as the body is long, so that only who looks at a field pays for it.
func (f *field) value() string {
	if !strings.Contains(f.body, "\n") {
		return strings.TrimSpace(f.body)
	}
	var b strings.Builder
	b.Grow(len(f.body))
	for line := range strings.SplitSeq(strings.TrimSuffix(f.body, "\n"), "\n") {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.TrimSpace(line))
	}
	return strings.TrimSpace(b.String())
}

// fields reads a header. What is no field belongs to none, and keeps its place. The fields are parts of the text.
func fields(header string) (all []field) {
	for at := 0; at < len(header); {
		end := at
		for more := true; more; more = end < len(header) && (header[end] == ' ' || header[end] == '\t') {
			next := strings.IndexByte(header[end:], '\n') + 1
			if next == 0 {
				next = len(header) - end
			}
			end += next
		}
		f := field{raw: header[at:end]}
		line, _, _ := strings.Cut(f.raw, "\n")
		if name, _, is := strings.Cut(line, ":"); is && !strings.Contains(name, "\r") {
			f.name, f.body = strings.TrimRight(name, " \t"), f.raw[len(name)+1:]
		}
		all = append(all, f)
		at = end
	}
	return all
}

// EditHeader carries out edits on a header, which ends with a line end.
func EditHeader(header string, edits []Edit) string {
	all := apply(fields(header), edits)
	var b strings.Builder
	for _, f := range all {
		b.WriteString(f.raw)
	}
	return b.String()
}

// Fields gives the fields of a header as edits leave it: names, and values unfolded.
func Fields(header string, edits []Edit) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range apply(fields(header), edits) {
			if f.name != "" && !yield(f.name, f.value()) {
				return
			}
		}
	}
}

func apply(all []field, edits []Edit) []field {
	for _, e := range edits {
		if !e.Keep {
			var left []field
			for _, f := range all {
				if f.name == "" || !strings.EqualFold(f.name, e.Name) {
					left = append(left, f)
				}
			}
			all = left
		}
		if e.Value != "" {
			all = append([]field{{raw: fold(e.Name, e.Value), name: e.Name, body: e.Value}}, all...)
		}
	}
	return all
}

// fold writes a field in lines of at most 78 octets where it has spaces (RFC 5322 section 2.1.1 and 2.2.3).
func fold(name, value string) string {
	var b strings.Builder
	b.WriteString(name + ":")
	length := b.Len()
	for n, word := range strings.Fields(value) {
		if n > 0 && length+1+len(word) > 78 {
			b.WriteString("\r\n")
			length = 0
		}
		b.WriteString(" " + word)
		length += 1 + len(word)
	}
	return b.String() + "\r\n"
}

// checkField checks what an action writes. Errors: domain.Invalid.
func checkField(name, value string) error {
	for _, r := range name {
		if r <= ' ' || r >= 127 || r == ':' { // RFC 5322 section 3.6.8.
			return domain.Errorf(domain.Invalid, "%q is not the name of a header field", name)
		}
	}
	if name == "" || len(name) > 76 {
		return domain.Errorf(domain.Invalid, "%q is not the name of a header field", name)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 127 }) {
		return domain.Errorf(domain.Invalid, "the value of %s has control characters", name)
	}
	return nil
}

// checkEdit checks an edit of the header, whoever asks for it. Errors: domain.Invalid.
func checkEdit(e Edit) error {
	if strings.EqualFold(e.Name, "Received") || strings.EqualFold(e.Name, "Return-Path") { // RFC 5321 section 4.4.
		return domain.Errorf(domain.Invalid, "%s says where a message was and finds loops: it stays, and is not for steps to write", e.Name)
	}
	return checkField(e.Name, e.Value)
}

// header is what is read of a message's header while a mail is evaluated: once, and only when a matcher wants it.
type header struct {
	World
	read   bool
	text   string
	fields []field
	err    error
}

func (h *header) Header() (string, error) {
	_, err := h.parsed()
	return h.text, err
}

func (h *header) parsed() ([]field, error) {
	if !h.read {
		h.text, h.err = h.World.Header()
		h.fields, h.read = fields(h.text), true
	}
	return h.fields, h.err
}

// fields gives the fields as the mail's edits leave them.
func (m *Mail) fields(w World) ([]field, error) {
	if h, is := w.(*header); is {
		all, err := h.parsed()
		if err != nil {
			return nil, err
		}
		return apply(all, m.Edits), nil
	}
	text, err := w.Header()
	if err != nil {
		return nil, err
	}
	return apply(fields(text), m.Edits), nil
}

// values gives the values of a field, decoded (RFC 2047).
func (m *Mail) values(w World, name string) (all []string, err error) {
	list, err := m.fields(w)
	for _, f := range list {
		if strings.EqualFold(f.name, name) && f.name != "" {
			all = append(all, message.DecodeWords(f.value()))
		}
	}
	return all, err
}
