// Package imap serves IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051) on a protocol layer of its own, so that every extension is one file which
// registers its commands and its capabilities, and so that nothing on the wire is decided elsewhere.
//
// Ordering: commands of a connection run one after the other, in the order in which they came. Answers leave when the server would otherwise
// wait for input, so pipelined commands share writes.
//
// Session view: a session keeps the UIDs that its client knows (sequence number i is uids[i-1]) and the Tx up to which the client knows the
// flags. There is no queue of updates: at each point where RFC 9051 section 7.5.1 allows it, the session compares its view with the
// account's state and sends the difference. A client that never reads therefore costs one connection with a bounded buffer, which its write
// deadline ends, and never holds up anybody else.
//
// Synchronisation: selected.told is the mod-sequence up to which the client knows everything (RFC 7162). It stands still while an expunge waits, and
// the client is reminded of it after every answer that shows a higher one.
//
// Selected mailbox: a mailbox that is renamed stays selected. When it is deleted, its messages are announced as expunged at the next allowed
// point, and the session goes on with an empty mailbox, in which a change answers NO [NONEXISTENT], until the client selects another. Of what
// RFC 2180 section 3 describes, this surprises clients least, because nothing in it ends the connection.
//
// Locking: a session is owned by its connection's goroutine. IDLE, and waiting for a command after NOTIFY, lend the input,
// and nothing else, to a second one; a timer that says that a change still runs writes while the first one waits (conn.waiting). State is read inside
// door.Accounts.View, copied out, and written to the network after it.
package imap
