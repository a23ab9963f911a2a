package message

import "strings"

// What stands for the missing half of an address. An empty host would make it a group (RFC 9051 section 7.5.2).
const (
	missingMailbox = "MISSING_MAILBOX"
	missingDomain  = "MISSING_DOMAIN"
)

// ParseAddresses reads the addresses of a field's text, at most limit of them, in the form that an Envelope has them.
func ParseAddresses(value string, limit int) []Address {
	return parseAddresses(nil, value, max(limit, 0))
}

// parseAddresses adds the addresses of an address list (RFC 5322 section 3.4, with the obsolete forms of section 4.4) to list, at most limit
// of them. It reads anything: what follows no grammar becomes an address whose missing half is marked.
func parseAddresses(list []Address, value string, limit int) []Address {
	p := addressParser{in: value}
	grouped := false
	limit += len(list)
	for len(list) < limit {
		p.start()
		switch c := p.peek(); c {
		case 0:
			if grouped {
				list = append(list, Address{})
			}
			return list
		case ',':
			p.at++
		case ';':
			p.at++
			if grouped {
				list = append(list, Address{})
			}
			grouped = false
		case ':':
			p.at++
			if name := p.phrase(); name != "" && !grouped {
				list = append(list, Address{Mailbox: name})
				grouped = true
			}
		default:
			list = append(list, p.mailbox())
		}
	}
	return list
}

// addressParser reads one address after the other. words holds what stands before the current position and after the last separator.
type addressParser struct {
	in      string
	at      int
	from    int      // where the current address begins
	words   []string // atoms and quoted strings, resolved
	tight   []bool   // the word follows the one before it without white space
	comment string   // the last comment
}

// start reads words up to the next special character.
func (p *addressParser) start() {
	p.words, p.tight, p.comment, p.from = p.words[:0], p.tight[:0], "", p.at
	p.readWords()
}

func (p *addressParser) readWords() {
	tight := false
	for p.at < len(p.in) {
		switch c := p.in[p.at]; c {
		case ' ', '\t':
			p.at++
			tight = false
			continue
		case '(':
			p.comment = p.readComment()
			continue
		case '"':
			p.words = append(p.words, p.readQuoted())
		case ',', ';', ':', '<', '>', '@':
			if c == '>' { // Nothing opened it.
				p.at++
				continue
			}
			return
		default:
			end := p.at
			for end < len(p.in) && strings.IndexByte(" \t(\",;:<>@", p.in[end]) < 0 {
				end++
			}
			p.words = append(p.words, p.in[p.at:end])
			p.at = end
		}
		p.tight = append(p.tight, tight)
		tight = true
	}
}

// peek gives the special character that ends the words, 0 at the end of the list.
func (p *addressParser) peek() byte {
	if p.at == len(p.in) {
		if len(p.words) > 0 {
			return 1
		}
		return 0
	}
	if c := p.in[p.at]; (c == ',' || c == ';') && len(p.words) > 0 {
		return 1
	}
	return p.in[p.at]
}

// phrase is the words as a display name.
func (p *addressParser) phrase() string {
	switch len(p.words) {
	case 0:
		return ""
	case 1:
		return p.words[0]
	}
	return strings.Join(p.words, " ")
}

