package managesieve

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

// peer is the client as package sasl wants to know it.
func (c *conn) peer() sasl.Client { return sasl.ClientOf(c.raw, c.tls) }

// runAuthenticate is AUTHENTICATE (RFC 5804 section 2.1).
func runAuthenticate(ctx context.Context, c *conn, args []argument) error {
	if !c.mayLogin() {
		return refused("ENCRYPT-NEEDED", "use STARTTLS first")
	}
	exchange, err := c.server.mechanisms.Begin(args[0].text, c.peer())
	if err != nil {
		return err
	}
	var response []byte
	if len(args) == 2 {
		if response, err = unbase64(args[1].text); err != nil {
			return err
		}
	}
	for {
		if err := c.flush(); err != nil { // it may have to wait for its turn
			return err
		}
		challenge, done, err := exchange.Next(ctx, response)
		if done || err != nil {
			return c.welcome(ctx, exchange, err)
		}
		c.string(base64.StdEncoding.EncodeToString(challenge))
		c.out.WriteString("\r\n")
		r := reader{in: c.in, string: maxBefore}
		line, err := r.response()
		var wrong *refusal
		switch {
		case errors.As(err, &wrong):
			return err
		case err != nil:
			return &gone{err}
		case line == "*":
			return senseless("the exchange is cancelled")
		}
		if response, err = unbase64(line); err != nil {
			return err
		}
	}
}

func unbase64(line string) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return nil, senseless("the response is not in base64")
	}
	return decoded, nil
}

// welcome ends an attempt to log in. Failures are answered late and a few times only, so that guessing is slow.
func (c *conn) welcome(ctx context.Context, x *sasl.Exchange, err error) error {
	if err == sasl.ErrSyntax {
		return senseless("%s", sasl.ErrSyntax.Msg)
	}
	if domain.Is(err, domain.Denied) {
		return c.turnAway(ctx, x, err)
	}
	if err != nil {
		return err
	}
	who := x.Identity()
	leave, err := c.server.cfg.Directory.Enter(ctx, who, func() {
		c.revoked.Store(true)
		c.raw.Revoke()
	})
	if domain.Is(err, domain.Denied) { // the password was changed in this moment
		return refused("", "the login is no longer valid")
	}
	if err != nil {
		return err
	}
	c.who, c.leave, c.failures = who, leave, 0
	c.raw.SetIdle(c.server.limits.Line.Idle)
	c.server.cfg.Metrics.LoggedIn(true)
	c.log.Info("login", "method", x.Mechanism, "by", who.By(), "user", who.Login, "account", who.Account, "tls", c.tls != nil)
	c.ok("", "logged in")
	return nil
}

func (c *conn) turnAway(ctx context.Context, x *sasl.Exchange, err error) error {
	c.failures++
	c.server.cfg.Metrics.LoggedIn(false)
	c.log.Warn("login failed", "method", x.Mechanism, "user", netline.ForLog(x.Named), "failures", c.failures, "error", err)
	select {
	case <-time.After(c.server.limits.FailureDelay * time.Duration(c.failures)):
	case <-ctx.Done():
		return &gone{ctx.Err()}
	}
	r := refused("", "user name or password is wrong")
	r.closing = c.failures >= c.server.limits.Failures
	return r
}

// runUnauthenticate is UNAUTHENTICATE (RFC 5804 section 2.14). TLS stays.
func runUnauthenticate(_ context.Context, c *conn, _ []argument) error {
	c.logout()
	c.who, c.begun = door.Identity{}, time.Now()
	c.raw.SetIdle(c.server.limits.Login)
	c.ok("", "logged out")
	return nil
}
