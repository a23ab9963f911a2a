// Package inflate reads DEFLATE (RFC 1951) from a connection whose peer waits for an answer.
//
// The standard library's reader is made for files: it waits for more input while it holds octets that it could give, unless a block has
// ended. A client that flushes in another way than with an empty stored block (zlib's Z_PARTIAL_FLUSH, of which RFC 4978 allows any) would then
// wait for ever. The rules of this package are therefore:
//
//   - A Reader never waits for input while it has output. What can be decoded from the octets that are there is given first.
//   - Bounded: a Reader takes about 36 KiB, whatever it reads. What it yields is not bounded, so its caller counts octets.
//   - Strict: a code that is over-subscribed, or that leaves bits without a meaning, is an error and not a guess.
package inflate

import (
	"errors"
	"io"
)

// ErrCorrupt says that the input is not DEFLATE.
var ErrCorrupt = errors.New("malformed DEFLATE data")

// RFC 1951 section 2 and 3.2.5.
const (
	windowSize = 1 << 15
	maxMatch   = 258
	endOfBlock = 256
	inputSize  = 1 << 10
)

// state is what the next bits mean.
type state uint8

const (
	atHeader  state = iota // BFINAL and BTYPE
	atSize                 // LEN and NLEN of a stored block
	inStored               // octets of a stored block
	atCounts               // HLIT, HDIST and HCLEN
	inOrder                // code lengths of the code length alphabet
	inLengths              // code lengths of the two alphabets
	inSymbols              // literals and matches
	atEnd                  // behind the last block
)

// Reader decodes. Each step consumes its bits only when all of them are there, so that it can be repeated after more input has come.
type Reader struct {
	// Heard counts the octets that have come over the network. When it is set, Barren is told how many of them held nothing, such as the rest of a flush,
	// before the Reader waits for more.
	Heard  func() uint64
	Barren func(octets uint64)

	src   io.Reader
	in    [inputSize]byte
	input []byte // the rest of in
	since uint64 // what was heard when the Reader last waited after output
	bare  bool   // it has waited since

	bits  uint64 // not yet consumed, the next one lowest
	count uint   // how many
	err   error  // for good

	state  state
	last   bool // the present block is the last one
	stored int  // octets that the stored block still has

	literals, distances       *code // of the present block
	own                       struct{ literals, distances, order code }
	lengths                   [320]uint8 // code lengths as they come; a header names at most 286 + 30
	have, nLiterals, nLengths int
	nOrder                    int

	window         [windowSize]byte // the last octets of the output, as a ring
	written, given uint64           // octets put into the window, and passed on
}

// NewReader makes a Reader.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Read gives at least one octet, or an error: that of the source as it is, or ErrCorrupt.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		starved := r.decode()
		if r.written > r.given {
			r.bare = false
			return r.give(p), nil
		}
		if r.err != nil {
			return 0, r.err
		}
		if starved {
			r.waits()
			n, err := r.src.Read(r.in[:])
			r.input = r.in[:n]
			if n == 0 && err != nil {
				return 0, err
			}
		}
	}
}

// waits notes what was heard. Octets inside of a block may yet yield something.
func (r *Reader) waits() {
	if r.Heard == nil {
		return
	}
	switch heard := r.Heard(); {
	case !r.bare:
		r.since, r.bare = heard, true
	case r.state == atHeader:
		r.Barren(heard - r.since)
		r.since = heard
	}
}

// give passes output on.
func (r *Reader) give(p []byte) int {
	at := int(r.given % windowSize)
	n := copy(p, r.window[at:min(windowSize, at+int(r.written-r.given))])
	r.given += uint64(n)
	return n
}

// decode runs until the window has no room for another match, or an error, or it is starved of input.
func (r *Reader) decode() (starved bool) {
	for r.err == nil && windowSize-(r.written-r.given) >= maxMatch {
		if !r.step() {
			return true
		}
	}
	return false
}

// step does the next thing and is false, having changed nothing, when its bits are not all there.
func (r *Reader) step() bool {
	switch r.state {
	case atHeader:
		if !r.need(3) {
			return false
		}
		r.last = r.take(1) == 1
		r.begin(r.take(2))
	case atSize:
		pad := r.count % 8 // RFC 1951 section 3.2.4: the rest of the octet is skipped.
		if !r.need(pad + 32) {
			return false
		}
		r.take(pad)
		size, check := r.take(16), r.take(16)
		if size != ^check&0xffff {
			r.err = ErrCorrupt
		}
		r.stored, r.state = int(size), inStored
	case inStored:
		return r.store()
	case atCounts:
		if !r.need(14) {
			return false
		}
		r.nLiterals = int(r.take(5)) + 257
		r.nLengths = r.nLiterals + int(r.take(5)) + 1
		r.nOrder = int(r.take(4)) + 4
		if r.nLiterals > 286 || r.nLengths-r.nLiterals > 30 {
			r.err = ErrCorrupt
		}
		r.lengths, r.have, r.state = [320]uint8{}, 0, inOrder
	case inOrder:
		if !r.need(3) {
			return false
		}
		r.lengths[order[r.have]] = uint8(r.take(3))
		if r.have++; r.have == r.nOrder {
			r.check(r.own.order.make(r.lengths[:19], false))
			r.lengths, r.have, r.state = [320]uint8{}, 0, inLengths
		}
	case inLengths:
		return r.length()
	case inSymbols:
		return r.symbol()
	case atEnd:
		r.err = io.EOF
	}
	return true
}

