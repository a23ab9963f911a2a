package imap

import (
	"context"
	"strings"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

func init() {
	register(spec{name: "STORE", states: mailboxSelected, uid: true, writes: true, numbered: true, run: runStore})
}

// storeRequest is a parsed STORE (RFC 9051 section 6.4.6). Modifiers (RFC 4466 section 2.5) fill in more of the wish.
type storeRequest struct {
	set    wire.NumSet
	wish   account.StoreFlags
	silent bool
}

// storeModifiers parse what may stand in parentheses before the flags, by name. Extensions add theirs from init.
var storeModifiers = map[string]func(c *conn, d *wire.Decoder, r *storeRequest) bool{}

func (r *storeRequest) parse(c *conn, d *wire.Decoder) bool {
	if !numbers(d, &r.set) || !d.ExpectSP() {
		return false
	}
	if d.Next('(') {
		if !expectModifiers(c, d, storeModifiers, r) || !d.ExpectSP() {
			return false
		}
	}
	switch {
	case d.Special('+'):
		r.wish.Mode = account.AddFlags
	case d.Special('-'):
		r.wish.Mode = account.RemoveFlags
	}
	var item string
	if !d.ExpectLabel(&item) {
		return false
	}
	item, r.silent = strings.CutSuffix(item, ".SILENT")
	if item != "FLAGS" {
		return d.Fail(wire.Syntaxf("STORE changes FLAGS and nothing else"))
	}
	return d.ExpectSP() && d.ExpectFlags(&r.wish.Flags) && d.ExpectCRLF()
}

// runStore is STORE and UID STORE. The answer shows the flags of every message in the set; with .SILENT only of those whose flags are
// not what the client must expect, because somebody else has changed them too.
func runStore(ctx context.Context, c *conn, cmd *command) error {
	var r storeRequest
	if !r.parse(c, cmd.dec) {
		return cmd.dec.Err()
	}
	uids, err := c.sel.resolve(r.set, cmd.uid)
	if err != nil || len(uids) == 0 {
		return err
	}
	uids, short := c.limited(uids, c.messageLimit(false))
	r.wish.Mailbox, r.wish.UIDs = c.sel.mailbox, uids
	conditional := r.wish.UnchangedSince != nil
	if conditional {
		c.enableCondstore()
	}
	show := refresh{expunges: cmd.uid}
	if !r.silent || conditional { // RFC 7162 section 3.1.3: a conditional STORE is answered for each message, silent or not.
		show.answer = uids
	}
	var refused domain.UIDSet
	if _, err := c.doOn(ctx, c.sel.owner, func(s *account.State) (account.Command, error) {
		refused = r.wish.Refused(s)
		show.silent, show.before = nil, nil
		switch m := s.Mailboxes[r.wish.Mailbox]; {
		case m != nil && c.rights(c.sel.owner, m).Mutable() != account.AllRights.Mutable():
			show.answer = uids // RFC 4314 section 4: some flags may stay as they are, which the client cannot foretell.
		case r.silent:
			show.silent, show.before = &r.wish, c.before(s, r.wish, refused)
		}
		return r.wish, nil
	}); err != nil {
		return c.ifGone(err)
	}
	if refused != nil { // RFC 7162 section 3.1.3: as numbers for STORE, as UIDs for UID STORE.
		if !cmd.uid {
			refused = c.sel.seqs(refused)
		}
		cmd.ok("MODIFIED "+refused.String(), "some of the messages were changed since")
	}
	c.tellLimit(cmd, short)
	cmd.updated, cmd.late = true, c.refresh(ctx, show)
	return nil
}

// before gives the flags from which a client foretells the result of a silent STORE. Messages that were changed since the client was last told
// of their flags are left out, unless the STORE replaces all flags, and so are those that it does not change.
func (c *conn) before(s *account.State, wish account.StoreFlags, refused domain.UIDSet) (known []flagged) {
	m, ok := s.Mailboxes[wish.Mailbox]
	if !ok {
		return nil
	}
	m.Each(wish.UIDs, func(i int) {
		told := m.Modified[i] <= c.sel.seen
		// What NOTIFY told after the last answer may reach the client while it waits for this one, and then it cannot know which came first.
		crossing := told && m.Modified[i] > c.sel.answered
		if (told || wish.Mode == account.ReplaceFlags) && !crossing && !refused.Contains(m.UID[i]) {
			known = append(known, flagged{uid: m.UID[i], flags: m.Flags[i]})
		}
	})
	return known
}

// foretell is what a client believes after a silent STORE.
func foretell(old event.Flags, mode account.StoreMode, named event.Flags) event.Flags {
	switch mode {
	case account.AddFlags:
		return old | named
	case account.RemoveFlags:
		return old &^ named
	}
	return named
}
