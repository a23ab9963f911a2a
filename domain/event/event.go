// Package event holds the facts of which every account's log consists, and their one encoding.
//
// An Event is a past-tense fact, small and never edited. A Transaction is the events of one decision: the unit of append, of atomicity and
// of replication. The encoding is protocol buffers (proto3), described by transaction.proto beside this file; a test decodes what this
// package writes through that description, and golden bytes of every version are decoded in every build.
//
// Invariants:
//   - A fact carries all that its fold needs. UIDs, times, identifiers and counter deltas are decided before the append, so that folding it
//     calls no clock and looks nothing up outside the account's own state.
//   - Events are only added. A field number is never reused, and a meaning never changes.
//   - Reading is strict: an unknown event or field is UnknownError, never a skip, because a skipped fact is a lost one.
package event

// Event is one fact. The set of events is closed: it is the switch in codec.go.
type Event interface {
	// fields walks the event's fields in either direction.
	fields(c *coder)
}

// Transaction is the events of one decision.
type Transaction struct {
	ID     [16]byte `json:"-"`               // random; finds the transaction again when the answer to its append was lost
	At     int64    `json:"at"`              // when it was decided, Unix milliseconds
	Actor  string   `json:"actor,omitempty"` // who asked: "imap:alice@example.org", "lmtp", "admin"
	Events []Event  `json:"-"`
}

// Delta is what an event adds to the counters of a mailbox and to the quota use of its account. It is part of the fact, so that counting
// never reads a message's row.
type Delta struct {
	Messages int64 `json:"messages,omitempty"`
	Unseen   int64 `json:"unseen,omitempty"`  // messages without \Seen
	Deleted  int64 `json:"deleted,omitempty"` // messages with \Deleted
	Bytes    int64 `json:"bytes,omitempty"`
}

// Plus adds two deltas.
func (d Delta) Plus(o Delta) Delta {
	return Delta{d.Messages + o.Messages, d.Unseen + o.Unseen, d.Deleted + o.Deleted, d.Bytes + o.Bytes}
}

// Negate turns an addition into a removal.
func (d Delta) Negate() Delta { return Delta{-d.Messages, -d.Unseen, -d.Deleted, -d.Bytes} }

func (d *Delta) fields(c *coder) {
	c.Sint(1, &d.Messages)
	c.Sint(2, &d.Unseen)
	c.Sint(3, &d.Deleted)
	c.Sint(4, &d.Bytes)
}

// Flags is a set of flags of one message: the five permanent system flags in the low bits, then the account's keywords in the order in which
// KeywordCreated numbered them.
type Flags uint64

// The system flags of RFC 9051 section 2.3.2. \Recent belongs to a session, not to a message.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft

	SystemFlags = 5 // how many bits the system flags take
	MaxKeywords = 64 - SystemFlags
	systemMask  = Flags(1<<SystemFlags - 1)
)

// System keeps the system flags only.
func (f Flags) System() Flags { return f & systemMask }

// KeywordFlag gives the flag of the account's n-th keyword, counted from 0.
func KeywordFlag(n int) Flags { return 1 << (SystemFlags + n) }