// local is the words as a local part, in which white space around dots means nothing (RFC 5322 section 4.4).
func (p *addressParser) local() string {
	if len(p.words) == 1 {
		return p.words[0]
	}
	var b strings.Builder
	for i, w := range p.words {
		if i > 0 && !p.tight[i] && !strings.HasPrefix(w, ".") && !strings.HasSuffix(p.words[i-1], ".") {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}

// mailbox reads the rest of an address whose first words are read.
func (p *addressParser) mailbox() Address {
	if p.at < len(p.in) && p.in[p.at] == '@' {
		a := Address{Mailbox: p.local()}
		p.at++
		a.Host = p.domain()
		p.words, p.tight = p.words[:0], p.tight[:0]
		p.readWords()
		if p.at == len(p.in) || p.in[p.at] != '<' {
			a.Name = p.comment
			p.skipRest()
			return a.whole()
		}
		// A display name with an unquoted "@": keep it as it stands.
		return p.angle(strings.TrimSpace(p.in[p.from:p.at]))
	}
	if p.at < len(p.in) && p.in[p.at] == '<' {
		name := p.phrase()
		if name == "" {
			name = p.comment
		}
		return p.angle(name)
	}
	return Address{Mailbox: p.phrase(), Name: p.comment}.whole()
}

// angle reads "<", an optional route, the address and ">".
func (p *addressParser) angle(name string) Address {
	p.at++
	p.words, p.tight, p.comment = p.words[:0], p.tight[:0], ""
	p.readAngleWords()
	for p.at < len(p.in) && len(p.words) == 0 && (p.in[p.at] == '@' || p.in[p.at] == ',') { // RFC 5322 section 4.4: a route is ignored.
		if p.in[p.at] == '@' {
			p.at++
			p.domain()
		} else {
			p.at++
		}
		if p.at < len(p.in) && p.in[p.at] == ':' {
			p.at++
			p.readAngleWords()
			break
		}
	}
	a := Address{Name: name, Mailbox: p.local()}
	if p.at < len(p.in) && p.in[p.at] == '@' {
		p.at++
		a.Host = p.domain()
	}
	for p.at < len(p.in) && p.in[p.at] != '>' && p.in[p.at] != ',' {
		p.at++
	}
	if p.at < len(p.in) && p.in[p.at] == '>' {
		p.at++
		p.words, p.tight, p.comment = p.words[:0], p.tight[:0], ""
		p.readWords()
		if a.Name == "" {
			a.Name = p.comment
		}
		p.skipRest()
	}
	return a.whole()
}

// readAngleWords is readWords inside angle brackets, where ">" means something.
func (p *addressParser) readAngleWords() {
	end := p.at
	for quoted := false; end < len(p.in) && (quoted || p.in[end] != '>'); end++ {
		switch p.in[end] {
		case '\\':
			end += min(1, len(p.in)-1-end)
		case '"':
			quoted = !quoted
		}
	}
	whole := p.in
	p.in = whole[:end]
	p.readWords()
	p.in = whole
}

// skipRest passes over what stands between an address and the next separator.
func (p *addressParser) skipRest() {
	for p.at < len(p.in) && p.in[p.at] != ',' && p.in[p.at] != ';' {
		if p.in[p.at] == '"' {
			p.readQuoted()
		} else {
			p.at++
		}
	}
}

// whole marks the missing halves of an address.
func (a Address) whole() Address {
	if a.Mailbox == "" {
		a.Mailbox = missingMailbox
	}
	if a.Host == "" {
		a.Host = missingDomain
	}
	return a
}

// Missing tells of which halves of an address only marks are there.
func (a Address) Missing() (mailbox, host bool) {
	return a.Mailbox == missingMailbox, a.Host == missingDomain
}

// domain reads a domain or a domain literal; white space and comments inside it mean nothing.
func (p *addressParser) domain() string {
	var whole string
	for p.at < len(p.in) {
		switch c := p.in[p.at]; c {
		case ' ', '\t':
			p.at++
			continue
		case '(':
			p.comment = p.readComment()
			continue
		case ',', ';', ':', '<', '>', '@', '"':
			return whole
		case '[':
			end := strings.IndexByte(p.in[p.at:], ']')
			if end < 0 {
				end = len(p.in) - p.at - 1
			}
			whole += p.in[p.at : p.at+end+1]
			p.at += end + 1
		default:
			if whole != "" && !strings.HasSuffix(whole, ".") && c != '.' && p.in[p.at-1] != ']' {
				return whole // A second word.
			}
			end := p.at + 1
			for end < len(p.in) && strings.IndexByte(" \t(,;:<>@[\"", p.in[end]) < 0 {
				end++
			}
			if whole == "" {
				whole = p.in[p.at:end]
			} else {
				whole += p.in[p.at:end]
			}
			p.at = end
		}
	}
	return whole
}

// readQuoted reads a quoted string and resolves its quoted pairs.
func (p *addressParser) readQuoted() string {
	s, n := unquote(p.in[p.at:])
	p.at += n
	return s
}

// readComment reads a comment, which may hold others, and gives its text.
func (p *addressParser) readComment() string {
	s, n := uncomment(p.in[p.at:])
	p.at += n
	return s
}

// unquote reads the quoted string that s begins with, up to its end or that of s, and tells how long it is.
func unquote(s string) (string, int) {
	if end := strings.IndexAny(s[1:], `"\`); end >= 0 && s[1+end] == '"' {
		return s[1 : 1+end], end + 2
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i + 1
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), len(s)
}

// uncomment reads the comment that s begins with, up to its end or that of s, and tells how long it is.
func uncomment(s string) (string, int) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			if depth++; depth > 1 {
				b.WriteByte(c)
			}
		case c == ')':
			if depth--; depth == 0 {
				return strings.TrimSpace(b.String()), i + 1
			}
			b.WriteByte(c)
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String()), len(s)
}
