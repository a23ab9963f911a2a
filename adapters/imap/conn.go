package imap

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// conn is one connection and the session on it.
type conn struct {
	server    *Server
	accounts  *door.Accounts
	directory *door.Directory
	log       *slog.Logger // carries the connection's id

	raw *netline.Conn // as accepted; its deadlines lie below TLS
	tls *tls.Conn     // nil without TLS
	dec *wire.Decoder
	enc *wire.Encoder

	without    map[string]bool  // capabilities that this client is not offered; shared, so it is replaced and never changed
	mechanisms *sasl.Mechanisms // those that it is offered

	id    domain.AccountID // empty before login
	login string           // the user's name
	sel   *selected        // nil without a selected mailbox
	watch *door.Watch      // from the first SELECT on
	rev2  bool             // ENABLE IMAP4rev2
	utf8  bool             // ENABLE UTF8=ACCEPT or IMAP4rev2

	compressed bool          // COMPRESS DEFLATE
	condstore  bool          // the client is CONDSTORE-aware (RFC 7162 section 3.1)
	qresync    bool          // ENABLE QRESYNC
	uidonly    bool          // ENABLE UIDONLY
	notify     *notification // NOTIFY; nil before the first one
	changed    bool          // the command that runs has changed the account
	running    string        // the tag of the command that runs
	spoke      time.Time     // when its client last heard of it
	numbered   bool          // the command that runs has message numbers among its search keys

	leave   func()      // counts the login out; nil before it
	revoked atomic.Bool // the login is no longer valid

	begun    time.Time
	failures int // failed logins
	bad      int // commands in a row that broke the grammar
}

// errUnknown answers a command that is not there, or not for this session.
var errUnknown = wire.Syntaxf("unknown command")

// errLogout ends a session whose BYE has been written.
var errLogout = errors.New("logout")

func newConn(s *Server, accepted *netline.Conn) *conn {
	c := &conn{
		server:    s,
		accounts:  s.cfg.Accounts,
		directory: s.cfg.Directory,
		log:       s.cfg.Logger.With("conn", accepted.ID(), "remote", accepted.RemoteAddr().String()),
		raw:       accepted,
		without:   s.without,

		mechanisms: s.mechanisms(s.without),
		begun:      s.cfg.Now(),
		enc:        wire.NewEncoder(accepted),
		dec:        wire.NewDecoder(accepted, s.limits.BeforeLogin),
	}
	c.dec.BeforeRead = c.flush // a server about to wait has said all it has to say.
	c.dec.Continue = func() error {
		c.enc.Raw("+ Ready\r\n")
		return c.flush()
	}
	return c
}

func (c *conn) flush() error { return c.enc.Flush() }

func (c *conn) state() states {
	switch {
	case c.id == "":
		return notAuthenticated
	case c.sel == nil:
		return authenticated
	}
	return mailboxSelected
}

// serve runs the session from its greeting to its end.
func (c *conn) serve(ctx context.Context, implicitTLS bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.raw.Close() })()
	defer c.close()
	defer func() {
		c.deselect()
		c.endNotify()
		if c.watch != nil {
			c.watch.Close()
		}
		if c.leave != nil {
			c.leave()
		}
	}()
	defer func() { // a fault in one session must not end the others.
		if fault := recover(); fault != nil {
			c.log.Error("session ends in a panic", "panic", fault, "stack", string(debug.Stack()))
		}
	}()
	err := c.session(ctx, implicitTLS)
	c.bye(err)
	c.log.Debug("session ends", "account", c.id, "reason", err)
}

