package door

import (
	"sync"
)

// Watch tells of changes. C gets a token after every change that became durable; tokens coalesce, so the reader compares the state with what
// it last saw. A watched account that is erased gives a token too, and then domain.Erased to every View.
type Watch struct {
	C <-chan struct{}

	token chan struct{}
	close func()
}

// Close ends the watch. It may be called more than once.
func (w *Watch) Close() { w.close() }

// watches is the set of those who want to hear of a ledger. Each costs one slot and never blocks the teller.
type watches struct {
	mu  sync.Mutex
	set map[*Watch]struct{}
}

// add begins a watch, with the channel of another one unless that is nil; closed is called once when it ends.
func (ws *watches) add(other *Watch, closed func()) *Watch {
	token := make(chan struct{}, 1)
	if other != nil {
		token = other.token
	}
	w := &Watch{C: token, token: token}
	w.close = sync.OnceFunc(func() {
		ws.mu.Lock()
		delete(ws.set, w)
		ws.mu.Unlock()
		closed()
	})
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.set == nil {
		ws.set = map[*Watch]struct{}{}
	}
	ws.set[w] = struct{}{}
	return w
}

// tell leaves a token with everybody who has none.
func (ws *watches) tell() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.set {
		select {
		case w.token <- struct{}{}:
		default:
		}
	}
}
