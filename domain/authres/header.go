package authres

import (
	"bytes"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/idn"
)

// Fields gives each field of a header as it stands there, with its folds and last CRLF. name is empty for a line that is no field (delivery.FieldName).
func Fields(header []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(header) > 0 {
			end := lineEnd(header)
			for end < len(header) && (header[end] == ' ' || header[end] == '\t') { // RFC 5322 section 2.2.3.
				end += lineEnd(header[end:])
			}
			field := header[:end]
			header = header[end:]
			name, _ := delivery.FieldName(field)
			if !yield(string(name), field) {
				return
			}
		}
	}
}

func lineEnd(text []byte) int {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// Value is what stands behind the colon of a field.
func Value(field []byte) string {
	_, value, _ := strings.Cut(string(field), ":")
	return value
}

// Trusted gives a header without the fields that claim to be from this server (RFC 8601 section 5), or may claim it to some reader: a name that is the field's but for characters that no name
// has, a server that cannot be read. The header itself is given back where there is none.
func Trusted(header []byte, id string) (kept []byte, removed int) {
	for _, field := range Fields(header) {
		if claims(field, id) {
			removed++
		} else {
			kept = append(kept, field...)
		}
	}
	if removed == 0 {
		return header, 0
	}
	return kept, removed
}

func claims(field []byte, id string) bool {
	name, value, found := strings.Cut(string(field), ":")
	if !found || !strings.EqualFold(strings.TrimFunc(name, func(r rune) bool { return !tokenRune(r) || r >= utf8.RuneSelf && !unicode.IsLetter(r) }), Name) {
		return false
	}
	server, ok := ServerID(value)
	return !ok || bare(server) == bare(id)
}

// bare is a name as a reader may compare it: without case, the last dot, and white space of any script.
func bare(id string) string {
	return strings.TrimRight(idn.ASCII(strings.TrimFunc(id, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) })), ".")
}
