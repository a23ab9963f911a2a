package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// NOTIFY of mailboxes of others (RFC 5465 section 6): those that the client names, or subscribes to, as long as the user may see and read them. It hears of their
// messages, of their names and of their shared annotations, also when an owner begins to share later, or the user to subscribe.

// noAccess is what LIST responses of NOTIFY say of a mailbox that the user may not read (RFC 5465 section 3.1).
const noAccess = `\NoAccess`

// may tells whether a group can be about mailboxes of an owner, as far as names tell.
func (g *eventGroup) may(o owner, subscribed map[string]bool) bool {
	for name := range g.filter.names {
		if name == "" && g.filter.kind == "SUBTREE" || strings.HasPrefix(name, o.prefix) || g.filter.kind != "MAILBOXES" && strings.HasPrefix(o.prefix, name+"/") {
			return true
		}
	}
	if g.filter.kind == "SUBSCRIBED" {
		for name := range subscribed {
			if strings.HasPrefix(name, o.prefix) {
				return true
			}
		}
	}
	return false
}

// sinceOther is since for mailboxes of another account.
func (n *notification) sinceOther(c *conn, s *account.State, o owner) []notice {
	if n.begins.before != nil {
		for _, f := range n.begins.before.others {
			if f.owner.id == o.id && f.known != nil {
				return n.begins.before.knew(n.compareOther(c, s, f).notices)
			}
		}
	}
	return nil
}

// lookUpOthers completes notices of subscriptions (RFC 5465 section 5.5) with what there is of the names in accounts of others.
func (c *conn) lookUpOthers(ctx context.Context, found []notice) {
	for i := range found {
		l := found[i].listing
		if !found[i].others {
			continue
		}
		at, err := c.whose(ctx, l.name)
		if err == nil && (at.id == "" || !c.foreign(at.owner)) {
			continue
		}
		if err == nil {
			subscribed := slices.Contains(l.attributes, `\Subscribed`)
			err = c.viewOf(ctx, at.owner, func(s *account.State) error {
				m, err := c.reach(s, at, account.MayLookup)
				if err == nil {
					found[i].listing = c.listName(at.owner, s, at.prefix+m.Name, subscribed)
				}
				return err
			})
		}
		if domain.Is(err, domain.NotFound) || domain.Is(err, domain.Denied) { // What is hidden does not exist.
			continue
		}
		if err != nil { // Then nobody can tell whether it exists, and the subscription is told nevertheless.
			c.log.Warn("a mailbox of another account cannot be looked at", "account", c.id, "error", err)
			l.attributes = slices.DeleteFunc(l.attributes, func(a string) bool { return a != `\Subscribed` })
		}
	}
}

// compareOther finds what has changed in mailboxes that the user may see (RFC 5465 sections 3.1, 5 and 5.9): of those that LIST hides nothing is told, and of
// those that may not be read their names only. It runs inside a View, which may call it again. Without a change known is nil.
func (n *notification) compareOther(c *conn, s *account.State, f *followed) (found news) {
	if f.known != nil && s.Tx == f.seen {
		return found
	}
	found.tx, found.known = s.Tx, map[domain.MailboxID]*knownMailbox{}
	told := n.compareNamesOf(c, s, f, &found)
	for _, m := range s.Sorted() {
		rights := c.rights(f.owner, m)
		if rights&account.MayLookup == 0 {
			continue
		}
		closed := rights&account.MayRead == 0
		k := f.known[m.ID]
		found.known[m.ID] = k
		if k != nil && !k.unseen && k.closed == closed && m.Name == k.name && (closed || !k.left && m.ModSeq <= k.modseq) {
			continue
		}
		found.known[m.ID] = n.know(m)
		found.known[m.ID].closed = closed
		name := f.owner.prefix + m.Name
		wanted := n.wantsNamed(name)
		_, listed := told[name]
		refuses := closed && n.begins != nil && f.known == nil && n.names(name) // RFC 5465 section 3.1.
		if refuses || !listed && wanted&mailboxNames != 0 && k != nil && k.closed != closed {
			found.notices = append(found.notices, notice{listing: c.listName(f.owner, s, name, n.subscribed[name]), refuses: refuses})
		}
		if closed {
			continue
		}
		if k != nil && k.closed { // Of its messages and annotations the client has heard nothing.
			k = nil
		}
		if k != nil && wanted&mailboxMetadata != 0 && c.rights(f.owner, m)&mayAnnotate != 0 {
			found.annotated(name, sharedEntries(k.metadata), sharedEntries(m.Metadata)) // RFC 5465 section 5.6.
		}
		if wanted&messageEvents == 0 || c.hasSelected(f.owner, m.ID) {
			continue
		}
		if counts, flags := k.differs(m, wanted); counts || flags {
			found.notices = append(found.notices, n.statusNotice(c, f.owner, m, counts, flags))
		}
	}
	return found
}

// wantsNamed gives the events that the client wants to hear of in a mailbox of somebody else.
func (n *notification) wantsNamed(name string) (all events) {
	for i := range n.groups {
		if n.groups[i].filter.covers(name, n.subscribed) {
			all |= n.groups[i].events
		}
	}
	return all
}

// names tells whether the client names a mailbox itself.
func (n *notification) names(name string) bool {
	return slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.filter.names[name] })
}
