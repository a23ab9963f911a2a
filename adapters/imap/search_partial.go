package imap

import (
	"strconv"

	"github.com/streampost/streampost/adapters/imap/wire"
)

// PARTIAL: a part of what a search finds (RFC 9394 section 3.1, and RFC 5267 section 4.4, which knows no numbers from the end).

func init() {
	returns("PARTIAL", func(_ *conn, d *wire.Decoder, r *searchRequest) bool {
		if r.partial != nil { // RFC 9394 section 3.1.
			return d.Fail(wire.Syntaxf("PARTIAL is given twice"))
		}
		r.partial = new(partialRange)
		return d.ExpectSP() && r.partial.parse(d)
	}, "PARTIAL", "CONTEXT=SEARCH", "CONTEXT=SORT")
}

// partialRange names results by their places, which are counted from 1, or from the end.
type partialRange struct {
	lo, hi  uint32 // lo <= hi
	fromEnd bool
	text    string // as the client wrote it, which is how the answer names it
}

// parse reads a partial-range (RFC 9394 section 4): both numbers have a minus or neither does, and either may be the larger one.
func (p *partialRange) parse(d *wire.Decoder) bool {
	number := func(n *uint32, minus bool) bool {
		if d.Special('-') != minus {
			return d.Fail(wire.Syntaxf("a range of results counts from the beginning or from the end"))
		}
		return d.ExpectNumber(n) && (*n > 0 || d.Fail(wire.Syntaxf("results are counted from 1")))
	}
	p.fromEnd = d.Next('-')
	var a, b uint32
	if !number(&a, p.fromEnd) || !d.ExpectSpecial(':') || !number(&b, p.fromEnd) {
		return false
	}
	sign := ""
	if p.fromEnd {
		sign = "-"
	}
	p.text = sign + strconv.FormatUint(uint64(a), 10) + ":" + sign + strconv.FormatUint(uint64(b), 10)
	p.lo, p.hi = min(a, b), max(a, b)
	return true
}

// of gives the indexes, first <= index < end, that the range covers of n results.
func (p *partialRange) of(n int) (first, end int) {
	first, end = min(int(p.lo)-1, n), min(int(p.hi), n)
	if p.fromEnd {
		first, end = n-end, n-first
	}
	return first, end
}

// sendPartial writes the item PARTIAL.
func (c *conn) sendPartial(p *partialRange, numbers []uint32) {
	c.enc.Raw(" PARTIAL (").Raw(p.text).SP()
	if first, end := p.of(len(numbers)); first < end {
		c.sendSet(numbers[first:end])
	} else { // RFC 9394 section 3.1: there are no such results.
		c.enc.NIL()
	}
	c.enc.Byte(')')
}
