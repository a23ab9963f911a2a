package threading

import (
	"cmp"
	"slices"
)

// References is REFERENCES (RFC 5256 section 3). The numbers of steps are those of the RFC.
func References(messages []Message) *Forest {
	t := newThreader(messages)
	t.link()          // 1
	t.gather()        // 2
	t.prune()         // 3
	t.sortRoots()     // 4
	t.mergeSubjects() // 5
	t.sortSiblings()  // 6
	return t.forest
}

// Refs is REFS (draft-ietf-morg-inthread-01 section 3.2): REFERENCES without its step 5, threads in the order of their latest messages.
func Refs(messages []Message) *Forest {
	t := newThreader(messages)
	t.link()
	t.gather()
	t.prune()
	t.sortSiblings()
	latest := make([]int64, len(t.forest.first))
	t.walk(func(node, parent int32) {
		if !t.forest.dummy(node) {
			latest[node] = max(latest[node], t.messages[node].Sent)
		}
		if parent >= 0 {
			latest[parent] = max(latest[parent], latest[node])
		}
	})
	slices.SortStableFunc(t.forest.Roots, func(a, b int32) int {
		return cmp.Or(cmp.Compare(latest[a], latest[b]), cmp.Compare(t.place(a), t.place(b)))
	})
	return t.forest
}

// threader is one run. Nodes below len(messages) are the messages; the next ones stand for Message-IDs that no message has; those of step 5 follow.
type threader struct {
	messages []Message
	forest   *Forest
	parent   []int32
	linked   []bool  // the node is or was a parent; others are above nothing
	node     []int32 // of a Message-ID's number
}

func newThreader(messages []Message) *threader {
	highest := uint32(0)
	for i := range messages {
		highest = max(highest, messages[i].ID)
		for _, id := range messages[i].References {
			highest = max(highest, id)
		}
	}
	t := &threader{messages: messages, node: make([]int32, int(highest)+1)}
	for i := range t.node {
		t.node[i] = none
	}
	for i := range messages {
		// The first message with a Message-ID has it. Others with the same id are as if they had another, as are those without a valid one.
		if id := messages[i].ID; id != 0 && t.node[id] < 0 {
			t.node[id] = int32(i)
		}
	}
	nodes := len(messages)
	for i := range messages {
		for _, id := range messages[i].References {
			if id != 0 && t.node[id] < 0 {
				t.node[id] = int32(nodes)
				nodes++
			}
		}
	}
	t.forest = newForest(len(messages), nodes)
	t.linked = make([]bool, nodes)
	t.parent = make([]int32, nodes)
	for i := range t.parent {
		t.parent[i] = none
	}
	return t
}

// link is step 1.
func (t *threader) link() {
	for i := range t.messages {
		above := none
		for _, id := range t.messages[i].References { // 1.A: each id is the parent of the next.
			if id == 0 {
				continue
			}
			node := t.node[id]
			// An existing link stays as it is, and none is made that would close a loop.
			if above >= 0 && t.parent[node] < 0 {
				t.put(node, above)
			}
			above = node
		}
		t.parent[i] = none // 1.B: the last reference is the parent of the message, whatever others have said.
		if above >= 0 {
			t.put(int32(i), above)
		}
	}
}

// put makes a link unless it would close a loop.
func (t *threader) put(node, below int32) {
	if node != below && !(t.linked[node] && t.above(node, below)) {
		t.parent[node], t.linked[below] = below, true
	}
}

// above tells whether a node is an ancestor of another one.
func (t *threader) above(node, of int32) bool {
	for ; of >= 0; of = t.parent[of] {
		if of == node {
			return true
		}
	}
	return false
}

// gather is step 2: it turns links to parents into lists of children, which come to be in the order of the mailbox.
func (t *threader) gather() {
	for node := int32(len(t.parent)) - 1; node >= 0; node-- {
		if t.parent[node] >= 0 {
			t.forest.adopt(t.parent[node], node)
		}
	}
	for node := range t.parent {
		if t.parent[node] < 0 {
			t.forest.Roots = append(t.forest.Roots, int32(node))
		}
	}
}

