// Package dmarc decides whether the domain that a message shows as its author stands behind it (RFC 7489): whether one of the domains that SPF or DKIM vouches for is that domain,
// and what its owner wants to be done where none is.
//
// It asks nobody. Records and the results of SPF and DKIM are given to it, and so is the way from a domain to its organizational domain, which a public list of suffixes
// shows (section 3.2).
package dmarc
