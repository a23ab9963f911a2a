package imap

import "context"

func init() {
	register(spec{name: "UNAUTHENTICATE", states: loggedIn, run: runUnauthenticate})
	advertise("UNAUTHENTICATE", func(c *conn) bool { return c.mayUnauthenticate() })
}

// forgets reset what extensions keep of a session. Those that keep something add theirs from init.
var forgets []func(c *conn)

// mayUnauthenticate tells whether the session can go back to its beginning. A compressed one cannot: where the client's compressed octets end and plain
// ones begin is not to be seen for certain, and RFC 8437 section 3 knows no way to refuse but not to offer it.
func (c *conn) mayUnauthenticate() bool {
	return c.state() != notAuthenticated && !c.compressed && !c.without["UNAUTHENTICATE"]
}

// runUnauthenticate is UNAUTHENTICATE (RFC 8437 section 3): the connection is as after its greeting or STARTTLS. What the client pipelined behind it
// runs then. Failed logins stay counted.
func runUnauthenticate(_ context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	if !c.mayUnauthenticate() {
		return errUnknown
	}
	c.deselect() // no EXPUNGE happens.
	if c.watch != nil {
		c.watch.Close()
		c.watch = nil
	}
	c.leave()
	c.leave = nil
	c.log.Info("login ends", "user", c.login, "account", c.id)
	c.id, c.login = "", ""
	c.rev2, c.utf8, c.dec.UTF8, c.enc.UTF8 = false, false, false, false // section 4.1: what ENABLE has switched on.
	for _, forget := range forgets {
		forget(c)
	}
	c.begun = c.server.cfg.Now()
	c.raw.SetIdle(0)
	c.dec.SetLimits(c.server.limits.BeforeLogin)
	cmd.ok(c.capabilityCode(), "")
	return nil
}
