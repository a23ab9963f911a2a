// Package natsd gives the log its NATS: a server embedded in this process, or a connection to an existing one.
//
// It exists because JetStream acknowledges a message when the kernel has it, not when the disk has it: its default is to sync every two
// minutes. Streampost answers 250 or OK only for what is on disk, so this package adds the missing half: Server.Sync makes all that a
// stream has acknowledged durable, once for as many appends as have gathered (a group commit; package streams decides when).
//
// Durability. The server writes each message into the stream's last block file before it acknowledges it. Sync therefore finds the block
// files that grew or appeared, calls fdatasync on each, and fsync on the directory when a file is new there. The first Sync of a stream
// makes everything durable that makes the stream exist: its meta files and all directories above it. A failed sync is final for the
// stream until the process starts afresh: the kernel forgets the pages that it could not write, so a second attempt would lie.
//
// Damage. After each Sync the log's owner may leave a mark, the last acknowledged sequence, outside the server's own files. A server that
// recovers less than the mark has lost acknowledged entries, which JetStream itself does not notice. A stream whose directory exists but
// that the server could not load stops the start, lest an empty one be created in its place.
//
// Locking. One process owns a log directory: it holds a lock on the file "lock" in it for as long as it lives.
package natsd
