package threading

import (
	"cmp"
	"slices"
)

// OrderedSubject is ORDEREDSUBJECT: messages with one base subject are a thread, in which the first one sent is the parent of all the others
// (RFC 5256 section 3).
func OrderedSubject(messages []Message) *Forest {
	f := newForest(len(messages), len(messages))
	order := bySent(messages)
	head := map[uint32]int32{}
	last := make([]int32, len(messages)) // child of a head
	for _, m := range order {
		first, known := head[messages[m].Subject]
		switch {
		case !known: // threads are in the order of their first messages.
			head[messages[m].Subject] = m
			f.Roots = append(f.Roots, m)
		case f.first[first] < 0:
			f.first[first], last[first] = m, m
		default:
			f.next[last[first]], last[first] = m, m
		}
	}
	return f
}

// bySent gives the numbers of messages in the order of their dates; those of one date stay in the order of the mailbox (RFC 5256 section 2.2).
func bySent(messages []Message) []int32 {
	order := make([]int32, len(messages))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(messages[a].Sent, messages[b].Sent), cmp.Compare(a, b))
	})
	return order
}
