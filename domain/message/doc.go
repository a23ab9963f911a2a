// Package message says what a mail message looks like from outside: its envelope, its MIME tree with the octet offsets of every part, a
// preview, and the keys by which conversations are found (RFC 5322, RFC 2045 to 2047, RFC 2183, RFC 2231, RFC 9051 sections 6.4.5 and 7.5.2).
//
// It exists so that a message is looked at once, while its bytes stream in. What Scanner finds travels in the event, and from then on a
// part is served by a ranged read at the offsets found here; nothing parses the message again.
//
// Invariants:
//   - Any sequence of octets is a message. What is malformed is described as well as can be, never refused.
//   - A Summary depends on the octets only, not on how they were split into writes.
//   - Offsets count stored octets. Every part satisfies Start <= Body <= End, lies inside its parent's body, and siblings neither overlap nor
//     change order.
//   - Memory is bounded by the limits below, whatever the message.
//   - Text of the header is kept as written (unfolded, encoded words and all); only a structured field's syntax is resolved. No kept string
//     holds NUL, CR or LF.
package message

// The limits of what is kept of one message. What lies beyond them is still stored and served; it is only not described.
const (
	// MaxDepth is how deeply parts nest. A multipart or embedded message at this depth is described without what is inside it.
	MaxDepth = 100
	// MaxParts is how many parts a message has. The rest belongs to the last of them.
	MaxParts = 1000

	maxField     = 64 << 10  // octets of one unfolded field
	maxKept      = 512 << 10 // octets of all fields kept of one message
	maxAddresses = 4096      // addresses of all fields of one message
	maxParams    = 256       // parameters of one field, counting each section of RFC 2231 section 3
	maxBoundary  = 512       // octets of a multipart's boundary; RFC 2046 section 5.1.1 allows 70
	maxDelimiter = 1024      // octets of a line that can be a delimiter, padding included
	maxSample    = 16 << 10  // octets of body kept for the preview
	maxPreview   = 200       // characters of the preview, RFC 8970 section 3.1
	maxKeys      = 8         // thread keys
)
