// Package smtp takes mail in: from other servers (MX, RFC 5321), from users (submission, RFC 6409) and from a mail server that has done its own
// checks (LMTP, RFC 2033). The dialogue is go-smtp's; what this package decides is who may send what to whom, and when a 250 is true.
//
// Invariants:
//   - 250 means durable: the message's bytes and the transaction of every account that it names are on disk before the answer goes out.
//   - There is no open relay. A recipient is a local address or it is refused, on every listener but submission. Mail leaves from the others only where the
//     directory's mappings send it on, and to senders whom this server has rewritten (packages rewriting and srs).
//   - A transaction's bytes are stored once, whatever the number of recipients: the fields that are added on top (Return-Path and one Received)
//     are the same for all of them. For that reason there is no Delivered-To but in what is sent on, where the queue adds it.
//   - A message ends at CRLF.CRLF and nowhere else, and one with any other CR or LF is refused, so nothing can be smuggled (RFC 5321 section 2.3.8).
//     The same is true of command lines: one with another CR or LF is refused up to its CRLF.
//   - A message is never in memory as a whole, unless it is small. One that comes by MX and is to be verified, or looked at by a filter, waits in a spool until its last octet is here.
//   - What a client learns about an error comes from one table, see answer; it never sees an inner error.
//
// Several recipients, one answer. SMTP has one answer for all recipients, so what would fail is found out at RCPT: unknown addresses and full
// quotas. If a delivery fails all the same after others succeeded, because the message is larger than was declared, the answer is 451 and the client
// sends again. Accounts that have the message already are remembered for a while, in memory, and get no second copy; those that failed are put off with
// 452 at RCPT once, so that the client sends to them alone (RFC 5321 section 4.5.3.1.10) and learns what became of each, for good or for now. A permanent refusal of all
// would lose the mail of the one, a 250 too, and 451 for ever would end in a bounce for everybody. A recipient that mappings lead to several mailboxes is one recipient
// to the client: what cannot be added to one of them is left to the queue, which tries again and tells the sender when it gives up. LMTP has an answer for each recipient and needs none of this.
//
// Extensions: SIZE (RFC 1870), PIPELINING (RFC 2920), 8BITMIME (RFC 6152), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING (RFC 3030), STARTTLS
// (RFC 3207), AUTH (RFC 4954), SMTPUTF8 (RFC 6531), LIMITS (RFC 9422). BINARYMIME is off, since stored messages have lines; DELIVERBY and MT-PRIORITY are
// off, because go-smtp reads them on the wrong command.
package smtp
