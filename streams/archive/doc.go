// Package archive keeps a copy of the log in a bucket, outside of JetStream: every transaction of every account as it is in its stream, sealed and chained,
// within seconds. From it an empty log is rebuilt, to a point in time if wanted, and a reader takes what a stream has lost.
//
// What lies there, all sealed by package blob (DARE 2.0, AES-256-GCM) but for the root:
//
//	root     one, under a well-known name: the record of the archive's own secret, wrapped by the master key as in KEYS, the number of shards, and the
//	         generations, which are the histories that restores began
//	key      one for each record of KEYS: account keys and secrets, wrapped by the master key as they are there
//	segment  one for each account and range of its transactions
//	cursor   one for each stream: up to which sequence everything is in segments; and one that says since when a generation is complete
//
// Names are HMAC-SHA-256(name key, what it is), so they tell nothing, and a segment is found by its account and first transaction: the next one of the account
// begins where this one ends. An account's segments therefore need no index, and "what is archived" is one cursor for each stream.
//
// Invariants:
//   - Order. A cursor is written after all segments up to it. At every cursor that was written a segment of each account ends, and merging never crosses one. So
//     whoever goes on from a cursor, after a crash or on another node, writes segments that replace what was written beyond it and continue the chain.
//   - What is read is authentic: every object is sealed, each transaction names the hash of the one before, and each opens with its account's key only.
//   - Erasure. A key's object is replaced as soon as the key is destroyed, so no copy of the log that this archive can give opens what the account wrote. The
//     segments are deleted, at once where somebody can, else by Collect.
//   - The archive depends on the master key, which is not in it.
//   - One writer at a time: see Turn. Two would do no harm that Verify does not find and Mend does not repair, as long as the log is there.
package archive
