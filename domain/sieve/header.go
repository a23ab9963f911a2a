package sieve

import (
	"io"
	"mime"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/text"
)

// Message is the message that a script looks at: its structure, and where its octets can be read. Nothing is read before a test asks for it.
type Message struct {
	Root *message.Part // offsets count from the beginning of what Open reads
	Size int64         // octets
	Open text.Opener
}

// field is one field of the header.
type field struct {
	name string // as it is written
	raw  string // with its line ends; of a field that was added, the whole field
}

// value gives the field's text, unfolded, encoded words and all, of at most maxField octets.
func (f *field) value() string {
	_, v, _ := strings.Cut(f.raw, ":")
	return truncate(strings.Trim(unfold.Replace(v), " \t"), maxField)
}

var unfold = strings.NewReplacer("\r\n", "", "\n", "", "\r", "", "\x00", "")

// header is the message's header as the script has made it so far.
type header struct {
	message *Message
	read    bool
	fields  []field
	cut     bool // it is larger than maxHeader, and what lies behind is not there
	changed *string
	dirty   bool
	edits   int
}

// load reads the header once.
func (h *header) load() (err error) {
	if h.read {
		return nil
	}
	h.read = true
	size := h.message.Root.Body - h.message.Root.Start
	if h.cut = size > maxHeader; h.cut {
		size = maxHeader
	}
	if size <= 0 {
		return nil
	}
	r, err := h.message.Open(h.message.Root.Start, size)
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "read the header")
	}
	defer func() { err = closing(r, err) }()
	all, err := io.ReadAll(r)
	if err != nil {
		return domain.Wrap(domain.Unavailable, err, "read the header")
	}
	h.parse(string(all))
	return nil
}

func closing(c io.Closer, err error) error {
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}

// parse finds the fields of a header, which share its octets.
func (h *header) parse(text string) {
	begin, end := 0, 0 // of the last field
	for line := range strings.Lines(text) {
		if strings.TrimRight(line, "\r\n") == "" { // The empty line.
			return
		}
		if (line[0] == ' ' || line[0] == '\t') && len(h.fields) > 0 { // RFC 5322 section 2.2.3.
			end += len(line)
			h.fields[len(h.fields)-1].raw = text[begin:end]
			continue
		}
		begin, end = end, end+len(line)
		name, _, ok := strings.Cut(line, ":")
		if !ok { // No field at all, which stays where it is.
			name = ""
		}
		h.fields = append(h.fields, field{name: strings.TrimRight(name, " \t"), raw: line})
	}
}

// named gives the indexes of the fields of a name.
func (m *machine) named(at Position, name string) (found []int, err error) {
	if err := m.header.load(); err != nil {
		return nil, err
	}
	fields := m.header.fields
	if err := m.spend(at, 1+len(fields)/64); err != nil {
		return nil, err
	}
	for i := range fields {
		if strings.EqualFold(fields[i].name, name) && name != "" {
			found = append(found, i)
		}
	}
	return found, nil
}

// field gives the text of one field.
func (m *machine) field(at Position, i int) (string, error) {
	f := &m.header.fields[i]
	if err := m.spend(at, 1+len(f.raw)/64); err != nil {
		return "", err
	}
	return f.value(), nil
}

