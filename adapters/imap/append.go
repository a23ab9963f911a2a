package imap

import (
	"bytes"
	"context"
	"io"
	"strconv"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

func init() {
	register(spec{name: "APPEND", states: loggedIn, run: runAppend})
	advertise("APPENDLIMIT", whenAuthenticated) // RFC 7889.
	statusItems["APPENDLIMIT"] = statusItem{capability: "APPENDLIMIT", number: func(c *conn, _ owner, _ *account.Mailbox) uint64 { return uint64(c.server.limits.Append) }}
	advertise("UIDPLUS", whenAuthenticated)     // RFC 4315.
	advertise("MULTIAPPEND", whenAuthenticated) // RFC 3502.
}

// maxSummaries bounds the descriptions of the messages of one APPEND, which are in memory until all have come and travel in one transaction.
const maxSummaries = 4 << 20

// uploads are the messages of one APPEND, or the one of REPLACE, on their way into a mailbox. Each streams from the connection into the blob
// store; what can be known beforehand (the mailbox, the size, the quota) is checked before the client is asked for its octets. Blobs of an
// upload that fails are named by nothing, so they go when unused blobs are collected.
type uploads struct {
	c         *conn
	mailbox   string // as the client calls it
	at        place
	to        target
	messages  account.AddMessages
	summaries int // octets
	arrived   domain.UIDSet
	copied    int64 // octets that CATENATE takes from stored messages
	// wish is the command that brings the messages in.
	wish func(account.AddMessages) account.Command
}

// appendData are the forms of a message other than a literal (RFC 4466 section 2.3.2, append-data), by their first word. Each parses, receives and
// stores one message and fills the rest of it in. Extensions add theirs from init.
var appendData = map[string]dataForm{}

type dataForm struct {
	capability string
	receive    func(ctx context.Context, u *uploads, d *wire.Decoder, add *account.AddMessage) error
}

// runAppend is APPEND (RFC 9051 section 6.3.12) of one or, after RFC 3502, several messages, all of which arrive or none does.
func runAppend(ctx context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	u := uploads{c: c, wish: func(m account.AddMessages) account.Command { return m }}
	if !mailboxName(d, &u.mailbox) {
		return d.Err()
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	for len(u.messages) == 0 || d.Next(' ') {
		if len(u.messages) > 0 && c.without["MULTIAPPEND"] {
			return wire.Syntaxf("APPEND takes one message")
		}
		if limit := c.messageLimit(true); limit > 0 && len(u.messages) == limit {
			return cut{limit: limit}.refused()
		}
		if err := u.receive(ctx, d); err != nil {
			return err
		}
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	code, err := u.commit(ctx)
	if err == nil {
		cmd.ok(code, "")
	}
	return err
}

// begin finds out whose mailbox it is.
func (u *uploads) begin(ctx context.Context) (err error) {
	u.at, err = u.c.whose(ctx, u.mailbox)
	return err
}

// receive parses one message with its options and stores its octets.
func (u *uploads) receive(ctx context.Context, d *wire.Decoder) error {
	internal := u.c.server.cfg.Now()
	add := account.AddMessage{Mailbox: u.at.name, Now: u.c.now()}
	if !d.ExpectSP() || d.FlagList(&add.Flags) && !d.ExpectSP() || d.Next('"') && (!d.ExpectDateTime(&internal) || !d.ExpectSP()) || d.Err() != nil {
		return d.Err()
	}
	add.Internal = internal.Unix()
	receive := receiveLiteral
	if !d.Next('{') && !d.Next('~') {
		var word string
		if !d.ExpectName(&word) {
			return d.Err()
		}
		form, known := appendData[word]
		if !known || u.c.without[form.capability] {
			return wire.Syntaxf("APPEND has no data of that name")
		}
		receive = form.receive
	}
	if err := receive(ctx, u, d, &add); err != nil {
		return err
	}
	u.summaries += len(event.MarshalSummary(&add.Summary))
	if u.summaries > maxSummaries {
		return domain.Errorf(domain.TooLarge, "the messages are too many or too intricate for one command")
	}
	thread, err := u.c.accounts.Thread(ctx, u.at.id, &add.Summary)
	add.Thread = thread
	u.messages = append(u.messages, add)
	return err
}

// receiveLiteral takes a message that is one literal.
func receiveLiteral(ctx context.Context, u *uploads, d *wire.Decoder, add *account.AddMessage) error {
	l := d.ExpectLiteral()
	if l == nil {
		return d.Err()
	}
	return u.take(ctx, l, add)
}

// take receives and stores a literal.
func (u *uploads) take(ctx context.Context, l *wire.Literal, add *account.AddMessage) error {
	if err := u.admit(ctx, add, l.Size); err != nil {
		return err
	}
	octets, err := l.Accept()
	if err != nil {
		return err
	}
	stored, err := u.store(ctx, octets, l.Binary)
	add.Blob, add.Summary = stored.Blob, stored.Summary
	return err
}

// store puts the octets of one message into the blob store.
func (u *uploads) store(ctx context.Context, octets io.Reader, binary bool) (door.Stored, error) {
	if !binary {
		return u.c.accounts.Ingest(ctx, textReader{octets})
	}
	return u.storeBinary(ctx, octets)
}

// textReader refuses NUL, which only literal8 may hold (RFC 9051 section 4.3).
type textReader struct{ io.Reader }

func (r textReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if bytes.IndexByte(p[:n], 0) >= 0 {
		return 0, wire.Syntaxf("NUL is not allowed in a literal")
	}
	return n, err
}

// admit refuses what is certain to fail: a message of so many octets after those that were received.
func (u *uploads) admit(ctx context.Context, add *account.AddMessage, size int64) (err error) {
	switch limit := u.c.server.limits.Append; {
	case size > limit:
		return tooBig(limit)
	case size == 0: // RFC 3502 section 6.3.11: it also cancels the whole command.
		return domain.Errorf(domain.Invalid, "a message cannot be empty")
	}
	expected := *add
	expected.Blob.Size = size
	u.to, err = u.c.target(ctx, u.at, u.wish(append(u.messages[:len(u.messages):len(u.messages)], expected)))
	return err
}

func tooBig(limit int64) error {
	return coded("TOOBIG", domain.Errorf(domain.TooLarge, "a message has at most %d octets", limit)) // RFC 7889 section 4.
}

// commit brings the messages in and gives the response code APPENDUID (RFC 4315 section 3).
func (u *uploads) commit(ctx context.Context) (code string, err error) {
	done, err := u.c.doOf(ctx, u.at.owner, u.wish(u.messages))
	if domain.Is(err, domain.NotFound) {
		if _, missing := u.c.target(ctx, u.at, nil); missing != nil {
			err = missing
		}
	}
	if err != nil {
		return "", err
	}
	for _, e := range done.Events {
		if added, ok := e.(*event.MessageAdded); ok && added.Mailbox == u.to.id {
			u.arrived = u.arrived.Add(added.UID)
		}
	}
	if u.arrived == nil { // the mailbox was deleted and made anew meanwhile: its UIDVALIDITY is not known.
		return "", nil
	}
	b := strconv.AppendUint([]byte("APPENDUID "), uint64(u.to.validity), 10)
	return string(u.arrived.AppendText(append(b, ' '))), nil
}

// target is a mailbox that messages are put into.
type target struct {
	id       domain.MailboxID
	validity uint32
}

// target finds a mailbox and tells whether a wish could come true at this moment; nil wishes for nothing.
func (c *conn) target(ctx context.Context, at place, wish account.Command) (to target, err error) {
	err = c.viewOf(ctx, at.owner, func(s *account.State) error {
		m, err := c.reach(s, at, account.MayInsert)
		if err != nil {
			return orCreate(err)
		}
		to = target{m.ID, m.UIDValidity}
		if wish == nil {
			return nil
		}
		_, err = account.Decide(s, c.as(at.owner, wish))
		return err
	})
	if at.id == "" {
		err = orCreate(err)
	}
	return to, err
}
