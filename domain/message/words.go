package message

import "strings"

// DecodeWords decodes the encoded words of RFC 2047 in a field's text and gives UTF-8. White space between two encoded words is dropped.
// What is malformed stays as it is; raw octets beyond ASCII are read as UTF-8 or, failing that, windows-1252.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		if isASCII(s) {
			return s
		}
		return decodeCharset("utf-8", []byte(s))
	}
	var out strings.Builder
	var pending encodedText // decoded octets of adjacent words in one charset: a character may be cut between them
	for s != "" {
		start := strings.Index(s, "=?")
		if start < 0 {
			break
		}
		w, n := parseWord(s[start:])
		if n == 0 {
			pending.flush(&out)
			writeRaw(&out, s[:start+2])
			s = s[start+2:]
			continue
		}
		if between := s[:start]; !pending.active || strings.Trim(between, " \t\r\n") != "" {
			pending.flush(&out)
			writeRaw(&out, between)
		}
		if pending.active && !strings.EqualFold(pending.charset, w.charset) {
			pending.flush(&out)
		}
		pending.active, pending.charset = true, w.charset
		pending.text = append(pending.text, w.text...)
		s = s[start+n:]
	}
	pending.flush(&out)
	writeRaw(&out, s)
	return out.String()
}

// encodedText is what encoded words hold, before its charset is undone.
type encodedText struct {
	active  bool
	charset string
	text    []byte
}

func (e *encodedText) flush(out *strings.Builder) {
	if e.active {
		out.WriteString(decodeCharset(e.charset, e.text))
	}
	e.active, e.text = false, e.text[:0]
}

func writeRaw(out *strings.Builder, s string) {
	if isASCII(s) {
		out.WriteString(s)
	} else {
		out.WriteString(decodeCharset("utf-8", []byte(s)))
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// maxWord is how many octets the text of an encoded word may have: RFC 2047 section 2 allows 75 for all of it, and senders write longer ones. Without a
// bound, the end of each of many words would be looked for in all that follows.
const maxWord = 8 << 10

// parseWord reads the encoded word that s begins with and tells its length; 0 when there is none. Spaces inside it, which RFC 2047 section 2
// forbids, are accepted in the "Q" encoding, since some senders write them.
func parseWord(s string) (w encodedText, n int) {
	charset, rest, ok := strings.Cut(s[2:], "?")
	if !ok || charset == "" || len(rest) < 2 || rest[1] != '?' || strings.ContainsAny(charset, " \t") {
		return w, 0
	}
	text := rest[2:min(len(rest), 2+maxWord+2)]
	end := strings.Index(text, "?=")
	if end < 0 {
		return w, 0
	}
	w.charset = charset
	switch rest[0] {
	case 'q', 'Q':
		w.text = decodeQ(text[:end])
	case 'b', 'B':
		if strings.ContainsAny(text[:end], " \t") {
			return w, 0
		}
		w.text = new(base64Decoder).step(nil, []byte(text[:end]), true)
	default:
		return w, 0
	}
	return w, 2 + len(charset) + 1 + 2 + end + 2
}

// decodeQ decodes the "Q" encoding of RFC 2047 section 4.2.
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && hexValue(s[i+1]) < 16 && hexValue(s[i+2]) < 16:
			out = append(out, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}
