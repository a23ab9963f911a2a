package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

// flagged is a message with its flags.
type flagged struct {
	uid      domain.UID
	flags    event.Flags
	modseq   domain.Tx
	foretold bool // the client knows the flags, but not the mod-sequence
}

// refresh says what a comparison of the session's view with the account's state shall send.
type refresh struct {
	expunges bool          // EXPUNGE is allowed now (RFC 9051 section 7.5.1)
	answer   domain.UIDSet // send the flags of these messages, changed or not
	// silent is a STORE that was done and whose results the client foretells: a message among before, which is in rising order, is sent only
	// when something else has come out.
	silent *account.StoreFlags
	before []flagged
}

// difference is what the account's state has and the session's view has not.
type difference struct {
	gone     bool // the mailbox, or the right to read it
	nothing  bool
	tx       domain.Tx
	modseq   domain.Tx // of the mailbox
	expunged bool
	present  []domain.UID // what is left of the view, when something is expunged
	arrived  []domain.UID
	flags    []flagged
	keywords []string
	named    event.Flags // the keywords that FLAGS lists
	rights   account.Rights
	recent   domain.UID // arrivals above it are recent
}

// update sends what has changed in the selected mailbox since the client was last told. Without expunges the EXPUNGE responses wait.
func (c *conn) update(ctx context.Context, expunges bool) error {
	if c.quiet(newMessages) && !c.changed { // RFC 5465 section 3.1. Of what it does itself a client hears in any case.
		return nil
	}
	return c.refresh(ctx, refresh{expunges: expunges})
}

func (c *conn) refresh(ctx context.Context, r refresh) error {
	sel := c.sel
	if sel.gone {
		return nil
	}
	var d difference
	err := c.viewOf(ctx, sel.owner, func(s *account.State) error {
		d = c.compare(s, r)
		return nil
	})
	switch {
	case c.foreign(sel.owner) && domain.Is(err, domain.NotFound): // the account was erased
		d = difference{gone: true}
	case err != nil:
		return err
	}
	if d.nothing {
		c.holdBack()
		return c.enc.Err()
	}
	if !d.gone && d.rights != sel.rights {
		c.sendRights(d)
	}
	c.sendKeywords(d.keywords, d.named)
	if d.gone {
		d.expunged = len(sel.uids) > 0
		sel.gone = r.expunges
	}
	sel.expunged = d.expunged
	if d.expunged && r.expunges {
		c.expungeContexts(d.present)
		c.sendExpunges(d.present)
		sel.expunged, sel.shrunk = false, true
	}
	if len(d.arrived) > 0 {
		c.sendArrivals(d.arrived, d.recent)
	}
	c.sendFlags(d.flags, d.keywords)
	if !d.gone {
		sel.seen = d.tx
	}
	sel.late = true
	if !d.gone {
		if err := c.sendNew(ctx, d.arrived); err != nil {
			return err
		}
	}
	if !d.gone && !sel.expunged {
		sel.told = d.modseq
	}
	c.holdBack()
	if err := c.updateContexts(ctx); err != nil {
		return err
	}
	sel.late = false
	return c.enc.Err()
}

// compare finds the difference. It runs inside a View and copies what it keeps.
func (c *conn) compare(s *account.State, r refresh) (d difference) {
	sel := c.sel
	m := c.readable(s, sel.owner, sel.mailbox)
	if m == nil {
		return difference{gone: true}
	}
	d.rights = c.rights(sel.owner, m)
	changed := m.ModSeq > sel.seen || d.rights != sel.rights
	if !changed && !sel.late && r.answer == nil && !(sel.expunged && r.expunges) {
		return difference{nothing: true}
	}
	d.tx, d.modseq = s.Tx, m.ModSeq
	// UIDs are never used again, so those messages of the mailbox that the client may know are all in its view: equal numbers mean equal sets.
	known, _ := slices.BinarySearch(m.UID, sel.last()+1)
	if d.expunged = known < len(sel.uids); d.expunged && r.expunges {
		d.present = slices.Clone(m.UID[:known])
	}
	if known < len(m.UID) {
		d.arrived = slices.Clone(m.UID[known:])
		d.recent = c.server.recent.above(sel.owner.id, m)
	}
	before, named := r.before, event.Flags(0)
	if r.silent != nil {
		named = s.Named(r.silent.Flags)
	}
	quiet := c.quiet(newFlags)
	answer := picker{uids: m.UID[:known], set: r.answer}
	asked := answer.next()
	for i, modified := range m.Modified[:known] {
		if modified <= sel.seen && i != asked {
			continue
		}
		answered := i == asked
		if answered {
			asked = answer.next()
		}
		if quiet && !answered && (r.silent == nil || !r.silent.UIDs.Contains(m.UID[i])) { // RFC 5465 section 5.
			continue
		}
		f := flagged{uid: m.UID[i], flags: m.Flags[i], modseq: modified}
		for len(before) > 0 && before[0].uid < f.uid {
			before = before[1:]
		}
		if len(before) > 0 && before[0].uid == f.uid && f.flags == foretell(before[0].flags, r.silent.Mode, named) {
			if !c.condstore {
				continue
			}
			f.foretold = true // RFC 7162 section 3.1.4.2, example 14.
		}
		d.flags = append(d.flags, f)
	}
	d.named = c.named(sel.owner, s, m)
	if len(d.flags) > 0 || d.named&^sel.keywords != 0 || d.rights != sel.rights {
		d.keywords = slices.Clone(s.Keywords)
	}
	return d
}

