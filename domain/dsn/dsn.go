// Package dsn writes delivery status notifications: the message by which a sender learns that mail was not delivered, takes its time, or was
// handed on (RFC 3461, RFC 3464, RFC 6522; RFC 6533 where the transaction used SMTPUTF8).
//
// Whatever a peer or a sender chose, such as the text of a reply or an original recipient, is reduced to one line of what its field may hold, so that it can
// add neither a field nor a part.
package dsn

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
)

// Notice is what a notification is made of.
type Notice struct {
	Host     string // this server
	ID       string // unlike that of any other notice: letters and digits
	Now      time.Time
	Entry    *queue.Entry
	Report   queue.Report
	Original []byte // of the message: all of it, or its header
	Whole    bool   // it is all of it
}

// Limits of what is repeated of others, in octets.
const (
	maxText    = 600
	maxAddress = 400
)

// MessageID is the notification's own.
func (n *Notice) MessageID() string { return "<" + n.ID + ".dsn@" + n.Host + ">" }

// Message writes the notification.
func (n *Notice) Message() []byte {
	var b bytes.Buffer
	boundary := "=_" + n.ID + "=_"
	field := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	kind := words[n.Report.Action]
	field("From", "Mail Delivery System <MAILER-DAEMON@"+n.Host+">")
	field("To", "<"+n.Entry.Sender+">")
	field("Subject", kind.subject)
	field("Date", delivery.Date(n.Now))
	field("Message-ID", n.MessageID())
	if id := one(n.Entry.MessageID, maxAddress, true); id != "" {
		field("In-Reply-To", id)
		field("References", id)
	}
	field("Auto-Submitted", "auto-replied") // RFC 3834 section 5.
	field("MIME-Version", "1.0")
	field("Content-Type", "multipart/report; report-type=delivery-status;\r\n\tboundary=\""+boundary+"\"")
	status := n.status()
	text := n.text(kind)
	if n.eightBit(status, text) {
		field("Content-Transfer-Encoding", "8bit")
	}
	part := func(kind string, content []byte) {
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\n", boundary, kind)
		if !ascii(content) {
			b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
		}
		b.WriteString("\r\n")
		b.Write(content)
	}
	part("text/plain; charset=utf-8", text)
	part(n.kind("message/delivery-status", "message/global-delivery-status"), status)
	switch {
	case n.Whole:
		part(n.kind("message/rfc822", "message/global"), n.Original)
	case len(n.Original) > 0:
		part(n.kind("text/rfc822-headers", "message/global-headers"), n.Original)
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
	return b.Bytes()
}

// kind chooses the media type: those of RFC 6533 where addresses or the header may be outside ASCII.
func (n *Notice) kind(usual, global string) string {
	if n.Entry.UTF8 {
		return global
	}
	return usual
}

func (n *Notice) eightBit(parts ...[]byte) bool {
	for _, p := range append(parts, n.Original) {
		if !ascii(p) {
			return true
		}
	}
	return false
}

// wording is what people read.
type wording struct{ subject, begin, end string }

var words = map[string]wording{
	queue.ActionFailed: {
		"Undelivered mail: returned to its sender", "Your message could not be delivered to:",
		"No further attempt will be made. The details are for your administrator; what you sent is below.",
	},
	queue.ActionDelayed: {
		"Delayed mail: still trying", "Your message could not be delivered yet to:",
		"You need not send it again.",
	},
	queue.ActionDelivered: {"Mail was delivered", "Your message was delivered to:", ""},
	queue.ActionRelayed: {
		"Mail was handed on", "Your message was handed to the next server for:",
		"That server does not confirm delivery, so you may hear nothing more.",
	},
}

// text is the part for people.
func (n *Notice) text(kind wording) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("This is the mail system at %s.", n.Host)
	line("")
	line("%s", kind.begin)
	for _, o := range n.Report.Outcomes {
		line("")
		line("  <%s>", one(o.Recipient.Address, maxAddress, true))
		switch {
		case o.Text == "":
		case o.Peer != "":
			line("  %s said: %s", one(o.Peer, maxAddress, true), one(o.Text, maxText, true))
		default:
			line("  %s", one(o.Text, maxText, true))
		}
	}
	if !n.Report.Until.IsZero() {
		line("")
		line("It will be tried again until %s.", delivery.Date(n.Report.Until))
	}
	if kind.end != "" {
		line("")
		line("%s", kind.end)
	}
	return b.Bytes()
}

// status is the part for programs (RFC 3464 section 2).
func (n *Notice) status() []byte {
	var b bytes.Buffer
	wide := n.Entry.UTF8
	field := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	if n.Entry.EnvelopeID != "" {
		field("Original-Envelope-Id", one(n.Entry.EnvelopeID, maxAddress, wide))
	}
	field("Reporting-MTA", "dns; "+n.Host)
	field("Arrival-Date", delivery.Date(time.UnixMilli(n.Entry.Arrived).In(n.Now.Location())))
	for _, o := range n.Report.Outcomes {
		b.WriteString("\r\n")
		if kind, address, ok := strings.Cut(o.Recipient.Original, ";"); ok {
			field("Original-Recipient", one(kind, 20, false)+"; "+typed(address, wide))
		}
		field("Final-Recipient", recipient(o.Recipient.Address, wide))
		field("Action", n.Report.Action)
		field("Status", status(&o))
		if o.Peer != "" {
			field("Remote-MTA", "dns; "+one(o.Peer, maxAddress, false))
		}
		if o.Text != "" && n.Report.Action != queue.ActionRelayed && n.Report.Action != queue.ActionDelivered {
			kind := "x-streampost"
			if o.Peer != "" {
				kind = "smtp"
			}
			field("Diagnostic-Code", kind+"; "+one(o.Text, maxText, wide))
		}
		field("Last-Attempt-Date", delivery.Date(n.Now))
		if !n.Report.Until.IsZero() {
			field("Will-Retry-Until", delivery.Date(n.Report.Until.In(n.Now.Location())))
		}
	}
	return b.Bytes()
}

// status is the code of an outcome; one is made up where nobody gave one (RFC 3463 section 2).
func status(o *queue.Outcome) string {
	if validStatus(o.Status) {
		return o.Status
	}
	switch o.Fate {
	case queue.Failed:
		return "5.0.0"
	case queue.Deferred:
		return "4.0.0"
	}
	return "2.0.0"
}

func validStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// recipient is an address with its type (RFC 3464 section 2.3.2, RFC 6533 section 3).
func recipient(address string, wide bool) string {
	if ascii([]byte(address)) {
		return "rfc822; " + one(address, maxAddress, false)
	}
	return "utf-8; " + typed(address, wide)
}

// typed writes an address outside ASCII in the form utf-8-addr-xtext where the part is not global (RFC 6533 section 3).
func typed(address string, wide bool) string {
	address = one(address, maxAddress, true)
	if wide || ascii([]byte(address)) {
		return address
	}
	var b strings.Builder
	for _, r := range address {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\x{%X}", r)
		}
	}
	return b.String()
}

// one reduces text to a line of at most so many octets; outside ASCII only where wide allows it.
func one(s string, most int, wide bool) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\t':
			return ' '
		case r < ' ' || 0x7f <= r && r < 0xa0, r >= utf8.RuneSelf && !wide:
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return strings.TrimSpace(s)
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
