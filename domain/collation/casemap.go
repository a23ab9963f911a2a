// Package collation compares text as i;unicode-casemap does (RFC 5051, RFC 4790), the comparator that IMAP demands of SORT and THREAD (RFC 5256
// section 1, RFC 5255 section 4.2: I18NLEVEL=1).
//
// It exists apart from the folding of package search, which is a little more generous: to find a text, more letters may count as one than when
// texts are put in order.
package collation

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Casemap gives the octets whose order is the order of texts (RFC 5051 section 2): every character in title case, by its simple mapping, and
// then decomposed, compatibility mappings included. Octets that are no UTF-8 stay as they are, so that they compare as octets.
func Casemap(s string) string {
	plain := true
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return decompose(s)
		}
		plain = plain && (s[i] < 'a' || s[i] > 'z')
	}
	if plain {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return string(b)
}

func decompose(s string) string {
	titled := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			titled = append(titled, s[i])
		} else {
			titled = utf8.AppendRune(titled, unicode.ToTitle(r))
		}
		i += n
	}
	return string(norm.NFKD.Append(nil, titled...))
}
