package authres

import (
	"strings"
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
)

// Limits of a field that is read.
const (
	maxMethods    = 100
	maxProperties = 20 // of one method
	maxDepth      = 10 // of comments
)

// ServerID reads only the name of the server that wrote a field, from its value. It is in lower case. ok is false where there is none, or it is not clear where it ends.
func ServerID(value string) (id string, ok bool) {
	p := parser{rest: value}
	return p.server()
}

// Parse reads the value of a field (RFC 8601 section 2.2). Methods without a result are left out. Errors: domain.Invalid, domain.TooLarge.
func Parse(value string) (id string, methods []Method, err error) {
	p := parser{rest: value}
	id, ok := p.server()
	if !ok {
		return "", nil, domain.Errorf(domain.Invalid, "the field names no server")
	}
	for p.space(); p.take(';'); p.space() {
		p.space()
		if p.rest == "" {
			break // RFC 8601 section 2.2 has none behind the last method, but some write one.
		}
		m, ok := p.method()
		switch {
		case p.broken:
			return "", nil, domain.Errorf(domain.Invalid, "the field cannot be read from %.20q on", p.rest)
		case len(methods) == maxMethods:
			return "", nil, domain.Errorf(domain.TooLarge, "the field has more than %d methods", maxMethods)
		case ok:
			methods = append(methods, m)
		}
	}
	if p.rest != "" || p.broken {
		return "", nil, domain.Errorf(domain.Invalid, "the field cannot be read from %.20q on", p.rest)
	}
	return id, methods, nil
}

// parser reads a value from the left. broken is set by what no grammar allows.
type parser struct {
	rest   string
	broken bool
}

// server reads up to the first method: an authserv-id, which may have a version.
func (p *parser) server() (id string, ok bool) {
	p.space()
	id, ok = p.word()
	p.space()
	_, _ = p.while(func(r rune) bool { return '0' <= r && r <= '9' })
	p.space()
	return strings.ToLower(id), ok && !p.broken && (p.rest == "" || p.rest[0] == ';')
}

// method reads a resinfo. ok is false for the "none" that stands for no methods.
func (p *parser) method() (m Method, ok bool) {
	name, found := p.token()
	if !found {
		p.broken = true
		return m, false
	}
	p.space()
	if p.take('/') { // the version of the method
		p.space()
		_, _ = p.token()
		p.space()
	}
	if !p.take('=') {
		p.broken = !strings.EqualFold(name, "none")
		return m, false
	}
	p.space()
	result, found := p.token()
	if p.broken = p.broken || !found; p.broken {
		return m, false
	}
	m = Method{Name: strings.ToLower(name), Result: Result(strings.ToLower(result))}
	for p.space(); p.rest != "" && p.rest[0] != ';' && !p.broken; p.space() {
		p.property(&m)
	}
	return m, true
}

// property reads a reasonspec or a propspec into m.
func (p *parser) property(m *Method) {
	kind, found := p.name()
	p.space()
	var name string
	if found && p.take('.') {
		p.space()
		name, found = p.name()
		p.space()
	}
	if !found || !p.take('=') {
		p.broken = true
		return
	}
	p.space()
	value, ok := p.value()
	switch {
	case !ok || len(m.Properties) == maxProperties:
		p.broken = true
	case name == "" && strings.EqualFold(kind, "reason"):
		m.Reason = value
	case name != "":
		m.Properties = append(m.Properties, Property{strings.ToLower(kind), strings.ToLower(name), value})
	}
}

// space passes over folding white space and comments (RFC 5322 section 3.2.2).
func (p *parser) space() {
	depth := 0
	for p.rest != "" {
		switch c := p.rest[0]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '(':
			if depth++; depth > maxDepth {
				p.broken = true
				return
			}
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			return
		case c == '\\' && len(p.rest) > 1:
			p.rest = p.rest[1:]
		}
		p.rest = p.rest[1:]
	}
	p.broken = p.broken || depth > 0
}

func (p *parser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// word reads a value: a token or a quoted string.
func (p *parser) word() (string, bool) {
	if p.take('"') {
		return p.quoted()
	}
	return p.token()
}

func (p *parser) token() (string, bool) { return p.while(tokenRune) }

// name reads a token without a dot, which divides the two parts of a property's name.
func (p *parser) name() (string, bool) {
	return p.while(func(r rune) bool { return r != '.' && tokenRune(r) })
}

// value reads a pvalue, which may be an address or, as many write it, hold characters that only a quoted string should.
func (p *parser) value() (string, bool) {
	if p.take('"') {
		first, ok := p.quoted()
		if ok && p.take('@') { // the quoted local part of an address
			host, _ := p.while(loose)
			return first + "@" + host, true
		}
		return first, ok
	}
	return p.while(loose)
}

func loose(r rune) bool { return tokenRune(r) || strings.ContainsRune("@/:=<>[]?,", r) }

func (p *parser) while(f func(rune) bool) (string, bool) {
	n := 0
	for n < len(p.rest) {
		r, size := utf8.DecodeRuneInString(p.rest[n:])
		if r == utf8.RuneError && size <= 1 || !f(r) {
			break
		}
		n += size
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return word, n > 0
}

func (p *parser) quoted() (string, bool) {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case c == '\r' || c == '\n': // of a fold
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.broken = true
	return "", false
}
