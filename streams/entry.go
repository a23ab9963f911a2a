package streams

import (
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Hash is the SHA-256 of an entry's sealed bytes. Each entry carries the Hash of the one before it in its account's log.
type Hash [32]byte

// Position is where an account's log stands: what the next append has to have seen. The zero Position is the empty log.
type Position struct {
	Seq  domain.Seq
	Tx   domain.Tx
	Hash Hash
}

// Entry is one opened transaction as the log holds it.
type Entry struct {
	Account domain.AccountID
	Stream  string
	Seq     domain.Seq
	Tx      domain.Tx
	Hash    Hash // of this entry
	Prev    Hash // of the one before it in the account's log
	// Transaction is nil when Erased: the account's key was destroyed on purpose, so the entry cannot and need not be read. It is nil as well when Closed.
	Transaction *event.Transaction
	Erased      bool
	Closed      bool // it was not opened, because its reader knows what it says (Known)
}

// Known tells up to which position of the stream a reader knows what the entries of an account say. They come closed: their place in the chain is proved,
// and opening them, which takes most of the time of reading, is spared.
type Known map[domain.AccountID]domain.Seq

// Position is where the account's log stands after this entry.
func (e *Entry) Position() Position { return Position{Seq: e.Seq, Tx: e.Tx, Hash: e.Hash} }
