package imap

import (
	"context"
	"strconv"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

func init() {
	register(spec{name: "COPY", states: mailboxSelected, uid: true, run: runCopy})
	register(spec{name: "MOVE", states: mailboxSelected, uid: true, writes: true, run: runCopy, capabilities: []string{"MOVE"}}) // RFC 6851.
}

// runCopy is COPY (RFC 9051 section 6.4.7) and MOVE (section 6.4.8), with sequence numbers and with UIDs. The EXPUNGE responses of a MOVE are those of the
// update that ends every command, after COPYUID, as clients want it.
func runCopy(ctx context.Context, c *conn, cmd *command) error {
	var set wire.NumSet
	var name string
	d := cmd.dec
	if !numbers(d, &set) || !mailboxName(d, &name) || !d.ExpectCRLF() {
		return d.Err()
	}
	uids, err := c.sel.resolve(set, cmd.uid)
	if err != nil {
		return err
	}
	at, err := c.whose(ctx, name)
	if err != nil {
		return err
	}
	to, err := c.target(ctx, at, nil)
	if err != nil { // also when there is nothing to copy: clients learn here that they must CREATE.
		return err
	}
	if len(uids) == 0 {
		return nil
	}
	move := cmd.name == "MOVE"
	uids, short := c.limited(uids, c.messageLimit(!move))
	if short.limit > 0 && !move {
		return short.refused()
	}
	if at.id != c.sel.owner.id {
		err := c.copyAcross(ctx, cmd, at, uids, move)
		if err == nil {
			c.tellLimit(cmd, short)
		}
		return err
	}
	done, err := c.doOf(ctx, at.owner, account.Transfer{From: c.sel.mailbox, To: at.name, UIDs: uids, Move: move, Now: c.now()})
	if err != nil {
		if _, missing := c.target(ctx, at, nil); missing == nil { // then the source is what does not exist.
			return c.ifGone(err)
		}
		return orCreate(err)
	}
	for _, e := range done.Events {
		var copied *event.MessagesCopied
		switch e := e.(type) {
		case *event.MessagesCopied:
			copied = e
		case *event.MessagesMoved:
			copied = (*event.MessagesCopied)(e)
		default:
			continue
		}
		if copied.To != to.id {
			continue
		}
		c.sendCopied(cmd, move, copyUID(to.validity, copied.UIDs, domain.UIDSet{{Lo: copied.First, Hi: copied.First + domain.UID(copied.UIDs.Len()) - 1}}))
	}
	c.tellLimit(cmd, short)
	return nil
}

// sendCopied tells the client which UIDs its copies have.
func (c *conn) sendCopied(cmd *command, move bool, code string) {
	if move {
		c.status("*", "OK", code, "moved") // RFC 9051 section 6.4.8: before the EXPUNGE responses.
	} else {
		cmd.ok(code, "")
	}
}

// copyUID is the response code COPYUID (RFC 4315 section 3).
func copyUID(validity uint32, from, to domain.UIDSet) string {
	b := strconv.AppendUint([]byte("COPYUID "), uint64(validity), 10)
	b = from.AppendText(append(b, ' '))
	return string(to.AppendText(append(b, ' ')))
}
