package door

import "math/bits"

// keyFilter tells which keys it has certainly never been given: a Bloom filter of keys that are hashes already.
type keyFilter struct {
	words []uint64
	room  int // for more keys
}

const (
	filterBits   = 16 // for each key: of 400 other keys it takes about one for known
	filterProbes = 4
	filterRoom   = 256 // for keys that come
)

// newKeyFilter makes room for some keys that there are, and for as many again and more.
func newKeyFilter(keys int) *keyFilter {
	words := 1 << bits.Len(uint((2*keys+filterRoom)*filterBits/64))
	return &keyFilter{words: make([]uint64, words), room: words * 64 / filterBits}
}

// add reports whether there was room.
func (f *keyFilter) add(keys ...uint64) bool {
	if f.room -= len(keys); f.room < 0 {
		return false
	}
	for _, key := range keys {
		for probe := range uint64(filterProbes) {
			word, bit := f.place(key, probe)
			f.words[word] |= bit
		}
	}
	return true
}

// has reports whether a key may have been added.
func (f *keyFilter) has(key uint64) bool {
	for probe := range uint64(filterProbes) {
		if word, bit := f.place(key, probe); f.words[word]&bit == 0 {
			return false
		}
	}
	return true
}

// place is that of one of a key's bits: halves of the key are two hashes, and their sums as many as are wanted.
func (f *keyFilter) place(key, probe uint64) (word int, bit uint64) {
	at := key + probe*(bits.RotateLeft64(key, 32)|1)
	return int(at >> 6 & uint64(len(f.words)-1)), 1 << (at & 63)
}
