package imap

import (
	"maps"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// Names of mailboxes that were made, deleted or renamed (RFC 5465 section 5.4), in the user's own account and in those of others, where a mailbox that begins or
// ceases to be seen is one that is made or deleted.

// naming compares names of mailboxes, as the session has them, with those that its client knows.
type naming struct {
	before, now map[domain.MailboxID]string
	wants       func(name string) bool // the client asks for the events of a name
}

// affected gives the names that are to be told, each with the old name of a mailbox that was renamed, or "".
func (n *naming) affected() map[string]string {
	found, renamed := map[string]string{}, map[string]string{} // old names by new ones
	tell := func(name, was string) {
		if name != "" && n.tells(name, was) && found[name] == "" {
			found[name] = was
		}
	}
	both := func(name string) { // RFC 5465 section 5.4: a mailbox that is made or deleted, and the name right above it, whether that is a mailbox or not.
		tell(name, "")
		tell(parent(name), "")
	}
	for id, was := range n.before {
		switch now, there := n.now[id]; {
		case !there:
			both(was)
		case now != was:
			renamed[now] = was
		}
	}
	for now, was := range renamed {
		if !n.wentAlong(renamed, now, was) {
			tell(now, was)
		}
	}
	for id, now := range n.now {
		if _, there := n.before[id]; !there {
			both(now)
		}
	}
	return found
}

func (n *naming) tells(name, was string) bool { return n.wants(name) || was != "" && n.wants(was) }

// wentAlong reports whether a mailbox has another name because one above it has, of which the client is told (RFC 5465 section 5.4). Who asks for the one below
// only, or does not see the one above, has nothing else to learn it from.
func (n *naming) wentAlong(renamed map[string]string, now, was string) bool {
	for up, old := parent(now), parent(was); up != "" && old != "" && now[len(up):] == was[len(old):]; up, old = parent(up), parent(old) {
		if renamed[up] == old && n.tells(up, old) {
			return true
		}
	}
	return false
}

// parent gives the name one level up; "" at the top.
func parent(name string) string { return name[:max(0, strings.LastIndexByte(name, '/'))] }

// compareNames finds what has happened to names of the session's own account.
func (n *notification) compareNames(c *conn, s *account.State, found *news) {
	names := naming{map[domain.MailboxID]string{}, map[domain.MailboxID]string{}, func(name string) bool {
		return n.wants(s, &account.Mailbox{Name: name})&mailboxNames != 0
	}}
	for id, k := range n.known {
		if names.before[id] = k.name; s.Mailboxes[id] == nil {
			found.known[id] = nil
		}
	}
	for id, m := range s.Mailboxes {
		names.now[id] = m.Name
	}
	affected := names.affected()
	for _, name := range slices.Sorted(maps.Keys(affected)) {
		found.notices = append(found.notices, notice{listing: c.listName(c.self(), s, name, s.Subscribed[name]), oldName: affected[name]})
	}
}

// compareNamesOf finds what has happened to names that the user may see in the account of somebody else, and gives those names that are told.
func (n *notification) compareNamesOf(c *conn, s *account.State, f *followed, found *news) map[string]string {
	names := naming{map[domain.MailboxID]string{}, map[domain.MailboxID]string{}, func(name string) bool { return n.wantsNamed(name)&mailboxNames != 0 }}
	gone := map[string]bool{}
	for id, k := range f.known {
		if k.unseen {
			continue
		}
		names.before[id] = f.owner.prefix + k.name
		if m := s.Mailboxes[id]; m == nil || c.rights(f.owner, m)&account.MayLookup == 0 {
			gone[names.before[id]] = true
		}
	}
	for id, m := range s.Mailboxes {
		if k := f.known[id]; c.rights(f.owner, m)&account.MayLookup != 0 {
			if names.now[id] = f.owner.prefix + m.Name; k != nil && k.unseen { // made by this session itself
				names.before[id] = names.now[id]
			}
		}
	}
	affected := names.affected()
	for _, name := range slices.Sorted(maps.Keys(affected)) {
		l := c.listName(f.owner, s, name, n.subscribed[name])
		if gone[name] && !slices.Contains(l.attributes, noAccess) && slices.Contains(l.attributes, `\NonExistent`) {
			// RFC 5465 section 5.9: it is gone, or may no longer be seen, and nothing tells which (RFC 4314 section 6).
			l.attributes = append(l.attributes, noAccess)
		}
		found.notices = append(found.notices, notice{listing: l, oldName: affected[name]})
	}
	return affected
}

// listName gives the LIST response for a name in an account, as the session has it, with or without a mailbox that the user may see.
func (c *conn) listName(o owner, s *account.State, name string, subscribed bool) *listing {
	local, within := strings.CutPrefix(name, o.prefix)
	if m, ok := s.Mailbox(local); within && ok && c.rights(o, m)&account.MayLookup != 0 {
		l := c.listOne(o, s, m, subscribed)
		if c.rights(o, m)&account.MayRead == 0 {
			l.attributes = append(l.attributes, noAccess) // RFC 5465 section 5.9.
		}
		return &l
	}
	below := false
	for _, m := range s.Mailboxes {
		below = below || strings.HasPrefix(o.prefix+m.Name, name+"/") && c.rights(o, m)&account.MayLookup != 0
	}
	l := listing{name: name, attributes: attributes(false, "", below)}
	if subscribed {
		l.attributes = append(l.attributes, `\Subscribed`)
	}
	return &l
}
