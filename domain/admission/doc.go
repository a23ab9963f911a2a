// Package admission decides who may bring mail, before any octet of a message is here: what lists of addresses in DNS say of a client (RFC 5782), what its names are like
// (RFC 8601 section 2.7.3), how much somebody takes in an hour,
// and who is new (greylisting, RFC 6647).
//
// It exists because what is refused later is stored, looked through and perhaps bounced to somebody who never wrote it. What is refused here is refused by SMTP itself, with a code that says
// why (RFC 3463), and the client's own server tells its user.
//
// Invariants:
//   - What cannot be found out now refuses nothing: who asks DNS or a store gives what was found, and nothing is found where nobody answers.
//   - A scale from 0 to 100 is the same for all lists: the sum of what speaks against a client refuses it from RefuseAt on, and has its mail filed as junk from JunkAt on.
//   - Texts of others that get into a reply are one line of printable ASCII of bounded length.
//   - Nothing here asks a clock, DNS or a store: times and answers are arguments. Addresses are 4 or 16 octets.
package admission
