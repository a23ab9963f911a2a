package search

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fuzzy matches what its key matches, and what comes close to it (RFC 6203 section 3): texts whose words stand elsewhere, in another form, or spelled
// a little differently. Keys that hold no text, and those inside a Not, match as ever (section 5 leaves that to the server).
type Fuzzy struct{ Key }

func (Fuzzy) key() {}

// Closeness says how close to its key a Fuzzy wants a message to be.
type Closeness uint8

// The degrees of closeness. Each of them holds the messages of the one before.
const (
	Literally Closeness = iota // the text as it is
	Wordwise                   // all its words
	Loosely                    // all its words, or others that are nearly the same
	Mostly                     // likewise, but for one of three words or more
	farthest  = Mostly
)

// scores is the relevancy that a closeness stands for (RFC 6203 section 4: from 1 to 100).
var scores = [...]int{Literally: 100, Wordwise: 75, Loosely: 40, Mostly: 10}

// Score gives the relevancy of messages that are as close as this and no closer.
func (c Closeness) Score() int { return scores[c] }

// Closenesses lists them, the closest first.
func Closenesses() []Closeness { return []Closeness{Literally, Wordwise, Loosely, Mostly} }

// Within gives a key without Fuzzy that wants all its fuzzy parts to be this close.
func (c Closeness) Within(k Key) Key {
	switch k := k.(type) {
	case And:
		return And(c.all(k))
	case Or:
		return Or(c.all(k))
	case Not:
		return Not{c.Within(k.Key)}
	case Fuzzy:
		return c.loosen(k.Key)
	}
	return k
}

func (c Closeness) all(keys []Key) []Key {
	all := make([]Key, len(keys))
	for i, k := range keys {
		all[i] = c.Within(k)
	}
	return all
}

// loosen gives the key for what is this close to another one.
func (c Closeness) loosen(k Key) Key {
	each := func(keys []Key) []Key {
		all := make([]Key, len(keys))
		for i, k := range keys {
			all[i] = c.loosen(k)
		}
		return all
	}
	switch k := k.(type) {
	case And:
		return And(each(k))
	case Or:
		return Or(each(k))
	case Fuzzy:
		return c.loosen(k.Key)
	case Subject:
		return c.text(k.Text, func(s string) Key { return Subject{s} })
	case Address:
		return c.text(k.Text, func(s string) Key { return Address{k.In, s} })
	case Header:
		return c.text(k.Text, func(s string) Key { return Header{k.Field, s} })
	case Body:
		return c.text(k.Text, func(s string) Key { return Body{s} })
	case Text:
		return c.text(k.Text, func(s string) Key { return Text{s} })
	}
	return c.Within(k)
}

// Texts counts the texts that a key looks for.
func Texts(k Key) (n int) {
	switch k := k.(type) {
	case And:
		for _, inner := range k {
			n += Texts(inner)
		}
	case Or:
		for _, inner := range k {
			n += Texts(inner)
		}
	case Not:
		return Texts(k.Key)
	case Fuzzy:
		return Texts(k.Key)
	case Subject, Address, Header, Body, Text:
		return 1
	}
	return n
}

// Bounds of what one text is loosened to.
const (
	maxWords    = 8  // the rest of a text does not matter for Wordwise and beyond
	maxVariants = 40 // of one word
)

// text gives the key for texts that are this close; leaf makes the key for one text.
func (c Closeness) text(text string, leaf func(string) Key) Key {
	words := strings.FieldsFunc(string(Fold(text)), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	words = words[:min(len(words), maxWords)]
	if c == Literally || len(words) == 0 {
		return leaf(text)
	}
	all := make(And, len(words))
	for i, word := range words {
		all[i] = leaf(word)
		if c >= Loosely {
			all[i] = near(word, leaf)
		}
	}
	if c < Mostly || len(words) < 3 {
		return all
	}
	var most Or
	for i := range all {
		most = append(most, slices.Delete(slices.Clone(all), i, i+1))
	}
	return most
}

// near gives the key for words that are nearly the same.
func near(word string, leaf func(string) Key) Key {
	letters := []rune(word)
	if len(letters) > 2 && !slices.ContainsFunc(letters, func(r rune) bool { return !ideographic(r) }) { // every pair of neighbours is nearly a word.
		var pairs And
		for i := range min(len(letters)-1, maxVariants) {
			pairs = append(pairs, leaf(string(letters[i:i+2])))
		}
		return pairs
	}
	either := Or{leaf(word)}
	for _, v := range variants(letters) {
		either = append(either, leaf(v))
	}
	return either
}

// variants gives what a word may have been meant to be: without its ending, with two letters in the other order, without one of the letters, or with
// one of them twice. Short words have none, because nearly all others are close to them.
func variants(letters []rune) (all []string) {
	n := len(letters)
	if n < 4 || n > 32 {
		return nil
	}
	add := func(parts ...[]rune) {
		s := string(slices.Concat(parts...))
		if utf8.RuneCountInString(s) >= 3 && len(all) < maxVariants && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	switch {
	case n >= 8:
		add(letters[:n-3])
	case n >= 6:
		add(letters[:n-2])
	case n >= 5:
		add(letters[:n-1])
	}
	for i := range n - 1 {
		add(letters[:i], []rune{letters[i+1], letters[i]}, letters[i+2:])
	}
	for i := range n {
		add(letters[:i+1], letters[i:]) // twice
	}
	for i := range n {
		add(letters[:i], letters[i+1:])
	}
	return all
}
