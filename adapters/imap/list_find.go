package imap

import (
	"context"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain/account"
)

// catalogue is what LIST has to know of an account's mailboxes.
type catalogue struct {
	mailboxes map[string]entry // by the names that the session has for them
	parents   map[string]bool  // names above them
}

// entry is a mailbox.
type entry struct {
	owner      owner
	specialUse string
	status     []uint64
	extras     []func(c *conn, name string)
}

// read lists the mailboxes of an account that the user may see: those on which he has "l" (RFC 4314 section 4). It runs inside a View.
func (r *listRequest) read(c *conn, o owner, s *account.State) *catalogue {
	known := &catalogue{make(map[string]entry, len(s.Mailboxes)), map[string]bool{}}
	for _, m := range s.Mailboxes {
		rights := c.rights(o, m)
		if rights&account.MayLookup == 0 {
			continue
		}
		e, name := entry{owner: o}, o.prefix+m.Name
		if !c.foreign(o) { // Another's Sent is not where one's own mail goes.
			e.specialUse = m.SpecialUse
		}
		if (r.status != nil || r.extras != nil) && r.matches(name) {
			if r.status != nil && rights&account.MayRead != 0 {
				e.status = c.statusOf(o, m, r.status)
			}
			for _, extra := range r.extras {
				if send := extra(c, o, m); send != nil {
					e.extras = append(e.extras, send)
				}
			}
		}
		known.mailboxes[name] = e
		markParents(known.parents, name)
	}
	return known
}

// merge adds the mailboxes of another account. A name that is there already stays what it is.
func (k *catalogue) merge(other *catalogue) {
	for name, e := range other.mailboxes {
		if _, taken := k.mailboxes[name]; !taken {
			k.mailboxes[name] = e
		}
	}
	for name := range other.parents {
		k.parents[name] = true
	}
}

// others reads the mailboxes of others, if any pattern can match their names.
func (r *listRequest) others(ctx context.Context, c *conn) (*catalogue, error) {
	all := &catalogue{map[string]entry{}, map[string]bool{}}
	if c.without[aclName] || !r.mayMatchBelow(c.server.namespaces.Others) && !r.mayMatchBelow(c.server.namespaces.Shared) {
		return all, nil
	}
	owners, _, err := c.sharers(ctx)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, c.server.limits.Work/othersPart)
	defer cancel()
	for _, o := range owners {
		if !r.mayMatchBelow(o.prefix) {
			continue
		}
		if asking.Err() == nil { // What this node knows of others will do, for want of better: without a mailbox in the list, clients throw its messages away.
			if err := c.passOver(ctx, o, c.freshOf(asking, o)); err != nil {
				return nil, err
			}
		}
		var known *catalogue
		if err := c.passOver(ctx, o, c.viewOf(ctx, o, func(s *account.State) error {
			known = r.read(c, o, s)
			return nil
		})); err != nil {
			return nil, err
		}
		if known != nil {
			all.merge(known)
		}
	}
	return all, nil
}

// othersPart of the time that one look at an account may take is how long a list waits until all others' accounts show what other nodes acknowledged.
const othersPart = 30

// mayMatchBelow tells whether a pattern may match a name that begins with a prefix, or one above it.
func (r *listRequest) mayMatchBelow(prefix string) bool {
	return slices.ContainsFunc(r.patterns, func(p string) bool {
		if wild := strings.IndexAny(p, "*%"); wild >= 0 {
			p = p[:wild]
		}
		return strings.HasPrefix(prefix, p) || strings.HasPrefix(p, prefix)
	})
}

// find gives the mailboxes that are asked for, in order.
func (r *listRequest) find(ctx context.Context, c *conn) (found []listing, err error) {
	others, err := r.others(ctx, c)
	if err != nil {
		return nil, err
	}
	err = c.view(ctx, func(s *account.State) error {
		known := r.read(c, c.self(), s)
		known.merge(others)
		found = r.choose(known, s.Subscribed)
		return nil
	})
	slices.SortFunc(found, func(a, b listing) int {
		if inbox := a.name == account.Inbox; inbox != (b.name == account.Inbox) {
			if inbox {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return found, err
}

// choose gives those of the names that are asked for.
func (r *listRequest) choose(known *catalogue, subscribed map[string]bool) (found []listing) {
	above := map[string]bool{} // names that lead to what is selected, for RECURSIVEMATCH
	if r.recursive && r.subscribed {
		for name := range subscribed {
			markParents(above, name)
		}
	}
	if r.recursive && r.specialUse {
		for name, e := range known.mailboxes {
			if e.specialUse != "" {
				markParents(above, name)
			}
		}
	}
	names := make(map[string]struct{}, len(known.mailboxes))
	add := func(name string) {
		if r.matches(name) {
			names[name] = struct{}{}
		}
	}
	for name := range known.mailboxes {
		add(name)
	}
	for name := range known.parents {
		add(name)
	}
	if r.subscribed {
		for name := range subscribed {
			add(name)
		}
		for name := range above {
			add(name)
		}
	}
	for name := range names {
		e, exists := known.mailboxes[name]
		selectedItself := (!r.subscribed || subscribed[name]) && (!r.specialUse || e.specialUse != "")
		if !selectedItself && !above[name] {
			continue
		}
		l := listing{
			name: name, owner: e.owner, childInfo: above[name] && r.subscribed, status: e.status, extras: e.extras,
			attributes: attributes(exists, e.specialUse, known.parents[name]),
		}
		if (r.showSubscribed || r.subscribed) && subscribed[name] {
			l.attributes = append(l.attributes, `\Subscribed`)
		}
		found = append(found, l)
	}
	return found
}

// markParents marks every level above a name.
func markParents(set map[string]bool, name string) {
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if set[name[:i]] {
			return
		}
		set[name[:i]] = true
	}
}

// attributes gives what LIST shows of every name.
func attributes(exists bool, specialUse string, hasChildren bool) (list []string) {
	if !exists {
		list = append(list, `\NonExistent`, `\Noselect`) // RFC 5258 section 3: the second for clients that do not know the first.
	}
	if hasChildren {
		list = append(list, `\HasChildren`)
	} else {
		list = append(list, `\HasNoChildren`)
	}
	if specialUse != "" {
		list = append(list, specialUse)
	}
	return list
}

// listOne gives the LIST response that SELECT sends in IMAP4rev2 (RFC 9051 section 6.3.2). It runs inside a View of the owner.
func (c *conn) listOne(o owner, s *account.State, m *account.Mailbox, subscribed bool) listing {
	hasChildren := false
	for _, other := range s.Mailboxes {
		hasChildren = hasChildren || strings.HasPrefix(other.Name, m.Name+"/") && c.rights(o, other)&account.MayLookup != 0
	}
	use := m.SpecialUse
	if c.foreign(o) {
		use = ""
	}
	l := listing{name: o.prefix + m.Name, attributes: attributes(true, use, hasChildren)}
	if subscribed {
		l.attributes = append(l.attributes, `\Subscribed`)
	}
	return l
}
