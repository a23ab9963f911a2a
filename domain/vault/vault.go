// Package vault is what can be known of a deleted message, and the language in which operators ask for such messages.
//
// The language is that of James's deleted messages vault, in its JSON form and in one that can be typed (ParseTerms). Criteria are joined by
// AND; there is nothing else. Where case does not matter, it is Unicode's folding that says what is equal, whatever the machine's language is.
package vault

import (
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
)

// Message is one message as far as the language can ask about it.
type Message struct {
	Email         domain.EmailID
	Deleted       int64    // when the last mailbox lost it, Unix milliseconds; 0 for a message that is not deleted
	Delivered     int64    // INTERNALDATE, Unix seconds
	Origins       []Origin // the mailboxes that lost it
	Sender        string   // address of the header's From field
	Recipients    []string // addresses of To, Cc and Bcc
	Subject       string
	HasAttachment bool
	Size          int64 // octets
}

// Origin is a mailbox that held a message, under the name that it had then.
type Origin struct {
	ID   domain.MailboxID
	Name string
}

// Describe takes what the language asks about out of a message's summary.
func Describe(s *message.Summary) Message {
	m := Message{Subject: message.DecodeWords(s.Envelope.Subject), HasAttachment: hasAttachment(&s.Root)}
	if from := addresses(s.Envelope.From); len(from) > 0 {
		m.Sender = from[0]
	}
	for _, list := range [][]message.Address{s.Envelope.To, s.Envelope.Cc, s.Envelope.Bcc} {
		m.Recipients = append(m.Recipients, addresses(list)...)
	}
	return m
}

// addresses leaves out what opens and closes groups.
func addresses(list []message.Address) (all []string) {
	for _, a := range list {
		if a.Host != "" {
			all = append(all, a.Mailbox+"@"+a.Host)
		}
	}
	return all
}

// hasAttachment tells whether any part is meant to be saved rather than shown: it says so (RFC 2183), or it has a file name.
func hasAttachment(p *message.Part) bool {
	if p.Disposition == "attachment" || named(p.DispParams, "filename") || len(p.Parts) == 0 && named(p.Params, "name") {
		return true
	}
	for i := range p.Parts {
		if hasAttachment(&p.Parts[i]) {
			return true
		}
	}
	return false
}

func named(params []message.Param, name string) bool {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) && p.Value != "" {
			return true
		}
	}
	return false
}
