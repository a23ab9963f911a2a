// Package delivery is what a mail server does to a message at its door, without the door: addresses of the envelope, the mailbox that an address
// leads to, the trace fields that final delivery adds, and the checks of the bytes themselves (RFC 5321, RFC 6531, RFC 5233, RFC 6409).
//
// Addresses. Address holds a mailbox without quoting; String and Path quote again where the grammar wants it. Key is the form for lookups: lower
// case, NFC, and the domain with A-labels turned into U-labels, so that one mailbox has one key however a client spells it.
//
// Bytes. Reader hands a message on as it came and refuses what is dangerous: a line end that is not CRLF, which is how a
// message is smuggled into another server's session, a header that is too big, a message that has been round too often. It only adds
// fields in front: a Return-Path that an earlier final delivery left stays, as RFC 5321 section 4.4 allows, so that a message comes out as it
// went in.
package delivery
