package imap

import (
	"context"
	"maps"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// NOTIFY (RFC 5465): a client says of which events in which mailboxes it wants to hear, and hears of them at once, also while no command runs.
//
// A session keeps no queue of events. It remembers of each mailbox what it last looked like, about 100 octets, and compares when the account has changed:
// so a client that does not read costs no more, and several changes may come as one. What it asks for is what its account's mailboxes, and those that others share
// with it, bound.

func init() {
	forgets = append(forgets, (*conn).endNotify)
	register(spec{name: "NOTIFY", states: loggedIn, run: runNotify, capabilities: []string{"NOTIFY"}})
}

// events is a set of what NOTIFY tells of (RFC 5465 section 5).
type events uint8

const (
	newMessages events = 1 << iota
	expungedMessages
	newFlags
	mailboxNames
	subscriptions
	mailboxMetadata
	serverMetadata

	messageEvents = newMessages | expungedMessages | newFlags
)

var eventNames = map[string]events{
	"MESSAGENEW": newMessages, "MESSAGEEXPUNGE": expungedMessages, "FLAGCHANGE": newFlags, "MAILBOXNAME": mailboxNames, "SUBSCRIPTIONCHANGE": subscriptions,
	"MAILBOXMETADATACHANGE": mailboxMetadata, "SERVERMETADATACHANGE": serverMetadata,
}

// offersEvent tells whether configuration leaves an event.
func (c *conn) offersEvent(e events) bool {
	return e&(mailboxMetadata|serverMetadata) == 0 || !c.without["METADATA"]
}

// badEvent names all events that are supported (RFC 5465 section 3.1).
func (c *conn) badEvent() string {
	names := "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"
	if c.offersEvent(mailboxMetadata) {
		names += " MailboxMetadataChange ServerMetadataChange"
	}
	return "BADEVENT (" + names + ")"
}

// eventGroup is what a client wants to hear of some mailboxes.
type eventGroup struct {
	filter  mailboxFilter
	events  events
	delayed bool        // SELECTED-DELAYED
	items   []fetchItem // of new messages in the selected mailbox
}

// selects tells a group for the selected mailbox from those for others (RFC 5465 section 6.1).
func (g *eventGroup) selects() bool { return g.filter.kind == "SELECTED" }

// maxGroups bounds the groups of one NOTIFY, which are looked through for each mailbox that changes.
const maxGroups = 100

// notifyRequest is a parsed NOTIFY.
type notifyRequest struct {
	none, status bool
	groups       []eventGroup
	unsupported  bool // an event of a type that is not
}

func (r *notifyRequest) parse(c *conn, d *wire.Decoder) bool {
	var word string
	if !d.ExpectSP() || !d.ExpectName(&word) {
		return false
	}
	switch word {
	case "NONE":
		r.none = true
		return d.ExpectCRLF()
	case "SET":
	default:
		return d.Fail(wire.Syntaxf("NOTIFY is NONE or SET"))
	}
	if r.status = d.Follows(" STATUS "); r.status && (!d.ExpectSP() || !d.ExpectName(&word)) {
		return false
	}
	for d.SP() || len(r.groups) == 0 && d.ExpectSP() {
		var g eventGroup
		if !d.Item() || !r.parseGroup(c, d, &g) {
			return false
		}
		if len(r.groups) == maxGroups {
			return d.Fail(&wire.SyntaxError{Code: "LIMIT", Text: "NOTIFY has too many groups"})
		}
		r.groups = append(r.groups, g)
	}
	return d.ExpectCRLF()
}

// parseGroup reads an event-group (RFC 5465 section 8).
func (r *notifyRequest) parseGroup(c *conn, d *wire.Decoder, g *eventGroup) bool {
	if !d.ExpectSpecial('(') {
		return false
	}
	g.delayed = d.Follows("SELECTED-DELAYED ")
	if !g.filter.expect(d, c.server.namespaces) || !d.ExpectSP() {
		return false
	}
	if g.filter.kind == "INBOXES" { // RFC 5465 section 6.3: a detail in an address delivers to any mailbox, so all of them are inboxes.
		g.filter.kind = "PERSONAL"
	}
	if g.selects() && slices.ContainsFunc(r.groups, func(other eventGroup) bool { return other.selects() }) {
		return d.Fail(wire.Syntaxf("the selected mailbox is named twice")) // RFC 5465 section 6.1.
	}
	if !d.Next('(') {
		var none string
		return d.ExpectName(&none) && (none == "NONE" || d.Fail(wire.Syntaxf("events stand in parentheses"))) && d.ExpectSpecial(')')
	}
	if !d.ExpectList(func() bool { return r.parseEvent(c, d, g) }) {
		return false
	}
	switch both := newMessages | expungedMessages; {
	case g.events == 0 && !r.unsupported:
		return d.Fail(wire.Syntaxf("there is at least one event"))
	case g.events&both != 0 && g.events&both != both, g.events&newFlags != 0 && g.events&both == 0: // RFC 5465 section 5.
		return d.Fail(wire.Syntaxf("MessageNew and MessageExpunge go together, and FlagChange goes with them"))
	case g.selects() && g.events&^messageEvents != 0: // RFC 5465 section 6.1.
		return d.Fail(wire.Syntaxf("of the selected mailbox there are events of messages only"))
	}
	return d.ExpectSpecial(')')
}

func (r *notifyRequest) parseEvent(c *conn, d *wire.Decoder, g *eventGroup) bool {
	var name string
	if !d.ExpectName(&name) {
		return false
	}
	event, supported := eventNames[name]
	r.unsupported = r.unsupported || !supported || !c.offersEvent(event)
	g.events |= event
	if event == newMessages && d.Follows(" (") {
		if !g.selects() {
			return d.Fail(wire.Syntaxf("only messages in the selected mailbox are fetched"))
		}
		var ok bool
		d.SP()
		g.items, ok = c.fetchItems(d)
		return ok
	}
	return true
}

// runNotify is NOTIFY (RFC 5465 section 3.1).
func runNotify(ctx context.Context, c *conn, cmd *command) error {
	var r notifyRequest
	if !r.parse(c, cmd.dec) {
		return cmd.dec.Err()
	}
	if r.unsupported {
		return coded(c.badEvent(), domain.Errorf(domain.Invalid, "there is no event of that name here"))
	}
	if err := c.watchAccount(ctx); err != nil {
		return err
	}
	before := c.notify           // which stays when this command fails (RFC 5465 section 3.1)
	if c.sel != nil && !r.none { // RFC 5465 section 3.1: NOTIFY SET brings all that has gathered.
		c.notify = nil
		err := c.update(ctx, true)
		if c.notify = before; err != nil {
			return err
		}
	}
	n := &notification{begins: &outset{r.status, before}}
	for _, g := range r.groups {
		if g.selects() {
			n.selected = g
		} else {
			n.groups = append(n.groups, g)
		}
	}
	var found []notice
	err := c.view(ctx, func(s *account.State) error {
		n.begin(s)
		found = n.begins.tells(n.statuses(c, s), n.since(c, s, before))
		return nil
	})
	if err != nil {
		return err
	}
	more, err := n.follow(ctx, c)
	if err != nil {
		n.end()
		return err
	}
	c.lookUpOthers(ctx, found)
	c.endNotify()
	n.begins = nil
	c.notify = n
	c.sendNotices(append(found, more...))
	return nil
}

// outset is what NOTIFY SET itself tells of.
type outset struct {
	status bool          // of everything that there is
	before *notification // of what this had not told yet; nil when there was none
}

// tells chooses from what there is and from what has changed (RFC 5465 section 3.1): STATUS is what tells of everything that there is, and it tells
// that alone. Names that cannot be watched are told in any case.
func (b *outset) tells(all, changes []notice) []notice {
	all = slices.DeleteFunc(all, func(n notice) bool { return !n.refuses && (!b.status || !n.isStatus()) })
	if !b.status {
		return append(all, changes...)
	}
	return append(all, slices.DeleteFunc(changes, notice.isStatus)...)
}

// since gives what the client wants to hear now, and has not been told by the notification before. It runs inside a View.
func (n *notification) since(c *conn, s *account.State, before *notification) []notice {
	if before == nil || len(before.groups) == 0 || len(n.groups) == 0 {
		return nil
	}
	then := &notification{groups: n.groups, known: before.known, subscribed: before.subscribed, metadata: before.metadata, seen: before.seen}
	return before.knew(then.compare(c, s).notices)
}

// knew leaves out changes of annotations that were not remembered.
func (n *notification) knew(changes []notice) []notice {
	return slices.DeleteFunc(changes, func(change notice) bool { return change.entries != nil && !n.annotates() })
}

// endNotify forgets what the client has asked for.
func (c *conn) endNotify() {
	if c.notify != nil {
		c.notify.end()
	}
	c.notify = nil
}

// notification is what a client has asked for, and what it knows of the mailboxes.
type notification struct {
	selected eventGroup
	groups   []eventGroup // of other mailboxes
	others   []*followed
	begins   *outset // until NOTIFY is answered

	sharing  *door.Watch        // of who begins to share with the user
	sharers  []domain.AccountID // who did when others were last looked for
	unlooked bool               // subscriptions have changed since
	finding  pause              // after not all of them could be found

	known      map[domain.MailboxID]*knownMailbox
	subscribed map[string]bool
	metadata   account.Metadata // of the server, as this account sees it
	seen       domain.Tx
	mine       domain.UIDSet // messages that this session has put into the selected mailbox
	owed       domain.UIDSet // new messages there that are still to be fetched for the client
}

// knownMailbox is a mailbox as the client was last told that it is.
type knownMailbox struct {
	name     string
	next     domain.UID
	messages int64
	modseq   domain.Tx
	judged   domain.UID // UIDNEXT when modseq was looked at: changes above are arrivals
	metadata account.Metadata
	closed   bool // the user sees it, and may not read it
	unseen   bool // this session has made it, and it was not looked at since
	left     bool // it was selected until now: the rest is as the session last showed it
}

// annotates tells whether the client wants to hear of annotations. Else none are remembered.
func (n *notification) annotates() bool {
	return slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.events&(mailboxMetadata|serverMetadata) != 0 })
}