// order is the order in which the lengths of the code length alphabet come (RFC 1951 section 3.2.7).
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// begin starts a block.
func (r *Reader) begin(kind uint64) {
	switch kind {
	case 0:
		r.state = atSize
	case 1:
		r.literals, r.distances, r.state = &fixedLiterals, &fixedDistances, inSymbols
	case 2:
		r.state = atCounts
	default:
		r.err = ErrCorrupt
	}
}

func (r *Reader) check(sound bool) {
	if !sound {
		r.err = ErrCorrupt
	}
}

// end ends a block.
func (r *Reader) end() {
	if r.state = atHeader; r.last {
		r.state = atEnd
	}
}

// store copies octets of a stored block.
func (r *Reader) store() bool {
	if r.stored == 0 {
		r.end()
		return true
	}
	if r.count >= 8 { // whole octets that were taken in with the header
		r.put(byte(r.take(8)))
		r.stored--
		return true
	}
	n := min(r.stored, len(r.input), windowSize-int(r.written-r.given))
	for _, c := range r.input[:n] {
		r.put(c)
	}
	r.input, r.stored = r.input[n:], r.stored-n
	return n > 0
}

// length reads one symbol of the code length alphabet (RFC 1951 section 3.2.7).
func (r *Reader) length() bool {
	symbol, n, ok := r.find(&r.own.order, 0)
	if !ok {
		return r.err != nil
	}
	value, repeat, extra := uint8(0), 1, uint(0)
	switch {
	case symbol < 16:
		value = uint8(symbol)
	case symbol == 16:
		if r.have == 0 {
			r.err = ErrCorrupt
			return true
		}
		value, repeat, extra = r.lengths[r.have-1], 3, 2
	case symbol == 17:
		repeat, extra = 3, 3
	default:
		repeat, extra = 11, 7
	}
	if !r.need(n + extra) {
		return false
	}
	r.take(n)
	repeat += int(r.take(extra))
	if r.have+repeat > r.nLengths {
		r.err = ErrCorrupt
		return true
	}
	for range repeat {
		r.lengths[r.have] = value
		r.have++
	}
	if r.have == r.nLengths {
		if r.lengths[endOfBlock] == 0 {
			r.err = ErrCorrupt // such a block has no end.
		}
		r.check(r.own.literals.make(r.lengths[:r.nLiterals], true))
		r.check(r.own.distances.make(r.lengths[r.nLiterals:r.nLengths], true))
		r.literals, r.distances, r.state = &r.own.literals, &r.own.distances, inSymbols
	}
	return true
}

// The lengths and distances of matches (RFC 1951 section 3.2.5).
var (
	lengthBase   = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
		8193, 12289, 16385, 24577}
	distanceExtra = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbol reads a literal, a match or the end of the block. The longest match takes 48 bits, which the bit buffer holds.
func (r *Reader) symbol() bool {
	symbol, n, ok := r.find(r.literals, 0)
	switch {
	case !ok:
		return r.err != nil
	case symbol < endOfBlock:
		r.take(n)
		r.put(byte(symbol))
		return true
	case symbol == endOfBlock:
		r.take(n)
		r.end()
		return true
	case symbol >= endOfBlock+1+uint16(len(lengthBase)):
		r.err = ErrCorrupt
		return true
	}
	size := symbol - endOfBlock - 1
	before := n + uint(lengthExtra[size]) // bits in front of the distance
	distance, m, ok := r.find(r.distances, before)
	if !ok {
		return r.err != nil
	}
	if int(distance) >= len(distanceBase) {
		r.err = ErrCorrupt
		return true
	}
	if !r.need(before + m + uint(distanceExtra[distance])) {
		return false
	}
	r.take(n)
	count := int(lengthBase[size]) + int(r.take(uint(lengthExtra[size])))
	r.take(m)
	back := uint64(distanceBase[distance]) + r.take(uint(distanceExtra[distance]))
	if back > r.written {
		r.err = ErrCorrupt
		return true
	}
	for range count {
		r.put(r.window[(r.written-back)%windowSize])
	}
	return true
}

func (r *Reader) put(c byte) {
	r.window[r.written%windowSize] = c
	r.written++
}

// need tells whether n bits are there, n being at most 48.
func (r *Reader) need(n uint) bool {
	for r.count < n {
		if len(r.input) == 0 {
			return false
		}
		r.bits |= uint64(r.input[0]) << r.count
		r.input = r.input[1:]
		r.count += 8
	}
	return true
}

// take consumes bits that are there.
func (r *Reader) take(n uint) uint64 {
	v := r.bits & (1<<n - 1)
	r.bits >>= n
	r.count -= n
	return v
}
