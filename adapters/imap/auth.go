package imap

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
)

func init() {
	register(spec{name: "LOGIN", states: notAuthenticated, run: runLogin})
	register(spec{name: "AUTHENTICATE", states: notAuthenticated, run: runAuthenticate})
	advertise("LOGINDISABLED", func(c *conn) bool { return c.state() == notAuthenticated && !c.mayLogin() })
	advertise("SASL-IR", whenUnauthenticated) // RFC 4959.
	for name := range mechanisms {
		advertise("AUTH="+name, func(c *conn) bool { return c.state() == notAuthenticated && c.mayLogin() })
	}
}

// maxResponse bounds one line of a SASL exchange, in base64.
const maxResponse = 16 << 10

// mechanism runs one SASL exchange (RFC 4422). ask sends a challenge and gives the client's response to it; initial is the response that came
// with the command, nil if none did.
type mechanism func(ctx context.Context, c *conn, initial []byte, ask func(challenge []byte) ([]byte, error)) (door.Identity, error)

var mechanisms = map[string]mechanism{
	"PLAIN":         plain,
	"SCRAM-SHA-256": scramSHA256,
}

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
	who, err := c.directory.Authenticate(ctx, user, password)
	return c.welcome(ctx, cmd, "LOGIN", user, who, err)
}

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
	run, known := mechanisms[name]
	if !known || c.server.without["AUTH="+name] {
		return domain.Errorf(domain.Invalid, "the mechanism is not supported")
	}
	if !c.mayLogin() {
		return coded("PRIVACYREQUIRED", domain.Errorf(domain.Denied, "use TLS first"))
	}
	var initial []byte
	if early && encoded == "=" { // RFC 4959 section 3: an empty response.
		initial = []byte{}
	} else if early {
		var err error
		if initial, err = unbase64([]byte(encoded)); err != nil {
			return err
		}
	}
	ask := func(challenge []byte) ([]byte, error) {
		c.enc.Raw("+ ").Raw(base64.StdEncoding.EncodeToString(challenge)).CRLF()
		if err := c.flush(); err != nil {
			return nil, err
		}
		line, err := d.Line(maxResponse)
		if err != nil {
			d.Fail(err)
			return nil, err
		}
		if string(line) == "*" {
			return nil, wire.Syntaxf("the exchange is cancelled") // RFC 9051 section 6.2.2: BAD.
		}
		return unbase64(line)
	}
	who, err := run(ctx, c, initial, ask)
	return c.welcome(ctx, cmd, name, who.Login, who, err)
}

func unbase64(line []byte) ([]byte, error) {
	decoded, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		return nil, wire.Syntaxf("the response is not in base64")
	}
	return decoded, nil
}

// plain is PLAIN (RFC 4616). Acting for somebody else is not supported.
func plain(ctx context.Context, c *conn, initial []byte, ask func([]byte) ([]byte, error)) (door.Identity, error) {
	if initial == nil {
		var err error
		if initial, err = ask(nil); err != nil {
			return door.Identity{}, err
		}
	}
	parts := strings.Split(string(initial), "\x00")
	if len(parts) != 3 {
		return door.Identity{}, wire.Syntaxf("the response is not one of PLAIN")
	}
	who, err := c.directory.Authenticate(ctx, parts[1], parts[2])
	if err == nil && parts[0] != "" && !strings.EqualFold(parts[0], parts[1]) {
		err = coded("AUTHORIZATIONFAILED", domain.Errorf(domain.Denied, "acting for another user is not allowed"))
	}
	if err != nil {
		who.Login = parts[1] // for the log
	}
	return who, err
}

// welcome ends an attempt to log in. Failures are answered late and a few times only, so that guessing is slow.
func (c *conn) welcome(ctx context.Context, cmd *command, method, user string, who door.Identity, err error) error {
	if err != nil {
		if !domain.Is(err, domain.Denied) {
			return err
		}
		c.failures++
		c.server.cfg.Metrics.LoggedIn(false)
		c.log.Warn("login failed", "method", method, "user", user, "failures", c.failures)
		select {
		case <-time.After(c.server.limits.FailureDelay * time.Duration(c.failures)):
		case <-ctx.Done():
			return &wire.CloseError{Text: "the server is shutting down"}
		}
		if _, special := err.(*codedError); !special {
			err = coded("AUTHENTICATIONFAILED", domain.Errorf(domain.Denied, "user name or password is wrong"))
		}
		if c.failures >= c.server.limits.Failures {
			_, code, text := c.blame(cmd, err)
			c.status(cmd.tag, "NO", code, text)
			return &wire.CloseError{Text: "too many failed logins"}
		}
		return err
	}
	c.id, c.login = who.Account, who.Login
	c.raw.SetIdle(c.server.limits.Line.Idle)
	c.dec.SetLimits(c.server.limits.AfterLogin)
	c.server.cfg.Metrics.LoggedIn(true)
	c.log.Info("login", "method", method, "user", who.Login, "account", who.Account, "tls", c.tls != nil)
	cmd.ok(c.capabilityCode(), "logged in")
	return nil
}
