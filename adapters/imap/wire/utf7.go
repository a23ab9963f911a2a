package wire

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf7 is the alphabet of RFC 3501 section 5.1.3: "," stands for "/", and there is no padding.
var utf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// DecodeMailbox gives a mailbox name from the wire in UTF-8. asUTF8 says that the client speaks UTF-8 names (IMAP4rev2, UTF8=ACCEPT) and not
// modified UTF-7.
func DecodeMailbox(raw string, asUTF8 bool) (string, error) {
	if !asUTF8 {
		return DecodeUTF7(raw)
	}
	if !utf8.ValidString(raw) {
		return "", Syntaxf("the mailbox name is not valid UTF-8")
	}
	return raw, nil
}

// DecodeUTF7 decodes modified UTF-7 (RFC 3501 section 5.1.3). It is strict: each name has one spelling, so two different spellings
// cannot name one mailbox.
func DecodeUTF7(s string) (string, error) {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e {
			return "", Syntaxf("the mailbox name is not valid modified UTF-7: it has an octet outside printable ASCII")
		} else if c == '&' {
			plain = false
		}
	}
	if plain {
		return s, nil
	}
	var out strings.Builder
	for shifted := false; s != ""; {
		run, rest, found := strings.Cut(s, "&")
		out.WriteString(run)
		if !found {
			break
		}
		code, rest, ended := strings.Cut(rest, "-")
		s = rest
		switch {
		case !ended:
			return "", Syntaxf("the mailbox name is not valid modified UTF-7: & without -")
		case code == "":
			out.WriteByte('&')
			shifted = false
			continue
		case shifted && run == "":
			return "", Syntaxf("the mailbox name is not valid modified UTF-7: a null shift") // RFC 3501 section 5.1.3.
		}
		if err := decodeShifted(&out, code); err != nil {
			return "", err
		}
		shifted = true
	}
	return out.String(), nil
}

// decodeShifted decodes what stands between "&" and "-": UTF-16 in base64.
func decodeShifted(out *strings.Builder, code string) error {
	raw, err := utf7.DecodeString(code)
	if err != nil || len(raw)%2 != 0 {
		return Syntaxf("the mailbox name is not valid modified UTF-7: bad base64")
	}
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if utf16.IsSurrogate(r) {
			if i += 2; i >= len(raw) {
				return Syntaxf("the mailbox name is not valid modified UTF-7: half a surrogate pair")
			}
			if r = utf16.DecodeRune(r, rune(raw[i])<<8|rune(raw[i+1])); r == utf8.RuneError {
				return Syntaxf("the mailbox name is not valid modified UTF-7: half a surrogate pair")
			}
		} else if r >= 0x20 && r <= 0x7e {
			return Syntaxf("the mailbox name is not valid modified UTF-7: printable ASCII in base64")
		}
		out.WriteRune(r)
	}
	return nil
}

// AppendUTF7 appends a UTF-8 name in modified UTF-7. Octets that are not UTF-8 become U+FFFD.
func AppendUTF7(b []byte, name string) []byte {
	for name != "" {
		n := strings.IndexFunc(name, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '&' })
		if n < 0 {
			return append(b, name...)
		}
		b = append(b, name[:n]...)
		name = name[n:]
		if name[0] == '&' {
			b, name = append(b, '&', '-'), name[1:]
			continue
		}
		n = strings.IndexFunc(name, func(r rune) bool { return r >= 0x20 && r <= 0x7e })
		if n < 0 {
			n = len(name)
		}
		var wide []byte
		for _, u := range utf16.Encode([]rune(name[:n])) {
			wide = append(wide, byte(u>>8), byte(u))
		}
		b = append(utf7.AppendEncode(append(b, '&'), wide), '-')
		name = name[n:]
	}
	return b
}
