package message

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// sample is the beginning of a text part's body, still encoded.
type sample struct {
	encoding string
	charset  string
	data     []byte
}

// samples keeps the buffers of samples between messages.
var samples = sync.Pool{New: func() any { return make([]byte, 0, maxSample) }}

// take begins a sample of the part whose body begins now, when the preview may be made from it: the first text/plain and the first text/html
// part that is neither an attachment nor inside an embedded message.
func (s *Scanner) take(p *Part) {
	if p.Type != "text" || p.Disposition == "attachment" {
		return
	}
	var at **sample
	switch {
	case p.Subtype == "plain" && s.plain == nil:
		at = &s.plain
	case p.Subtype == "html" && s.html == nil:
		at = &s.html
	default:
		return
	}
	for _, f := range s.open[1:] {
		if f.envelope != nil {
			return
		}
	}
	s.sample = &sample{encoding: p.Encoding, charset: p.Param("charset"), data: samples.Get().([]byte)}
	*at = s.sample
}

// collect adds octets of the current body to its sample.
func (s *Scanner) collect(p []byte) {
	if s.sample == nil {
		return
	}
	if room := maxSample - len(s.sample.data); room > 0 {
		s.sample.data = append(s.sample.data, p[:min(room, len(p))]...)
	}
}

// trim cuts off what turned out to belong to the delimiter after a body of size octets.
func (s *sample) trim(size int64) {
	s.data = s.data[:min(int64(len(s.data)), size)]
}

func (s *sample) release() {
	//lint:ignore SA6002 The slice's header is copied; its array is what is kept.
	samples.Put(s.data[:0])
	s.data = nil
}

// preview makes the preview of RFC 8970: the first characters of the message as a reader would see them, on one line.
func (s *Scanner) preview() string {
	text := ""
	for _, from := range []*sample{s.plain, s.html} {
		if from == nil {
			continue
		}
		if text == "" {
			text = from.text(from == s.html)
		}
		from.release()
	}
	return text
}

// text decodes a sample and condenses it. Its first kilobytes are mostly enough.
func (s *sample) text(html bool) string {
	for size := 4 << 10; ; size *= 4 {
		whole := size >= len(s.data)
		text, ok := s.decode(s.data[:min(size, len(s.data))], html)
		if !ok {
			return ""
		}
		short, full := squeeze(text, true)
		if full || whole && short != "" {
			return short
		}
		if whole { // Nothing but quotes and rulers: they count after all.
			short, _ = squeeze(text, false)
			return short
		}
	}
}

// decode undoes transfer encoding, charset and, of an HTML document, markup.
func (s *sample) decode(data []byte, html bool) (text string, ok bool) {
	if line := bytes.LastIndexByte(data, '\n'); line > 0 && (len(data) < len(s.data) || len(data) == maxSample) {
		data = data[:line] // Not in the middle of a character.
	}
	switch s.encoding {
	case "7bit", "8bit", "binary":
	case "base64":
		data = new(base64Decoder).step(make([]byte, 0, len(data)), data, true)
	case "quoted-printable":
		data = new(quotedDecoder).step(make([]byte, 0, len(data)), data, true)
	default:
		return "", false
	}
	text = decodeCharset(s.charset, data)
	if html {
		var out strings.Builder
		_, _ = io.Copy(&out, HTMLText(strings.NewReader(text)))
		text = out.String()
	}
	return text, true
}

// squeeze makes each run of white space one space and stops after maxPreview characters; full tells that there were as many. A selective one
// leaves out lines that are quoted from another message or are rulers: they say little about this one.
func squeeze(text string, selective bool) (short string, full bool) {
	var out strings.Builder
	count := 0
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if selective && (strings.HasPrefix(line, ">") || strings.Trim(line, "-_=*~#+. \u00a0") == "") {
			continue
		}
		for word := range strings.FieldsFuncSeq(line, blank) {
			if count > 0 {
				out.WriteByte(' ')
				count++
			}
			for _, c := range word {
				if count >= maxPreview {
					return strings.TrimRight(out.String(), " "), true
				}
				if !unicode.IsControl(c) {
					out.WriteRune(c)
					count++
				}
			}
			if count >= maxPreview {
				return strings.TrimRight(out.String(), " "), true
			}
		}
	}
	return strings.TrimRight(out.String(), " "), false
}

// blank tells which characters show nothing: white space, and the invisible ones with which mailings pad their previews.
func blank(c rune) bool {
	switch c {
	case '\u034f', '\u00ad', '\u200b', '\u200c', '\u200d', '\u200e', '\u200f', '\u2060', '\ufeff', '\u2007', utf8.RuneError:
		return true
	}
	return unicode.IsSpace(c)
}
