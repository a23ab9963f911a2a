package imap

import (
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/search"
)

// OBJECTID (RFC 8474). An object id is a letter for its kind, the account's id, a hyphen and the number that the log gave the object, so it is the same on
// every node and no two accounts of an installation share one (section 8.2). Mailboxes keep theirs when they are renamed, emails when they are copied or
// moved, and an email's thread never changes.
//
// A thread is one of the whole account. In a mailbox of somebody else it would tell whether its owner has, or had, a message elsewhere: one would store a message
// that refers to it and look to which thread that comes. So there THREADID is NIL, as from a server that does not know (RFC 8474 section 5.2), and no search finds it.

const objectID = "OBJECTID"

func init() {
	advertise(objectID, whenAuthenticated)
	statusItems["MAILBOXID"] = statusItem{ // RFC 8474 section 4.3.
		capability: objectID,
		number:     func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.ID) },
		form:       func(o owner, id uint64) string { return mailboxID(o.id, domain.MailboxID(id)) },
	}
	selectTells = append(selectTells, func(c *conn) { // RFC 8474 section 4.2.
		if c.serves(objectID) {
			c.status("*", "OK", "MAILBOXID "+mailboxID(c.sel.owner.id, c.sel.mailbox), "Object id")
		}
	})
	fetches(objectID, fetchItem{name: "EMAILID", send: func(r *fetchReply) error { // RFC 8474 section 5.3.
		r.object("EMAILID", 'M', uint64(r.row.Email))
		return nil
	}})
	fetches(objectID, fetchItem{name: "THREADID", send: func(r *fetchReply) error {
		if r.c.foreign(r.c.sel.owner) {
			r.item("THREADID").Raw("NIL")
		} else {
			r.object("THREADID", 'T', uint64(r.row.Thread))
		}
		return nil
	}})
	searchesObject("EMAILID", 'M', func(_ *conn, id domain.AccountID, n uint64) search.Key {
		return search.EmailID{Account: id, ID: domain.EmailID(n)}
	}) // RFC 8474 section 6.
	searchesObject("THREADID", 'T', func(c *conn, id domain.AccountID, n uint64) search.Key {
		if id != c.id {
			return search.None{}
		}
		return search.ThreadID{Account: id, ID: domain.ThreadID(n)}
	})
}

// appendObjectID appends an object id in the parentheses in which all responses have it.
func appendObjectID(b []byte, kind byte, id domain.AccountID, n uint64) []byte {
	b = append(append(b, '(', kind), id...)
	return append(strconv.AppendUint(append(b, '-'), n, 10), ')')
}

// mailboxID gives MAILBOXID as responses show it (RFC 8474 section 4).
func mailboxID(id domain.AccountID, mailbox domain.MailboxID) string {
	return string(appendObjectID(nil, 'F', id, uint64(mailbox)))
}

// created gives the response code of CREATE (RFC 8474 section 4.1).
func (c *conn) created(o owner, events []event.Event) string {
	for _, e := range events {
		if made, ok := e.(*event.MailboxCreated); ok && !c.without[objectID] {
			return "MAILBOXID " + mailboxID(o.id, made.Mailbox)
		}
	}
	return ""
}

func (r *fetchReply) object(item string, kind byte, n uint64) {
	r.item(item).Append(func(b []byte) []byte { return appendObjectID(b, kind, r.c.sel.owner.id, n) })
}

// searchesObject registers a search key with an object id. One that was never given away matches nothing.
func searchesObject(name string, kind byte, key func(c *conn, id domain.AccountID, n uint64) search.Key) {
	searches(objectID, name, func(p *searchParser) (search.Key, bool) {
		var text string
		if !p.d.ExpectSP() || !p.d.ExpectAString(&text) {
			return nil, false
		}
		id, number, _ := strings.Cut(text, "-")
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || strconv.FormatUint(n, 10) != number || id == "" || id[0] != kind {
			return search.None{}, true
		}
		return key(p.c, domain.AccountID(id[1:]), n), true
	})
}