// values gives the text of all fields of the names, in their order, or of one of them (RFC 5260 section 6).
func (m *machine) values(at Position, names []string, only *index) (values []string, err error) {
	for _, name := range names {
		found, err := m.named(at, name)
		if err != nil {
			return nil, err
		}
		for _, i := range only.of(found) {
			value, err := m.field(at, i)
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
	}
	return values, nil
}

// index picks one of several (RFC 5260 section 6).
type index struct {
	n    int
	last bool // counts from the end
}

var indexTags = map[string]tagged{"index": {needs: "index", takes: 'n'}, "last": {needs: "index"}}

// indexOf reads :index and :last; nil without them.
func indexOf(a *arguments) (*index, error) {
	n, given := a.tags["index"]
	switch {
	case !given && a.has("last"):
		return nil, a.tags["last"].errorf(":last needs :index")
	case !given:
		return nil, nil
	case n.n < 1 || n.n > 1_000_000:
		return nil, n.errorf(":index counts from 1")
	}
	return &index{int(n.n), a.has("last")}, nil
}

func (x *index) of(all []int) []int {
	switch {
	case x == nil:
		return all
	case x.n > len(all):
		return nil
	case x.last:
		return all[len(all)-x.n : len(all)-x.n+1]
	}
	return all[x.n-1 : x.n]
}

// edited gives the header as it is now if it was changed, else nil.
func (h *header) edited() *string {
	if h.dirty {
		var b strings.Builder
		for i := range h.fields {
			b.WriteString(h.fields[i].raw)
		}
		b.WriteString("\r\n")
		s := b.String()
		h.changed, h.dirty = &s, false
	}
	return h.changed
}

// edit makes room for a change of the header.
func (m *machine) edit(at Position) error {
	if err := m.header.load(); err != nil {
		return err
	}
	switch {
	case m.header.cut:
		return at.errorf("the header has more than %d octets and cannot be changed", maxHeader)
	case m.header.edits == maxEdits:
		return at.errorf("a script changes the header at most %d times", maxEdits)
	}
	m.header.edits++
	return m.spend(at, 1+len(m.header.fields)/64)
}

func init() {
	commands["addheader"] = &spec{needs: []string{"editheader"}, tags: map[string]tagged{"last": {}}, takes: "ss", command: buildAddHeader}
	commands["deleteheader"] = &spec{
		needs: []string{"editheader"}, tags: merge(matchTags, map[string]tagged{"index": {takes: 'n'}, "last": {}}), command: buildDeleteHeader, takes: "*",
	}
}

func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// buildAddHeader is addheader (RFC 5293 section 4).
func buildAddHeader(c *compiler, a *arguments) (step, error) {
	name, err := c.template(a.place[0].Position, a.place[0].strings[0])
	if err != nil {
		return nil, err
	}
	value, err := c.template(a.place[1].Position, a.place[1].strings[0])
	if err != nil {
		return nil, err
	}
	if s, ok := name.constant(); ok && !isFieldName(s) {
		return nil, a.place[0].errorf("%q is not the name of a field", s)
	}
	return func(m *machine) error {
		name, value := m.expand(name), m.expand(value)
		if !isFieldName(name) {
			return a.errorf("%q is not the name of a field", name)
		}
		if err := m.edit(a.Position); err != nil {
			return err
		}
		f := field{name: name, raw: name + ": " + foldField(value, len(name)+2) + "\r\n"}
		if m.header.dirty = true; a.has("last") {
			m.header.fields = append(m.header.fields, f)
		} else {
			m.header.fields = append([]field{f}, m.header.fields...)
		}
		return nil
	}, nil
}

// maxWord is how many octets of a word stand in one line of a header; a line has 998 with its field's name.
const maxWord = 900

// foldField makes a field's text of a value: without line ends, with encoded words where it is not ASCII, and folded (RFC 5322 section 2.2.3).
func foldField(value string, column int) string {
	words := strings.FieldsFunc(truncate(value, maxVariable), func(r rune) bool { return r == '\r' || r == '\n' || r == 0 })
	value = strings.TrimSpace(strings.Join(words, " "))
	if !isASCII(value) {
		return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", value), "?= =?", "?=\r\n =?")
	}
	var b strings.Builder
	for i, w := range strings.Split(value, " ") {
		switch {
		case i == 0:
		case column+1+len(w) > 78:
			b.WriteString("\r\n ")
			column = 1
		default:
			b.WriteByte(' ')
			column++
		}
		for len(w) > maxWord { // RFC 5322 section 2.1.1: a line has an end, whatever a word is like.
			b.WriteString(w[:maxWord] + "\r\n ")
			w, column = w[maxWord:], 1
		}
		b.WriteString(w)
		column += len(w)
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// buildDeleteHeader is deleteheader (RFC 5293 section 5). Received and Auto-Submitted stay (section 6), and what finds loops.
func buildDeleteHeader(c *compiler, a *arguments) (step, error) {
	name, err := c.constant(a.place[0])
	if err != nil {
		return nil, err
	}
	if !isFieldName(name) {
		return nil, a.place[0].errorf("%q is not the name of a field", name)
	}
	only, err := indexOf(a)
	if err != nil {
		return nil, err
	}
	var match *matcher
	if len(a.place) == 2 {
		if match, err = c.matcher(a, a.place[1]); err != nil {
			return nil, err
		}
	}
	return func(m *machine) error {
		if strings.EqualFold(name, "Received") || strings.EqualFold(name, "Auto-Submitted") || strings.EqualFold(name, RedirectedBy) {
			return nil
		}
		if err := m.edit(a.Position); err != nil {
			return err
		}
		found, err := m.named(a.Position, name)
		if err != nil {
			return err
		}
		gone := map[int]bool{}
		for _, i := range only.of(found) {
			if match != nil {
				value, err := m.field(a.Position, i)
				if err != nil {
					return err
				}
				ok, err := match.any(m, []string{message.DecodeWords(value)})
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
			}
			gone[i] = true
		}
		m.header.remove(gone)
		return nil
	}, nil
}

func (h *header) remove(gone map[int]bool) {
	if len(gone) == 0 {
		return
	}
	var kept []field
	for i, f := range h.fields {
		if !gone[i] {
			kept = append(kept, f)
		}
	}
	h.fields, h.dirty = kept, true
}
