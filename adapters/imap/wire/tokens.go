package wire

import (
	"strings"
)

// class is a bit set of the roles that an octet may play in a token.
type class uint8

const (
	atomChar    class = 1 << iota // RFC 9051 section 9, ATOM-CHAR
	astringChar                   // ASTRING-CHAR
	listChar                      // list-char
	tagChar                       // tag
	labelChar                     // a name before "[" or ".", as in FETCH items
)

var classes = func() (t [256]class) {
	for c := byte('!'); c < 0x7f; c++ {
		switch {
		case c == ']':
			t[c] = astringChar | listChar | tagChar
		case c == '%' || c == '*':
			t[c] = listChar
		case c == '+':
			t[c] = atomChar | astringChar | listChar
		case strings.IndexByte(`(){"\`, c) < 0:
			t[c] = atomChar | astringChar | listChar | tagChar
		}
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '=' {
			t[c] |= labelChar
		}
	}
	return t
}()

// run consumes the longest run of octets of a class and gives it, valid until the next token; empty if there is none.
func (d *Decoder) run(of class) []byte {
	d.scratch = d.scratch[:0]
	for {
		c, ok := d.peek()
		if !ok {
			return nil
		}
		if classes[c]&of == 0 {
			return d.scratch
		}
		if !d.take() || !d.keep(1) {
			return nil
		}
		d.scratch = append(d.scratch, c)
	}
}

func (d *Decoder) word(of class, s *string) bool {
	token := d.run(of)
	if len(token) == 0 {
		return false
	}
	*s = string(token)
	return true
}

// Tag reads a command's tag.
func (d *Decoder) Tag(s *string) bool { return d.word(tagChar, s) }

// ExpectTag demands a command's tag.
func (d *Decoder) ExpectTag(s *string) bool { return d.expected(d.Tag(s), "a tag") }

// Atom reads an atom as it stands.
func (d *Decoder) Atom(s *string) bool { return d.word(atomChar, s) }

// ExpectAtom demands an atom.
func (d *Decoder) ExpectAtom(s *string) bool { return d.expected(d.Atom(s), "an atom") }

// Name reads an atom in upper case, for what is compared without regard to case: names of commands, keys, items, modifiers.
func (d *Decoder) Name(s *string) bool { return upper(d.Atom(s), s) }

// ExpectName demands an atom and gives it in upper case.
func (d *Decoder) ExpectName(s *string) bool { return upper(d.ExpectAtom(s), s) }

// Label reads letters, digits, ".", "-" and "=" in upper case. Unlike an atom it ends before "[" and "<", as the items of FETCH need.
func (d *Decoder) Label(s *string) bool { return upper(d.word(labelChar, s), s) }

// ExpectLabel demands a label.
func (d *Decoder) ExpectLabel(s *string) bool { return d.expected(d.Label(s), "a name") }

func upper(ok bool, s *string) bool {
	if ok {
		*s = strings.ToUpper(*s)
	}
	return ok
}

// Quoted reads a quoted string. Octets above 127 are kept as they are: whether they must be UTF-8 is for the argument's meaning to say.
func (d *Decoder) Quoted(s *string) bool {
	if !d.Special('"') {
		return false
	}
	d.scratch = d.scratch[:0]
	for {
		c, ok := d.peek()
		if !ok {
			return false
		}
		if c == '\r' || c == '\n' {
			d.tail = append(d.tail, d.scratch[max(0, len(d.scratch)-tailLength):]...)
			return d.syntax("a quoted string does not end on its line")
		}
		if !d.take() {
			return false
		}
		switch c {
		case '"':
			*s = string(d.scratch)
			return true
		case '\\':
			if c, ok = d.peek(); !ok {
				return false
			}
			if c != '"' && c != '\\' { // RFC 9051 section 9, quoted-specials.
				return d.syntax(`only " and \ may follow \ in a quoted string`)
			}
			if !d.take() {
				return false
			}
		}
		if !d.keep(1) {
			return false
		}
		d.scratch = append(d.scratch, c)
	}
}

// String reads a quoted string or a literal.
func (d *Decoder) String(s *string) bool {
	if d.Quoted(s) {
		return true
	}
	if !d.Next('{') && !d.Follows("~{") {
		return false
	}
	l := d.ExpectLiteral()
	if l == nil {
		return false
	}
	b, ok := l.bytes()
	*s = string(b)
	return ok
}

// ExpectString demands a quoted string or a literal.
func (d *Decoder) ExpectString(s *string) bool { return d.expected(d.String(s), "a string") }

// AString reads an atom, "]" included, or a string.
func (d *Decoder) AString(s *string) bool {
	return !d.Follows("~{") && d.word(astringChar, s) || d.String(s)
}

// ExpectAString demands an atom or a string.
func (d *Decoder) ExpectAString(s *string) bool { return d.expected(d.AString(s), "an argument") }

