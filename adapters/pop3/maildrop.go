package pop3

import (
	"context"
	"fmt"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	register("STAT", transaction, noArgument(runStat))
	register("LIST", transaction, runList)
	register("UIDL", transaction, runUIDL)
	register("DELE", transaction, runDele)
	register("RSET", transaction, noArgument(runRset))
	register("QUIT", authorization|transaction, noArgument(runQuit))
}

// maildrop is INBOX as it was at the login.
type maildrop struct {
	mailbox     domain.MailboxID
	uidValidity uint32
	uids        []domain.UID // message number n is at n-1
	sizes       []int64
	deleted     map[int]bool // by message number
}

// open takes the snapshot.
func (c *conn) open(ctx context.Context) (*maildrop, error) {
	ctx, cancel := c.work(ctx)
	defer cancel()
	if err := c.server.cfg.Accounts.Fresh(ctx, c.who.Account); err != nil { // the maildrop is that of all nodes
		return nil, err
	}
	var d *maildrop
	err := c.server.cfg.Accounts.View(ctx, c.who.Account, func(s *account.State) error {
		m, ok := s.Mailbox(account.Inbox)
		if !ok {
			return domain.Errorf(domain.Internal, "the account has no INBOX")
		}
		d = &maildrop{m.ID, m.UIDValidity, slices.Clone(m.UID), slices.Clone(m.Size), map[int]bool{}}
		return nil
	})
	return d, err
}

// find checks a message number. Errors: *refusal.
func (d *maildrop) find(n int) error {
	switch {
	case n < 1 || n > len(d.uids):
		return refused("", "there is no message %d", n)
	case d.deleted[n]:
		return refused("", "message %d is marked as deleted", n)
	}
	return nil
}

// total counts the messages that are not marked, and their octets.
func (d *maildrop) total() (messages int, octets int64) {
	for i, size := range d.sizes {
		if !d.deleted[i+1] {
			messages, octets = messages+1, octets+size
		}
	}
	return messages, octets
}

// uniqueID is the UIDL of a message: at most 21 characters, where RFC 1939 section 7 allows 70.
func (d *maildrop) uniqueID(n int) string { return fmt.Sprintf("%d.%d", d.uidValidity, d.uids[n-1]) }

func runStat(_ context.Context, c *conn) error {
	messages, octets := c.drop.total()
	c.ok("%d %d", messages, octets)
	return nil
}

func runList(_ context.Context, c *conn, argument string) error {
	messages, octets := c.drop.total()
	return c.list(argument, fmt.Sprintf("%d messages (%d octets)", messages, octets), func(n int) string { return fmt.Sprint(c.drop.sizes[n-1]) })
}

func runUIDL(_ context.Context, c *conn, argument string) error {
	return c.list(argument, "unique ids follow", c.drop.uniqueID)
}

// list shows what show says of one message, or of all that are not marked.
func (c *conn) list(argument, heading string, show func(n int) string) error {
	if argument != "" {
		n, err := c.numbered(argument)
		if err == nil {
			c.ok("%d %s", n, show(n))
		}
		return err
	}
	c.ok("%s", heading)
	for i := range c.drop.uids {
		if !c.drop.deleted[i+1] {
			fmt.Fprintf(c.out, "%d %s\r\n", i+1, show(i+1))
		}
	}
	fmt.Fprint(c.out, ".\r\n")
	return nil
}

// numbered reads the number of a message that is there.
func (c *conn) numbered(argument string) (int, error) {
	read, err := numbers(argument, 1)
	if err != nil {
		return 0, err
	}
	return read[0], c.drop.find(read[0])
}

func runDele(_ context.Context, c *conn, argument string) error {
	n, err := c.numbered(argument)
	if err != nil {
		return err
	}
	c.drop.deleted[n] = true
	c.ok("message %d is marked as deleted", n)
	return nil
}

func runRset(_ context.Context, c *conn) error {
	clear(c.drop.deleted)
	messages, octets := c.drop.total()
	c.ok("maildrop has %d messages (%d octets)", messages, octets)
	return nil
}

// runQuit is QUIT, and after a login the UPDATE state (RFC 1939 section 6): what is marked goes in one transaction, or nothing does. The maildrop is free
// when the client hears the answer.
func runQuit(ctx context.Context, c *conn) error {
	if c.drop == nil {
		c.ok("goodbye")
		return errQuit
	}
	err := c.expunge(ctx)
	c.logout()
	if err != nil {
		r, outcome := c.blame("QUIT", err), "nothing was deleted: "
		if domain.Is(err, domain.Unavailable) { // the log may have it and could not say so
			outcome = "messages may not have been deleted: "
		}
		return &refusal{code: r.code, text: outcome + r.text, closing: true}
	}
	c.ok("goodbye")
	return errQuit
}

func (c *conn) expunge(ctx context.Context) error {
	wish := account.Expunge{Mailbox: c.drop.mailbox, Any: true}
	for i, uid := range c.drop.uids {
		if c.drop.deleted[i+1] {
			wish.UIDs = wish.UIDs.Add(uid)
		}
	}
	if wish.UIDs == nil { // which would mean all of them
		return nil
	}
	ctx, cancel := c.work(ctx)
	defer cancel()
	_, err := c.server.cfg.Accounts.Do(ctx, c.who.Account, "pop3:"+c.who.Login, wish)
	if err == nil {
		c.log.Info("messages deleted", "account", c.who.Account, "messages", wish.UIDs.Len())
	}
	return err
}
