package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	register(spec{name: "REPLACE", states: mailboxSelected, uid: true, writes: true, run: runReplace, capabilities: []string{"REPLACE"}})
}

// runReplace is REPLACE and UID REPLACE (RFC 8508): a message arrives and another goes in one transaction. The EXPUNGE response is that of the
// update that ends every command, so that nothing is said before all is done (section 3.4).
func runReplace(ctx context.Context, c *conn, cmd *command) error {
	var old domain.UID
	var u uploads
	u = uploads{c: c, wish: func(m account.AddMessages) account.Command {
		if u.at.id != c.sel.owner.id {
			return m
		}
		return account.Replace{From: c.sel.mailbox, UID: old, With: m[0]}
	}}
	d := cmd.dec
	if !d.ExpectSP() || !c.sel.expectMessage(d, cmd.uid, &old) || !mailboxName(d, &u.mailbox) {
		return d.Err()
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	across := u.at.id != c.sel.owner.id
	if across {
		if err := c.mayReplace(ctx, old); err != nil {
			return err
		}
	}
	if err := u.receive(ctx, d); err != nil {
		return err
	}
	if !d.ExpectCRLF() { // also where a second message follows: section 4.7.
		return d.Err()
	}
	code, err := u.commit(ctx)
	if err == nil && across {
		var left domain.UIDSet
		if left, _, err = c.depart(ctx, c.sel.owner, c.sel.mailbox, domain.UIDs(old), u.at.owner, u.to.id, u.arrived); err == nil && left == nil {
			err = errExpunged
		}
	}
	if err == nil && code != "" {
		c.status("*", "OK", code, "the new message is there") // RFC 8508 section 4.3: before the EXPUNGE response.
	}
	return err
}

var errExpunged = domain.Errorf(domain.NotFound, "the message was expunged")

// mayReplace tells whether a message may leave the selected mailbox for one in another account. REPLACE is no single transaction then, see across.
func (c *conn) mayReplace(ctx context.Context, old domain.UID) error {
	there := true
	if err := c.inSelected(ctx, func(s *account.State, m *account.Mailbox) error {
		if _, there = m.Index(old); !there {
			return nil
		}
		return c.mayDepart(s, m, domain.UIDs(old))
	}); err != nil || there {
		return err
	}
	return errExpunged
}

// expectMessage parses the number of one message and finds its UID (RFC 8508 section 5: seq-number, or uid).
func (s *selected) expectMessage(d *wire.Decoder, uid bool, found *domain.UID) bool {
	var n uint32
	switch {
	case d.Special('*'):
		if n = uint32(len(s.uids)); uid {
			n = uint32(s.last())
		}
	case !d.ExpectNumber(&n):
		return false
	}
	if *found = domain.UID(n); uid && n > 0 {
		return true
	}
	if n == 0 || int(n) > len(s.uids) {
		return d.Fail(wire.Syntaxf("the mailbox has %d messages: number %d does not exist", len(s.uids), n))
	}
	*found = s.uids[n-1]
	return true
}