// prune is step 3: nodes without a message go, and their children take their places, unless there are several and the place is at the root.
func (t *threader) prune() {
	f := t.forest
	order := t.preorder()
	for i := len(order) - 1; i >= 0; i-- { // children before their parents
		node := order[i]
		var kept []int32
		pruned := false
		for c := f.first[node]; c >= 0; c = f.next[c] {
			if pruned = pruned || f.dummy(c); f.dummy(c) {
				kept = f.Children(kept, c)
			} else {
				kept = append(kept, c)
			}
		}
		if pruned {
			f.first[node] = f.arrange(kept)
		}
	}
	roots := f.Roots[:0]
	for _, root := range f.Roots {
		switch first := f.first[root]; {
		case !f.dummy(root):
			roots = append(roots, root)
		case first < 0:
		case f.next[first] < 0:
			roots = append(roots, first)
		default:
			roots = append(roots, root)
		}
	}
	f.Roots = roots
}

// sortRoots is step 4. A root without a message counts as the first sent of its children.
func (t *threader) sortRoots() {
	for _, root := range t.forest.Roots {
		if t.forest.dummy(root) {
			t.sortChildren(root)
		}
	}
	t.sort(t.forest.Roots)
}

// face is the message that a root counts as: itself or, when it has none, its first child.
func (t *threader) face(root int32) *Message { return &t.messages[t.place(root)] }

func (t *threader) place(root int32) int32 {
	for t.forest.dummy(root) {
		root = t.forest.first[root]
	}
	return root
}

func (t *threader) sort(nodes []int32) {
	slices.SortFunc(nodes, func(a, b int32) int {
		a, b = t.place(a), t.place(b)
		return cmp.Or(cmp.Compare(t.messages[a].Sent, t.messages[b].Sent), cmp.Compare(a, b))
	})
}

func (t *threader) sortChildren(node int32) {
	if first := t.forest.first[node]; first < 0 || t.forest.next[first] < 0 {
		return
	}
	children := t.forest.Children(nil, node)
	t.sort(children)
	t.forest.first[node] = t.forest.arrange(children)
}

// mergeSubjects is step 5: threads about the same thing become one.
func (t *threader) mergeSubjects() {
	f := t.forest
	table := map[uint32]int32{}
	for _, root := range f.Roots { // 5.B
		subject := t.face(root).Subject
		if subject == 0 {
			continue
		}
		// The better head of a thread is one without a message, then one that is no reply.
		known, there := table[subject]
		if !there || !f.dummy(known) && (f.dummy(root) || t.face(known).Reply && !t.face(root).Reply) {
			table[subject] = root
		}
	}
	roots := f.Roots[:0:0]
	gone := map[int32]bool{}
	replaced := map[int32]int32{}
	for _, root := range f.Roots { // 5.C
		subject := t.face(root).Subject
		if subject == 0 || table[subject] == root {
			continue
		}
		gone[root] = true
		switch known := table[subject]; {
		case f.dummy(known) && f.dummy(root):
			for _, c := range f.Children(nil, root) {
				f.adopt(known, c)
			}
		case f.dummy(known), t.face(root).Reply && !t.face(known).Reply:
			f.adopt(known, root)
		default: // neither is about the other: both get a parent without a message.
			both := f.add()
			replaced[known], table[subject] = both, both
			f.adopt(both, known)
			f.adopt(both, root)
		}
	}
	for _, root := range f.Roots {
		if both, is := replaced[root]; is {
			root = both
		} else if gone[root] {
			continue
		}
		roots = append(roots, root)
	}
	f.Roots = roots
}

// sortSiblings is step 6.
func (t *threader) sortSiblings() {
	for _, node := range t.preorder() {
		t.sortChildren(node)
	}
	t.sort(t.forest.Roots)
}

// preorder gives all nodes below the roots, parents first. Chains of references make deep trees, so nothing here recurs.
func (t *threader) preorder() []int32 {
	order := slices.Clone(t.forest.Roots)
	for i := 0; i < len(order); i++ {
		order = t.forest.Children(order, order[i])
	}
	return order
}

// walk calls f with every node and its parent, children first; roots have none.
func (t *threader) walk(f func(node, parent int32)) {
	order := t.preorder()
	above := make([]int32, len(t.forest.first))
	for _, root := range t.forest.Roots {
		above[root] = none
	}
	for _, node := range order {
		for c := t.forest.first[node]; c >= 0; c = t.forest.next[c] {
			above[c] = node
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		f(order[i], above[order[i]])
	}
}
