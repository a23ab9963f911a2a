package imap

import (
	"context"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// notice is one thing to tell: a LIST response or a STATUS response.
type notice struct {
	listing *listing
	oldName string // of a mailbox that was renamed
	refuses bool   // answers a name that NOTIFY gives
	others  bool   // is about a name that may lead to somebody else's mailbox

	owner  owner
	name   string
	items  []string
	values []uint64

	entries []string // of the mailbox, or of the server, whose annotations have changed
}

func (n notice) isStatus() bool { return n.listing == nil && n.entries == nil }

// quiet reports whether the client does not want to hear of an event in the selected mailbox (RFC 5465 section 3.1).
func (c *conn) quiet(e events) bool { return c.notify != nil && c.notify.selected.events&e == 0 }

// tellOthers sends what has happened outside the selected mailbox.
func (c *conn) tellOthers(ctx context.Context) error {
	if c.notify == nil || len(c.notify.groups) == 0 {
		return nil
	}
	var found news
	if err := c.view(ctx, func(s *account.State) error {
		found = c.notify.compare(c, s)
		return nil
	}); err != nil {
		return err
	}
	c.notify.learn(found)
	c.lookUpOthers(ctx, found.notices)
	c.sendNotices(found.notices)
	if err := c.notify.tellOfOthers(ctx, c); err != nil {
		return err
	}
	return c.enc.Err()
}

// news is what a comparison has found, and what the client then knows.
type news struct {
	tx         domain.Tx
	notices    []notice
	known      map[domain.MailboxID]*knownMailbox // nil for one that is gone
	subscribed map[string]bool
	metadata   account.Metadata
}

func (n *notification) learn(of news) {
	if n.seen == of.tx {
		return
	}
	n.seen, n.metadata = of.tx, of.metadata
	for id, k := range of.known {
		if n.known[id] = k; k == nil {
			delete(n.known, id)
		}
	}
	for name, is := range of.subscribed {
		n.unlooked = true
		if n.subscribed[name] = is; !is {
			delete(n.subscribed, name)
		}
	}
}

func (c *conn) sendNotices(found []notice) {
	for _, n := range found {
		if n.entries != nil { // RFC 5465 section 5.6, RFC 5464 section 4.4.2: their names.
			c.enc.Raw("* METADATA ").Mailbox(n.name)
			for _, entry := range n.entries {
				c.enc.SP().AString(entry)
			}
			c.enc.CRLF()
			continue
		}
		if n.listing == nil {
			c.sendStatus(n.owner, n.name, n.items, n.values)
			continue
		}
		c.enc.Raw("* LIST ").Flags(n.listing.attributes).Raw(` "/" `).Mailbox(n.listing.name)
		if n.oldName != "" {
			c.enc.Raw(` ("OLDNAME" (`).Mailbox(n.oldName).Raw("))") // RFC 5465 section 5.4.
		}
		c.enc.CRLF()
	}
}

// statuses gives the STATUS of each mailbox of whose messages the client wants to hear (RFC 5465 section 3.1).
func (n *notification) statuses(c *conn, s *account.State) (found []notice) {
	for _, m := range s.Sorted() {
		if wanted := n.wants(s, m); wanted&messageEvents != 0 && !c.hasSelected(c.self(), m.ID) {
			found = append(found, n.statusNotice(c, c.self(), m, true, wanted&newFlags != 0))
		}
	}
	return found
}

// statusNotice makes a STATUS response for events of messages (RFC 5465 sections 3.1 and 5.1 to 5.3).
func (n *notification) statusNotice(c *conn, o owner, m *account.Mailbox, counts, flags bool) notice {
	items := []string{"UIDVALIDITY"}
	if counts {
		items = append(items, "MESSAGES", "UIDNEXT")
	}
	if flags {
		items = append(items, "UNSEEN")
	}
	// RFC 5465 section 3.1: what SET STATUS tells has it for whoever wants to hear of flags, also before CONDSTORE is enabled.
	if first := n.begins != nil && n.begins.status; c.condstore || first && flags && !c.without[condstore] {
		items = append(items, highestModSeq)
	}
	return notice{owner: o, name: o.prefix + m.Name, items: items, values: c.statusOf(o, m, items)}
}

// compare finds what has changed. It runs inside a View, which may call it again.
func (n *notification) compare(c *conn, s *account.State) (found news) {
	if found.tx = s.Tx; s.Tx == n.seen {
		return found
	}
	found.known, found.subscribed = map[domain.MailboxID]*knownMailbox{}, map[string]bool{}
	n.compareNames(c, s, &found)
	n.compareSubscriptions(c, s, &found)
	if n.annotates() {
		found.metadata = maps.Clone(s.Metadata)
	}
	if slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.events&serverMetadata != 0 }) {
		found.annotated("", n.metadata, s.Metadata)
	}
	for _, m := range s.Sorted() {
		k := n.known[m.ID]
		if k != nil && !k.left && m.ModSeq <= k.modseq && m.Name == k.name {
			continue
		}
		found.known[m.ID] = n.know(m)
		wanted := n.wants(s, m)
		if k != nil && wanted&mailboxMetadata != 0 {
			found.annotated(m.Name, k.metadata, m.Metadata)
		}
		if wanted&messageEvents == 0 || c.hasSelected(c.self(), m.ID) {
			continue
		}
		if counts, flags := k.differs(m, wanted); counts || flags {
			found.notices = append(found.notices, n.statusNotice(c, c.self(), m, counts, flags))
		}
	}
	return found
}

