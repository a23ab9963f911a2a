package queue

// heap keeps the least of a list in front. at is told where each member goes.
type heap[T any] struct {
	list []T
	less func(a, b T) bool
	at   func(T, int)
}

func (h *heap[T]) push(v T) {
	h.list = append(h.list, v)
	h.at(v, len(h.list)-1)
	h.up(len(h.list) - 1)
}

// remove takes out the member at n.
func (h *heap[T]) remove(n int) {
	last := len(h.list) - 1
	h.swap(n, last)
	h.at(h.list[last], -1)
	var none T
	h.list[last] = none
	h.list = h.list[:last]
	if n < last {
		h.down(n)
		h.up(n)
	}
}

func (h *heap[T]) swap(a, b int) {
	h.list[a], h.list[b] = h.list[b], h.list[a]
	h.at(h.list[a], a)
	h.at(h.list[b], b)
}

func (h *heap[T]) up(n int) {
	for n > 0 {
		parent := (n - 1) / 2
		if !h.less(h.list[n], h.list[parent]) {
			return
		}
		h.swap(n, parent)
		n = parent
	}
}

func (h *heap[T]) down(n int) {
	for {
		least := n
		for child := 2*n + 1; child <= 2*n+2 && child < len(h.list); child++ {
			if h.less(h.list[child], h.list[least]) {
				least = child
			}
		}
		if least == n {
			return
		}
		h.swap(n, least)
		n = least
	}
}
