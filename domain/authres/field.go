package authres

import (
	"strings"
	"unicode/utf8"
)

// Name is the name of the field.
const Name = "Authentication-Results"

// maxValue bounds what a client chose in one property, in octets.
const maxValue = 320

// Field makes the field, folded, with its last CRLF (RFC 8601 section 2.2). id is the name of this server.
func Field(id string, methods []Method) string {
	var b strings.Builder
	if !isToken(id) {
		id = quote(id)
	}
	b.WriteString(Name + ": " + id)
	if len(methods) == 0 {
		b.WriteString("; none")
	}
	for _, m := range methods {
		b.WriteString(";\r\n\t" + m.Name + "=" + string(m.Result))
		if m.Reason != "" {
			b.WriteString(" reason=" + quote(m.Reason))
		}
		for _, p := range m.Properties {
			if p.Value == "" {
				continue
			}
			b.WriteString("\r\n\t " + p.Type + "." + p.Name + "=" + value(p.Value))
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

// value writes a pvalue: an address or domain as it is, if it can be read so, else a quoted string.
func value(s string) string {
	s = s[:min(len(s), maxValue)]
	local, host, address := strings.Cut(s, "@")
	if address && (local == "" || isToken(local)) && isToken(host) || !address && isToken(s) {
		return s
	}
	return quote(s)
}

// isToken checks the token of RFC 2045 section 5.1, with the octets outside ASCII that RFC 6532 allows.
func isToken(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !tokenRune(r) })
}

func tokenRune(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, r) || r >= 0xa0
}

// quote writes a quoted-string (RFC 5322 section 3.2.4). What it cannot hold becomes a question mark.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "?") {
		switch {
		case r < ' ' || 0x7f <= r && r < 0xa0:
			b.WriteByte('?')
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