// annotated finds annotations that were set, changed or removed (RFC 5465 sections 5.6 and 5.7).
func (n *news) annotated(mailbox string, before, now account.Metadata) {
	var entries []string
	for entry, value := range now {
		if old, there := before[entry]; !there || old != value {
			entries = append(entries, entry)
		}
	}
	for entry := range before {
		if _, there := now[entry]; !there {
			entries = append(entries, entry)
		}
	}
	if slices.Sort(entries); len(entries) > 0 {
		n.notices = append(n.notices, notice{name: mailbox, entries: entries})
	}
}

// differs tells what of the events that are wanted has happened in a mailbox. Everything has in one that was not known, since a name may have another UIDVALIDITY now.
func (k *knownMailbox) differs(m *account.Mailbox, wanted events) (counts, flags bool) {
	return wanted&(newMessages|expungedMessages) != 0 && (k == nil || k.arrived(m) || m.Counts.Messages != k.messages),
		wanted&newFlags != 0 && (k == nil || k.flagsChanged(m))
}

// arrived reports whether messages have come.
func (k *knownMailbox) arrived(m *account.Mailbox) bool {
	if k.left { // A view does not tell which UIDs were given to messages that are gone.
		return len(m.UID) > 0 && m.UID[len(m.UID)-1] >= k.next
	}
	return m.UIDNext != k.next
}

// flagsChanged reports whether a message that was there has other flags.
func (k *knownMailbox) flagsChanged(m *account.Mailbox) bool {
	old, _ := slices.BinarySearch(m.UID, k.judged)
	return slices.ContainsFunc(m.Modified[:old], func(tx domain.Tx) bool { return tx > k.modseq })
}

// compareSubscriptions finds names that were subscribed or no longer are (RFC 5465 section 5.5).
func (n *notification) compareSubscriptions(c *conn, s *account.State, found *news) {
	var changed []string
	for name := range n.subscribed {
		if !s.Subscribed[name] {
			changed = append(changed, name)
			found.subscribed[name] = false
		}
	}
	for name := range s.Subscribed {
		if !n.subscribed[name] {
			changed = append(changed, name)
			found.subscribed[name] = true
		}
	}
	slices.Sort(changed)
	for _, name := range changed {
		if slices.ContainsFunc(n.groups, func(g eventGroup) bool {
			// Of those who are subscribed, also one that just left them.
			return g.events&subscriptions != 0 && (g.filter.kind == "SUBSCRIBED" || g.filter.matches(s, &account.Mailbox{Name: name}, 0))
		}) {
			_, mine := s.Mailbox(name)
			found.notices = append(found.notices, notice{listing: c.listName(c.self(), s, name, s.Subscribed[name]), others: !mine})
		}
	}
}

// sendNew fetches what the client wants to know of new messages that it did not put there itself (RFC 5465 section 5.2), and of those of which it could not be
// told before.
func (c *conn) sendNew(ctx context.Context, arrived []domain.UID) error {
	n := c.notify
	if n == nil || len(n.selected.items) == 0 {
		return nil
	}
	for _, uid := range arrived {
		if !n.mine.Contains(uid) {
			n.owed = n.owed.Add(uid)
		}
	}
	n.mine = nil
	if len(n.owed) == 0 {
		return nil
	}
	f := newFetch(c, n.selected.items)
	if err := f.run(ctx, n.owed); err != nil {
		return err
	}
	n.owed = nil
	return f.failed
}

// await waits for the next command. Meanwhile a client that has asked for it hears of what happens.
func (c *conn) await(ctx context.Context) error {
	if c.notify == nil || c.dec.Buffered() > 0 {
		return c.dec.Wait()
	}
	return c.pushWhile(ctx, !c.notify.selected.delayed, c.dec.Wait) // RFC 5465 section 6.1.2.
}
