// Package idn knows that a domain name can be written in two ways (RFC 5890): in U-labels, as people and SMTPUTF8 mail write it (RFC 6531),
// and in A-labels, as DNS and other mail do.
//
// Streampost stores and shows U-labels in lower case and NFC. Unicode is total and idempotent: a label that is valid in neither form stays as
// it is, in lower case, and so equals only itself. So does what is longer than any name. Labels are mapped as UTS #46 says for lookups under IDNA2008 (RFC 5891, RFC 5895), which
// keeps ß and the final sigma.
package idn

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

var profile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true), idna.StrictDomainName(true))

// Unicode writes a domain name in U-labels, lower case and NFC.
func Unicode(name string) string { return each(name, uLabel) }

// ASCII writes a domain name in A-labels and lower case. A label outside ASCII that has no A-label stays as it is.
func ASCII(name string) string { return each(name, aLabel) }

// Spellings are the ways in which a name may have been stored: as it is written, in U-labels, in A-labels. All are in lower case, and none is
// there twice.
func Spellings(name string) []string {
	if isPlain(name) {
		return []string{name}
	}
	all := []string{plain(name)}
	for _, other := range []string{Unicode(name), ASCII(Unicode(name))} {
		if other != all[0] && other != all[len(all)-1] {
			all = append(all, other)
		}
	}
	return all
}

// Valid reports whether a name can be registered: every label that is not plain ASCII has both forms.
func Valid(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if _, both := decoded(plain(label)); special(label) && !both {
			return false
		}
	}
	return true
}

const prefix = "xn--"

// What a name and its labels may have to be converted, which takes a time that grows with the square of a label's length. Nothing that DNS can have is longer (RFC 1035 section 2.3.4).
const (
	maxName  = 4 * 255 // octets; in UTF-8 a code point has four at most
	maxLabel = 63      // code points
)

func each(name string, f func(string) string) string {
	if isPlain(name) {
		return name
	}
	if len(name) > maxName {
		if name = plain(name); len(name) > maxName {
			return name
		}
	}
	labels := strings.Split(name, ".")
	for i := range labels {
		labels[i] = f(labels[i])
	}
	return strings.Join(labels, ".")
}

// isPlain reports whether a name is its own only spelling, as most are.
func isPlain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return !strings.Contains(name, prefix)
}

func plain(name string) string { return norm.NFC.String(strings.ToLower(name)) }

// special reports whether a label is, or may be, one of the two forms.
func special(label string) bool {
	return len(label) >= len(prefix) && strings.EqualFold(label[:len(prefix)], prefix) || strings.ContainsFunc(label, func(r rune) bool { return r >= utf8.RuneSelf })
}

func tooLong(label string) bool {
	return len(label) > maxLabel && utf8.RuneCountInString(label) > maxLabel
}

func uLabel(label string) string {
	if u, ok := decoded(label); ok {
		return u
	}
	label = plain(label)
	if u, ok := decoded(label); ok { // what is wrong may be the case only
		return u
	}
	return label
}

// decoded gives the U-label of a label in either form, when the way there and back leads to the same.
func decoded(label string) (string, bool) {
	if !special(label) || tooLong(label) {
		return "", false
	}
	u, err := profile.ToUnicode(label)
	if err != nil || u == "" || strings.ContainsFunc(u, func(r rune) bool { return !allowed(r) }) {
		return "", false
	}
	a, err := profile.ToASCII(u)
	if err != nil || len(a) > 63 { // RFC 1035 section 2.3.4.
		return "", false
	}
	again, err := profile.ToUnicode(a)
	return u, err == nil && again == u
}

// allowed keeps to what RFC 5892 lets labels consist of, emoji and dots of other scripts excluded.
func allowed(r rune) bool {
	return r == '-' || r == '\u00b7' || unicode.In(r, unicode.L, unicode.M, unicode.N) || r == '\u200c' || r == '\u200d'
}

func aLabel(label string) string {
	if !special(label) {
		return strings.ToLower(label)
	}
	if !tooLong(label) {
		if a, err := profile.ToASCII(label); err == nil && a != "" && !strings.Contains(a, ".") {
			return a
		}
	}
	return plain(label)
}
