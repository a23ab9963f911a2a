package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	register(spec{name: "STATUS", states: loggedIn, fresh: true, run: runStatus})
	advertise("STATUS=SIZE", whenAuthenticated) // RFC 8438.
	for name, number := range map[string]func(c *conn, o owner, m *account.Mailbox) uint64{
		"MESSAGES":    func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.Counts.Messages) },
		"UIDNEXT":     func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.UIDNext) },
		"UIDVALIDITY": func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.UIDValidity) },
		"UNSEEN":      func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.Counts.Unseen) },
		"DELETED":     func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.Counts.Deleted) },
		"SIZE":        func(_ *conn, _ owner, m *account.Mailbox) uint64 { return uint64(m.Counts.Bytes) },
		"RECENT": func(c *conn, o owner, m *account.Mailbox) uint64 {
			known := upTo(domain.UIDSet{domain.AllUIDs}, c.server.recent.above(o.id, m))
			return uint64(m.Len() - m.Select(known).Len())
		},
	} {
		statusItems[name] = statusItem{number: number}
	}
}

// statusItem gives one number of a mailbox.
type statusItem struct {
	capability string                                            // that brings it; empty for the base protocol
	number     func(c *conn, o owner, m *account.Mailbox) uint64 // runs inside a View
	form       func(o owner, value uint64) string                // writes a value that is no plain number; nil for one that is
}

// statusItems are the items of STATUS and of LIST RETURN (STATUS) by name. Extensions add theirs from init.
var statusItems = map[string]statusItem{}

// expectStatusItems parses the items in parentheses.
func (c *conn) expectStatusItems(d *wire.Decoder, names *[]string) bool {
	ok := d.ExpectList(func() bool {
		var name string
		if !d.ExpectName(&name) {
			return false
		}
		if item, known := statusItems[name]; !known || c.without[item.capability] {
			return d.Fail(wire.Syntaxf("STATUS has no item of that name"))
		}
		if !slices.Contains(*names, name) { // so that the answer is no longer than the table of items.
			*names = append(*names, name)
		}
		return true
	})
	if ok && len(*names) == 0 {
		return d.Fail(wire.Syntaxf("STATUS needs at least one item"))
	}
	return ok
}

func (c *conn) statusOf(o owner, m *account.Mailbox, names []string) []uint64 {
	values := make([]uint64, len(names))
	for i, name := range names {
		values[i] = statusItems[name].number(c, o, m)
	}
	return values
}

func (c *conn) sendStatus(o owner, mailbox string, names []string, values []uint64) {
	c.enc.Raw("* STATUS ").Mailbox(mailbox).SP()
	c.enc.List(len(names), func(i int) {
		c.enc.Raw(names[i]).SP()
		if form := statusItems[names[i]].form; form != nil {
			c.enc.Raw(form(o, values[i]))
		} else {
			c.enc.Number(values[i])
		}
	}).CRLF()
}

// runStatus is STATUS (RFC 9051 section 6.3.11).
func runStatus(ctx context.Context, c *conn, cmd *command) error {
	var name string
	var items []string
	d := cmd.dec
	if !mailboxName(d, &name) || !d.ExpectSP() || !c.expectStatusItems(d, &items) || !d.ExpectCRLF() {
		return d.Err()
	}
	c.enableByStatus(items)
	at, err := c.whoseNow(ctx, name)
	if err != nil {
		return err
	}
	var values []uint64
	err = c.viewOf(ctx, at.owner, func(s *account.State) error {
		m, err := c.reach(s, at, account.MayRead)
		if err == nil {
			values = c.statusOf(at.owner, m, items)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.sendStatus(at.owner, name, items, values) // the name as the client wrote it, which it compares with.
	return nil
}
