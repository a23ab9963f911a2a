package search

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold brings text to the form in which it is compared: compatibility decomposition, in upper case.
func Fold(s string) []byte { return appendFolded(nil, []byte(s)) }

// appendFolded appends the folded form of text that ends at a boundary of normalisation.
func appendFolded(dst, text []byte) []byte {
	if ascii(text) {
		for _, c := range text {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
		}
		return dst
	}
	start := len(dst)
	dst = norm.NFKD.Append(dst, text...)
	decomposed := string(dst[start:]) // upper case may take more octets, so it cannot be written in place.
	dst = dst[:start]
	for _, r := range decomposed {
		dst = utf8.AppendRune(dst, unicode.ToUpper(r))
	}
	return dst
}

// contains reports whether text, once folded, contains a folded needle.
func contains(text string, needle []byte) bool {
	return len(needle) == 0 || bytes.Contains(Fold(text), needle)
}

// window is how much folded text is searched at a time.
const window = 16 << 10

// matcher looks for several needles in text that arrives in pieces. It is an io.Writer of UTF-8; octets that are not UTF-8 match nothing.
type matcher struct {
	needles [][]byte
	found   []bool
	left    int    // needles not found yet
	keep    int    // octets at the end of the text seen that may begin a needle
	pending []byte // text whose normalisation depends on what follows
	text    []byte // folded text not searched yet, and the last keep octets of what was
}

func newMatcher(needles [][]byte) *matcher {
	m := &matcher{needles: needles, found: make([]bool, len(needles)), left: len(needles)}
	for i, n := range needles {
		m.keep = max(m.keep, len(n)-1)
		if len(n) == 0 { // the empty string is in every text.
			m.found[i] = true
			m.left--
		}
	}
	return m
}

// done reports whether more text cannot change anything.
func (m *matcher) done() bool { return m.left == 0 }

// Write takes text; it never fails.
func (m *matcher) Write(p []byte) (int, error) {
	n := len(p)
	if m.done() {
		return n, nil
	}
	for len(p) > 0 {
		piece := p[:min(len(p), window)]
		p = p[len(piece):]
		m.add(piece)
	}
	return n, nil
}

func (m *matcher) add(piece []byte) {
	if len(m.pending) == 0 && ascii(piece) {
		// The next piece may put an accent on the last letter; but in decomposed form the accent follows it, so it can be folded now.
		m.text = appendFolded(m.text, piece)
	} else {
		m.pending = append(m.pending, piece...)
		end := norm.NFKD.LastBoundary(m.pending)
		if len(m.pending)-end > window { // no text that anybody wrote
			end = len(m.pending)
		}
		if end <= 0 {
			return
		}
		m.text = appendFolded(m.text, m.pending[:end])
		m.pending = append(m.pending[:0], m.pending[end:]...)
	}
	if len(m.text) >= window+m.keep {
		m.search()
	}
}

// search looks through the text and drops what cannot begin a needle.
func (m *matcher) search() {
	for i, needle := range m.needles {
		if !m.found[i] && bytes.Contains(m.text, needle) {
			m.found[i] = true
			m.left--
		}
	}
	m.text = append(m.text[:0], m.text[max(0, len(m.text)-m.keep):]...)
}

// boundary ends a text: no needle is found across it.
func (m *matcher) boundary() {
	if len(m.pending) > 0 {
		m.text = appendFolded(m.text, m.pending)
		m.pending = m.pending[:0]
	}
	m.search()
	m.text = m.text[:0]
}

func ascii(p []byte) bool {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