func (c *conn) session(ctx context.Context, implicitTLS bool) error {
	if implicitTLS {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	c.enc.Raw("* OK [CAPABILITY ").Raw(strings.Join(c.capabilityList(), " ")).Raw("] ").Raw(c.server.cfg.Name).Raw(" ready\r\n")
	for {
		if c.state() == notAuthenticated && c.server.cfg.Now().Sub(c.begun) > c.server.limits.Login {
			return &wire.CloseError{Text: "no login came in time"}
		}
		if err := c.await(ctx); err != nil {
			return err
		}
		if err := c.admitted(); err != nil { // and what came in one packet with the last command is for nobody
			return err
		}
		c.dec.Begin()
		if c.dec.CRLF() { // an empty line, which some clients send after a literal.
			continue
		}
		if err := c.run(ctx); err != nil {
			return err
		}
		if err := c.dec.Finish(); err != nil {
			return err
		}
		if err := c.enc.Err(); err != nil {
			return err
		}
	}
}

// admitted gives netline.ErrRevoked when the login is no longer valid. Commands that take long ask in between.
func (c *conn) admitted() error {
	if c.revoked.Load() {
		return netline.ErrRevoked
	}
	return nil
}

// handshake puts TLS over the connection.
func (c *conn) handshake(ctx context.Context) error {
	secure, err := netline.Handshake(ctx, c.raw, c.server.cfg.TLS, c.server.limits.Handshake)
	if err != nil {
		c.enc.Fail(err) // nothing more can be said.
		return domain.Wrap(domain.Invalid, err, "TLS handshake")
	}
	c.tls = secure
	c.dec.Reset(secure) // RFC 9051 section 6.2.1: nothing that came in plain text counts.
	c.enc.Reset(secure)
	return nil
}

// run reads and runs one command and answers it. An error ends the session.
func (c *conn) run(ctx context.Context) error {
	start := c.server.cfg.Now()
	cmd := &command{dec: c.dec}
	var tag, name string
	if !c.dec.ExpectTag(&tag) || !c.dec.ExpectSP() || !c.dec.ExpectName(&name) {
		return c.answer(ctx, cmd, tag, "OTHER", start, c.dec.Err())
	}
	if name == "UID" {
		cmd.uid = true
		if !c.dec.ExpectSP() || !c.dec.ExpectName(&name) {
			return c.answer(ctx, cmd, tag, "OTHER", start, c.dec.Err())
		}
	}
	cmd.tag, cmd.name = tag, name
	known := c.lookup(name)
	var err error
	switch {
	case known == nil:
		name, err = "OTHER", errUnknown
	case cmd.uid && !known.uid:
		name, err = "OTHER", wire.Syntaxf("there is no UID %s", name)
	case known.states&c.state() == 0:
		err = c.wrongState(known)
	case !cmd.uid && c.needsUIDs(known):
		err = uidRequired()
	case known.writes && c.sel != nil && c.sel.readOnly && !c.mayWriteNow(ctx):
		err = coded("READ-ONLY", domain.Errorf(domain.Denied, "the mailbox is selected read-only"))
	default:
		c.began(cmd)
		c.numbered = false
		if known.fresh && c.state() != notAuthenticated {
			err = c.fresh(ctx)
		}
		if err == nil {
			err = known.run(ctx, c, cmd)
		}
		if fatal := c.fatal(ctx, err); fatal != nil {
			return fatal
		}
		err = c.tellRest(ctx, cmd, known, err)
	}
	return c.answer(ctx, cmd, tag, name, start, err)
}

// tellRest tells, before a command is answered, what else has changed, and gives the error that is to be answered. Of what a command has done, OK tells, also when
// the rest cannot be told now: the session's view of the mailboxes stays as its client was told, so all of it comes later.
func (c *conn) tellRest(ctx context.Context, cmd *command, known *spec, err error) error {
	late := cmd.late
	// On a full disk the state, which was given up with the change, takes long to be had again: the answer comes first.
	if c.sel != nil && !cmd.updated && c.dec.Ended() && !noRoom(err) {
		late = c.update(ctx, !c.numbered && (cmd.uid || !known.numbered))
	}
	if err == nil && late == nil {
		if c.sel != nil {
			c.settle(cmd)
		}
		late = c.tellOthers(ctx)
	}
	if c.sel != nil {
		c.sel.answered = c.sel.seen
	}
	if late == nil { // else what the session itself has done is still to be told.
		c.changed = false
		return err
	}
	if err == nil && !known.asks && c.fatal(ctx, late) == nil {
		c.log.Warn("what has changed is told later", "command", cmd.name, "account", c.id, "error", late)
		return nil
	}
	return cmp.Or(err, late)
}

func (c *conn) wrongState(known *spec) error {
	switch {
	case c.state() == notAuthenticated:
		return wire.Syntaxf("log in first")
	case known.states == notAuthenticated:
		return wire.Syntaxf("already logged in")
	case known.states == authenticated:
		return wire.Syntaxf("not while a mailbox is selected")
	}
	return wire.Syntaxf("select a mailbox first")
}

// fatal tells whether an error of a command ends the session: then its cause is the connection itself, or the command said so.
func (c *conn) fatal(ctx context.Context, err error) error {
	if err == nil {
		return c.enc.Err()
	}
	if errors.Is(err, errLogout) || errors.Is(err, netline.ErrDraining) || errors.Is(err, netline.ErrRevoked) {
		return err
	}
	var closing *wire.CloseError
	if errors.As(err, &closing) {
		return closing
	}
	if domain.Is(err, domain.Erased) && c.erased(ctx) { // there is nothing left to have a session with.
		return err
	}
	if err := c.enc.Err(); err != nil {
		return err
	}
	var grammar *wire.SyntaxError
	if err := c.dec.Err(); err != nil && !errors.As(err, &grammar) {
		return err
	}
	return nil
}

// erased tells whether the session's own account was erased, and not only that of somebody whose mailboxes it uses.
func (c *conn) erased(ctx context.Context) bool {
	return domain.Is(c.view(ctx, func(*account.State) error { return nil }), domain.Erased)
}

// answer writes the tagged answer to a command. An error ends the session.
func (c *conn) answer(ctx context.Context, cmd *command, tag, name string, start time.Time, err error) error {
	if fatal := c.fatal(ctx, err); fatal != nil {
		return fatal
	}
	if err == nil && cmd.answered {
		c.bad = 0
		return nil
	}
	status, code, text := "OK", cmd.code, cmd.text
	if err != nil {
		status, code, text = c.blame(cmd, err)
	} else if text == "" {
		text = cmd.name + " completed"
		if cmd.uid {
			text = "UID " + text
		}
	}
	if tag == "" {
		tag = "*" // RFC 9051 section 7.1.3: the tag of the command could not be read.
	}
	c.status(tag, status, code, text)
	c.server.cfg.Metrics.Answered(name, status, c.server.cfg.Now().Sub(start))
	if status != "BAD" {
		c.bad = 0
		return nil
	}
	limit := c.server.limits.BadCommands
	if c.state() == notAuthenticated {
		limit = min(limit, 5)
	}
	if c.bad++; c.bad >= limit {
		return &wire.CloseError{Text: "too many commands that make no sense"}
	}
	return nil
}

// status writes a status response (RFC 9051 section 7.1), tagged or not.
func (c *conn) status(tag, status, code, text string) {
	c.enc.Raw(tag).SP().Raw(status).SP()
	if code != "" {
		c.enc.Byte('[').Raw(code).Raw("] ")
	}
	c.enc.Raw(printable(text)).CRLF()
}

// printable keeps a text, which may quote what a client sent, on its line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, text)
}

