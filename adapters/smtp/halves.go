package smtp

import (
	"container/list"
	"crypto/sha256"
	"slices"
	"sync"
	"time"
)

// halves remembers messages that some of their recipients have and others not, until the client has sent them again. When it does, each target that
// failed is put off once, at RCPT: so the others are done with, and it gets an answer of its own afterwards. It is memory only: after a restart the
// client's next try gives those who have the message a second copy.
type halves struct {
	capacity int
	lifetime time.Duration

	mu     sync.Mutex
	byKey  map[halfKey]*list.Element
	oldest list.List // of *half

	targets int // of all of them
}

// halfKey recognises a message that is sent again: same sender, same octets.
type halfKey struct {
	sender string
	digest [sha256.Size]byte
}

type half struct {
	key   halfKey
	have  map[target]bool
	apart map[target]bool // failed, and not yet put off
	until time.Time

	counted int // of halves.targets
}

// size is how many targets it has now, as it is counted from now on.
func (e *half) size() int {
	e.counted = len(e.have) + len(e.apart)
	return e.counted
}

// maxRemembered bounds the targets of all messages that are remembered: groups have thousands.
const maxRemembered = 200_000

func newHalves(capacity int, lifetime time.Duration) *halves {
	return &halves{capacity: capacity, lifetime: lifetime, byKey: map[halfKey]*list.Element{}}
}

func (h *halves) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byKey) == 0
}

// has reports whether all of some targets have the message already.
func (h *halves) has(key halfKey, targets ...target) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.byKey[key]
	return ok && !slices.ContainsFunc(targets, func(to target) bool { return !e.Value.(*half).have[to] })
}

// putOff gives those of some targets of a sender that have failed beside others and shall come alone. It says so once: a client that sends to nobody else gets through.
// Which message comes is not known at RCPT, so another one of the same sender may be put off in its place; that costs either a try, and no more.
func (h *halves) putOff(sender string, targets []target) (found []target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.oldest.Len() == 0 {
		return nil
	}
	wanted := make(map[target]bool, len(targets))
	for _, to := range targets {
		wanted[to] = true
	}
	for e := h.oldest.Front(); e != nil; e = e.Next() {
		entry := e.Value.(*half)
		if entry.key.sender != sender {
			continue
		}
		for to := range entry.apart {
			if wanted[to] {
				delete(entry.apart, to)
				found = append(found, to)
			}
		}
	}
	return found
}

// remember notes more targets that have a message and that failed, and drops what is too old or too much.
func (h *halves) remember(key halfKey, have, failed []target, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	entry := &half{key: key, have: map[target]bool{}, apart: map[target]bool{}}
	if e, ok := h.byKey[key]; ok {
		entry = e.Value.(*half)
		h.remove(e)
	}
	entry.until = now.Add(h.lifetime)
	for _, to := range failed {
		entry.apart[to] = true
	}
	for _, to := range have {
		entry.have[to] = true
	}
	for to := range entry.have {
		delete(entry.apart, to)
	}
	h.byKey[key] = h.oldest.PushBack(entry)
	h.targets += entry.size()
	for e := h.oldest.Front(); e != nil && (h.oldest.Len() > h.capacity || h.targets > maxRemembered || now.After(e.Value.(*half).until)); e = h.oldest.Front() {
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
	h.targets -= e.Value.(*half).counted
	delete(h.byKey, e.Value.(*half).key)
	h.oldest.Remove(e)
}
