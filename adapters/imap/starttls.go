package imap

import (
	"context"

	"github.com/streampost/streampost/adapters/imap/wire"
)

func init() {
	register(spec{name: "STARTTLS", states: notAuthenticated, run: runStartTLS})
	advertise("STARTTLS", func(c *conn) bool { return c.state() == notAuthenticated && c.tls == nil && c.server.cfg.TLS != nil })
}

// runStartTLS is STARTTLS (RFC 9051 section 6.2.1). Octets that came behind it in plain text are an attempt to have them run as if they had
// come inside TLS, so the connection ends.
func runStartTLS(ctx context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	switch {
	case c.tls != nil:
		return wire.Syntaxf("TLS is active already")
	case c.server.cfg.TLS == nil:
		return wire.Syntaxf("TLS is not available")
	case cmd.dec.Buffered() > 0:
		return &wire.CloseError{Text: "nothing may follow STARTTLS before the handshake"}
	}
	c.status(cmd.tag, "OK", "", "begin the TLS handshake")
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	cmd.answered = true
	return nil
}
