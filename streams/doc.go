// Package streams is the log of record: one encrypted, hash-chained sequence of transactions for each account, kept in NATS JetStream.
//
// Everything that Streampost knows is a fold of this log. The package appends to it with optimistic concurrency, reads it in order, holds
// the keys that open it, and proves that it is whole.
//
// Topology. Accounts are hashed onto a fixed number of streams, ACCOUNTS_0 and up, each account being one subject of its stream. The
// directory is the stream DIRECTORY, the tasks of all nodes are the stream TASKS. Keys are in the stream KEYS. The number of streams is
// recorded in the streams themselves and cannot change; a contradiction stops Open.
//
// Ordering. Append carries the Position that the writer has seen; the server refuses it if the account's log stands elsewhere. So two
// writers cannot both append, wherever they run, and no lock is needed. Tx is dense from 1 and each entry names the hash of the one before.
//
// Durability. Append returns a Position when the entry is on disk, and readers are never shown an entry that is not. Where the server does
// not sync by itself (Config.Syncer), one goroutine for each stream publishes all appends that wait, syncs once, and releases them; the
// next ones gather meanwhile. After a sync has failed the stream refuses appends until the process starts afresh.
//
// Unknown outcomes. An append whose acknowledgement is lost is looked up in the log and repeated with the same message id and
// expectation until it is known whether it is there, within Limits.Settle.
//
// Secrecy. Transactions are sealed with XChaCha20-Poly1305 under a key for each account, bound to the account, its Tx and the entry before.
// Account keys are wrapped by a master key outside the log, which Rotate replaces. Erase destroys an account's key, and with it all that
// the account ever wrote, wherever copies of the log may be.
package streams
