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
func contains(text, needle string) bool {
	return needle == "" || bytes.Contains(Fold(text), []byte(needle))
}

// window is how much text is folded or searched at a time.
const window = 16 << 10

// folder folds text that arrives in pieces.
type folder struct {
	pending []byte // text whose normalisation depends on what follows
}

// add appends to dst what can be folded once piece is there. A piece longer than window is for the caller to cut.
func (f *folder) add(dst, piece []byte) []byte {
	if len(f.pending) == 0 && ascii(piece) {
		// The next piece may put an accent on the last letter; but in decomposed form the accent follows it, so it can be folded now.
		return appendFolded(dst, piece)
	}
	f.pending = append(f.pending, piece...)
	end := norm.NFKD.LastBoundary(f.pending)
	if len(f.pending)-end > window { // no text that anybody wrote
		end = len(f.pending)
	}
	if end <= 0 {
		return dst
	}
	dst = appendFolded(dst, f.pending[:end])
	f.pending = append(f.pending[:0], f.pending[end:]...)
	return dst
}

// end appends what waited.
func (f *folder) end(dst []byte) []byte {
	if len(f.pending) > 0 {
		dst = appendFolded(dst, f.pending)
		f.pending = f.pending[:0]
	}
	return dst
}

// matcher looks for several needles in text that arrives in pieces of UTF-8; octets that are not UTF-8 match nothing.
type matcher struct {
	needles [][]byte
	found   []bool
	left    int // needles not found yet
	keep    int // octets at the end of the text seen that may begin a needle
	folder  folder
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

// write takes text.
func (m *matcher) write(p []byte) {
	for len(p) > 0 && !m.done() {
		piece := p[:min(len(p), window)]
		p = p[len(piece):]
		m.text = m.folder.add(m.text, piece)
		if len(m.text) >= window+m.keep {
			m.search()
		}
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
	m.text = m.folder.end(m.text)
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
