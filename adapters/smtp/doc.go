// Package smtp takes mail in: from other servers (MX, RFC 5321), from users (submission, RFC 6409) and from a mail server that has done its own
// checks (LMTP, RFC 2033). The dialogue is go-smtp's; what this package decides is who may send what to whom, and when a 250 is true.
//
// Invariants:
//   - 250 means durable: the message's bytes and the transaction of every account that it names are on disk before the answer goes out.
//   - There is no open relay. A recipient is a local address or it is refused, on every listener.
//   - A transaction's bytes are stored once, whatever the number of recipients: the fields that are added on top (Return-Path and one Received)
//     are the same for all of them. For that reason there is no Delivered-To.
//   - A message ends at CRLF.CRLF and nowhere else, and one with any other CR or LF is refused, so nothing can be smuggled (RFC 5321 section 2.3.8).
//   - A message is never in memory as a whole.
//   - What a client learns about an error comes from one table, see answer; it never sees an inner error.
//
// Several recipients, one answer. SMTP has one answer for all recipients, so what would fail is found out at RCPT: unknown addresses and full
// quotas. If a delivery fails all the same after others succeeded, the answer is 451 and the client sends again; accounts that have the message
// already are remembered for a while, in memory, and get no second copy. A permanent refusal would lose the mail of the one, a
// 250 too, and a bare 451 would give the others duplicates. LMTP has an answer for each recipient and needs none of this.
//
// Extensions: SIZE (RFC 1870), PIPELINING (RFC 2920), 8BITMIME (RFC 6152), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING (RFC 3030), STARTTLS
// (RFC 3207), AUTH (RFC 4954), SMTPUTF8 (RFC 6531), LIMITS (RFC 9422). BINARYMIME is off, since stored messages have lines; DELIVERBY and MT-PRIORITY are
// off, because go-smtp reads them on the wrong command.
package smtp
