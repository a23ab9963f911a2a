package search

import (
	"crypto/sha256"
	"hash"
	"iter"
	"unicode"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/text"
)

// Gram is one to three neighbouring characters of folded text: the last in the lowest 21 bits, the one before it in the next. A text that contains
// a needle has all grams of the needle, so grams find substrings, words inside words and text without spaces alike.
//
// Every three characters are a gram. One and two are where each of them is a word already: Chinese characters and Japanese syllables.
type Gram uint64

const gramBits = 21

// Runes gives the characters of a gram.
func (g Gram) Runes() []rune {
	var all []rune
	for shift := 2 * gramBits; shift >= 0; shift -= gramBits {
		if r := rune(g >> shift & (1<<gramBits - 1)); r != 0 {
			all = append(all, r)
		}
	}
	return all
}

// ideographic tells the characters that are looked for alone or in pairs. Marks that decomposition parts from kana count with them.
func ideographic(r rune) bool {
	return r >= 0x2E80 && (unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r == 0x3099 || r == 0x309A || r == 0x30FC)
}

// each calls f with the grams that end at character c, after a and b; zero means that there is none. NUL is in no gram: an index that answers for
// a needle with one would have to store it.
func each(a, b, c rune, f func(Gram)) {
	if c == 0 {
		return
	}
	if ideographic(c) {
		f(Gram(c))
		if b != 0 && ideographic(b) {
			f(Gram(b)<<gramBits | Gram(c))
		}
	}
	if a != 0 && b != 0 {
		f(Gram(a)<<(2*gramBits) | Gram(b)<<gramBits | Gram(c))
	}
}

// NeedleGrams gives grams that every text with the folded needle has, at most most of them. exact tells that a text with all of them contains
// the needle. There are none when the needle is too short or has a NUL.
func NeedleGrams(needle string, most int) (grams []Gram, exact bool) {
	var a, b rune
	var longest, n = 0, utf8.RuneCountInString(needle)
	length := func(g Gram) int { return len(g.Runes()) }
	for _, c := range needle {
		if c == 0 || c == utf8.RuneError { // an octet that is no text, which matches nothing that was decoded
			return nil, false
		}
		each(a, b, c, func(g Gram) {
			if l := length(g); l >= longest { // a longer one implies those inside it.
				if l > longest {
					longest, grams = l, grams[:0]
				}
				grams = append(grams, g)
			}
		})
		a, b = b, c
	}
	if len(grams) > most { // spread over the needle
		for i := range most {
			grams[i] = grams[i*len(grams)/most]
		}
		grams = grams[:most]
	}
	return grams, len(grams) > 0 && longest == n
}

// IndexLimits bound what is taken of one message. A message beyond them is searched by reading it. The zero value means the defaults.
type IndexLimits struct {
	Octets int64 // of text, 16 MiB
	Grams  int   // different ones, 200,000
}

func (l IndexLimits) withDefaults() IndexLimits {
	if l.Octets <= 0 {
		l.Octets = 16 << 20
	}
	if l.Grams <= 0 {
		l.Grams = 200_000
	}
	return l
}

// Indexed is what an index keeps of a message's text.
type Indexed struct {
	Grams  []Gram
	Digest [16]byte // of the folded text
	Octets int64    // of the text
	Whole  bool     // all of the text is in Grams
}

// Indexer takes the grams of messages, one after the other. It is not for concurrent use.
type Indexer struct {
	limits IndexLimits
	folder folder
	folded []byte
	sum    hash.Hash
	a, b   rune // the last two characters
	octets int64
	cut    bool

	grams []Gram
	slots []uint32 // hash table of positions in grams, counted from 1
}

// fewSlots are enough for most messages.
const fewSlots = 1 << 12

// NewIndexer makes an Indexer.
func NewIndexer(limits IndexLimits) *Indexer {
	return &Indexer{limits: limits.withDefaults(), sum: sha256.New(), slots: make([]uint32, fewSlots)}
}

