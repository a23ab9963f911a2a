package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

func init() {
	register(spec{name: "EXPUNGE", states: mailboxSelected, uid: true, writes: true, run: runExpunge})
}

// runExpunge is EXPUNGE (RFC 9051 section 6.4.3) and UID EXPUNGE (section 6.4.9, RFC 4315 section 2.1). The EXPUNGE responses are those of the
// update that ends every command.
func runExpunge(ctx context.Context, c *conn, cmd *command) error {
	wish := account.Expunge{Mailbox: c.sel.mailbox}
	if cmd.uid {
		var set wire.NumSet
		if !numbers(cmd.dec, &set) || !cmd.dec.ExpectCRLF() {
			return cmd.dec.Err()
		}
		uids, err := c.sel.resolve(set, true)
		if err != nil || len(uids) == 0 {
			return err
		}
		wish.UIDs = uids
	} else if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	limit := 0
	if cmd.uid {
		limit = c.messageLimit(false)
	}
	short, err := c.expungeLimited(ctx, wish, limit)
	if err != nil {
		return c.ifGone(err)
	}
	c.tellLimit(cmd, short)
	return nil
}

// ifGone says more plainly that the selected mailbox was deleted. To somebody who lost the right to read it, it is the same.
func (c *conn) ifGone(err error) error {
	if domain.Is(err, domain.NotFound) {
		return domain.Errorf(domain.NotFound, "the selected mailbox was deleted")
	}
	return err
}
