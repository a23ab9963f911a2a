package maildir

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
)

var utf7Encoding = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// decodeUTF7 reads a name in modified UTF-7 (RFC 3501 section 5.1.3). ok is false when it is not in that form, as with servers that keep UTF-8.
func decodeUTF7(s string) (plain string, ok bool) {
	var b strings.Builder
	for {
		before, rest, shifted := strings.Cut(s, "&")
		b.WriteString(before)
		if !shifted {
			return b.String(), true
		}
		coded, after, ended := strings.Cut(rest, "-")
		if !ended {
			return "", false
		}
		s = after
		if coded == "" {
			b.WriteByte('&')
			continue
		}
		raw, err := utf7Encoding.DecodeString(coded)
		if err != nil || len(raw)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
		}
		b.WriteString(string(utf16.Decode(units)))
	}
}
