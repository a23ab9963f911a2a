package domain

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// UIDRange is an inclusive range of UIDs, Lo <= Hi.
type UIDRange struct{ Lo, Hi UID }

// UIDSet is a set of UIDs as sorted ranges that neither touch nor overlap. The zero value is the empty set. Build one with Add.
type UIDSet []UIDRange

// AllUIDs is all that a mailbox may hold (RFC 9051 section 2.3.1.1: UIDs are not zero and have 32 bits).
var AllUIDs = UIDRange{Lo: 1, Hi: 1<<32 - 1}

// UIDs makes a set of the given numbers, in any order.
func UIDs(uids ...UID) UIDSet {
	var s UIDSet
	for _, u := range uids {
		s = s.AddRange(u, u)
	}
	return s
}

// Add puts one UID in the set. Appending in rising order is cheap.
func (s UIDSet) Add(u UID) UIDSet { return s.AddRange(u, u) }

// AddRange puts lo to hi in the set; the ends may be given in either order.
func (s UIDSet) AddRange(lo, hi UID) UIDSet {
	if lo > hi {
		lo, hi = hi, lo
	}
	if n := len(s); n == 0 || lo > s[n-1].Hi && lo-s[n-1].Hi > 1 {
		return append(s, UIDRange{lo, hi})
	}
	// first is the first range that touches or follows [lo, hi]; last is the first that lies wholly beyond it.
	first, _ := slices.BinarySearchFunc(s, lo, func(r UIDRange, lo UID) int {
		if r.Hi < lo && lo-r.Hi > 1 {
			return -1
		}
		return 1
	})
	last := first
	for last < len(s) && (s[last].Lo <= hi || s[last].Lo-hi == 1) {
		lo, hi = min(lo, s[last].Lo), max(hi, s[last].Hi)
		last++
	}
	return slices.Replace(s, first, last, UIDRange{lo, hi})
}

// Contains reports whether u is in the set.
func (s UIDSet) Contains(u UID) bool {
	_, found := slices.BinarySearchFunc(s, u, func(r UIDRange, u UID) int {
		switch {
		case r.Hi < u:
			return -1
		case r.Lo > u:
			return 1
		}
		return 0
	})
	return found
}

// Intersect gives what both sets have.
func (s UIDSet) Intersect(o UIDSet) (both UIDSet) {
	for len(s) > 0 && len(o) > 0 {
		if lo, hi := max(s[0].Lo, o[0].Lo), min(s[0].Hi, o[0].Hi); lo <= hi {
			both = append(both, UIDRange{lo, hi})
		}
		if s[0].Hi < o[0].Hi {
			s = s[1:]
		} else {
			o = o[1:]
		}
	}
	return both
}

// Len counts the UIDs in the set.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s {
		n += int(r.Hi-r.Lo) + 1
	}
	return n
}

// All yields every UID in rising order.
func (s UIDSet) All() iter.Seq[UID] {
	return func(yield func(UID) bool) {
		for _, r := range s {
			for u := r.Lo; ; u++ {
				if !yield(u) {
					return
				}
				if u == r.Hi {
					break
				}
			}
		}
	}
}

// String gives the form of RFC 9051 section 9, sequence-set: "1:3,7".
func (s UIDSet) String() string { return string(s.AppendText(nil)) }

// AppendText appends what String gives, without an intermediate copy.
func (s UIDSet) AppendText(b []byte) []byte {
	for i, r := range s {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(r.Lo), 10)
		if r.Hi != r.Lo {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(r.Hi), 10)
		}
	}
	return b
}

// MarshalText serves JSON.
func (s UIDSet) MarshalText() ([]byte, error) { return s.AppendText(nil), nil }

// ParseUIDSet reads what String writes. It knows no "*", which means nothing outside a session.
func ParseUIDSet(text string) (UIDSet, error) {
	var s UIDSet
	if text == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		lo, hi, ranged := strings.Cut(part, ":")
		if !ranged {
			hi = lo
		}
		a, err1 := strconv.ParseUint(lo, 10, 32)
		b, err2 := strconv.ParseUint(hi, 10, 32)
		if err1 != nil || err2 != nil || a == 0 || b == 0 {
			return nil, fmt.Errorf("%q is not a UID or a range of UIDs", part)
		}
		s = s.AddRange(UID(a), UID(b))
	}
	return s, nil
}
