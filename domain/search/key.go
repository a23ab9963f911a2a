// Package search answers SEARCH (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4, RFC 5032 WITHIN, RFC 6203 FUZZY, RFC 7162 MODSEQ, RFC 8474 EMAILID
// and THREADID, RFC 8514 SAVEDATE): a tree of keys, and its evaluation in stages.
//
// It exists because keys differ in cost by five orders of magnitude. A Query judges a message by as much as the caller has of it and says
// Unknown when that does not suffice:
//
//  1. the account's columns: flags, UIDs, dates, sizes, MODSEQ; nanoseconds, always at hand;
//  2. the message's Summary: addresses, subject, sent date; a row of a view;
//  3. the message's text: other header fields and the body, decoded; a blob.
//
// So most messages never reach the next stage. An index answers Questions for stages 2 and 3 at once, for the messages that it knows (Answers); what
// it cannot answer stays Unknown, so a query gives the same result with and without it. Grams are what such an index keeps of text.
//
// Text is compared as RFC 9051 section 6.4.4 wants: a substring of the decoded text, without regard to case. Both sides are brought to one
// form, compatibility decomposition in upper case, which is i;unicode-casemap (RFC 5051) but for the order of its two steps.
//
// Memory is bounded by a few buffers for each query, whatever the message.
package search

import "github.com/streampost/streampost/domain"

// Key is a search key: one of the types of this package.
type Key interface{ key() }

// All matches every message, None matches no message.
type (
	All  struct{}
	None struct{}
)

// And matches what all its keys match, Or what one of them matches, Not what its key does not match.
type (
	And []Key
	Or  []Key
	Not struct{ Key Key }
)

// Flag matches messages with a flag: `\Seen` or a keyword, in any case.
type Flag struct{ Name string }

// UIDs matches messages by number. Sequence numbers, "$" and \Recent, which only a session knows, arrive as UIDs.
type UIDs struct{ Set domain.UIDSet }

// Newest matches the message with the highest UID of its mailbox, which "*" stands for where no session has resolved it.
type Newest struct{}

// Day counts days since 1 January 1970.
type Day int64

// DayOf gives the UTC day of a time in Unix seconds.
func DayOf(unix int64) Day {
	const day = 24 * 3600
	d := unix / day
	if unix%day < 0 {
		d--
	}
	return Day(d)
}

// Days is the days from From up to but not including To. A zero To has no end, and a From of Ever no beginning.
type Days struct{ From, To Day }

// Ever is a From before all days, and Never a To after them.
const (
	Ever  Day = -1 << 40
	Never Day = 1 << 40
)

func (d Days) has(day Day) bool { return d.From <= day && day < d.To }

// Internal matches INTERNALDATE, Saved SAVEDATE, both as UTC shows them, and Sent the Date field as the sender's clock showed it
// (RFC 9051 section 6.4.4: disregarding time and timezone).
type (
	Internal Days
	Saved    Days
	Sent     Days
)

// Within matches an INTERNALDATE in Unix seconds, From <= date < To (RFC 5032 OLDER and YOUNGER).
type Within struct{ From, To int64 }

// Larger matches messages of more octets, Smaller of fewer.
type (
	Larger  struct{ Octets int64 }
	Smaller struct{ Octets int64 }
)

// Modified matches messages with this MODSEQ or a greater one (RFC 7162 section 3.1.5).
type Modified struct{ Since domain.Tx }

// EmailID and ThreadID match object identifiers (RFC 8474 section 6) of one account, see In.
type (
	EmailID struct {
		Account domain.AccountID
		ID      domain.EmailID
	}
	ThreadID struct {
		Account domain.AccountID
		ID      domain.ThreadID
	}
)

// Address matches a list of addresses of the envelope.
type Address struct {
	In   List
	Text string
}

// List names a list of addresses.
type List uint8

// The lists that SEARCH has keys for.
const (
	From List = iota
	To
	Cc
	Bcc
)

// Subject matches the Subject field.
type Subject struct{ Text string }

// Header matches a field of the message's own header; an empty Text matches all messages that have the field.
type Header struct{ Field, Text string }

// Body matches the text of the body, Text that of the header, of the headers of parts, or of the body.
type (
	Body struct{ Text string }
	Text struct{ Text string }
)

func (All) key()      {}
func (None) key()     {}
func (And) key()      {}
func (Or) key()       {}
func (Not) key()      {}
func (Flag) key()     {}
func (UIDs) key()     {}
func (Newest) key()   {}
func (Internal) key() {}
func (Saved) key()    {}
func (Sent) key()     {}
func (Within) key()   {}
func (Larger) key()   {}
func (Smaller) key()  {}
func (Modified) key() {}
func (EmailID) key()  {}
func (ThreadID) key() {}
func (Address) key()  {}
func (Subject) key()  {}
func (Header) key()   {}
func (Body) key()     {}
func (Text) key()     {}

// Uses reports whether a key of type K is anywhere in the tree.
func Uses[K Key](k Key) bool {
	switch k := k.(type) {
	case And:
		for _, inner := range k {
			if Uses[K](inner) {
				return true
			}
		}
	case Or:
		for _, inner := range k {
			if Uses[K](inner) {
				return true
			}
		}
	case Not:
		return Uses[K](k.Key)
	case Fuzzy:
		if Uses[K](k.Key) {
			return true
		}
	}
	_, is := k.(K)
	return is
}
