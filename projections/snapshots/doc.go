// Package snapshots keeps, for each account with a long log, all its rows as they once were, so that a node without them need not fold the log from its
// beginning: it takes the rows of the snapshot and folds what came after.
//
// A snapshot is made of the projections in lock-step whose rows belong to accounts, all at one position of the stream. It lies in a blob.Bucket of its own, one
// for each account; a newer one replaces it in one step:
//
//	name    HMAC-SHA-256(installation's secret, account), so that it can be found and removed when the account's key is gone
//	prelude "SPS" 2 | salt (32) | length of the account's id (1) | account's id
//	body    sealed by package blob (DARE 2.0, AES-256-GCM) under HMAC-SHA-256(account's secret, prelude), of
//	header  length | what Header says, and the columns of every table
//	chunks  zstd (RFC 8878) of: table+1 | rows | octets | that many octets of values; after the last: 0 | the number of rows of each table
//
// The header has the digest that each view kept of the rows, so that a copy need not count them and a row that was changed behind the projector's back is found
// in the copy, too.
//
// All numbers are unsigned varints, values are in codec.go. Chunks of all projections take turns, so that their rows can be written at the same time.
//
// Invariants:
//   - Nothing depends on a snapshot: whatever is wrong with it, the log is folded instead. Deleting all of them harms nothing.
//   - A snapshot of another format is refused, and replaced in time: nobody reads two.
//   - What is read is authentic. A shortened, altered or exchanged file is domain.Corrupt, never fewer rows.
//   - A snapshot opens with the account's key only. It is removed when the account is erased; a copy of it that stayed somewhere cannot be opened.
//   - A snapshot names the entry of the log that it follows on, by position, transaction and hash, and is refused by a log that does not have it.
package snapshots
