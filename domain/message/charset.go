package message

import (
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// CharsetReader gives UTF-8 for text in the named charset. What the charset does not define becomes U+FFFD. It is not ok when the charset
// is unknown; the text then passes as it is, where it is UTF-8.
func CharsetReader(charset string, r io.Reader) (utf8 io.Reader, ok bool) {
	t, ok := decoder(charset)
	return transform.NewReader(r, t), ok
}

// KnownCharset tells whether text in the named charset can be read.
func KnownCharset(charset string) bool {
	_, ok := decoder(charset)
	return ok
}

// decodeCharset gives UTF-8 for a short text in the named charset.
func decodeCharset(charset string, text []byte) string {
	t, _ := decoder(charset)
	if _, plain := t.(lenientUTF8); plain && utf8.Valid(text) {
		return string(text)
	}
	out, _, err := transform.Bytes(t, text)
	if err != nil {
		return strings.ToValidUTF8(string(text), "\uFFFD")
	}
	return string(out)
}

// decoder finds the charset by its name in the WHATWG list (whose "iso-8859-1" and "us-ascii" are windows-1252, which is what such mail
// means), then in IANA's registry.
func decoder(charset string) (transform.Transformer, bool) {
	name := strings.ToLower(strings.Trim(charset, " \t\"'"))
	name, _, _ = strings.Cut(name, "*") // RFC 2231 section 5: a language may follow.
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return transform.Transformer(lenientUTF8{}), true
	case "utf-7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "x-unicode-2-0-utf-7":
		return new(utf7), true
	}
	if e, err := htmlindex.Get(name); err == nil && e != encoding.Replacement {
		return e.NewDecoder(), true
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e.NewDecoder(), true
	}
	return transform.Transformer(lenientUTF8{}), false
}

// lenientUTF8 passes UTF-8 and reads any other octet as windows-1252, as unlabelled 8-bit mail mostly is.
type lenientUTF8 struct{ transform.NopResetter }

func (lenientUTF8) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := src[nSrc]
		if c < utf8.RuneSelf {
			n := 1
			for nSrc+n < len(src) && src[nSrc+n] < utf8.RuneSelf {
				n++
			}
			copied := copy(dst[nDst:], src[nSrc:nSrc+n])
			nDst, nSrc = nDst+copied, nSrc+copied
			if copied < n {
				return nDst, nSrc, transform.ErrShortDst
			}
			continue
		}
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && n == 1 {
			r = charmap.Windows1252.DecodeByte(c)
		}
		if len(dst)-nDst < utf8.RuneLen(r) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// utf7 reads UTF-7 (RFC 2152): "+", base64 of UTF-16 without padding, and "-" or any other character that is no base64.
type utf7 struct {
	shifted bool
	empty   bool   // nothing came since "+"
	bits    uint32 // not yet a code unit
	n       uint   // how many they are
	high    rune   // a high surrogate that waits for its low one
}

func (u *utf7) Reset() { *u = utf7{} }

func (u *utf7) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		if !u.shifted {
			switch {
			case c == '+':
				*u = utf7{shifted: true, empty: true}
			case c < utf8.RuneSelf:
				dst[nDst] = c
				nDst++
			default:
				nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
			}
			continue
		}
		v := base64Value(c)
		if v >= 64 {
			if u.high != 0 {
				nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
			}
			switch {
			case c == '-' && u.empty:
				dst[nDst] = '+'
				nDst++
			case c == '-':
			case c < utf8.RuneSelf:
				dst[nDst] = c
				nDst++
			default:
				nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
			}
			*u = utf7{}
			continue
		}
		u.empty = false
		u.bits, u.n = u.bits<<6|uint32(v), u.n+6
		if u.n < 16 {
			continue
		}
		u.n -= 16
		r := rune(u.bits >> u.n & 0xffff)
		u.bits &= 1<<u.n - 1
		switch {
		case u.high != 0:
			pair := utf16.DecodeRune(u.high, r)
			u.high = 0
			nDst += utf8.EncodeRune(dst[nDst:], pair)
		case 0xd800 <= r && r < 0xdc00:
			u.high = r
		default:
			nDst += utf8.EncodeRune(dst[nDst:], r)
		}
	}
	return nDst, nSrc, nil
}
