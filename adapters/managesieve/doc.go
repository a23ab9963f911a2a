// Package managesieve serves ManageSieve (RFC 5804), by which clients store, check and activate Sieve scripts.
//
// Invariants:
//   - A script that does not compile is never stored: PUTSCRIPT answers NO with line and column, and the script of before stays (section 2.6).
//   - Credentials, and what follows a login, are taken under TLS only, but for loopback where the operator allows it (section 1.2).
//   - Whatever a client sends, the connection is in a known state: an argument that is too long is read away within a bound, and where it is not clear
//     how many octets belong to a command, the connection ends with BYE.
//   - What came in one packet with STARTTLS is never taken for a command inside TLS (section 2.2).
package managesieve