func (n *notification) know(m *account.Mailbox) *knownMailbox {
	k := &knownMailbox{name: m.Name, next: m.UIDNext, messages: m.Counts.Messages, modseq: m.ModSeq, judged: m.UIDNext}
	if n.annotates() {
		k.metadata = maps.Clone(m.Metadata)
	}
	return k
}

// leave takes note of what the client has been told of a mailbox while it was selected, so that what was held back is told like what comes after.
func (n *notification) leave(sel *selected) {
	n.mine, n.owed = nil, nil
	var k *knownMailbox
	if sel.owner.prefix == "" {
		k, n.seen = n.known[sel.mailbox], 0
	}
	for _, f := range n.others {
		if f.owner.id == sel.owner.id {
			k, f.seen = f.known[sel.mailbox], 0
		}
	}
	if k != nil && !sel.gone {
		k.messages, k.next, k.judged, k.modseq, k.left = int64(len(sel.uids)), sel.last()+1, sel.last()+1, sel.seen, true
	}
}

// begin takes note of everything.
func (n *notification) begin(s *account.State) {
	n.known, n.subscribed, n.seen = map[domain.MailboxID]*knownMailbox{}, map[string]bool{}, s.Tx
	if len(n.groups) == 0 {
		return
	}
	for id, m := range s.Mailboxes {
		n.known[id] = n.know(m)
	}
	for name := range s.Subscribed {
		n.subscribed[name] = true
	}
	if n.annotates() {
		n.metadata = maps.Clone(s.Metadata)
	}
}

// wants gives the events that the client wants to hear of in a mailbox that is not selected, or of a name.
func (n *notification) wants(s *account.State, m *account.Mailbox) (all events) {
	for i := range n.groups {
		if n.groups[i].filter.matches(s, m, 0) {
			all |= n.groups[i].events
		}
	}
	return all
}
