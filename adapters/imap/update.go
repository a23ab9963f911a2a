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
	uid   domain.UID
	flags event.Flags
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
	gone     bool // the mailbox
	nothing  bool
	tx       domain.Tx
	expunged bool
	present  []domain.UID // what is left of the view, when something is expunged
	arrived  []domain.UID
	flags    []flagged
	keywords []string
	recent   domain.UID // arrivals above it are recent
}

// update sends what has changed in the selected mailbox since the client was last told. Without expunges the EXPUNGE responses wait.
func (c *conn) update(ctx context.Context, expunges bool) error {
	return c.refresh(ctx, refresh{expunges: expunges})
}

func (c *conn) refresh(ctx context.Context, r refresh) error {
	sel := c.sel
	if sel.gone {
		return nil
	}
	var d difference
	err := c.view(ctx, func(s *account.State) error {
		d = c.compare(s, r)
		return nil
	})
	if err != nil || d.nothing {
		return err
	}
	c.sendKeywords(d.keywords)
	if d.gone {
		d.expunged = len(sel.uids) > 0
		sel.gone = r.expunges
	}
	sel.expunged = d.expunged
	if d.expunged && r.expunges {
		c.sendExpunges(d.present)
		sel.expunged = false
	}
	if len(d.arrived) > 0 {
		c.sendArrivals(d.arrived, d.recent)
	}
	c.sendFlags(d.flags, d.keywords)
	if !d.gone {
		sel.seen = d.tx
	}
	return c.enc.Err()
}

// compare finds the difference. It runs inside a View and copies what it keeps.
func (c *conn) compare(s *account.State, r refresh) (d difference) {
	sel := c.sel
	m, ok := s.Mailboxes[sel.mailbox]
	if !ok {
		return difference{gone: true}
	}
	changed := m.ModSeq > sel.seen
	if !changed && r.answer == nil && !(sel.expunged && r.expunges) {
		return difference{nothing: true}
	}
	d.tx = s.Tx
	// UIDs are never used again, so those messages of the mailbox that the client may know are all in its view: equal numbers mean equal sets.
	known, _ := slices.BinarySearch(m.UID, sel.last()+1)
	if d.expunged = known < len(sel.uids); d.expunged && r.expunges {
		d.present = slices.Clone(m.UID[:known])
	}
	if known < len(m.UID) {
		d.arrived = slices.Clone(m.UID[known:])
		d.recent = c.server.recent.above(c.id, m)
	}
	before, named := r.before, event.Flags(0)
	if r.silent != nil {
		named = namedFlags(s, r.silent.Flags)
	}
	answer := picker{uids: m.UID[:known], set: r.answer}
	asked := answer.next()
	for i, modified := range m.Modified[:known] {
		if modified <= sel.seen && i != asked {
			continue
		}
		if i == asked {
			asked = answer.next()
		}
		f := flagged{m.UID[i], m.Flags[i]}
		for len(before) > 0 && before[0].uid < f.uid {
			before = before[1:]
		}
		if len(before) > 0 && before[0].uid == f.uid && f.flags == foretell(before[0].flags, r.silent.Mode, named) {
			continue
		}
		d.flags = append(d.flags, f)
	}
	if len(d.flags) > 0 || len(s.Keywords) > sel.keywords {
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

// sendKeywords tells of keywords that the account has got since the client was last told which there are (RFC 9051 section 7.3.5).
func (c *conn) sendKeywords(keywords []string) {
	if len(keywords) <= c.sel.keywords {
		return
	}
	c.sel.keywords = len(keywords)
	c.sendFlagNames(keywords)
}

// sendFlagNames writes FLAGS and PERMANENTFLAGS.
func (c *conn) sendFlagNames(keywords []string) {
	every := make([]byte, 0, 256)
	for i, name := range append(systemFlags[:], keywords...) {
		if i > 0 {
			every = append(every, ' ')
		}
		every = append(every, name...)
	}
	c.enc.Raw("* FLAGS (").Bytes(every).Raw(")\r\n* OK [PERMANENTFLAGS (")
	if !c.sel.readOnly {
		c.enc.Bytes(every)
		if len(keywords) < event.MaxKeywords {
			c.enc.Raw(` \*`) // RFC 9051 section 7.1: new keywords may be made.
		}
	}
	c.enc.Raw(")] Flags kept\r\n")
}

// sendExpunges reduces the view to what is still there and tells of the rest. Numbers go from high to low, so that no EXPUNGE changes the
// number in the next one.
func (c *conn) sendExpunges(present []domain.UID) {
	sel := c.sel
	left := len(present)
	for i := len(sel.uids) - 1; i >= 0; i-- {
		if left > 0 && present[left-1] == sel.uids[i] {
			left--
			continue
		}
		c.enc.Raw("* ").Number(uint64(i + 1)).Raw(" EXPUNGE\r\n")
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
		above = c.server.recent.claim(c.id, sel.mailbox, above, arrived[len(arrived)-1])
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

// sendFlags writes one FETCH for each message, with its UID.
func (c *conn) sendFlags(flags []flagged, keywords []string) {
	for _, f := range flags {
		seq, found := c.sel.seq(f.uid)
		if !found {
			continue
		}
		c.enc.Raw("* ").Number(uint64(seq)).Raw(" FETCH (UID ").Number(uint64(f.uid)).Raw(" FLAGS (")
		recent := !c.rev2 && c.sel.isRecent(f.uid)
		c.enc.Append(func(b []byte) []byte { return appendFlags(b, f.flags, keywords, recent) })
		c.enc.Raw("))\r\n")
	}
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
