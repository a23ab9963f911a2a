package delivery

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Trace is what a Received field tells (RFC 5321 section 4.4).
type Trace struct {
	Helo     string // what the client called itself
	Address  string // its IP address as text; empty for a Unix socket
	Login    string // the authenticated user, if any
	Hostname string // this server
	Protocol Protocol
	ID       string  // names this transfer in the log
	For      Address // the recipient, if there was only one: several would tell of each other (RFC 5321 section 7.2)
	Cipher   string  // the TLS cipher suite, if any
	Time     time.Time
}

// Protocol composes the "with" of a Received field.
type Protocol struct {
	Basic bool // the client said HELO
	LMTP  bool
	UTF8  bool // the transaction uses SMTPUTF8
	TLS   bool
	Auth  bool
}

// String gives the keyword of RFC 3848, or of RFC 6531 section 4.3 for SMTPUTF8.
func (p Protocol) String() string {
	name := "ESMTP"
	switch {
	case p.UTF8 && p.LMTP:
		name = "UTF8LMTP"
	case p.UTF8:
		name = "UTF8SMTP"
	case p.LMTP:
		name = "LMTP"
	case p.Basic:
		return "SMTP" // RFC 3848 has the letters for ESMTP only
	}
	if p.TLS {
		name += "S"
	}
	if p.Auth {
		name += "A"
	}
	return name
}

// Received makes the field, folded, with its last CRLF. Whatever the client chose is reduced to what the grammar allows.
func (t Trace) Received() string {
	var b strings.Builder
	b.WriteString("Received: from ")
	b.WriteString(t.from())
	if t.Login != "" {
		b.WriteString("\r\n\t(authenticated as ")
		b.WriteString(comment(t.Login))
		b.WriteByte(')')
	}
	b.WriteString("\r\n\tby ")
	b.WriteString(t.Hostname)
	b.WriteString(" with ")
	b.WriteString(t.Protocol.String())
	b.WriteString(" id ")
	b.WriteString(t.ID)
	if !t.For.IsNull() {
		b.WriteString("\r\n\tfor ")
		b.WriteString(t.For.Path())
	}
	if t.Cipher != "" { // RFC 8314 section 4.3.
		b.WriteString("\r\n\ttls ")
		b.WriteString(t.Cipher)
	}
	b.WriteString(";\r\n\t")
	b.WriteString(Date(t.Time))
	b.WriteString("\r\n")
	return b.String()
}

// from is the Extended-Domain: what the client said, and in brackets where it really is.
func (t Trace) from() string {
	said := t.Helo
	if !IsDomain(said) && !isLiteral(said) {
		said = "unknown"
	}
	if t.Address == "" {
		return said
	}
	literal := "[" + t.Address + "]"
	if strings.Contains(t.Address, ":") {
		literal = "[IPv6:" + t.Address + "]"
	}
	return said + " (" + literal + ")"
}

// comment makes text fit to stand in the parentheses of RFC 5322 section 3.2.2.
func comment(s string) string {
	if !utf8.ValidString(s) {
		return "?"
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) || r == '(' || r == ')' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}

// ReturnPath makes the field that final delivery puts on top (RFC 5321 section 4.4).
func ReturnPath(sender Address) string { return "Return-Path: " + sender.Path() + "\r\n" }

// DeliveredTo makes the field that marks a message as having been sent on for an address, so that a loop between servers shows.
func DeliveredTo(a Address) string { return "Delivered-To: " + a.String() + "\r\n" }

// Date is the date-time of RFC 5322 section 3.3.
func Date(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }
