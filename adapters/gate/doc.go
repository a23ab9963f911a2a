// Package gate finds out what there is to know of a client of the port for mail of other servers while it is still greeting, and says what follows (package admission decides).
//
// It asks DNS lists of addresses (RFC 5782), and names of addresses (iprev, RFC 8601 section 2.7.3). It counts how much clients, senders,
// recipients and accounts take in an hour, in buckets of bounded number; nodes of one installation tell each other what was taken, once a second, so that together they let in a little more than one
// would, and none waits for another.
//
// Invariants:
//   - Nobody waits longer than Limits.Time, whatever name servers do, nor longer than a second for what refuses nobody, and no more questions are open at a time than Limits.Open of lists and as many of names: what is not answered then is not known, and what is not known
//     refuses nobody.
//   - All questions about one client are asked at the same time.
//   - What an answer may be is bounded: so many records, so many octets of text. The rest of it is not looked at.
package gate
