package inflate

import "math/bits"

const (
	maxBits  = 15 // the longest code (RFC 1951 section 3.2.7)
	fastBits = 9  // codes of up to so many bits are found by one look
)

// code is a canonical Huffman code (RFC 1951 section 3.2.2).
type code struct {
	fast    [1 << fastBits]uint16 // by the next bits of the input: symbol<<4 | length; 0 for none so short
	counts  [maxBits + 1]uint16   // codes of each length
	symbols [288]uint16           // in order of their codes
}

// make fills a code in from the lengths of its symbols' codes. It is false when they make no code, or an incomplete one, though scanty allows one
// of a single symbol or none (section 3.2.7).
func (c *code) make(lengths []uint8, scanty bool) bool {
	*c = code{}
	total := 0
	for _, n := range lengths {
		if n > 0 {
			c.counts[n]++
			total++
		}
	}
	left := 1 // codes that are free at this length
	var first, next [maxBits + 1]uint16
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - int(c.counts[n])
		if left < 0 {
			return false
		}
		first[n] = first[n-1] + c.counts[n-1]
	}
	if left > 0 && !(scanty && total <= 1 && c.counts[1] == uint16(total)) {
		return false
	}
	start := uint16(0) // the first code of the length
	for n := 1; n <= maxBits; n++ {
		start = (start + c.counts[n-1]) << 1
		next[n] = start
	}
	place := first
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		c.symbols[place[n]] = uint16(symbol)
		place[n]++
		word := next[n]
		next[n]++
		if n > fastBits {
			continue
		}
		for i := int(bits.Reverse16(word) >> (16 - n)); i < len(c.fast); i += 1 << n { // the input has the first bit of a code lowest.
			c.fast[i] = uint16(symbol)<<4 | uint16(n)
		}
	}
	return true
}

// The codes of a block that names none (RFC 1951 section 3.2.6).
var fixedLiterals, fixedDistances = func() (literals, distances code) {
	var lengths [288 + 32]uint8
	for i := range lengths {
		switch {
		case i < 144 || i >= 280 && i < 288:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 5
		}
	}
	literals.make(lengths[:288], false)
	distances.make(lengths[288:], false)
	return literals, distances
}()

// find looks up the symbol whose code stands behind so many bits, and tells the code's length. It consumes nothing. It is false when the bits
// are not all there, or when they are no code, and then there is an error.
func (r *Reader) find(c *code, after uint) (symbol uint16, n uint, ok bool) {
	r.need(after + maxBits) // if they are there; a code may be shorter.
	if r.count < after {
		return 0, 0, false
	}
	there, next := r.count-after, r.bits>>after
	if f := c.fast[next&(1<<fastBits-1)]; f != 0 {
		n = uint(f & 15)
		return f >> 4, n, n <= there
	}
	var word, first, index int
	for n = 1; n <= maxBits; n++ {
		if n > there {
			return 0, 0, false
		}
		word |= int(next & 1)
		next >>= 1
		count := int(c.counts[n])
		if word-first < count {
			return c.symbols[index+word-first], n, true
		}
		index += count
		first = (first + count) << 1
		word <<= 1
	}
	r.err = ErrCorrupt
	return 0, 0, false
}
