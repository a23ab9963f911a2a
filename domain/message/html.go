package message

import (
	"bufio"
	"html"
	"io"
	"unicode/utf8"
)

// HTMLText gives the text of an HTML document in UTF-8, for previews and search: tags, comments, scripts, styles and the head's contents
// other than the title are dropped, entities resolved, and block elements end a line. It reads any octets and keeps a bounded state.
func HTMLText(r io.Reader) io.Reader {
	return &htmlReader{in: bufio.NewReader(r)}
}

// The bounds of what is held of a tag's name and of an entity. Longer ones are passed over or shown as they stand.
const (
	maxTagName = 16
	maxEntity  = 34
)

type htmlReader struct {
	in   *bufio.Reader
	skip string // the element whose contents are dropped
	out  []byte
	at   int
	err  error
}

func (h *htmlReader) Read(p []byte) (int, error) {
	for h.at == len(h.out) {
		if h.err != nil {
			return 0, h.err
		}
		h.out, h.at = h.out[:0], 0
		for h.err == nil && len(h.out) < 512 {
			h.err = h.step()
		}
	}
	n := copy(p, h.out[h.at:])
	h.at += n
	return n, nil
}

// step reads a tag, an entity or an octet of text.
func (h *htmlReader) step() error {
	c, err := h.in.ReadByte()
	if err != nil {
		return err
	}
	switch {
	case c == '<':
		return h.tag()
	case h.skip != "":
	case c == '&':
		return h.entity()
	case c == '\n' || c == '\r': // In HTML a line end is white space.
		h.out = append(h.out, ' ')
	default:
		h.out = append(h.out, c)
	}
	return nil
}

// tag reads a tag or comment whose "<" is read.
func (h *htmlReader) tag() error {
	next, err := h.in.Peek(3)
	if len(next) == 0 {
		return err
	}
	if h.skip == "" && string(next) == "!--" {
		return h.comment()
	}
	closing := next[0] == '/'
	if !closing && !isLetter(next[0]) && next[0] != '!' && next[0] != '?' { // A "<" of the text.
		if h.skip == "" {
			h.out = append(h.out, '<')
		}
		return nil
	}
	if h.skip != "" && !closing {
		return nil
	}
	name, err := h.tagName()
	if err != nil {
		return err
	}
	switch {
	case h.skip != "":
		if closing && name == h.skip {
			h.skip = ""
		}
	case !closing && (name == "script" || name == "style" || name == "title" || name == "template" || name == "noscript"):
		h.skip = name
	case breaking(name):
		h.out = append(h.out, '\n')
	case name == "td" || name == "th":
		h.out = append(h.out, ' ')
	}
	return nil
}

// tagName reads a tag to its ">" and gives its name in lower case without the "/".
func (h *htmlReader) tagName() (string, error) {
	var name []byte
	naming := true
	var quote, before byte
	for {
		c, err := h.in.ReadByte()
		if err != nil {
			return "", err
		}
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return string(name), nil
		case naming && c == '/' && len(name) == 0:
		case naming && (isLetter(c) || '0' <= c && c <= '9'):
			if len(name) < maxTagName {
				name = append(name, c|0x20)
			}
		default:
			naming = false
			if (c == '"' || c == '\'') && before == '=' {
				quote = c
			}
		}
		if c != ' ' && c != '\t' {
			before = c
		}
	}
}

// comment passes over a comment.
func (h *htmlReader) comment() error {
	if _, err := h.in.Discard(3); err != nil {
		return err
	}
	dashes := 2 // "<!-->" is a whole comment.
	for {
		c, err := h.in.ReadByte()
		if err != nil {
			return err
		}
		switch {
		case c == '-':
			dashes++
		case c == '>' && dashes >= 2:
			return nil
		default:
			dashes = 0
		}
	}
}

// entity resolves a character reference whose "&" is read. The names are those of HTML, with and without the semicolon that some may lack.
func (h *htmlReader) entity() error {
	next, _ := h.in.Peek(maxEntity)
	end := 0
	for end < len(next) && (next[end] == '#' && end == 0 || isLetter(next[end]) || '0' <= next[end] && next[end] <= '9') {
		end++
	}
	if end < len(next) && next[end] == ';' {
		end++
	}
	written := "&" + string(next[:end])
	resolved := html.UnescapeString(written)
	if resolved == written {
		h.out = append(h.out, '&')
		return nil
	}
	for _, r := range resolved {
		if r < ' ' || r == 0x7f || r == '\u00a0' {
			r = ' '
		}
		h.out = utf8.AppendRune(h.out, r)
	}
	_, err := h.in.Discard(end)
	return err
}

// breaking tells the elements whose begin and end break a line.
func breaking(name string) bool {
	switch name {
	case "br", "p", "div", "tr", "table", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr", "section", "article",
		"header", "footer", "body", "html", "head", "dl", "dt", "dd", "form", "address", "center":
		return true
	}
	return false
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
