package message

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// find gives a parameter's value, or "".
func find(params []Param, name string) string {
	for _, p := range params {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// parseContentType reads a Content-Type field's value (RFC 2045 section 5.1). It is not ok when type or subtype is missing or no token.
func parseContentType(value string) (kind, subtype string, params []Param, ok bool) {
	value = skipSpace(value)
	kind, rest := cutToken(value)
	rest = skipSpace(rest)
	if kind == "" || !strings.HasPrefix(rest, "/") {
		return "", "", nil, false
	}
	subtype, rest = cutToken(skipSpace(rest[1:]))
	if subtype == "" {
		return "", "", nil, false
	}
	return strings.ToLower(kind), strings.ToLower(subtype), parseParams(rest), true
}

// parseDisposition reads a Content-Disposition field's value (RFC 2183 section 2).
func parseDisposition(value string) (string, []Param) {
	kind, rest := cutToken(skipSpace(value))
	if kind == "" && !strings.Contains(rest, ";") {
		return "", nil
	}
	if kind == "" {
		kind = "attachment" // RFC 2183 section 2.8: an unknown disposition counts as attachment.
	}
	return strings.ToLower(kind), parseParams(rest)
}

// parseLanguages reads a Content-Language field's value (RFC 3282).
func parseLanguages(value string) (tags []string) {
	for value != "" && len(tags) < maxParams {
		tag, rest := cutToken(skipSpace(value))
		if tag != "" {
			tags = append(tags, tag)
		}
		_, value, _ = strings.Cut(rest, ",")
	}
	return tags
}

// firstToken gives the token that a field's value begins with.
func firstToken(value string) string {
	token, _ := cutToken(skipSpace(value))
	return token
}

// skipSpace passes over white space and comments.
func skipSpace(s string) string {
	for s != "" {
		switch s[0] {
		case ' ', '\t':
			s = s[1:]
		case '(':
			_, n := uncomment(s)
			s = s[n:]
		default:
			return s
		}
	}
	return s
}

// cutToken cuts the token of RFC 2045 section 5.1 off the beginning of s. Octets beyond ASCII pass.
func cutToken(s string) (token, rest string) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// section is a parameter, or a section of one, as the field writes it.
type section struct {
	name     string
	number   int  // RFC 2231 section 3; -1 when the parameter is in one piece
	extended bool // RFC 2231 section 4: percent-encoded, the first section with charset and language
	value    string
}

// parseParams reads the parameters that follow a type or disposition and joins their sections.
func parseParams(s string) []Param {
	sections := cutParams(s)
	if len(sections) == 0 {
		return nil
	}
	params := make([]Param, 0, len(sections))
	for i, first := range sections {
		at := slices.IndexFunc(params, func(p Param) bool { return p.Name == first.name })
		switch {
		case first.number < 0 && !first.extended:
			if at < 0 {
				params = append(params, Param{first.name, tidy(first.value)})
			}
		case slices.ContainsFunc(sections[:i], func(o section) bool { return o.name == first.name && (o.number >= 0 || o.extended) }):
			// Joined already.
		default:
			value, ok := joinSections(sections[i:], first.name)
			switch {
			case !ok:
			case at >= 0: // RFC 2231 section 4 and RFC 6266 section 4.3: the extended form wins.
				params[at].Value = value
			default:
				params = append(params, Param{first.name, value})
			}
		}
	}
	return params
}

// cutParams cuts ";name=value" and its RFC 2231 variants apart. It bears with missing quotes, stray semicolons and missing values.
func cutParams(s string) (sections []section) {
	for len(sections) < maxParams {
		semicolon := strings.IndexByte(s, ';')
		if semicolon < 0 {
			return sections
		}
		s = skipSpace(s[semicolon+1:])
		name, rest := cutToken(s)
		rest = skipSpace(rest)
		if name == "" || !strings.HasPrefix(rest, "=") {
			continue
		}
		s = skipSpace(rest[1:])
		p := section{name: strings.ToLower(name), number: -1}
		if strings.HasPrefix(s, `"`) {
			value, n := unquote(s)
			p.value, s = value, s[n:]
		} else {
			// A token, or what should have been quoted: up to the next semicolon.
			end := strings.IndexByte(s, ';')
			if end < 0 {
				end = len(s)
			}
			value := s[:end]
			s = s[end:]
			value = strings.TrimRight(value, " \t")
			if comment := strings.Index(value, " ("); comment >= 0 && strings.HasSuffix(value, ")") {
				value = value[:comment]
			}
			p.value = strings.TrimRight(value, " \t")
		}
		if base, mark, ok := strings.Cut(p.name, "*"); ok && base != "" {
			p.name = base
			mark, p.extended = strings.CutSuffix(mark, "*")
			if mark == "" && !p.extended {
				p.extended = true // "name*=": one piece.
			} else if n, err := strconv.ParseUint(mark, 10, 16); err == nil {
				p.number = int(n)
			} else {
				continue
			}
		}
		sections = append(sections, p)
	}
	return sections
}

// joinSections joins the named parameter's sections in order, decodes them and converts them to UTF-8 (RFC 2231 sections 3 to 4.1).
func joinSections(sections []section, name string) (string, bool) {
	var pieces []section
	for _, p := range sections {
		if p.name == name && (p.number >= 0 || p.extended) {
			pieces = append(pieces, p)
		}
	}
	slices.SortStableFunc(pieces, func(a, b section) int { return a.number - b.number })
	if pieces[0].number < 0 { // One piece in extended form; sections beside it are a contradiction.
		pieces = pieces[:1]
	}
	charset := ""
	var value []byte
	for i, p := range pieces {
		if p.number > i {
			if i == 0 {
				return "", false // The first section is missing.
			}
			break
		}
		if !p.extended {
			value = append(value, p.value...)
			continue
		}
		text := p.value
		if i == 0 {
			if c, rest, ok := strings.Cut(text, "'"); ok {
				if _, encoded, ok := strings.Cut(rest, "'"); ok {
					charset, text = c, encoded
				}
			}
		}
		value = appendPercentDecoded(value, text)
	}
	if charset != "" {
		return tidy(decodeCharset(charset, value)), true
	}
	return tidy(string(value)), true
}

func appendPercentDecoded(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				dst = append(dst, byte(n))
				i += 2
				continue
			}
		}
		dst = append(dst, s[i])
	}
	return dst
}

// tidy makes a value valid UTF-8, reading raw octets as text without a charset, and replaces NUL, CR and LF, which percent-encoding can
// smuggle in.
func tidy(s string) string {
	if !utf8.ValidString(s) {
		s = decodeCharset("utf-8", []byte(s))
	}
	if !strings.ContainsAny(s, "\x00\r\n") {
		return s
	}
	return strings.NewReplacer("\x00", " ", "\r", " ", "\n", " ").Replace(s)
}
