// Package queue keeps the records of mail on its way, and of parked mail, in a stream of JetStream, and the state that they fold to (domain/queue).
//
// The stream QUEUE_<name> has one subject. A message of it holds the records of one or more appends that waited together, sealed. It is written at its end and
// cut at its beginning, and nothing in between is ever removed, so that its sequences are dense: a hole is damage.
//
// Ordering. Whatever this or another node appends comes back through one reader, which folds it. Append returns when that has happened, so whoever
// appends sees what became of it. The reader folds nothing that is not durable.
//
// Cutting. Cut writes anew the entries that lie at the beginning. Such a record is the first that somebody sees of an entry who reads from there, so it must say all that
// the records before it have done: it is published with the sequence up to which it was folded as the expected last one (Nats-Expected-Last-Sequence), so that none
// comes between. Claims are not written anew, so entries that are being attempted stay where they are, with their claims behind them, and the stream is cut before the first of them. For who
// knows the entry, the record only tells where it now is.
//
// Durability. Where the server does not sync by itself (Config.Syncer), one goroutine publishes what waits, syncs once, and releases. An append without an
// answer is repeated with the same message id, which the server stores once, until its outcome is known or Limits.Settle is over; then nobody knows.
//
// Handing out. A Router has a handler of Watermill go on with the entries of the spool, each claimed first, and so by one process at a time (Subscriber). It is not an acknowledged message of a stream, because what
// becomes of an entry, and that it leaves the spool, have to be one append.
//
// Secrecy. Messages are sealed with XChaCha20-Poly1305 under a secret of the installation; associated data is the stream's name.
package queue
