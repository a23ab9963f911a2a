package pop3

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// conn is one connection and the session on it. One goroutine owns it.
type conn struct {
	server *Server
	log    *slog.Logger // carries the connection's id

	raw *netline.Conn // as accepted; its deadlines lie below TLS
	tls *tls.Conn     // nil without TLS
	in  *bufio.Reader
	out *bufio.Writer

	user     string        // what USER said; PASS comes next
	who      door.Identity // empty before login
	drop     *maildrop     // nil before login
	leave    []func()      // in reverse order, what ends the login
	revoked  atomic.Bool   // the login is no longer valid
	begun    time.Time
	failures int // failed logins
	bad      int // commands in a row that made no sense
}

func newConn(s *Server, accepted *netline.Conn) *conn {
	c := &conn{
		server: s,
		log:    s.cfg.Logger.With("conn", accepted.ID(), "remote", accepted.RemoteAddr().String()),
		raw:    accepted,
		begun:  s.cfg.Now(),
	}
	c.speak(accepted)
	return c
}

// speak makes the session read from and write to a connection. What was read and not used is forgotten.
func (c *conn) speak(over io.ReadWriter) { c.in, c.out = netline.Buffers(over) } // Pipelined commands share writes (RFC 2449 section 6.6).

func (c *conn) state() states {
	if c.drop == nil {
		return authorization
	}
	return transaction
}

// serve runs the session from its greeting to its end.
func (c *conn) serve(ctx context.Context, implicitTLS bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.raw.Close() })()
	defer c.close()
	defer c.logout()
	defer func() { // a fault in one session must not end the others.
		if fault := recover(); fault != nil {
			c.log.Error("session ends in a panic", "panic", fault, "stack", string(debug.Stack()))
		}
	}()
	err := c.session(ctx, implicitTLS)
	c.goodbye(err)
	c.log.Debug("session ends", "account", c.who.Account, "reason", err)
}

func (c *conn) session(ctx context.Context, implicitTLS bool) error {
	if implicitTLS {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	c.ok("%s ready", c.server.cfg.Name) // without a time stamp there is no APOP (RFC 1939 section 7): it needs passwords in clear text.
	for {
		if c.state() == authorization && c.server.cfg.Now().Sub(c.begun) > c.server.limits.Login {
			return errSlow
		}
		line, err := c.line(maxResponse)
		if c.revoked.Load() { // and what came in one packet with the last command is for nobody
			return netline.ErrRevoked
		}
		if err == nil {
			err = c.run(ctx, line)
		} else if r, wrong := err.(*refusal); wrong && !r.closing {
			err = c.answer("OTHER", c.server.cfg.Now(), r)
		}
		if err != nil {
			return err
		}
	}
}

// run runs one command. An error ends the session.
func (c *conn) run(ctx context.Context, line string) error {
	start := c.server.cfg.Now()
	name, argument := cut(line)
	known, found := commands[name]
	user := c.user
	c.user = "" // RFC 1939 section 7: PASS comes immediately after USER.
	var err error
	switch {
	case len(line) > c.server.limits.Command && name != "AUTH": // which may come with a long initial response.
		err = senseless("the line is too long")
	case !found:
		name, err = "OTHER", senseless("unknown command")
	case known.states&c.state() == 0 && c.state() == authorization:
		err = senseless("log in first")
	case known.states&c.state() == 0:
		err = senseless("already logged in")
	default:
		if name == "PASS" {
			c.user = user
		}
		err = known.run(ctx, c, argument)
	}
	return c.answer(name, start, err)
}

// answer completes the answer to a command. An error ends the session.
func (c *conn) answer(name string, start time.Time, err error) error {
	var lost *gone
	if errors.As(err, &lost) {
		return lost.error
	}
	if err == nil || err == errQuit {
		c.bad = 0
		c.server.cfg.Metrics.Answered(name, "OK", c.server.cfg.Now().Sub(start))
		return err
	}
	r := c.blame(name, err)
	c.server.cfg.Metrics.Answered(name, "ERR", c.server.cfg.Now().Sub(start))
	if r.closing {
		return r
	}
	c.err(r)
	if !r.senseless {
		c.bad = 0
		return nil
	}
	limit := c.server.limits.BadCommands
	if c.state() == authorization {
		limit = min(limit, badBeforeLogin)
	}
	if c.bad++; c.bad >= limit {
		return &refusal{text: "too many commands that make no sense", closing: true}
	}
	return nil
}

// gone is an error of the connection itself, after which there is nobody to answer.
type gone struct{ error }

// line reads a line of at most so many octets without its end; a bare LF will do. Errors: a *refusal for a line that is too long or has what no
// line may have, and those of the connection.
func (c *conn) line(limit int) (string, error) {
	var line []byte
	for size := 0; ; {
		piece, err := c.in.ReadSlice('\n')
		size += len(piece)
		line = append(line, piece[:min(len(piece), max(0, limit+2-len(line)))]...)
		switch {
		case err == bufio.ErrBufferFull && size <= maxDiscard:
			continue
		case err == bufio.ErrBufferFull:
			return "", &refusal{text: "the line is too long", closing: true}
		case err != nil:
			return "", err
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
		if size > limit+2 || len(text) > limit {
			return "", senseless("the line is too long")
		}
		if strings.ContainsAny(text, "\r\x00") {
			return "", senseless("a line cannot have such characters")
		}
		return text, nil
	}
}

// flush writes what was said so far.
func (c *conn) flush() error {
	if err := c.out.Flush(); err != nil {
		return &gone{err}
	}
	return nil
}

// ok writes a positive answer (RFC 1939 section 3).
func (c *conn) ok(format string, args ...any) {
	fmt.Fprintf(c.out, "+OK "+format+"\r\n", args...)
}

// err writes a negative one.
func (c *conn) err(r *refusal) {
	code := ""
	if r.code != "" {
		code = "[" + r.code + "] "
	}
	fmt.Fprintf(c.out, "-ERR %s%s\r\n", code, printable(r.text))
}

// goodbye says why the session ends, if there is anybody to hear it. Silence ends in silence (RFC 1939 section 3).
func (c *conn) goodbye(err error) {
	var r *refusal
	switch {
	case errors.As(err, &r):
	case errors.Is(err, netline.ErrDraining):
		r = refused("SYS/TEMP", "the server is shutting down; nothing was deleted")
	case errors.Is(err, netline.ErrRevoked):
		r = refused("AUTH", "the password was changed or the account disabled: log in again")
	}
	if r != nil {
		c.err(r)
	}
	if c.out.Flush() == nil && r != nil && c.tls == nil {
		c.raw.Linger()
	}
}

// logout ends the login: others may log in.
func (c *conn) logout() {
	for len(c.leave) > 0 {
		last := len(c.leave) - 1
		c.leave[last]()
		c.leave = c.leave[:last]
	}
}

// close ends the connection, TLS with its farewell.
func (c *conn) close() {
	if c.tls != nil {
		_ = c.tls.Close()
	}
	_ = c.raw.Close()
}

// handshake puts TLS over the connection.
func (c *conn) handshake(ctx context.Context) error {
	secure, err := netline.Handshake(ctx, c.raw, c.server.cfg.TLS, c.server.limits.Handshake)
	if err != nil {
		return domain.Wrap(domain.Invalid, err, "TLS handshake")
	}
	c.tls = secure
	c.speak(secure) // RFC 2595 section 4: nothing that came in plain text counts.
	return nil
}

// work bounds one look at the account.
func (c *conn) work(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.server.limits.Work)
}
