package managesieve

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
	log    *slog.Logger

	raw *netline.Conn
	tls *tls.Conn // nil without TLS
	in  *bufio.Reader
	out *bufio.Writer

	who      door.Identity // empty before login
	leave    func()        // ends the login; nil before
	revoked  atomic.Bool
	begun    time.Time
	failures int
	bad      int
}

func newConn(s *Server, accepted *netline.Conn) *conn {
	c := &conn{
		server: s, log: s.cfg.Logger.With("conn", accepted.ID(), "remote", accepted.RemoteAddr().String()), raw: accepted, begun: time.Now(),
	}
	c.speak(accepted)
	return c
}

// speak makes the session read from and write to a connection. What was read and not used is forgotten.
func (c *conn) speak(over io.ReadWriter) { c.in, c.out = netline.Buffers(over) }

func (c *conn) loggedIn() bool { return c.leave != nil }

func (c *conn) serve(ctx context.Context) {
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
	err := c.session(ctx)
	c.goodbye(err)
	c.log.Debug("session ends", "account", c.who.Account, "reason", err)
}

func (c *conn) session(ctx context.Context) error {
	c.capabilities()
	c.ok("", "Streampost ready") // RFC 5804 section 1.7: the greeting is that of CAPABILITY.
	for {
		if !c.loggedIn() && time.Since(c.begun) > c.server.limits.Login {
			return errSlow
		}
		r := reader{in: c.in, string: maxBefore}
		if c.loggedIn() {
			r.string = maxString
		}
		req, err := r.command()
		if c.revoked.Load() {
			return netline.ErrRevoked
		}
		begun := time.Now()
		var wrong *refusal
		switch {
		case err == nil:
			err = c.run(ctx, req)
		case !errors.As(err, &wrong):
			return err
		}
		if err := c.answer(req.name, begun, err); err != nil {
			return err
		}
	}
}

// run runs one command.
func (c *conn) run(ctx context.Context, req request) error {
	known, found := commands[req.name]
	switch {
	case !found:
		return senseless("unknown command")
	case known.needs == afterLogin && !c.loggedIn():
		return senseless("log in first")
	case known.needs == beforeLogin && c.loggedIn():
		return senseless("already logged in")
	case len(req.args) < known.least || len(req.args) > known.most:
		return senseless("the command takes other arguments")
	}
	for i, a := range req.args {
		if a.numeric != (known.number == i+1) {
			return senseless("an argument has the wrong type")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.server.limits.Work)
	defer cancel()
	return known.run(ctx, c, req.args)
}

// answer completes the answer to a command. An error ends the session.
func (c *conn) answer(name string, begun time.Time, err error) error {
	if _, known := commands[name]; !known {
		name = "OTHER"
	}
	var lost *gone
	if errors.As(err, &lost) {
		return lost.error
	}
	if err == nil || err == errLogout {
		c.bad = 0
		c.server.cfg.Metrics.Answered(name, "OK", time.Since(begun))
		return err
	}
	r := c.blame(name, err)
	c.server.cfg.Metrics.Answered(name, "NO", time.Since(begun))
	if r.closing {
		return r
	}
	c.say("NO", r.code, r.text)
	if !r.senseless {
		c.bad = 0
		return nil
	}
	limit := c.server.limits.BadCommands
	if !c.loggedIn() {
		limit = min(limit, badBeforeLogin)
	}
	if c.bad++; c.bad >= limit {
		return &refusal{text: "too many commands that make no sense", closing: true}
	}
	return nil
}

func (c *conn) ok(code, text string) { c.say("OK", code, text) }

// say writes a response (RFC 5804 section 1.2). A text of several lines is a literal.
func (c *conn) say(status, code, text string) {
	c.out.WriteString(status)
	if code != "" {
		fmt.Fprintf(c.out, " (%s)", code)
	}
	if text != "" {
		c.out.WriteByte(' ')
		c.string(text)
	}
	c.out.WriteString("\r\n")
}

// string writes a string, quoted where it may be (RFC 5804 section 4: at most 1,024 octets without line ends).
func (c *conn) string(s string) {
	if len(s) <= 1024 && !strings.ContainsAny(s, "\r\n\x00") {
		c.out.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`)
		return
	}
	fmt.Fprintf(c.out, "{%d}\r\n%s", len(s), s)
}

// goodbye says why the session ends, if there is anybody to hear it.
func (c *conn) goodbye(err error) {
	var r *refusal
	switch {
	case errors.As(err, &r):
	case errors.Is(err, netline.ErrDraining):
		r = refused("TRYLATER", "the server is shutting down")
	case errors.Is(err, netline.ErrRevoked):
		r = refused("", "the password was changed or the account disabled: log in again")
	}
	if r != nil {
		c.say("BYE", r.code, r.text)
	}
	if c.out.Flush() == nil && r != nil && c.tls == nil {
		c.raw.Linger()
	}
}

func (c *conn) logout() {
	if c.leave != nil {
		c.leave()
		c.leave, c.who = nil, door.Identity{}
	}
}

func (c *conn) close() {
	if c.tls != nil {
		_ = c.tls.Close()
	}
	_ = c.raw.Close()
}

func (c *conn) flush() error {
	if err := c.out.Flush(); err != nil {
		return &gone{err}
	}
	return nil
}

// handshake puts TLS over the connection.
func (c *conn) handshake(ctx context.Context) error {
	secure, err := netline.Handshake(ctx, c.raw, c.server.cfg.TLS, c.server.limits.Handshake)
	if err != nil {
		return &gone{domain.Wrap(domain.Invalid, err, "TLS handshake")}
	}
	c.tls = secure
	c.speak(secure)
	return nil
}
