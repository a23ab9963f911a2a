// Package sorting puts messages in order: the keys of SORT (RFC 5256 section 3), those of SORT=DISPLAY (RFC 5957) and RELEVANCY (RFC 6203 section 6).
//
// It exists so that a mailbox of any size is put in order without its headers: a Table keeps what orders the messages of an account as numbers,
// made once for each message, since messages never change.
//
// Invariants:
//   - Texts are compared as i;unicode-casemap does (RFC 5256 section 1, package collation).
//   - Messages that are equal by all keys are in the order of the mailbox, also with REVERSE.
//   - What is kept of one text is bounded by maxText, so that nobody's subject fills the memory. Longer ones are ordered by their beginnings.
package sorting

import (
	"cmp"
	"slices"

	"github.com/streampost/streampost/domain/account"
)

// Key is what messages are put in order by.
type Key uint8

// The keys.
const (
	Arrival Key = iota // INTERNALDATE
	Cc                 // the mailbox of the first address, as From and To
	Date               // when it was sent; INTERNALDATE where the header does not say
	From
	Size
	Subject // the base subject
	To
	DisplayFrom // what a reader sees of the first address
	DisplayTo
	Relevancy // how well it matches a fuzzy search, the best first
)

// Criterion is a key and its direction.
type Criterion struct {
	Key     Key
	Reverse bool
}

// Needs tells whether some of the criteria want more than a message's row: then the Table must have the message.
func Needs(by []Criterion) bool {
	return slices.ContainsFunc(by, func(c Criterion) bool { return c.Key != Arrival && c.Key != Size && c.Key != Relevancy })
}

// Order gives the indexes of rows, which are in the order of the mailbox, in the order of the criteria. The Table has all of them, or the criteria
// do not need it. score is the relevancy of a row, from 1 to 100; it may be nil without that key.
func (t *Table) Order(rows []account.Message, by []Criterion, score func(i int) int) []int32 {
	columns := make([][]int64, len(by))
	for i, c := range by {
		columns[i] = t.column(rows, c, score)
	}
	order := make([]int32, len(rows))
	for i := range order {
		order[i] = int32(i)
	}
	arrange(order, columns)
	return order
}

// few is how many rows are compared pair by pair.
const few = 64

// arrange puts rising indexes into the order of columns. Of equal rows the first in the mailbox comes first (RFC 5256 section 3: the sequence number
// is the last criterion).
func arrange(order []int32, columns [][]int64) {
	if len(columns) == 0 || len(order) < 2 {
		return
	}
	column := columns[0]
	lo, hi := column[order[0]], column[order[0]]
	for _, i := range order {
		lo, hi = min(lo, column[i]), max(hi, column[i])
	}
	if len(order) < few || uint64(hi)-uint64(lo) >= 1<<32 {
		slices.SortFunc(order, func(a, b int32) int {
			for _, column := range columns {
				if order := cmp.Compare(column[a], column[b]); order != 0 {
					return order
				}
			}
			return cmp.Compare(a, b)
		})
		return
	}
	packed := make([]uint64, len(order)) // key and index in one number, which sorts several times as fast
	for at, i := range order {
		packed[at] = (uint64(column[i])-uint64(lo))<<32 | uint64(i)
	}
	slices.Sort(packed)
	for at, p := range packed {
		order[at] = int32(p & (1<<32 - 1))
	}
	for first := 0; first < len(order); {
		end := first + 1
		for end < len(order) && packed[end]>>32 == packed[first]>>32 {
			end++
		}
		arrange(order[first:end], columns[1:])
		first = end
	}
}

// column gives a number for each row that rises in the order of a criterion.
func (t *Table) column(rows []account.Message, c Criterion, score func(i int) int) []int64 {
	column := make([]int64, len(rows))
	switch c.Key {
	case Arrival:
		for i := range rows {
			column[i] = rows[i].Internal
		}
	case Size:
		for i := range rows {
			column[i] = rows[i].Size
		}
	case Relevancy: // RFC 6203 section 6: the highest score comes first.
		for i := range rows {
			column[i] = -int64(score(i))
		}
	case Date:
		for i := range rows {
			column[i] = t.sentOf(&rows[i])
		}
	default:
		ranks, texts := t.texts.order(), t.columns[textColumns[c.Key]]
		for i := range rows {
			column[i] = int64(ranks[texts[t.rows[rows[i].Email]]])
		}
	}
	if c.Reverse {
		for i := range column {
			column[i] = -column[i]
		}
	}
	return column
}

// textColumns are the columns of a Table that hold texts.
var textColumns = [...]int{Cc: 0, From: 1, Subject: 2, To: 3, DisplayFrom: 4, DisplayTo: 5}

const texts = 6
