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
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/adapters/netline"
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

	id    domain.AccountID // empty before login
	login string           // the user's name
	sel   *selected        // nil without a selected mailbox
	watch *door.Watch      // from the first SELECT on
	rev2  bool             // ENABLE IMAP4rev2
	utf8  bool             // ENABLE UTF8=ACCEPT or IMAP4rev2

	begun    time.Time
	failures int // failed logins
	bad      int // commands in a row that broke the grammar
}

// errLogout ends a session whose BYE has been written.
var errLogout = errors.New("logout")

func newConn(s *Server, accepted *netline.Conn) *conn {
	c := &conn{
		server:    s,
		accounts:  s.cfg.Accounts,
		directory: s.cfg.Directory,
		log:       s.cfg.Logger.With("conn", accepted.ID(), "remote", accepted.RemoteAddr().String()),
		raw:       accepted,
		begun:     s.cfg.Now(),
		enc:       wire.NewEncoder(accepted),
		dec:       wire.NewDecoder(accepted, s.limits.BeforeLogin),
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
		if c.watch != nil {
			c.watch.Close()
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
		if err := c.dec.Wait(); err != nil {
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
		return c.answer(cmd, tag, "OTHER", start, c.dec.Err())
	}
	if name == "UID" {
		cmd.uid = true
		if !c.dec.ExpectSP() || !c.dec.ExpectName(&name) {
			return c.answer(cmd, tag, "OTHER", start, c.dec.Err())
		}
	}
	cmd.tag, cmd.name = tag, name
	known := c.server.lookup(name)
	var err error
	switch {
	case known == nil:
		name, err = "OTHER", wire.Syntaxf("unknown command")
	case cmd.uid && !known.uid:
		name, err = "OTHER", wire.Syntaxf("there is no UID %s", name)
	case known.states&c.state() == 0:
		err = c.wrongState(known)
	case known.writes && c.sel != nil && c.sel.readOnly:
		err = coded("READ-ONLY", domain.Errorf(domain.Denied, "the mailbox is selected read-only"))
	default:
		err = known.run(ctx, c, cmd)
		if fatal := c.fatal(err); fatal != nil {
			return fatal
		}
		if c.sel != nil && !cmd.updated && c.dec.Ended() {
			err = cmp.Or(err, c.update(ctx, cmd.uid || !known.numbered))
		}
	}
	return c.answer(cmd, tag, name, start, err)
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
func (c *conn) fatal(err error) error {
	if err == nil {
		return c.enc.Err()
	}
	if errors.Is(err, errLogout) || errors.Is(err, netline.ErrDraining) {
		return err
	}
	var closing *wire.CloseError
	if errors.As(err, &closing) {
		return closing
	}
	if domain.Is(err, domain.Erased) { // there is nothing left to have a session with.
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

// answer writes the tagged answer to a command. An error ends the session.
func (c *conn) answer(cmd *command, tag, name string, start time.Time, err error) error {
	if fatal := c.fatal(err); fatal != nil {
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
	if c.flush() == nil && closing != nil {
		c.linger()
	}
}

// linger keeps the kernel from resetting a connection whose client still sends, because a reset destroys the BYE on its way.
func (c *conn) linger() {
	half, ok := c.raw.Conn.(interface{ CloseWrite() error })
	if !ok || c.tls != nil || half.CloseWrite() != nil {
		return
	}
	_ = c.raw.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.raw.Conn, lingerOctets)
}

// What a client may still send before a connection is closed for good.
const (
	lingerTime   = 250 * time.Millisecond
	lingerOctets = 256 << 10
)

// close ends the connection, TLS with its farewell.
func (c *conn) close() {
	if c.tls != nil {
		_ = c.tls.Close()
	}
	_ = c.raw.Close()
}

// view looks at the session's account, see door.Accounts.View.
func (c *conn) view(ctx context.Context, f func(*account.State) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	return c.accounts.View(ctx, c.id, f)
}

// do changes the session's account, see door.Accounts.Do.
func (c *conn) do(ctx context.Context, wish account.Command) (door.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	return c.accounts.Do(ctx, c.id, "imap:"+c.login, wish)
}

// now is the present time in Unix seconds.
func (c *conn) now() int64 { return c.server.cfg.Now().Unix() }
