// Package outgoing takes mail for other servers into the queue, has it attempted when it is due, and reports to its senders.
//
// Every node has one Worker. They need not know each other: an entry is attempted by whose claim came first in the queue's stream (streams/queue), and each
// leaves alone for a while what others took in.
//
// Invariants:
//   - Nothing is sent before the claim on it is durable, so that after a crash it is known what may have been sent.
//   - A message is signed once, when it is accepted, and every attempt sends the same octets.
//   - What became of the recipients and the reports about it are one append: a report is neither lost nor made twice.
//   - A destination has at most Limits.PerDestination attempts at a time, all together Limits.Connections. One where no host could be reached rests, and
//     what else was due there shares the outcome.
//   - A report goes to a sender that is not null, and has the null sender itself (RFC 5321 section 6.1), so no report is about a report.
//   - A Result that cannot be appended is offered again for as long as the process lives.
package outgoing
