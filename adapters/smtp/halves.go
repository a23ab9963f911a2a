package smtp

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// halves remembers messages that some of their recipients have and others not, until the client has sent them again. It is memory only: after a
// restart the client's next try gives those recipients a second copy.
type halves struct {
	capacity int
	lifetime time.Duration

	mu     sync.Mutex
	byKey  map[halfKey]*list.Element
	oldest list.List // of *half
}

// halfKey recognises a message that is sent again: same sender, same octets.
type halfKey struct {
	sender string
	digest [sha256.Size]byte
}

type half struct {
	key   halfKey
	have  map[target]bool
	until time.Time
}

func newHalves(capacity int, lifetime time.Duration) *halves {
	return &halves{capacity: capacity, lifetime: lifetime, byKey: map[halfKey]*list.Element{}}
}

func (h *halves) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byKey) == 0
}

// has reports whether a target has the message already.
func (h *halves) has(key halfKey, to target) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.byKey[key]
	return ok && e.Value.(*half).have[to]
}

// remember notes the targets that have a message, and drops what is too old or too much.
func (h *halves) remember(key halfKey, have []target, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.byKey[key]; ok {
		h.remove(e)
	}
	entry := &half{key: key, have: make(map[target]bool, len(have)), until: now.Add(h.lifetime)}
	for _, to := range have {
		entry.have[to] = true
	}
	h.byKey[key] = h.oldest.PushBack(entry)
	for e := h.oldest.Front(); e != nil && (h.oldest.Len() > h.capacity || now.After(e.Value.(*half).until)); e = h.oldest.Front() {
		h.remove(e)
	}
}

// forget drops a message that everybody has.
func (h *halves) forget(key halfKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.byKey[key]; ok {
		h.remove(e)
	}
}

func (h *halves) remove(e *list.Element) {
	delete(h.byKey, e.Value.(*half).key)
	h.oldest.Remove(e)
}
