package imap

import (
	"context"
	"strconv"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

func init() {
	register(spec{name: "APPEND", states: loggedIn, run: runAppend})
	advertise("APPENDLIMIT", whenAuthenticated) // RFC 7889.
	advertise("UIDPLUS", whenAuthenticated)     // RFC 4315.
}

// appendRequest is APPEND up to its message (RFC 9051 section 6.3.12).
type appendRequest struct {
	mailbox  string
	flags    []string
	internal time.Time
	message  *wire.Literal
	utf8     bool // the literal is wrapped in "UTF8 (" and ")" (RFC 6855 section 4)
}

// runAppend is APPEND. The message streams from the connection into the blob store; what can be known beforehand (the mailbox, the size, the quota)
// is checked before the client is asked for its octets.
func runAppend(ctx context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	r := appendRequest{internal: c.server.cfg.Now()}
	if !r.parse(d) {
		return d.Err()
	}
	to, err := c.admit(ctx, &r)
	if err != nil {
		return err
	}
	octets, err := r.message.Accept()
	if err != nil {
		return err
	}
	stored, err := c.accounts.Ingest(ctx, octets)
	if err != nil {
		return err
	}
	if r.utf8 && !d.ExpectSpecial(')') || !d.ExpectCRLF() {
		return d.Err() // nothing names the blob, so it goes when unused blobs are collected.
	}
	thread, err := c.accounts.Thread(ctx, c.id, &stored.Summary)
	if err != nil {
		return err
	}
	done, err := c.do(ctx, account.AddMessage{
		Mailbox: r.mailbox, Blob: stored.Blob, Summary: stored.Summary, Flags: r.flags, Internal: r.internal.Unix(), Now: c.now(), Thread: thread,
	})
	if err != nil {
		return orCreate(err)
	}
	for _, e := range done.Events {
		if added, ok := e.(*event.MessageAdded); ok && added.Mailbox == to.id {
			cmd.ok("APPENDUID "+strconv.FormatUint(uint64(to.validity), 10)+" "+strconv.FormatUint(uint64(added.UID), 10), "")
		}
	}
	return nil
}

func (r *appendRequest) parse(d *wire.Decoder) bool {
	if !mailboxName(d, &r.mailbox) || !d.ExpectSP() {
		return false
	}
	if d.FlagList(&r.flags) && !d.ExpectSP() {
		return false
	}
	if d.Next('"') && (!d.ExpectDateTime(&r.internal) || !d.ExpectSP()) {
		return false
	}
	if d.Err() == nil && (d.Next('U') || d.Next('u')) {
		var word string
		if !d.ExpectName(&word) || word != "UTF8" && !d.Fail(wire.Syntaxf("APPEND has no data of that name")) || !d.ExpectSP() || !d.ExpectSpecial('(') {
			return false
		}
		r.utf8 = true
	}
	r.message = d.ExpectLiteral()
	return r.message != nil
}

// target is a mailbox that messages are put into.
type target struct {
	id       domain.MailboxID
	validity uint32
}

// admit refuses what is certain to fail.
func (c *conn) admit(ctx context.Context, r *appendRequest) (to target, err error) {
	switch size, limit := r.message.Size, c.server.limits.Append; {
	case size > limit:
		return to, coded("TOOBIG", domain.Errorf(domain.TooLarge, "a message has at most %d octets", limit)) // RFC 7889 section 4.
	case size == 0:
		return to, domain.Errorf(domain.Invalid, "a message cannot be empty")
	}
	return c.target(ctx, r.mailbox, account.AddMessage{Mailbox: r.mailbox, Blob: domain.BlobRef{Size: r.message.Size}, Flags: r.flags})
}

// target finds a mailbox and tells whether a wish could come true at this moment; nil wishes for nothing.
func (c *conn) target(ctx context.Context, name string, wish account.Command) (to target, err error) {
	err = c.view(ctx, func(s *account.State) error {
		m, ok := s.Mailbox(name)
		if !ok {
			return coded("TRYCREATE", domain.Errorf(domain.NotFound, "the mailbox does not exist"))
		}
		to = target{m.ID, m.UIDValidity}
		if wish == nil {
			return nil
		}
		_, err := account.Decide(s, wish)
		return err
	})
	return to, err
}
