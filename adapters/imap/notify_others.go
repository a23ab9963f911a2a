package imap

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// NOTIFY of mailboxes of others (RFC 5465 section 6): those that the client names, or subscribes to, as long as the user may see and read them. It hears of their
// messages, of their names and of their shared annotations, also when an owner begins to share later, or the user to subscribe. What the session itself does there
// is told, too.

// noAccess is what LIST responses of NOTIFY say of a mailbox that the user may not read (RFC 5465 section 3.1).
const noAccess = `\NoAccess`

// followed is another account of whose mailboxes a client wants to hear.
type followed struct {
	owner owner
	watch *door.Watch // which leaves its tokens where that of the session's own account does
	known map[domain.MailboxID]*knownMailbox
	seen  domain.Tx
}

// may tells whether a group can be about mailboxes of an owner, as far as names tell.
func (g *eventGroup) may(o owner, subscribed map[string]bool) bool {
	for name := range g.filter.names {
		if strings.HasPrefix(name, o.prefix) || g.filter.kind != "MAILBOXES" && strings.HasPrefix(o.prefix, name+"/") {
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

// concernsOthers reports whether a group can be about mailboxes of others at all: "personal" and "inboxes" are the user's own.
func (n *notification) concernsOthers(c *conn) bool {
	return !c.without[aclName] && slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.filter.names != nil || g.filter.kind == "SUBSCRIBED" })
}

// follow begins to watch those others whose mailboxes are asked for and who are not watched yet, and gives what there is to tell of them. It looks for them when
// there may be more than it knows: at first, when somebody has begun to share, and when the user's subscriptions have changed.
func (n *notification) follow(ctx context.Context, c *conn) (found []notice, err error) {
	if !n.concernsOthers(c) {
		return nil, nil
	}
	if n.sharing == nil {
		n.sharing = c.accounts.WatchSharing(c.id, c.watch)
		n.unlooked = true
	}
	ids, _ := c.accounts.Sharing(ctx, c.id) // Of an error the log hears from sharers.
	if !n.unlooked && slices.Equal(ids, n.sharers) {
		return nil, nil
	}
	n.unlooked, n.sharers = false, ids
	owners, err := c.sharers(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range owners {
		watched := slices.ContainsFunc(n.others, func(f *followed) bool { return f.owner.id == o.id })
		if watched || !slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.may(o, n.subscribed) }) {
			continue
		}
		f := &followed{owner: o}
		if f.watch, err = c.accounts.WatchWith(ctx, o.id, c.watch); err != nil {
			if err = c.passOver(ctx, o, c.unlessGone(o, err)); err != nil {
				return nil, err
			}
			continue
		}
		n.others = append(n.others, f)
		more, err := n.look(ctx, c, f)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// look finds what the client has not been told yet of mailboxes of another account.
func (n *notification) look(ctx context.Context, c *conn, f *followed) ([]notice, error) {
	var found news
	if err := c.passOver(ctx, f.owner, c.viewOf(ctx, f.owner, func(s *account.State) error {
		found = n.compareOther(c, s, f)
		if n.begins != nil {
			found.notices = n.begins.tells(found.notices, n.sinceOther(c, s, f.owner))
		}
		return nil
	})); err != nil {
		return nil, err
	}
	f.learn(found)
	return found.notices, nil
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
				if err != nil {
					return err
				}
				here := c.listOne(at.owner, s, m, subscribed)
				if c.rights(at.owner, m)&account.MayRead == 0 {
					here.attributes = append(here.attributes, noAccess)
				}
				found[i].listing = &here
				return nil
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

// end stops watching others.
func (n *notification) end() {
	if n.sharing != nil {
		n.sharing.Close()
	}
	for _, f := range n.others {
		f.watch.Close()
	}
}

// tellOfOthers sends what has happened in mailboxes of other accounts.
func (n *notification) tellOfOthers(ctx context.Context, c *conn) error {
	for _, f := range n.others {
		found, err := n.look(ctx, c, f)
		if err != nil {
			return err
		}
		c.sendNotices(found)
	}
	found, err := n.follow(ctx, c)
	if err != nil {
		return err
	}
	c.sendNotices(found)
	return nil
}

func (f *followed) learn(of news) {
	if of.known != nil {
		f.known, f.seen = of.known, of.tx
	}
}

// compareOther finds what has changed in mailboxes that the user may see (RFC 5465 sections 3.1, 5 and 5.9): of those that LIST hides nothing is told, and of
// those that may not be read their names only. It runs inside a View, which may call it again. Without a change known is nil.
func (n *notification) compareOther(c *conn, s *account.State, f *followed) (found news) {
	if f.known != nil && s.Tx == f.seen {
		return found
	}
	found.tx, found.known = s.Tx, map[domain.MailboxID]*knownMailbox{}
	for _, m := range s.Sorted() {
		rights := c.rights(f.owner, m)
		if rights&account.MayLookup == 0 {
			continue
		}
		closed := rights&account.MayRead == 0
		k := f.known[m.ID]
		found.known[m.ID] = k
		if k != nil && k.closed == closed && m.Name == k.name && (closed || !k.left && m.ModSeq <= k.modseq) {
			continue
		}
		found.known[m.ID] = n.know(m)
		found.known[m.ID].closed = closed
		name := f.owner.prefix + m.Name
		wanted, old := n.wantsNamed(name), ""
		names := wanted
		if k != nil && k.name != m.Name {
			old = f.owner.prefix + k.name
			names |= n.wantsNamed(old)
		}
		refuses := closed && n.begins != nil && f.known == nil && n.names(name) // RFC 5465 section 3.1.
		if refuses || names&mailboxNames != 0 && (k == nil || old != "" || k.closed != closed) {
			l := c.listOne(f.owner, s, m, n.subscribed[name])
			if closed {
				l.attributes = append(l.attributes, noAccess) // RFC 5465 section 5.9.
			}
			found.notices = append(found.notices, notice{listing: &l, oldName: old, refuses: refuses})
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
	for id, k := range f.known { // which are gone, or may no longer be seen: nothing tells which (RFC 4314 section 6).
		if name := f.owner.prefix + k.name; found.known[id] == nil && n.wantsNamed(name)&mailboxNames != 0 {
			attributes := append(attributes(false, "", hasBelow(found.known, k.name)), noAccess) // RFC 5465 section 5.9.
			found.notices = append(found.notices, notice{listing: &listing{name: name, attributes: attributes}})
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

func hasBelow(known map[domain.MailboxID]*knownMailbox, name string) bool {
	for k := range maps.Values(known) {
		if strings.HasPrefix(k.name, name+"/") {
			return true
		}
	}
	return false
}