// Index walks through a message as Query.Read does. The slice of grams is valid until the next call. Errors: those of open and of what it opens.
func (x *Indexer) Index(s *message.Summary, open text.Opener) (Indexed, error) {
	x.begin()
	err := text.Walk(&s.Root, open, x)
	x.EndText() // of what a reading error cut off
	out := Indexed{Grams: x.grams, Octets: x.octets, Whole: !x.cut && err == nil}
	copy(out.Digest[:], x.sum.Sum(nil))
	return out, err
}

// Grams takes those of texts that are at hand, whatever the limits. The slice is valid until the next call.
func (x *Indexer) Grams(texts iter.Seq[string]) []Gram {
	x.begin()
	for t := range texts {
		x.Text([]byte(t))
		x.EndText()
	}
	return x.grams
}

// begin forgets the text before.
func (x *Indexer) begin() {
	x.sum.Reset()
	if len(x.slots) > 16*fewSlots { // after an unusual message
		x.slots = make([]uint32, fewSlots)
	}
	clear(x.slots)
	x.grams, x.octets, x.cut = x.grams[:0], 0, false
}

// WantsHeader says yes until a limit is met.
func (x *Indexer) WantsHeader(text.Header) bool { return !x.full() }

// WantsText says yes until a limit is met.
func (x *Indexer) WantsText() bool { return !x.full() }

func (x *Indexer) full() bool {
	x.cut = x.cut || x.octets >= x.limits.Octets || len(x.grams) >= x.limits.Grams
	return x.cut
}

// Field takes a field as Query.Read sees it.
func (x *Indexer) Field(_ text.Header, name, value string) {
	x.Text([]byte(name))
	x.Text([]byte(fieldMark))
	x.Text([]byte(value))
	x.EndText()
}

// fieldMark stands between the name and the value of a field.
const fieldMark = ": "

// FieldNeedle is in the text of every message whose header has a field of this name.
func FieldNeedle(name string) string { return string(Fold(name + fieldMark)) }

// Text takes a piece of text.
func (x *Indexer) Text(p []byte) {
	x.octets += int64(len(p))
	for len(p) > 0 {
		piece := p[:min(len(p), window)]
		p = p[len(piece):]
		x.folded = x.folder.add(x.folded[:0], piece)
		x.take()
	}
}

// EndText ends a text: no gram goes across.
func (x *Indexer) EndText() {
	x.folded = x.folder.end(x.folded[:0])
	x.take()
	x.a, x.b = 0, 0
	_, _ = x.sum.Write([]byte{0}) // never fails
}

// take adds the grams of folded text.
func (x *Indexer) take() {
	_, _ = x.sum.Write(x.folded) // never fails
	for i := 0; i < len(x.folded); {
		c, n := rune(x.folded[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRune(x.folded[i:])
		}
		i += n
		each(x.a, x.b, c, x.add)
		x.a, x.b = x.b, c
	}
}

// add puts a gram into the set.
func (x *Indexer) add(g Gram) {
	mask := uint32(len(x.slots) - 1)
	i := mix(g) & mask
	for ; x.slots[i] != 0; i = (i + 1) & mask {
		if x.grams[x.slots[i]-1] == g {
			return
		}
	}
	x.grams = append(x.grams, g)
	x.slots[i] = uint32(len(x.grams))
	if 2*len(x.grams) > len(x.slots) {
		x.grow()
	}
}

func (x *Indexer) grow() {
	x.slots = make([]uint32, 2*len(x.slots))
	mask := uint32(len(x.slots) - 1)
	for n, g := range x.grams {
		i := mix(g) & mask
		for x.slots[i] != 0 {
			i = (i + 1) & mask
		}
		x.slots[i] = uint32(n + 1)
	}
}

func mix(g Gram) uint32 { return uint32(uint64(g) * 0x9E3779B97F4A7C15 >> 32) }