// picker gives the indexes of those of some rising UIDs that are in a set.
type picker struct {
	uids []domain.UID
	set  domain.UIDSet
	at   int
}

// next gives the next index, or len(uids) when there is none.
func (p *picker) next() int {
	for len(p.set) > 0 && p.at < len(p.uids) {
		switch r := p.set[0]; {
		case p.uids[p.at] < r.Lo:
			skip, _ := slices.BinarySearch(p.uids[p.at:], r.Lo)
			p.at += skip
		case p.uids[p.at] > r.Hi:
			p.set = p.set[1:]
		default:
			p.at++
			return p.at - 1
		}
	}
	return len(p.uids)
}

// named gives the keywords that FLAGS lists for a mailbox: to the owner all of the account's, to others those that messages of the mailbox have, since the
// rest would tell of mailboxes that they may not see (RFC 4314 section 6). It runs inside a View.
func (c *conn) named(o owner, s *account.State, m *account.Mailbox) (named event.Flags) {
	if !c.foreign(o) {
		return event.KeywordFlag(len(s.Keywords)) - event.KeywordFlag(0) // also right for 59, where the first wraps to 0.
	}
	for _, flags := range m.Flags {
		named |= flags
	}
	return named &^ named.System()
}

// sendKeywords tells of keywords that there are to be named since the client was last told which there are (RFC 9051 section 7.3.5). Those that it was told
// of stay.
func (c *conn) sendKeywords(keywords []string, named event.Flags) {
	if named&^c.sel.keywords == 0 {
		return
	}
	c.sel.keywords |= named
	c.sendFlagNames(keywords)
}

// sendFlagNames writes FLAGS and PERMANENTFLAGS, which are those that the rights let one change (RFC 4314 section 5.1).
func (c *conn) sendFlagNames(keywords []string) {
	every := c.sel.keywords | (^event.Flags(0)).System()
	c.enc.Raw("* FLAGS (").Append(func(b []byte) []byte { return appendFlags(b, every, keywords, false) }).Raw(")\r\n* OK [PERMANENTFLAGS (")
	most := event.MaxKeywords
	if c.foreign(c.sel.owner) {
		most = account.OthersKeywords
	}
	if mutable := every & c.sel.rights.Mutable(); !c.sel.readOnly {
		c.enc.Append(func(b []byte) []byte { return appendFlags(b, mutable, keywords, false) })
		if c.sel.rights&account.MayWrite != 0 && len(keywords) < most {
			c.enc.Raw(` \*`) // RFC 9051 section 7.1: new keywords may be made.
		}
	}
	c.enc.Raw(")] Flags kept\r\n")
}

// sendRights tells what the client may do now that its rights have changed: which flags it may change, and whether that is nothing at all
// (RFC 4314 section 5.1, RFC 9051 section 7.1, READ-ONLY).
func (c *conn) sendRights(d difference) {
	sel := c.sel
	sel.rights, sel.keywords = d.rights, sel.keywords|d.named
	before := sel.readOnly
	sel.readOnly = sel.examined || d.rights&mayChange == 0
	c.sendFlagNames(d.keywords)
	switch {
	case sel.readOnly == before:
	case sel.readOnly:
		c.status("*", "OK", "READ-ONLY", "your rights on the mailbox have changed")
	default:
		c.status("*", "OK", "READ-WRITE", "your rights on the mailbox have changed")
	}
}

// sendExpunges reduces the view to what is still there and tells of the rest. Numbers go from high to low, so that no EXPUNGE changes the
// number in the next one.
func (c *conn) sendExpunges(present []domain.UID) {
	sel := c.sel
	if c.qresync || c.uidonly { // RFC 7162 section 3.2.10.2, RFC 9586 sections 3.4 and 3.6.
		c.enc.Raw("* VANISHED ").Append(absent(domain.UIDs(sel.uids...), present).AppendText).CRLF()
	} else {
		left := len(present)
		for i := len(sel.uids) - 1; i >= 0; i-- {
			if left > 0 && present[left-1] == sel.uids[i] {
				left--
				continue
			}
			c.enc.Raw("* ").Number(uint64(i + 1)).Raw(" EXPUNGE\r\n")
		}
	}
	sel.uids = present
	sel.recent = intersect(sel.recent, present)
	// "$" needs no care: commands pass over UIDs that are gone (RFC 5182 section 2.1 removes expunged messages from it).
}

