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
var storeModifiers = map[string]func(d *wire.Decoder, r *storeRequest) bool{}

func (r *storeRequest) parse(d *wire.Decoder) bool {
	if !numbers(d, &r.set) || !d.ExpectSP() {
		return false
	}
	if d.Next('(') {
		if !d.ExpectList(func() bool {
			var name string
			if !d.ExpectName(&name) {
				return false
			}
			modifier, known := storeModifiers[name]
			if !known {
				return d.Fail(wire.Syntaxf("STORE has no modifier of that name"))
			}
			return modifier(d, r)
		}) || !d.ExpectSP() {
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
	if !r.parse(cmd.dec) {
		return cmd.dec.Err()
	}
	uids, err := c.sel.resolve(r.set, cmd.uid)
	if err != nil || len(uids) == 0 {
		return err
	}
	r.wish.Mailbox, r.wish.UIDs = c.sel.mailbox, uids
	show := refresh{expunges: cmd.uid}
	if r.silent {
		if show.before, err = c.before(ctx, r.wish); err != nil {
			return err
		}
		show.silent = &r.wish
	} else {
		show.answer = uids
	}
	if _, err := c.do(ctx, r.wish); err != nil {
		return c.ifGone(err)
	}
	cmd.updated = true
	return c.refresh(ctx, show)
}

// before gives the flags from which a client foretells the result of a silent STORE. Messages that were changed since the client was last told
// of their flags are left out, unless the STORE replaces all flags.
func (c *conn) before(ctx context.Context, wish account.StoreFlags) (known []flagged, err error) {
	err = c.view(ctx, func(s *account.State) error {
		known = known[:0]
		m, ok := s.Mailboxes[wish.Mailbox]
		if !ok {
			return domain.Errorf(domain.NotFound, "the selected mailbox was deleted")
		}
		for _, r := range wish.UIDs {
			i, _ := m.Index(r.Lo)
			for ; i < m.Len() && m.UID[i] <= r.Hi; i++ {
				if m.Modified[i] <= c.sel.seen || wish.Mode == account.ReplaceFlags {
					known = append(known, flagged{m.UID[i], m.Flags[i]})
				}
			}
		}
		return nil
	})
	return known, err
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

// namedFlags gives those of the named flags that exist.
func namedFlags(s *account.State, names []string) (flags event.Flags) {
	for _, name := range names {
		f, ok := account.SystemFlag(name)
		if !ok {
			f, _ = s.Keyword(name)
		}
		flags |= f
	}
	return flags
}
