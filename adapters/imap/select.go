package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

func init() {
	register(spec{name: "SELECT", states: loggedIn, fresh: true, run: runSelect})
	register(spec{name: "EXAMINE", states: loggedIn, fresh: true, run: runSelect})
	register(spec{name: "CLOSE", states: mailboxSelected, run: runClose})
	register(spec{name: "UNSELECT", states: mailboxSelected, run: runClose, capabilities: []string{"UNSELECT"}}) // RFC 3691.
}

// opening is what SELECT tells of a mailbox.
type opening struct {
	sel         selected
	validity    uint32
	next        domain.UID
	changed     []flagged // what QRESYNC asks for
	firstUnseen int       // sequence number; 0 if every message is seen
	recent      domain.UID
	keywords    []string
	named       event.Flags // the keywords that FLAGS lists
	listing     listing
}

// selectRequest is a parsed SELECT. Parameters (RFC 4466 section 2.4) fill in more of it.
type selectRequest struct {
	mailbox   string
	readOnly  bool
	condstore bool
	resync    *resync // QRESYNC; nil without it
}

// selectParameters parse what may stand in parentheses behind the mailbox, by name. Extensions add theirs from init.
var selectParameters = map[string]func(c *conn, d *wire.Decoder, r *selectRequest) bool{}

// selectTells write more of what SELECT tells. Extensions add theirs from init.
var selectTells []func(c *conn)

func (r *selectRequest) parse(c *conn, d *wire.Decoder) bool {
	if !mailboxName(d, &r.mailbox) {
		return false
	}
	if d.SP() && !expectModifiers(c, d, selectParameters, r) {
		return false
	}
	return d.ExpectCRLF()
}

// runSelect is SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3, RFC 3501 section 6.3.1).
func runSelect(ctx context.Context, c *conn, cmd *command) error {
	r := selectRequest{readOnly: cmd.name == "EXAMINE"}
	if !r.parse(c, cmd.dec) {
		return cmd.dec.Err()
	}
	if c.sel != nil { // whatever becomes of this command, the mailbox is no longer selected (RFC 9051 section 6.3.2).
		c.deselect()
		c.status("*", "OK", "CLOSED", "the mailbox is no longer selected")
	}
	if r.condstore {
		c.enableCondstore()
	}
	if err := c.watchAccount(ctx); err != nil {
		return err
	}
	at, err := c.whoseNow(ctx, r.mailbox)
	if err != nil {
		return err
	}
	subscribed := false
	if c.rev2 && c.foreign(at.owner) {
		if subscribed, err = c.subscribes(ctx, at.full()); err != nil {
			return err
		}
	}
	var o opening
	err = c.viewOf(ctx, at.owner, func(s *account.State) error {
		m, err := c.reach(s, at, account.MayRead)
		if err != nil {
			return err
		}
		rights := c.rights(at.owner, m)
		o = opening{
			sel: selected{
				owner: at.owner, mailbox: m.ID, rights: rights, uids: slices.Clone(m.UID), seen: s.Tx, told: m.ModSeq,
				examined: r.readOnly, readOnly: r.readOnly || rights&mayChange == 0,
			},
			validity: m.UIDValidity,
			next:     m.UIDNext,
			recent:   c.server.recent.above(at.id, m),
			keywords: slices.Clone(s.Keywords),
			named:    c.named(at.owner, s, m),
		}
		if m.Counts.Unseen > 0 {
			o.firstUnseen = 1 + slices.IndexFunc(m.Flags, func(f event.Flags) bool { return f&event.Seen == 0 })
		}
		if c.rev2 {
			o.listing = c.listOne(at.owner, s, m, subscribed || !c.foreign(at.owner) && s.Subscribed[m.Name])
		}
		if r.resync != nil && r.resync.validity == m.UIDValidity { // RFC 7162 section 3.2.5: otherwise nothing changed.
			o.changed = r.resync.changedSince(m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.foreign(at.owner) {
		if o.sel.watch, err = c.accounts.Watch(ctx, at.id); err != nil {
			return c.unlessGone(at.owner, err)
		}
	}
	c.sel = &o.sel
	cmd.updated = true
	c.claim(o.sel.uids, o.recent)
	c.enc.Raw("* ").Number(uint64(len(o.sel.uids))).Raw(" EXISTS\r\n")
	c.sendRecent()
	c.sel.keywords = o.named
	c.sendFlagNames(o.keywords)
	if o.firstUnseen > 0 && !c.rev2 && !c.uidonly { // RFC 9051 appendix E: IMAP4rev2 has it no more.
		c.enc.Raw("* OK [UNSEEN ").Number(uint64(o.firstUnseen)).Raw("] First unseen\r\n")
	}
	c.enc.Raw("* OK [UIDVALIDITY ").Number(uint64(o.validity)).Raw("] UIDs valid\r\n")
	c.enc.Raw("* OK [UIDNEXT ").Number(uint64(o.next)).Raw("] Next UID\r\n")
	if !c.without[condstore] { // RFC 7162 section 3.1.2.1: from every SELECT.
		c.sendModSeq("Highest")
	}
	for _, tell := range selectTells {
		tell(c)
	}
	if c.rev2 {
		c.sendListing("LIST", o.listing)
	}
	if r.resync != nil && r.resync.validity == o.validity && r.resync.since < o.sel.told {
		if err := c.sendEarlier(ctx, *r.resync, o.next); err != nil {
			c.deselect()
			return err
		}
		c.sendFlags(o.changed, o.keywords)
		c.sel.ahead = false
	}
	if o.sel.readOnly { // RFC 4314 section 5.2.
		cmd.ok("READ-ONLY", "")
	} else {
		cmd.ok("READ-WRITE", "")
	}
	return nil
}

// mayChange are the rights without which a mailbox is selected read-only (RFC 4314 section 5.2).
const mayChange = account.MaySee | account.MayWrite | account.MayInsert | account.MayMark | account.MayExpunge

// subscribes tells whether the user subscribes to a name.
func (c *conn) subscribes(ctx context.Context, name string) (is bool, err error) {
	return is, c.view(ctx, func(s *account.State) error {
		is = s.Subscribed[name]
		return nil
	})
}

// watchAccount begins to follow the account's changes, which also keeps its state in memory while the session lasts.
func (c *conn) watchAccount(ctx context.Context) (err error) {
	if c.watch == nil {
		c.watch, err = c.accounts.Watch(ctx, c.id)
	}
	return err
}

// runClose is CLOSE (RFC 9051 section 6.4.1), which expunges without telling, and UNSELECT (section 6.4.2), which does not expunge.
func runClose(ctx context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	sel := c.sel
	if cmd.name == "CLOSE" && !sel.readOnly && !sel.gone {
		done, err := c.doOf(ctx, sel.owner, account.Expunge{Mailbox: sel.mailbox})
		// Deleted meanwhile, or without the right "e" (RFC 4314 section 4): nothing is expunged.
		if err != nil && !domain.Is(err, domain.NotFound) && !domain.Is(err, domain.Denied) {
			return err // and the mailbox stays selected.
		}
		for _, e := range done.Events { // RFC 9051 section 6.4.1: of these nothing is told.
			if gone, is := e.(*event.MessagesExpunged); is && gone.Mailbox == sel.mailbox {
				sel.uids = slices.DeleteFunc(sel.uids, gone.UIDs.Contains)
			}
		}
	}
	c.deselect()
	return nil
}
