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
	register(spec{name: "SELECT", states: loggedIn, run: runSelect})
	register(spec{name: "EXAMINE", states: loggedIn, run: runSelect})
	register(spec{name: "CLOSE", states: mailboxSelected, run: runClose})
	register(spec{name: "UNSELECT", states: mailboxSelected, run: runClose, capabilities: []string{"UNSELECT"}}) // RFC 3691.
}

// opening is what SELECT tells of a mailbox.
type opening struct {
	sel         selected
	validity    uint32
	next        domain.UID
	modseq      domain.Tx
	firstUnseen int // sequence number; 0 if every message is seen
	recent      domain.UID
	keywords    []string
	listing     listing
}

// selectRequest is a parsed SELECT. Parameters (RFC 4466 section 2.4) fill in more of it.
type selectRequest struct {
	mailbox  string
	readOnly bool
}

// selectParameters parse what may stand in parentheses behind the mailbox, by name. Extensions add theirs from init.
var selectParameters = map[string]func(d *wire.Decoder, r *selectRequest) bool{}

func (r *selectRequest) parse(d *wire.Decoder) bool {
	if !mailboxName(d, &r.mailbox) {
		return false
	}
	if d.SP() && !d.ExpectList(func() bool {
		var name string
		if !d.ExpectName(&name) {
			return false
		}
		parameter, known := selectParameters[name]
		if !known {
			return d.Fail(wire.Syntaxf("SELECT has no parameter of that name"))
		}
		return parameter(d, r)
	}) {
		return false
	}
	return d.ExpectCRLF()
}

// runSelect is SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3, RFC 3501 section 6.3.1).
func runSelect(ctx context.Context, c *conn, cmd *command) error {
	r := selectRequest{readOnly: cmd.name == "EXAMINE"}
	if !r.parse(cmd.dec) {
		return cmd.dec.Err()
	}
	if c.sel != nil { // whatever becomes of this command, the mailbox is no longer selected (RFC 9051 section 6.3.2).
		c.sel = nil
		c.status("*", "OK", "CLOSED", "the mailbox is no longer selected")
	}
	if err := c.watchAccount(ctx); err != nil {
		return err
	}
	var o opening
	err := c.view(ctx, func(s *account.State) error {
		m, ok := s.Mailbox(r.mailbox)
		if !ok {
			return domain.Errorf(domain.NotFound, "the mailbox does not exist")
		}
		o = opening{
			sel:      selected{mailbox: m.ID, name: m.Name, uids: slices.Clone(m.UID), seen: s.Tx, readOnly: r.readOnly, keywords: len(s.Keywords)},
			validity: m.UIDValidity,
			next:     m.UIDNext,
			modseq:   m.ModSeq,
			recent:   c.server.recent.above(c.id, m),
			keywords: slices.Clone(s.Keywords),
		}
		if m.Counts.Unseen > 0 {
			o.firstUnseen = 1 + slices.IndexFunc(m.Flags, func(f event.Flags) bool { return f&event.Seen == 0 })
		}
		if c.rev2 {
			o.listing = listOne(s, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.sel = &o.sel
	cmd.updated = true
	c.claim(o.sel.uids, o.recent)
	c.enc.Raw("* ").Number(uint64(len(o.sel.uids))).Raw(" EXISTS\r\n")
	c.sendRecent()
	c.sendFlagNames(o.keywords)
	if o.firstUnseen > 0 && !c.rev2 { // RFC 9051 appendix E: IMAP4rev2 has it no more.
		c.enc.Raw("* OK [UNSEEN ").Number(uint64(o.firstUnseen)).Raw("] First unseen\r\n")
	}
	c.enc.Raw("* OK [UIDVALIDITY ").Number(uint64(o.validity)).Raw("] UIDs valid\r\n")
	c.enc.Raw("* OK [UIDNEXT ").Number(uint64(o.next)).Raw("] Next UID\r\n")
	c.enc.Raw("* OK [HIGHESTMODSEQ ").Number(uint64(o.modseq)).Raw("] Highest\r\n") // RFC 7162 section 3.1.2.1: from every SELECT.
	if c.rev2 {
		c.sendListing("LIST", o.listing)
	}
	if r.readOnly {
		cmd.ok("READ-ONLY", "")
	} else {
		cmd.ok("READ-WRITE", "")
	}
	return nil
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
	c.sel = nil
	if cmd.name == "UNSELECT" || sel.readOnly || sel.gone {
		return nil
	}
	_, err := c.do(ctx, account.Expunge{Mailbox: sel.mailbox})
	if domain.Is(err, domain.NotFound) { // deleted meanwhile: nothing is left to expunge.
		return nil
	}
	return err
}
