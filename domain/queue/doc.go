// Package queue is mail on its way to other servers: what an entry of the queue is, what may happen to it, and what follows from the answers of a peer
// (RFC 5321 sections 4.2 and 4.5.4). It knows no clock, no network and no stream.
//
// State is the fold of the queue's records. Invariants:
//   - The same records in the same order give the same State on every node. So what two nodes want at the same time is decided by which
//     record comes first, and no lock is needed: a claim counts if the entry is free by then, and lies on the queue where it was seen.
//   - Entries lie on shelves: the queue of outgoing mail, the spool of mail that is to be processed, and repositories, where mail is parked until an operator says what shall become
//     of it. An entry lies on one shelf, and one record takes it to another.
//   - An entry leaves only by a record that says so: its last recipient has a final answer, or an operator removed it.
//   - While a claim holds, the result of another process does not count.
//
// Memory. State keeps what lists and schedules need: addresses, due time, last error. The whole Entry is where its record lies, see Place.
//
// Decide is the other half: which recipients are done, which wait and until when, and whom to tell (RFC 3461).
package queue