// bye says why the session ends, if there is anybody to hear it.
func (c *conn) bye(err error) {
	code, text := "", ""
	var closing *wire.CloseError
	switch {
	case err == nil || errors.Is(err, errLogout) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || c.enc.Err() != nil:
	case errors.Is(err, netline.ErrDraining):
		code, text = "UNAVAILABLE", "the server is shutting down"
	case errors.Is(err, netline.ErrRevoked):
		code, text = "EXPIRED", "the password was changed or the account disabled: log in again" // RFC 5530 section 3.
	case errors.Is(err, netline.ErrProxy):
		text = "a PROXY header is not taken from this address"
	case errors.As(err, &closing):
		code, text = closing.Code, closing.Text
	case errors.Is(err, os.ErrDeadlineExceeded):
		text = "too slow or idle for too long"
	case domain.Is(err, domain.Unavailable):
		code, text = "UNAVAILABLE", "temporarily unavailable"
	case domain.Is(err, domain.Erased):
		code, text = kinds[domain.Erased], "the account was erased"
	default:
		text = "the session cannot go on"
	}
	if text != "" {
		c.status("*", "BYE", code, text)
	}
	if c.flush() == nil && closing != nil && c.tls == nil {
		c.raw.Linger()
	}
}

// close ends the connection, TLS with its farewell.
func (c *conn) close() {
	if c.tls != nil {
		_ = c.tls.Close()
	}
	_ = c.raw.Close()
}

// view looks at the session's account, see door.Accounts.View.
func (c *conn) view(ctx context.Context, f func(*account.State) error) error {
	return c.viewOf(ctx, c.self(), f)
}

// fresh lets the session's account, and that of the selected mailbox, show what other nodes acknowledged, see door.Accounts.Fresh.
func (c *conn) fresh(ctx context.Context) error {
	err := c.freshOf(ctx, c.self())
	if err == nil && c.sel != nil && c.foreign(c.sel.owner) {
		err = c.freshOf(ctx, c.sel.owner)
	}
	return err
}

// do changes the session's account, see door.Accounts.Do.
func (c *conn) do(ctx context.Context, wish account.Command) (door.Outcome, error) {
	return c.doOf(ctx, c.self(), wish)
}

// selectedID is the selected mailbox when it is one of the session's own account, or 0.
func (c *conn) selectedID() domain.MailboxID {
	if c.sel == nil || c.foreign(c.sel.owner) {
		return 0
	}
	return c.sel.mailbox
}

// now is the present time in Unix seconds.
func (c *conn) now() int64 { return c.server.cfg.Now().Unix() }