// Follows reports whether text comes next, ASCII letters in any case, and consumes nothing.
func (d *Decoder) Follows(text string) bool {
	for i := range len(text) { // octet by octet, so that nothing is waited for that may not come.
		if _, ok := d.peek(); !ok {
			return false
		}
		b, err := d.buf.Peek(i + 1)
		if err != nil {
			return d.Fail(err)
		}
		if lower(b[i]) != lower(text[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// NIL reads the atom NIL.
func (d *Decoder) NIL() bool {
	if !d.Follows("NIL") {
		return false
	}
	if b, err := d.buf.Peek(4); err != nil || classes[b[3]]&astringChar != 0 {
		return err != nil && d.Fail(err)
	}
	for range 3 {
		if !d.take() {
			return false
		}
	}
	return true
}

// ExpectNString demands NIL, which leaves *s alone and gives present = false, or a string.
func (d *Decoder) ExpectNString(s *string) (present, ok bool) {
	if d.NIL() {
		return false, true
	}
	ok = d.expected(d.String(s), "a string or NIL")
	return ok, ok
}

// Number reads a number of 32 bits.
func (d *Decoder) Number(n *uint32) bool {
	var wide uint64
	if !d.digits(&wide, 1<<32-1) {
		return false
	}
	*n = uint32(wide)
	return true
}

// ExpectNumber demands a number of 32 bits.
func (d *Decoder) ExpectNumber(n *uint32) bool { return d.expected(d.Number(n), "a number") }

// Number64 reads a number of 63 bits (RFC 9051 section 9, number64).
func (d *Decoder) Number64(n *int64) bool {
	var wide uint64
	if !d.digits(&wide, 1<<63-1) {
		return false
	}
	*n = int64(wide)
	return true
}

// ExpectNumber64 demands a number of 63 bits.
func (d *Decoder) ExpectNumber64(n *int64) bool { return d.expected(d.Number64(n), "a number") }

func (d *Decoder) digits(n *uint64, limit uint64) bool {
	any := false
	for v := uint64(0); ; {
		c, ok := d.peek()
		if !ok {
			return false
		}
		if c < '0' || c > '9' {
			*n = v
			return any
		}
		digit := uint64(c - '0')
		if v > (limit-digit)/10 {
			return d.syntax("a number is too large")
		}
		v, any = v*10+digit, true
		if !d.take() {
			return false
		}
	}
}

// List reads "(", elements with single spaces between them, ")". element reads one and returns false, with an error recorded, if it cannot.
func (d *Decoder) List(element func() bool) bool {
	if !d.Special('(') {
		return false
	}
	if d.depth++; d.depth > d.limits.Depth {
		return d.Fail(&SyntaxError{Code: "LIMIT", Text: "parentheses are nested too deeply"})
	}
	defer func() { d.depth-- }()
	if d.Special(')') {
		return true
	}
	for {
		if !d.item() || !element() {
			return d.expected(false, "an element of a list")
		}
		if d.Special(')') {
			return true
		}
		if !d.ExpectSP() {
			return false
		}
	}
}

// ExpectList demands a list.
func (d *Decoder) ExpectList(element func() bool) bool {
	return d.expected(d.List(element), "a list in parentheses")
}

// Nest counts one level of a grammar that recurses without parentheses, such as SEARCH NOT NOT; Unnest ends it. It is false, with an error
// recorded, when that is too deep.
func (d *Decoder) Nest() bool {
	if d.nesting++; d.nesting > d.limits.Nesting {
		return d.Fail(&SyntaxError{Code: "LIMIT", Text: "the command is nested too deeply"})
	}
	return d.err == nil
}

// Unnest ends what Nest began.
func (d *Decoder) Unnest() { d.nesting-- }

// Item charges one element of a list that has no parentheses to the command's budget.
func (d *Decoder) Item() bool { return d.item() }

// Flag reads a flag: an atom, with or without "\" in front. It says nothing about which flags there are.
func (d *Decoder) Flag(s *string) bool {
	system := d.Special('\\')
	if !d.Atom(s) {
		return system && d.syntax(`a flag's name must follow \`)
	}
	if system {
		*s = `\` + *s
	}
	return true
}

// ExpectFlag demands a flag.
func (d *Decoder) ExpectFlag(s *string) bool { return d.expected(d.Flag(s), "a flag") }

// FlagList reads flags in parentheses.
func (d *Decoder) FlagList(flags *[]string) bool {
	return d.List(func() bool {
		var f string
		if !d.ExpectFlag(&f) {
			return false
		}
		*flags = append(*flags, f)
		return true
	})
}

// ExpectFlags demands flags, with parentheses or, as STORE allows (RFC 9051 section 9, store-att-flags), without.
func (d *Decoder) ExpectFlags(flags *[]string) bool {
	if d.FlagList(flags) {
		return true
	}
	for {
		var f string
		if !d.item() || !d.ExpectFlag(&f) {
			return false
		}
		*flags = append(*flags, f)
		if !d.SP() {
			return d.err == nil
		}
	}
}

// ListMailbox reads the pattern of LIST: wildcards pass as they are.
func (d *Decoder) ListMailbox(name *string) bool {
	var raw string
	return (d.word(listChar, &raw) || d.String(&raw)) && d.mailbox(raw, name)
}

// ExpectListMailbox demands the pattern of LIST.
func (d *Decoder) ExpectListMailbox(name *string) bool {
	return d.expected(d.ListMailbox(name), "a mailbox name or pattern")
}

// Mailbox reads a mailbox name and gives it in UTF-8.
func (d *Decoder) Mailbox(name *string) bool {
	var raw string
	return d.AString(&raw) && d.mailbox(raw, name)
}

// ExpectMailbox demands a mailbox name.
func (d *Decoder) ExpectMailbox(name *string) bool {
	return d.expected(d.Mailbox(name), "a mailbox name")
}

func (d *Decoder) mailbox(raw string, name *string) bool {
	decoded, err := DecodeMailbox(raw, d.UTF8)
	if err != nil {
		return d.Fail(err)
	}
	*name = decoded
	return true
}