// intersect keeps the members of a set that are in a rising list.
func intersect(set domain.UIDSet, uids []domain.UID) (kept domain.UIDSet) {
	for _, r := range set {
		i, _ := slices.BinarySearch(uids, r.Lo)
		for ; i < len(uids) && uids[i] <= r.Hi; i++ {
			kept = kept.Add(uids[i])
		}
	}
	return kept
}

// sendArrivals appends new messages to the view and tells how many there are now.
func (c *conn) sendArrivals(arrived []domain.UID, recent domain.UID) {
	sel := c.sel
	sel.uids = append(sel.uids, arrived...)
	c.claim(arrived, recent)
	c.enc.Raw("* ").Number(uint64(len(sel.uids))).Raw(" EXISTS\r\n")
	c.sendRecent()
}

// claim makes those of the arrivals recent in this session that lie above a watermark. EXAMINE shows them without claiming them
// (RFC 3501 section 6.3.2).
func (c *conn) claim(arrived []domain.UID, above domain.UID) {
	sel := c.sel
	if !sel.readOnly && len(arrived) > 0 {
		above = c.server.recent.claim(sel.owner.id, sel.mailbox, above, arrived[len(arrived)-1])
	}
	first, _ := slices.BinarySearch(arrived, above+1)
	for _, uid := range arrived[first:] {
		sel.recent = sel.recent.Add(uid)
	}
}

// sendRecent writes RECENT, which IMAP4rev2 has no more (RFC 9051 appendix E).
func (c *conn) sendRecent() {
	if !c.rev2 {
		c.enc.Raw("* ").Number(uint64(c.sel.recent.Len())).Raw(" RECENT\r\n")
	}
}

// sendFlags writes one FETCH for each message, with its UID (RFC 7162 section 3.2.4), and with its mod-sequence for those who know what that is.
func (c *conn) sendFlags(flags []flagged, keywords []string) {
	for _, f := range flags {
		seq, found := c.sel.seq(f.uid)
		if !found {
			continue
		}
		c.beginFetch(seq, f.uid)
		if !c.uidonly {
			c.enc.Raw("UID ").Number(uint64(f.uid)).SP()
		}
		if !f.foretold {
			recent := !c.rev2 && c.sel.isRecent(f.uid)
			c.enc.Raw("FLAGS (").Append(func(b []byte) []byte { return appendFlags(b, f.flags, keywords, recent) }).Byte(')')
		}
		if c.condstore {
			if !f.foretold {
				c.enc.SP()
			}
			c.enc.Raw("MODSEQ (").Number(uint64(f.modseq)).Byte(')')
			c.sel.ahead = true
		}
		c.enc.Raw(")\r\n")
	}
}

// beginFetch begins a FETCH response.
func (c *conn) beginFetch(seq uint32, uid domain.UID) {
	c.enc.Raw("* ")
	if c.uidonly {
		c.enc.Number(uint64(uid)).Raw(" UIDFETCH (") // RFC 9586 sections 3.3 and 3.6.
	} else {
		c.enc.Number(uint64(seq)).Raw(" FETCH (")
	}
}

// settle tells a client that was told of expunges how far it knows the mailbox now, in the tagged OK where that has room
// (RFC 7162 sections 3.2.7, 3.2.9 and 6). cmd is nil when no command is being answered.
func (c *conn) settle(cmd *command) {
	switch {
	case !c.sel.shrunk:
		return
	case !c.qresync || c.sel.gone:
	case cmd != nil && cmd.code == "" && !cmd.answered:
		cmd.code = c.modSeqCode()
	default:
		c.sendModSeq("Highest")
	}
	c.sel.shrunk = false
}

var systemFlags = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// appendFlags appends the names of flags with spaces between. keywords are the account's.
func appendFlags(b []byte, flags event.Flags, keywords []string, recent bool) []byte {
	start := len(b)
	put := func(name string) {
		if len(b) > start {
			b = append(b, ' ')
		}
		b = append(b, name...)
	}
	for i, name := range systemFlags {
		if flags&(1<<i) != 0 {
			put(name)
		}
	}
	if flags.System() != flags {
		for i, name := range keywords {
			if flags&event.KeywordFlag(i) != 0 {
				put(name)
			}
		}
	}
	if recent {
		put(`\Recent`)
	}
	return b
}
