package message

import (
	"fmt"
	"strconv"
	"strings"
)

// AppendEnvelope appends the ENVELOPE of RFC 9051 section 7.5.2 in wire form, "(" to ")". Text that no quoted string may hold is a
// literal; everything is the header's own text.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	dst = append(dst, '(')
	dst = appendField(dst, e.Date, e.Has&HasDate != 0)
	dst = append(dst, ' ')
	dst = appendField(dst, e.Subject, e.Has&HasSubject != 0)
	for _, list := range [...][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		dst = append(dst, ' ')
		dst = appendAddresses(dst, list)
	}
	dst = append(dst, ' ')
	dst = appendField(dst, e.InReplyTo, e.Has&HasInReplyTo != 0)
	dst = append(dst, ' ')
	dst = appendField(dst, e.MessageID, e.Has&HasMessageID != 0)
	return append(dst, ')')
}

// appendAddresses appends an address list: NIL, or addresses in parentheses with nothing between them.
func appendAddresses(dst []byte, list []Address) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for _, a := range list {
		dst = append(dst, '(')
		dst = appendNString(dst, a.Name)
		dst = append(dst, " NIL "...) // The route is obsolete.
		dst = appendNString(dst, a.Mailbox)
		dst = append(dst, ' ')
		dst = appendNString(dst, a.Host)
		dst = append(dst, ')')
	}
	return append(dst, ')')
}

// AppendStructure appends BODYSTRUCTURE, or BODY when extended is false, in wire form (RFC 9051 sections 7.5.2 and 9, "body"). Types,
// encodings and parameter names are in lower case and nothing stands between sibling parts: some clients depend on both.
func AppendStructure(dst []byte, p *Part, extended bool) []byte {
	dst = append(dst, '(')
	if p.Type == "multipart" {
		for i := range p.Parts {
			dst = AppendStructure(dst, &p.Parts[i], extended)
		}
		if len(p.Parts) == 0 {
			dst = append(dst, emptyBody...)
		}
		dst = append(dst, ' ')
		dst = AppendString(dst, p.Subtype)
		if extended {
			dst = append(dst, ' ')
			dst = appendParams(dst, p.Params)
		}
	} else {
		dst = appendSinglePart(dst, p, extended)
	}
	if extended {
		dst = append(dst, ' ')
		dst = appendDisposition(dst, p)
		dst = append(dst, ' ')
		dst = appendLanguages(dst, p.Language)
		dst = append(dst, ' ')
		dst = appendNString(dst, p.Location)
	}
	return append(dst, ')')
}

// emptyBody stands where the grammar wants a body and the message has none.
const emptyBody = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`

func appendSinglePart(dst []byte, p *Part, extended bool) []byte {
	dst = AppendString(dst, p.Type)
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Subtype)
	dst = append(dst, ' ')
	if len(p.Params) == 0 && p.Type == "text" && p.Subtype == "plain" {
		dst = append(dst, `("charset" "us-ascii")`...) // RFC 2045 section 5.2.
	} else {
		dst = appendParams(dst, p.Params)
	}
	dst = append(dst, ' ')
	dst = appendNString(dst, p.ID)
	dst = append(dst, ' ')
	dst = appendNString(dst, p.Description)
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Encoding)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, p.Size(), 10)
	switch {
	case p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global"):
		dst = append(dst, ' ')
		if p.Embedded == nil { // Nested too deeply, or encoded: the grammar wants an envelope and a body all the same.
			dst = AppendEnvelope(dst, new(Envelope))
			dst = append(dst, ' ')
			dst = append(dst, emptyBody...)
		} else {
			dst = AppendEnvelope(dst, p.Embedded)
			dst = append(dst, ' ')
			dst = AppendStructure(dst, &p.Parts[0], extended)
		}
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Lines, 10)
	case p.Type == "text":
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Lines, 10)
	}
	if extended {
		dst = append(dst, ' ')
		dst = appendNString(dst, p.MD5)
	}
	return dst
}

// appendParams appends parameters. A value beyond ASCII goes out as RFC 2231 section 4 says, under the name with "*": every client reads
// that, whether it enabled UTF-8 or not.
func appendParams(dst []byte, params []Param) []byte {
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i, p := range params {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if isASCII(p.Value) {
			dst = AppendString(dst, p.Name)
			dst = append(dst, ' ')
			dst = AppendString(dst, p.Value)
		} else {
			dst = AppendString(dst, p.Name+"*")
			dst = append(dst, ' ')
			dst = AppendString(dst, "utf-8''"+percentEncode(p.Value))
		}
	}
	return append(dst, ')')
}

// percentEncode encodes all but the attribute characters of RFC 5987 section 3.2.1, which RFC 2231's include.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$&+-.^_`{}~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func appendDisposition(dst []byte, p *Part) []byte {
	if p.Disposition == "" {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	dst = AppendString(dst, p.Disposition)
	dst = append(dst, ' ')
	dst = appendParams(dst, p.DispParams)
	return append(dst, ')')
}

func appendLanguages(dst []byte, tags []string) []byte {
	switch len(tags) {
	case 0:
		return append(dst, "NIL"...)
	case 1:
		return AppendString(dst, tags[0])
	}
	dst = append(dst, '(')
	for i, tag := range tags {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = AppendString(dst, tag)
	}
	return append(dst, ')')
}

// appendField appends a text field, NIL when the header lacks it.
func appendField(dst []byte, s string, has bool) []byte {
	if !has {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s)
}

// appendNString appends NIL for an empty string.
func appendNString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s)
}

// maxQuoted bounds a quoted string, so that no line of an answer grows without limit.
const maxQuoted = 1000

// AppendString appends the string of RFC 9051 section 9: quoted when it may be, otherwise a literal. NUL, which neither may hold, is left
// out.
func AppendString(dst []byte, s string) []byte {
	literal, escape, nul := len(s) > maxQuoted, false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			escape = true
		case c == 0:
			nul = true
		case c >= 0x80 || c == '\r' || c == '\n':
			literal = true
		}
	}
	if nul {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	if literal {
		dst = append(dst, '{')
		dst = strconv.AppendInt(dst, int64(len(s)), 10)
		dst = append(dst, "}\r\n"...)
		return append(dst, s...)
	}
	dst = append(dst, '"')
	if !escape {
		dst = append(dst, s...)
	} else {
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
	}
	return append(dst, '"')
}
