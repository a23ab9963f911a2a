package door

import (
	"strings"
	"sync/atomic"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// txn is a transaction on its way into the log.
type txn struct {
	tx      domain.Tx
	events  []event.Event
	actor   string
	size    int         // octets of the encoded events, counted while it is open
	sealed  atomic.Bool // somebody saw it: no more events
	started chan struct{}
	done    chan struct{}
	err     error // valid once done is closed
}

func newTxn(tx domain.Tx, actor string) *txn {
	return &txn{tx: tx, actor: actor, started: make(chan struct{}), done: make(chan struct{})}
}

// admits says whether an open transaction has room for the events of one more command.
func (t *txn) admits(actor string, events, size int, limits Limits) bool {
	return len(t.events)+events <= limits.TransactionEvents &&
		t.size+size <= limits.TransactionBytes &&
		len(joinActors(t.actor, actor)) <= limits.ActorBytes
}

// joinActors names an actor among those of a transaction that several commands share.
func joinActors(actors, actor string) string {
	if actors == "" {
		return actor
	}
	for one := range strings.SplitSeq(actors, ", ") {
		if one == actor {
			return actors
		}
	}
	return actors + ", " + actor
}
