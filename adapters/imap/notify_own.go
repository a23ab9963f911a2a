package imap

import (
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

// What a session does itself it is not told (RFC 5465 section 5): what NOTIFY compares with is changed as the account was, so that what somebody else does in the
// same moment is told nevertheless.

// did takes note of what this session has done in an account.
func (c *conn) did(o owner, facts []event.Event) {
	if len(facts) == 0 {
		return
	}
	c.changed = true
	if c.notify == nil {
		return
	}
	selected := domain.MailboxID(0)
	if c.sel != nil && c.sel.owner.id == o.id {
		selected = c.sel.mailbox
	}
	c.notify.arrive(selected, facts)
	if !c.foreign(o) {
		c.notify.own(facts)
		return
	}
	for _, f := range c.notify.others {
		if f.owner.id == o.id {
			f.own(facts, c.notify.annotates())
		}
	}
}

// arrive takes note of messages that the session puts into the selected mailbox (RFC 5465 section 5.2).
func (n *notification) arrive(selected domain.MailboxID, facts []event.Event) {
	if selected == 0 || len(n.selected.items) == 0 {
		return
	}
	for _, fact := range facts {
		if to, first, count := arrivals(fact); to == selected {
			n.mine = n.mine.AddRange(first, first+domain.UID(count)-1)
		}
	}
}

// arrivals tells where an event puts messages.
func arrivals(fact event.Event) (to domain.MailboxID, first domain.UID, count int) {
	switch e := fact.(type) {
	case *event.MessageAdded:
		return e.Mailbox, e.UID, 1
	case *event.MessagesCopied:
		return e.To, e.First, e.UIDs.Len()
	case *event.MessagesMoved:
		return e.To, e.First, e.UIDs.Len()
	}
	return 0, 0, 0
}

// own takes note of what the session does in its own account.
func (n *notification) own(facts []event.Event) {
	for _, fact := range facts {
		switch e := fact.(type) {
		case *event.MailboxCreated:
			n.known[e.Mailbox] = &knownMailbox{name: e.Name, next: 1, judged: 1}
		case *event.SubscriptionChanged:
			if delete(n.subscribed, e.Name); e.Subscribed {
				n.subscribed[e.Name] = true
			}
			n.unlooked = true
		case *event.MetadataChanged:
			if e.Mailbox == 0 && n.annotates() {
				annotate(&n.metadata, e)
			}
		}
		ownOf(n.known, fact, n.annotates())
	}
}

// own takes note of what the session does in the account of somebody else. Whether it may see a mailbox that it makes there is to be seen.
func (f *followed) own(facts []event.Event, annotates bool) {
	if f.known == nil {
		return
	}
	for _, fact := range facts {
		if e, is := fact.(*event.MailboxCreated); is {
			f.known[e.Mailbox] = &knownMailbox{name: e.Name, next: 1, judged: 1, unseen: true}
		}
		ownOf(f.known, fact, annotates)
	}
}

// ownOf takes note of what the session does in mailboxes that it knows.
func ownOf(known map[domain.MailboxID]*knownMailbox, fact event.Event, annotates bool) {
	leave := func(mailbox domain.MailboxID, count int) {
		if k := known[mailbox]; k != nil {
			k.messages -= int64(count)
		}
	}
	if to, first, count := arrivals(fact); count > 0 {
		if k := known[to]; k != nil && k.next == first {
			k.next += domain.UID(count)
			k.messages += int64(count)
		}
	}
	switch e := fact.(type) {
	case *event.MailboxRenamed:
		if k := known[e.Mailbox]; k != nil {
			k.name = e.Name
		}
	case *event.MailboxDeleted:
		delete(known, e.Mailbox)
	case *event.MetadataChanged:
		if k := known[e.Mailbox]; k != nil && annotates {
			annotate(&k.metadata, e)
		}
	case *event.MessagesMoved:
		leave(e.From, e.UIDs.Len())
	case *event.MessagesExpunged: // by CLOSE, which tells of no expunge (RFC 9051 section 6.4.1); of the selected mailbox others are told.
		leave(e.Mailbox, e.UIDs.Len())
	}
}

func annotate(of *account.Metadata, e *event.MetadataChanged) {
	if delete(*of, e.Entry); !e.Removed {
		if *of == nil {
			*of = account.Metadata{}
		}
		(*of)[e.Entry] = e.Value
	}
}
