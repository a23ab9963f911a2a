package imap

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

func init() {
	register(spec{name: "LOGIN", states: notAuthenticated, run: runLogin})
	register(spec{name: "AUTHENTICATE", states: notAuthenticated, run: runAuthenticate})
	advertise("LOGINDISABLED", func(c *conn) bool { return c.state() == notAuthenticated && !c.mayLogin() })
	advertise("SASL-IR", whenUnauthenticated) // RFC 4959.
	for _, name := range sasl.Names {
		advertise("AUTH="+name, func(c *conn) bool {
			return c.state() == notAuthenticated && c.mayLogin() && c.mechanisms.Offers(name, c.peer())
		})
	}
}

// maxResponse bounds one line of a SASL exchange, in base64. An access token may be long.
const maxResponse = 16 << 10

// mayLogin says whether credentials are safe on this connection. All mechanisms wait for TLS, since what follows a login is as secret as the
// password.
func (c *conn) mayLogin() bool {
	return c.tls != nil || c.server.cfg.AllowInsecureAuth && c.raw.Local()
}

// runLogin is LOGIN (RFC 9051 section 6.2.3).
func runLogin(ctx context.Context, c *conn, cmd *command) error {
	var user, password string
	d := cmd.dec
	if !d.ExpectSP() || !d.ExpectAString(&user) || !d.ExpectSP() || !d.ExpectAString(&password) || !d.ExpectCRLF() {
		return d.Err()
	}
	if !c.mayLogin() {
		return coded("PRIVACYREQUIRED", domain.Errorf(domain.Denied, "use TLS first"))
	}
	if err := c.flush(); err != nil { // it may have to wait for its turn
		return err
	}
	who, err := c.mechanisms.Password(ctx, c.peer(), user, password)
	return c.welcome(ctx, cmd, "LOGIN", user, who, err)
}

// peer is the client as package sasl wants to know it.
func (c *conn) peer() sasl.Client { return sasl.ClientOf(c.raw, c.tls) }

// runAuthenticate is AUTHENTICATE (RFC 9051 section 6.2.2) with the initial response of RFC 4959.
func runAuthenticate(ctx context.Context, c *conn, cmd *command) error {
	var name, encoded string
	d := cmd.dec
	if !d.ExpectSP() || !d.ExpectName(&name) {
		return d.Err()
	}
	early := d.SP() && d.ExpectAtom(&encoded)
	if !d.ExpectCRLF() {
		return d.Err()
	}
	exchange, err := c.mechanisms.Begin(name, c.peer())
	if err != nil {
		return coded("CANNOT", sasl.ErrUnknown)
	}
	if !c.mayLogin() {
		return coded("PRIVACYREQUIRED", domain.Errorf(domain.Denied, "use TLS first"))
	}
	var response []byte
	if early && encoded == "=" { // RFC 4959 section 3: an empty response.
		response = []byte{}
	} else if early {
		if response, err = unbase64([]byte(encoded)); err != nil {
			return err
		}
	}
	for {
		if err := c.flush(); err != nil { // it may have to wait for its turn
			return err
		}
		challenge, done, err := exchange.Next(ctx, response)
		if done || err != nil {
			return c.welcome(ctx, cmd, name, exchange.Named, exchange.Identity(), err)
		}
		c.enc.Raw("+ ").Raw(base64.StdEncoding.EncodeToString(challenge)).CRLF()
		if err := c.flush(); err != nil {
			return err
		}
		line, err := d.Line(maxResponse)
		if err != nil {
			d.Fail(err)
			return err
		}
		if string(line) == "*" {
			return wire.Syntaxf("the exchange is cancelled") // RFC 9051 section 6.2.2: BAD.
		}
		if response, err = unbase64(line); err != nil {
			return err
		}
	}
}

func unbase64(line []byte) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		return nil, wire.Syntaxf("the response is not in base64")
	}
	return decoded, nil
}

// welcome ends an attempt to log in. Failures are answered late and a few times only, so that guessing is slow.
func (c *conn) welcome(ctx context.Context, cmd *command, method, user string, who door.Identity, err error) error {
	if err == sasl.ErrSyntax {
		return wire.Syntaxf("%s", sasl.ErrSyntax.Msg)
	}
	if err != nil {
		if !domain.Is(err, domain.Denied) {
			return err
		}
		c.failures++
		c.server.cfg.Metrics.LoggedIn(false)
		c.log.Warn("login failed", "method", method, "user", netline.ForLog(user), "failures", c.failures, "error", err)
		select {
		case <-time.After(c.server.limits.FailureDelay * time.Duration(c.failures)):
		case <-ctx.Done():
			return &wire.CloseError{Text: "the server is shutting down"}
		}
		if err == sasl.ErrActing {
			err = coded("AUTHORIZATIONFAILED", err)
		} else {
			err = coded("AUTHENTICATIONFAILED", domain.Errorf(domain.Denied, "user name or password is wrong"))
		}
		if c.failures >= c.server.limits.Failures {
			_, code, text := c.blame(cmd, err)
			c.status(cmd.tag, "NO", code, text)
			return &wire.CloseError{Text: "too many failed logins"}
		}
		return err
	}
	leave, err := c.directory.Enter(ctx, who, func() {
		c.revoked.Store(true)
		c.raw.Revoke()
	})
	if err != nil {
		if domain.Is(err, domain.Denied) { // the password was changed in this moment
			err = coded("AUTHENTICATIONFAILED", err)
		}
		return err
	}
	stop := c.server.cfg.Accounts.OnPromotion(who.Account, c.promoted)
	c.leave = func() { stop(); leave() }
	c.id, c.login = who.Account, who.Login
	c.raw.SetIdle(c.server.limits.Line.Idle)
	c.dec.SetLimits(c.server.limits.AfterLogin)
	c.server.cfg.Metrics.LoggedIn(true)
	c.log.Info("login", "method", method, "by", who.By(), "user", who.Login, "account", who.Account, "tls", c.tls != nil)
	cmd.ok(c.capabilityCode(), "logged in")
	return nil
}

// promoted ends the session between two commands when its clients are now sent to another node. Nothing would be lost if it stayed.
func (c *conn) promoted(e *event.Promoted) {
	if here := c.server.cfg.Node; here != "" && e.Node != here {
		c.raw.End(&wire.CloseError{Code: "UNAVAILABLE", Text: "this account is now served by " + e.Node + ": connect again"}) // RFC 5530 section 3.
	}
}
