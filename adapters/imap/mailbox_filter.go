package imap

import (
	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// mailboxFilter names mailboxes by what they are (RFC 5465 section 6, filter-mailboxes; RFC 7377 section 2.2).
type mailboxFilter struct {
	kind  string          // SELECTED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE, SUBTREE-ONE or MAILBOXES
	names map[string]bool // of the last three
}

// expect reads a filter. A name in another's namespace means the mailbox that SELECT finds by it, and one's own of just that name, too.
func (f *mailboxFilter) expect(d *wire.Decoder, n Namespaces) bool {
	if !d.ExpectName(&f.kind) {
		return false
	}
	switch f.kind {
	case "SELECTED-DELAYED": // RFC 7377 section 2.2: nothing is delayed when something is searched.
		f.kind = "SELECTED"
	case "SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED":
	case "SUBTREE", "SUBTREE-ONE", "MAILBOXES":
		f.names = map[string]bool{}
		one := func() bool {
			var name string
			ok := d.ExpectMailbox(&name)
			f.names[account.CanonicalName(name)] = true
			f.names[n.canonical(name)] = true
			return ok
		}
		if !d.ExpectSP() {
			return false
		}
		if !d.Next('(') {
			return d.Item() && one()
		}
		return d.ExpectList(one) && (len(f.names) > 0 || d.Fail(wire.Syntaxf("a list of mailboxes names at least one")))
	default:
		return d.Fail(wire.Syntaxf("mailboxes are not told apart by %s", f.kind))
	}
	return true
}

// matches tells whether a mailbox of the session's own account is meant; selected is the one that the session has selected, or 0.
func (f *mailboxFilter) matches(s *account.State, m *account.Mailbox, selected domain.MailboxID) bool {
	switch f.kind {
	case "SELECTED":
		return m.ID == selected
	case "INBOXES": // RFC 5465 section 6.3: where mail is delivered
		return m.Name == account.Inbox
	case "PERSONAL":
		return true
	}
	return f.covers(m.Name, s.Subscribed)
}

// covers tells whether a name is meant.
func (f *mailboxFilter) covers(name string, subscribed map[string]bool) bool {
	switch {
	case f.kind == "SUBSCRIBED":
		return subscribed[name]
	case f.names[name]:
		return true
	case f.kind == "MAILBOXES":
		return false
	}
	up := parent(name)
	for f.kind == "SUBTREE" && up != "" && !f.names[up] {
		up = parent(up)
	}
	return f.names[up]
}
