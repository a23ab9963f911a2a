package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	register(spec{name: "STATUS", states: loggedIn, run: runStatus})
	advertise("STATUS=SIZE", whenAuthenticated) // RFC 8438.
	for name, item := range map[string]statusItem{
		"MESSAGES":    func(_ *conn, m *account.Mailbox) uint64 { return uint64(m.Counts.Messages) },
		"UIDNEXT":     func(_ *conn, m *account.Mailbox) uint64 { return uint64(m.UIDNext) },
		"UIDVALIDITY": func(_ *conn, m *account.Mailbox) uint64 { return uint64(m.UIDValidity) },
		"UNSEEN":      func(_ *conn, m *account.Mailbox) uint64 { return uint64(m.Counts.Unseen) },
		"DELETED":     func(_ *conn, m *account.Mailbox) uint64 { return uint64(m.Counts.Deleted) },
		"SIZE":        func(_ *conn, m *account.Mailbox) uint64 { return uint64(m.Counts.Bytes) },
		"RECENT": func(c *conn, m *account.Mailbox) uint64 {
			known := upTo(domain.UIDSet{{Lo: 1, Hi: 1<<32 - 1}}, c.server.recent.above(c.id, m))
			return uint64(m.Len() - m.Select(known).Len())
		},
	} {
		statusItems[name] = item
	}
}

// statusItem gives one number of a mailbox. It runs inside a View.
type statusItem func(c *conn, m *account.Mailbox) uint64

// statusItems are the items of STATUS and of LIST RETURN (STATUS) by name. Extensions add theirs from init.
var statusItems = map[string]statusItem{}

// expectStatusItems parses the items in parentheses.
func expectStatusItems(d *wire.Decoder, names *[]string) bool {
	ok := d.ExpectList(func() bool {
		var name string
		if !d.ExpectName(&name) {
			return false
		}
		if statusItems[name] == nil {
			return d.Fail(wire.Syntaxf("STATUS has no item of that name"))
		}
		*names = append(*names, name)
		return true
	})
	if ok && len(*names) == 0 {
		return d.Fail(wire.Syntaxf("STATUS needs at least one item"))
	}
	return ok
}

func (c *conn) statusOf(m *account.Mailbox, names []string) []uint64 {
	values := make([]uint64, len(names))
	for i, name := range names {
		values[i] = statusItems[name](c, m)
	}
	return values
}

func (c *conn) sendStatus(mailbox string, names []string, values []uint64) {
	c.enc.Raw("* STATUS ").Mailbox(mailbox).SP()
	c.enc.List(len(names), func(i int) { c.enc.Raw(names[i]).SP().Number(values[i]) }).CRLF()
}

// runStatus is STATUS (RFC 9051 section 6.3.11).
func runStatus(ctx context.Context, c *conn, cmd *command) error {
	var name string
	var items []string
	d := cmd.dec
	if !mailboxName(d, &name) || !d.ExpectSP() || !expectStatusItems(d, &items) || !d.ExpectCRLF() {
		return d.Err()
	}
	var values []uint64
	err := c.view(ctx, func(s *account.State) error {
		m, ok := s.Mailbox(name)
		if !ok {
			return domain.Errorf(domain.NotFound, "the mailbox does not exist")
		}
		values = c.statusOf(m, items)
		return nil
	})
	if err != nil {
		return err
	}
	c.sendStatus(name, items, values) // the name as the client wrote it, which it compares with.
	return nil
}
