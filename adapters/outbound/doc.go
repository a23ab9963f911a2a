// Package outbound hands messages to other servers: it finds out which, and speaks SMTP with them as a client (RFC 5321).
//
// Invariants:
//   - Every answer is bounded in octets, lines and time (RFC 5321 section 4.5.3.2), and so is the whole attempt, by the caller's context.
//   - Each recipient has an outcome of its own. What cannot be told for good, such as a connection that breaks, is "later".
//   - After the last octet of a message was sent, only an answer says what became of it. Without one the outcome is "later", and the peer may have it.
//   - A session is used again only if the peer's last answer was the expected one.
//   - Passwords are sent inside TLS only.
//   - A host that does not meet what the domain demands, by DANE (RFC 7672) or MTA-STS (RFC 8461), or what the sender does (RFC 8689), gets no message: the recipients wait.
//
// Extensions that are used where they are offered: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461),
// CHUNKING (RFC 3030), STARTTLS (RFC 3207), ENHANCEDSTATUSCODES (RFC 2034), AUTH (RFC 4954). A message with octets outside ASCII goes as it is to a server
// without 8BITMIME: those that would mind have been gone for long.
//
// The resolver, the dialer, the clock of deadlines aside, and the shuffling of hosts are injected.
package outbound
