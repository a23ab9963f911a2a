// Package wire reads and writes the tokens of IMAP (RFC 9051 section 9, RFC 3501 section 9) and knows no command.
//
// It exists because everything that a stranger sends to an IMAP server passes here first. The rules that follow are the package's promise:
//
//   - Known state. Whatever a command contains, Decoder.Finish leaves the reader at the first octet of the next one, or says with a
//     *CloseError that the connection must end. The octets of a literal are never read as a command (RFC 7888 section 4).
//   - Bounded. One Limits holds for each command: octets read, octets kept, size of a literal, nesting, number of items. Crossing one is
//     an error of that command; what follows is drained up to a limit of its own, and beyond that the connection ends.
//   - Strict in what frames a command (CRLF, literals, quotes; NUL, bare CR and bare LF are refused), tolerant inside a token.
//   - Errors stick. After the first one every method of a Decoder returns false and every method of an Encoder does nothing, so that a parser
//     is one readable condition and a response needs no check on each line.
//
// A Decoder has two families of methods. The plain ones try: Atom(&s) is false and consumes nothing when something else comes next. The
// Expect ones demand: they record a *SyntaxError. The Encoder appends to one buffer and writes when that is full or when Flush is called;
// Decoder.BeforeRead is the place to call it, since a server that is about to wait for its client has said all it has to say, and pipelined
// commands then share their writes.
//
// Further rules come from RFC 7888 (LITERAL+ and LITERAL-), RFC 3516 and RFC 6855 (literal8 and UTF-8), RFC 5182 ("$").
package wire
