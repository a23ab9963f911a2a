// Package threading puts messages into conversations as THREAD does (RFC 5256 section 3): ORDEREDSUBJECT by subjects, REFERENCES by what
// messages refer to and, where that is missing, by subjects, and REFS by references alone (draft-ietf-morg-inthread).
//
// It exists apart from the account's conversations (RFC 8474 THREADID), which are decided once and for ever when a message arrives: THREAD looks
// at those messages only that a search has found.
//
// Invariants:
//   - Every message is in the forest exactly once, and nothing else but nodes without a message, which stand at its roots only.
//   - The forest is acyclic whatever messages say of each other.
//   - Texts and ids are numbers here, equal for equal ones; time and memory grow with messages and references.
package threading

// Message is what THREAD looks at. Messages are given in the order of the mailbox.
type Message struct {
	Sent       int64    // RFC 5256 section 2.2, Unix seconds
	Subject    uint32   // a number for the base subject; 0 is the empty one
	Reply      bool     // the subject has a mark of a reply or forward
	ID         uint32   // a number for the Message-ID; 0 when there is no valid one
	References []uint32 // numbers of Message-IDs, as they are written, or that of In-Reply-To
}

// Forest is conversations. Nodes are numbers: those below Len are the messages, the others have none.
type Forest struct {
	Roots    []int32
	messages int32
	first    []int32 // child of a node; -1 for none
	next     []int32 // sibling; -1 for none
}

// Len counts the messages.
func (f *Forest) Len() int { return int(f.messages) }

// Children appends the children of a node in their order.
func (f *Forest) Children(to []int32, node int32) []int32 {
	for c := f.first[node]; c >= 0; c = f.next[c] {
		to = append(to, c)
	}
	return to
}

// newForest makes a forest of unconnected nodes.
func newForest(messages, nodes int) *Forest {
	f := &Forest{messages: int32(messages), first: make([]int32, nodes, nodes+nodes/8), next: make([]int32, nodes, nodes+nodes/8)}
	for i := range f.first {
		f.first[i], f.next[i] = none, none
	}
	return f
}

// none is no node.
const none int32 = -1

// add makes one more node without a message.
func (f *Forest) add() int32 {
	f.first, f.next = append(f.first, none), append(f.next, none)
	return int32(len(f.first) - 1)
}

// adopt puts a node before the children of another.
func (f *Forest) adopt(parent, child int32) { f.next[child], f.first[parent] = f.first[parent], child }

func (f *Forest) dummy(node int32) bool { return node >= f.messages }

// arrange puts siblings into a given order and gives the first.
func (f *Forest) arrange(siblings []int32) int32 {
	first := none
	for i := len(siblings) - 1; i >= 0; i-- {
		f.next[siblings[i]], first = first, siblings[i]
	}
	return first
}
