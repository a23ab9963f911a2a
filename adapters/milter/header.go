package milter

import (
	"strings"

	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/delivery"
)

// field is one of a header, as it stands there with its folds and last CRLF. What is no field has no name.
type field struct {
	name string
	raw  string
}

// fields divides a header.
func fields(header []byte) (all []field) {
	for name, raw := range authres.Fields(header) {
		all = append(all, field{name, string(raw)})
	}
	return all
}

// value is that of a field as milters know it: with LF for line ends, and without the first space.
func (f field) value() string {
	v := strings.ReplaceAll(strings.TrimSuffix(authres.Value([]byte(f.raw)), "\r\n"), "\r\n", "\n")
	return strings.TrimPrefix(v, " ")
}

// maxValue bounds a field that a milter adds, in octets.
const maxValue = 64 << 10

// made makes a field of what a milter sends; ok is false where it is none.
func made(name, value string) (f field, ok bool) {
	if n, is := delivery.FieldName([]byte(name + ":")); !is || string(n) != name || len(value) > maxValue {
		return field{}, false
	}
	var b strings.Builder
	b.WriteString(name + ": ")
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(value), "\n")
	for i, line := range lines {
		line = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == 0x7f {
				return -1
			}
			return r
		}, line)
		if i > 0 {
			if strings.TrimSpace(line) == "" {
				continue // RFC 5322 section 3.2.2: no line of a field is white space only.
			}
			b.WriteString("\r\n")
			if line[0] != ' ' && line[0] != '\t' {
				b.WriteByte('\t')
			}
		}
		b.WriteString(line)
	}
	b.WriteString("\r\n")
	return field{name, b.String()}, true
}

// replaced is a header with the n-th field of a name, from 1 on, replaced, or removed where the new value is empty. What is not there is added at the end.
// No name is nobody's: lines that are no field have none, and stay.
func replaced(all []field, name string, n int, value string) []field {
	if name == "" {
		return all
	}
	for i := range all {
		if !strings.EqualFold(all[i].name, name) {
			continue
		}
		if n--; n > 0 {
			continue
		}
		if value == "" {
			return append(all[:i:i], all[i+1:]...)
		}
		if f, ok := made(all[i].name, value); ok {
			all[i] = f
		}
		return all
	}
	if f, ok := made(name, value); ok && value != "" {
		return inserted(all, len(all), f)
	}
	return all
}

// inserted is a header with a field at a place, from 0 on. The last line of a message that is only a header may lack its CRLF: it has one where the field stands behind it.
func inserted(all []field, at int, f field) []field {
	at = min(max(at, 0), len(all))
	if at > 0 && !strings.HasSuffix(all[at-1].raw, "\n") {
		all[at-1].raw += "\r\n"
	}
	return append(all[:at:at], append([]field{f}, all[at:]...)...)
}

// joined is the header again.
func joined(all []field) []byte {
	var b strings.Builder
	for _, f := range all {
		b.WriteString(f.raw)
	}
	return []byte(b.String())
}
