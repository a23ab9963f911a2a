package smtp

import "bytes"

// wording is what clients hear instead of some of go-smtp's replies: plain words that repeat nothing the client said, and the RFC's code where go-smtp
// has another.
var wording = []struct{ prefix, instead string }{
	{"250 2.0.0 Roger, accepting mail from ", "250 2.1.0 Sender accepted"},
	{"250 2.0.0 I'll make sure ", "250 2.1.5 Recipient accepted"},
	{"250 2.0.0 I have successfully done nothing", "250 2.0.0 OK"},
	{"421 4.4.0 Connection error, sorry", "421 4.4.0 Connection error"},
	{"421 4.4.2 Idle timeout, bye bye", "421 4.4.2 Idle for too long"},
	{"500 5.5.1 Too many errors. Quiting now", "421 4.7.0 Too many errors"}, // RFC 5321 section 3.8: a server that closes says 421.
	{"500 5.5.2 Error: bad syntax", "500 5.5.2 Syntax error"},
	{"500 5.5.4 Unknown MAIL FROM argument", "555 5.5.4 Unknown parameter of MAIL"}, // RFC 5321 section 4.1.1.11.
	{"500 5.5.4 Unknown RCPT TO argument", "555 5.5.4 Unknown parameter of RCPT"},
	{"501 5.5.2 Was expecting MAIL arg syntax of ", "501 5.5.2 Syntax: MAIL FROM:<address>"},
	{"501 5.5.2 Was expecting RCPT arg syntax of ", "501 5.5.2 Syntax: RCPT TO:<address>"},
	{"502 5.5.4 Missing parameter", "501 5.5.4 Syntax: AUTH mechanism"},
	{"502 5.5.1 Please introduce yourself first.", "503 5.5.1 EHLO comes first"}, // RFC 5321 section 4.1.4.
	{"502 5.5.1 Missing MAIL FROM command.", "503 5.5.1 MAIL comes first"},
	{"502 5.5.1 Missing RCPT TO command.", "503 5.5.1 RCPT comes first"},
	{"502 5.5.1 MAIL not allowed during message transfer", "503 5.5.1 MAIL is not possible during a message transfer"},
	{"502 5.5.1 RCPT not allowed during message transfer", "503 5.5.1 RCPT is not possible during a message transfer"},
	{"502 5.5.1 DATA not allowed during message transfer", "503 5.5.1 DATA is not possible during a message transfer"},
}

func worded(reply []byte) []byte {
	for _, w := range wording {
		if bytes.HasPrefix(reply, []byte(w.prefix)) {
			return []byte(w.instead + "\r\n")
		}
	}
	return reply
}
