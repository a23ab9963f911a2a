// Package pop3 serves INBOX by POP3 (RFC 1939) with the extension mechanism of RFC 2449, to clients that take mail away and to those that look for
// what is new. It stands before the same door as IMAP, so both show one mailbox at the same time.
//
// Maildrop: what a session sees is INBOX as it was at the login, messages in order of UID. It holds UIDs and sizes, 12 octets for each message, and never a
// message: RETR and TOP stream. A message that an IMAP session expunges meanwhile keeps its number, and RETR of it is refused.
//
// Unique ids: UIDL shows UIDVALIDITY and UID. Both are facts of the log, so they are the same on every node, after every failover and rebuild.
//
// Deletion: DELE marks a message in this session only. QUIT expunges all that are marked in one transaction, durable before its answer. A session
// that ends in any other way deletes nothing (RFC 1939 section 6).
//
// Flags are left alone: taking a message away is not reading it.
//
// Sizes are those of the stored octets, which are sent as they are. What RFC 1939 section 3 adds on the wire does not count: a dot before each line that begins
// with one, and the line end before the final dot of a message that has none.
//
// Lock: an account has one session at a time (RFC 1939 section 4), on this node. IMAP neither waits for it nor sees it. Two sessions on two
// nodes are safe, since a UID is expunged once; they may hand out a message twice.
package pop3
