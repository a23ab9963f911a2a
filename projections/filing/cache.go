package filing

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"github.com/streampost/streampost/domain/sieve"
)

// The bounds of the compiled scripts that are kept, whichever is reached first.
const (
	cachedScripts = 1000
	cachedOctets  = 64 << 20 // of memory
)

// cache keeps compiled scripts by the hash of their source, those used last.
type cache struct {
	mu     sync.Mutex
	all    map[[sha256.Size]byte]*list.Element
	order  list.List // of *compiled, most recently used first
	octets int
}

type compiled struct {
	key    [sha256.Size]byte
	octets int
	script *sieve.Script
	err    error
}

// compile gives what a source compiles to.
func (c *cache) compile(source string) (*sieve.Script, error) {
	key := sha256.Sum256([]byte(source))
	c.mu.Lock()
	if place := c.all[key]; place != nil {
		c.order.MoveToFront(place)
		found := place.Value.(*compiled)
		c.mu.Unlock()
		return found.script, found.err
	}
	c.mu.Unlock()
	made := &compiled{key: key, octets: len(source)}
	if made.script, made.err = sieve.Compile(source); made.err == nil {
		made.octets = made.script.Size
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[[sha256.Size]byte]*list.Element{}
	}
	if c.all[key] == nil {
		c.all[key] = c.order.PushFront(made)
		c.octets += made.octets
	}
	for c.order.Len() > cachedScripts || c.octets > cachedOctets {
		oldest := c.order.Remove(c.order.Back()).(*compiled)
		delete(c.all, oldest.key)
		c.octets -= oldest.octets
	}
	return made.script, made.err
}
