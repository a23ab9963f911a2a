package streams

import (
	"fmt"

	"github.com/streampost/streampost/domain"
)

// chain follows the accounts of a stream: each entry's Tx is one more than the one before, whose hash it names.
type chain struct {
	fromStart bool // whether every entry is seen, so that each account's first one must be transaction 1
	at        map[domain.AccountID]link
}

type link struct {
	tx   domain.Tx
	hash Hash
}

func newChain(fromStart bool) *chain {
	return &chain{fromStart: fromStart, at: map[domain.AccountID]link{}}
}

// check adds an entry and tells what is wrong with it, or nil. After a broken link the chain goes on from there.
func (c *chain) check(o *openedEntry) *Finding {
	last, seen := c.at[o.Account]
	f := &Finding{Stream: o.Stream, Account: o.Account, Seq: o.Seq, Tx: last.tx + 1}
	if !seen && !c.fromStart {
		f.Tx = o.Tx
	}
	switch {
	case o.wrong != "" && o.Tx == 0: // not even a header
		f.What = o.wrong
		if seen || c.fromStart {
			c.at[o.Account] = link{f.Tx, o.Hash}
		}
		return f
	case (seen || c.fromStart) && o.Tx <= last.tx:
		f.What = fmt.Sprintf("transaction %d is here again where %d should be", o.Tx, f.Tx)
		return f // the log stands where it stood
	case (seen || c.fromStart) && o.Tx != f.Tx:
		f.What = fmt.Sprintf("transaction %d is here where %d should be", o.Tx, f.Tx)
	case (seen || c.fromStart) && o.Prev != last.hash, (o.Tx == 1) != (o.Prev == Hash{}):
		f.What = "it does not follow the entry before it: their hashes differ"
	case o.wrong != "":
		f.What = o.wrong
	default:
		f = nil
	}
	c.at[o.Account] = link{o.Tx, o.Hash}
	return f
}
