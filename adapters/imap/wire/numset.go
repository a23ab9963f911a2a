package wire

import (
	"math"
	"slices"

	"github.com/streampost/streampost/domain"
)

// NumSet is a sequence-set as a client writes it (RFC 9051 section 9). Its numbers are UIDs or message sequence numbers: the command says which.
// Numbers are kept as merged ranges; "*" is kept apart until a mailbox gives it a meaning.
type NumSet struct {
	Saved bool // "$", the result of the last search (RFC 5182); then there is nothing else

	ranges domain.UIDSet // sorted, apart
	star   domain.UID    // the least n of all "n:*"; MaxUint32 for a lone "*"; 0 without "*"
}

// NumSetOf makes a NumSet of plain numbers.
func NumSetOf(ranges domain.UIDSet) NumSet { return NumSet{ranges: ranges} }

// Resolve gives the numbers of the set in a mailbox whose largest number is last, 0 when it is empty. "n:*" always holds last, even when n is above it
// (RFC 9051 section 9, seq-range).
func (s NumSet) Resolve(last domain.UID) domain.UIDSet {
	if s.star == 0 || last == 0 {
		return s.ranges
	}
	lo, hi := min(s.star, last), last
	if s.star != math.MaxUint32 {
		hi = max(s.star, last)
	}
	return slices.Clone(s.ranges).AddRange(lo, hi)
}

// Dynamic reports whether the set has "*" or is "$", so that its meaning depends on the session.
func (s NumSet) Dynamic() bool { return s.star != 0 || s.Saved }

// NumSet reads a sequence-set or "$".
func (d *Decoder) NumSet(s *NumSet) bool {
	c, ok := d.peek()
	if !ok {
		return false
	}
	if c == '$' {
		*s = NumSet{Saved: true}
		return d.take()
	}
	if c != '*' && (c < '0' || c > '9') {
		return false
	}
	var set NumSet
	room := 1024
	for {
		lo, lok := d.setNumber()
		if !lok {
			return false
		}
		hi := lo
		if d.Special(':') {
			if hi, ok = d.setNumber(); !ok {
				return false
			}
		}
		if d.err != nil {
			return false
		}
		set.add(lo, hi)
		// Merging each time that the slice has grown to twice its merged size keeps a hostile order of numbers cheap.
		if len(set.ranges) > room {
			set.merge()
			if len(set.ranges) > d.limits.Ranges {
				return d.Fail(&SyntaxError{Code: "LIMIT", Text: "the set has too many ranges"})
			}
			room = max(room, 2*len(set.ranges))
		}
		if !d.Special(',') {
			break
		}
	}
	if d.err != nil {
		return false
	}
	set.merge()
	if len(set.ranges) > d.limits.Ranges {
		return d.Fail(&SyntaxError{Code: "LIMIT", Text: "the set has too many ranges"})
	}
	*s = set
	return true
}

// ExpectNumSet demands a sequence-set or "$".
func (d *Decoder) ExpectNumSet(s *NumSet) bool { return d.expected(d.NumSet(s), "a set of numbers") }

// setNumber reads a number above 0, or "*" as 0.
func (d *Decoder) setNumber() (domain.UID, bool) {
	if d.Special('*') {
		return 0, true
	}
	var n uint32
	if !d.ExpectNumber(&n) {
		return 0, false
	}
	if n == 0 {
		return 0, d.syntax("message numbers begin at 1") // RFC 9051 section 9, nz-number.
	}
	return domain.UID(n), true
}

func (s *NumSet) add(lo, hi domain.UID) {
	if lo == 0 || hi == 0 {
		from := max(lo, hi)
		if from == 0 {
			from = math.MaxUint32
		}
		if s.star == 0 || from < s.star {
			s.star = from
		}
		return
	}
	if lo > hi {
		lo, hi = hi, lo
	}
	if n := len(s.ranges); n > 0 { // rising order, the usual one, needs no merge later.
		last := &s.ranges[n-1]
		if lo >= last.Lo && (lo <= last.Hi || lo-last.Hi == 1) {
			last.Hi = max(last.Hi, hi)
			return
		}
	}
	s.ranges = append(s.ranges, domain.UIDRange{Lo: lo, Hi: hi})
}

// merge sorts the ranges and joins those that touch.
func (s *NumSet) merge() {
	slices.SortFunc(s.ranges, func(a, b domain.UIDRange) int {
		switch {
		case a.Lo < b.Lo:
			return -1
		case a.Lo > b.Lo:
			return 1
		}
		return 0
	})
	to := 0
	for _, r := range s.ranges {
		if to > 0 {
			last := &s.ranges[to-1]
			if r.Lo <= last.Hi || r.Lo-last.Hi == 1 {
				last.Hi = max(last.Hi, r.Hi)
				continue
			}
		}
		s.ranges[to] = r
		to++
	}
	s.ranges = s.ranges[:to]
}
