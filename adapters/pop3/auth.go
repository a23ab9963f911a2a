package pop3

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/sasl"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

func init() {
	register("USER", authorization, runUser)
	register("PASS", authorization, runPass)
	register("AUTH", authorization, runAuth)
}

var errNeedsTLS = refused("AUTH", "use TLS first")

// runUser is USER (RFC 1939 section 7). It says the same of every name.
func runUser(_ context.Context, c *conn, name string) error {
	if !c.mayLogin() {
		return errNeedsTLS
	}
	if name == "" {
		return senseless("USER takes a name")
	}
	c.user = name
	c.ok("send PASS")
	return nil
}

// runPass is PASS (RFC 1939 section 7). The password may have spaces.
func runPass(ctx context.Context, c *conn, password string) error {
	name := c.user
	c.user = ""
	if name == "" {
		return senseless("USER comes first")
	}
	if err := c.flush(); err != nil { // it may have to wait for its turn
		return err
	}
	who, err := c.server.mechanisms.Password(ctx, c.peer(), name, password)
	return c.welcome(ctx, "USER", name, who, err)
}

// peer is the client as package sasl wants to know it.
func (c *conn) peer() sasl.Client { return sasl.ClientOf(c.raw, c.tls) }

// runAuth is AUTH (RFC 5034 section 4). Alone it lists the mechanisms, as clients older than CAPA expect.
func runAuth(ctx context.Context, c *conn, argument string) error {
	if !c.mayLogin() {
		return errNeedsTLS
	}
	if argument == "" {
		c.ok("mechanisms follow")
		fmt.Fprintf(c.out, "%s\r\n.\r\n", strings.Join(c.server.mechanisms.Offered(c.peer()), "\r\n"))
		return nil
	}
	name, encoded, early := strings.Cut(argument, " ")
	exchange, err := c.server.mechanisms.Begin(name, c.peer())
	if err != nil {
		return err
	}
	var response []byte
	if early {
		if response, err = unbase64(encoded); err != nil {
			return err
		}
	}
	for {
		if err := c.flush(); err != nil { // it may have to wait for its turn
			return err
		}
		challenge, done, err := exchange.Next(ctx, response)
		if done || err != nil {
			return c.welcome(ctx, exchange.Mechanism, exchange.Named, exchange.Identity(), err)
		}
		fmt.Fprintf(c.out, "+ %s\r\n", base64.StdEncoding.EncodeToString(challenge))
		line, err := c.line(maxResponse)
		if _, wrong := err.(*refusal); err != nil && !wrong {
			return &gone{err}
		}
		if err != nil {
			return err
		}
		if line == "*" {
			return senseless("the exchange is cancelled")
		}
		if response, err = unbase64(line); err != nil {
			return err
		}
	}
}

// unbase64 reads a response; "=" is an empty one (RFC 5034 section 4).
func unbase64(line string) ([]byte, error) {
	if line == "=" {
		return []byte{}, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return nil, senseless("the response is not in base64")
	}
	return decoded, nil
}

// welcome ends an attempt to log in. Failures are answered late and a few times only, so that guessing is slow.
func (c *conn) welcome(ctx context.Context, method, user string, who door.Identity, err error) error {
	if err == sasl.ErrSyntax {
		return senseless("%s", sasl.ErrSyntax.Msg)
	}
	if domain.Is(err, domain.Denied) {
		return c.turnAway(ctx, method, user, err)
	}
	if err == nil {
		err = c.enter(ctx, who)
	}
	if err != nil {
		c.logout()
		c.who, c.drop = door.Identity{}, nil
		if domain.Is(err, domain.Denied) { // the password was changed in this moment
			return refused("AUTH", "the login is no longer valid")
		}
		return err
	}
	c.raw.SetIdle(c.server.limits.Line.Idle)
	c.server.cfg.Metrics.LoggedIn(true)
	c.log.Info("login", "method", method, "by", who.By(), "user", who.Login, "account", who.Account, "tls", c.tls != nil)
	messages, octets := c.drop.total()
	c.ok("maildrop has %d messages (%d octets)", messages, octets)
	return nil
}

func (c *conn) turnAway(ctx context.Context, method, user string, err error) error {
	c.failures++
	c.server.cfg.Metrics.LoggedIn(false)
	c.log.Warn("login failed", "method", method, "user", netline.ForLog(user), "failures", c.failures, "error", err)
	select {
	case <-time.After(c.server.limits.FailureDelay * time.Duration(c.failures)):
	case <-ctx.Done():
		return &gone{ctx.Err()}
	}
	r := refused("AUTH", "user name or password is wrong") // RFC 3206 section 4.
	r.closing = c.failures >= c.server.limits.Failures
	return r
}

// enter makes the maildrop the session's.
func (c *conn) enter(ctx context.Context, who door.Identity) error {
	leave, err := c.server.cfg.Directory.Enter(ctx, who, func() {
		c.revoked.Store(true)
		c.raw.Revoke()
	})
	if err != nil {
		return err
	}
	c.leave = append(c.leave, leave)
	release, err := c.server.cfg.Maildrops.claim(who.Account, c.server.cfg.Now())
	if err != nil {
		return err
	}
	c.leave = append(c.leave, release)
	c.who = who
	c.drop, err = c.open(ctx)
	return err
}
