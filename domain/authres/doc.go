// Package authres is what a server finds out about who a message is from, and how it says so: the Authentication-Results field (RFC 8601), which programs behind it
// read instead of asking DNS themselves.
//
// Trust. A reader believes a field by its first word, the name of the server that wrote it. So a server removes from what comes in every field that bears its own name, or
// may bear it to somebody (section 5): Trusted does that. Everything else of a header stays as it is, octet by octet.
//
// The field that Field makes can be read by Parse, whatever the values: what a client chose is quoted, and control characters do not get into it.
package authres
