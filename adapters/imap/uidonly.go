package imap

import "github.com/streampost/streampost/adapters/imap/wire"

// UIDONLY (RFC 9586): messages have UIDs and no numbers. Answers say UIDFETCH and VANISHED instead of FETCH and EXPUNGE, and commands that speak of
// numbers, or whose answers would, are refused.

func init() {
	forgets = append(forgets, func(c *conn) { c.uidonly = false })
	advertise("UIDONLY", whenAuthenticated)
	enablable["UIDONLY"] = feature{"UIDONLY", func(c *conn) { c.uidonly = true }}
}

// needsUIDs reports whether a command without UID speaks of numbers. EXPUNGE names none and is answered with VANISHED.
func (c *conn) needsUIDs(known *spec) bool { return c.uidonly && known.uid && known.name != "EXPUNGE" }

// uidRequired refuses message numbers (RFC 9586 section 3).
func uidRequired() error {
	return &wire.SyntaxError{Code: "UIDREQUIRED", Text: "after ENABLE UIDONLY messages have no numbers"}
}
