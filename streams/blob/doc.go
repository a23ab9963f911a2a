// Package blob keeps the octets of messages: sealed, named by their content, and stored once however many accounts have them.
//
// A stored blob is the message encrypted in packages of 64 KiB that can be read one by one (DARE 2.0 with AES-256-GCM, github.com/minio/sio),
// followed by a trailer that holds the key of this encryption, wrapped by the blob's key:
//
//	blob id  = HMAC-SHA-256(name key, SHA-256(message))   the name in the bucket
//	blob key = HMAC-SHA-256(wrap key, SHA-256(message))   in the event, sealed with the account's key
//	trailer  = "SPB" 1 | size (8 octets) | nonce (12) | AES-256-GCM(blob key, stream key) | tag (16)
//
// The name key and the wrap key derive from the installation's secret. The stream key is random, because encryption begins before the
// message's hash is known; messages larger than memory stream through.
//
// Invariants:
//   - A blob is durable when Put returns, which is before any event names it.
//   - The same message gives the same reference, whoever stores it. Put always writes and replaces, so storing a message anew heals a blob
//     that was damaged, for everybody who refers to it.
//   - Without the reference, a blob opens only for those who have the installation's secret and the message itself. Destroying an account's
//     key destroys its references and so closes its blobs; what another account also has stays open to that account.
//   - No account can tell from an answer whether another one has a message: storing costs the same.
//   - What is read is authentic. A missing, shortened, altered or exchanged blob is an error, never a short or empty message.
package blob
