package pop3

import (
	"context"
	"fmt"
	"strings"
)

func init() {
	register("CAPA", authorization|transaction, noArgument(runCapa))
	register("STLS", authorization, noArgument(runSTLS))
	register("UTF8", authorization, noArgument(runUTF8))
	register("LANG", authorization|transaction, runLang)
	register("NOOP", transaction, noArgument(func(_ context.Context, c *conn) error { c.ok("nothing done"); return nil }))
}

// mayLogin says whether credentials are safe on this connection. All mechanisms wait for TLS, since what follows a login is as secret as the
// password.
func (c *conn) mayLogin() bool {
	return c.tls != nil || c.server.cfg.AllowInsecureAuth && c.raw.Local()
}

// runCapa is CAPA (RFC 2449 section 5).
func runCapa(_ context.Context, c *conn) error {
	c.ok("capabilities follow")
	show := func(format string, args ...any) { fmt.Fprintf(c.out, format+"\r\n", args...) }
	show("TOP")
	show("UIDL")
	show("RESP-CODES")
	show("AUTH-RESP-CODE") // RFC 3206.
	show("PIPELINING")
	show("EXPIRE NEVER") // RFC 2449 section 6.7: no message goes because of its age.
	show("UTF8 USER")    // RFC 6856 section 2.
	show("LANG")
	if delay := c.server.cfg.Maildrops.delay; delay > 0 {
		show("LOGIN-DELAY %d", int(delay.Seconds()))
	}
	if c.mayLogin() { // RFC 2595 section 4: what may not be used without TLS is not shown without it. Otherwise both states show it (RFC 2449 sections 6.2 and 6.3).
		show("USER")
		show("SASL %s", strings.Join(c.server.mechanisms.Offered(c.peer()), " "))
	}
	if c.state() == transaction {
		show("IMPLEMENTATION %s", strings.TrimSpace(c.server.cfg.Name+" "+c.server.cfg.Version))
	} else if c.tls == nil && c.server.cfg.TLS != nil {
		show("STLS")
	}
	show(".")
	return nil
}

// runSTLS is STLS (RFC 2595 section 4). Octets that came behind it in plain text are an attempt to have them run as if they had come inside TLS,
// so the connection ends.
func runSTLS(ctx context.Context, c *conn) error {
	switch {
	case c.tls != nil:
		return senseless("TLS is active already")
	case c.server.cfg.TLS == nil:
		return senseless("TLS is not available")
	case c.in.Buffered() > 0:
		return &refusal{text: "nothing may follow STLS before the handshake", closing: true}
	}
	c.ok("begin the TLS handshake")
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		return &gone{err}
	}
	return nil
}

// runUTF8 is UTF8 (RFC 6856 section 2.1). Messages are sent as they are in either mode, and all texts of this server are ASCII, so there is nothing to remember.
func runUTF8(_ context.Context, c *conn) error {
	c.ok("UTF-8 it is")
	return nil
}

// runLang is LANG (RFC 6856 section 3). All texts of this server are in English, which is what i-default is.
func runLang(_ context.Context, c *conn, argument string) error {
	switch r := strings.ToLower(argument); {
	case r == "":
		c.ok("languages follow")
		fmt.Fprint(c.out, "en English\r\ni-default English\r\n.\r\n")
	case r == "en" || strings.HasPrefix(r, "en-") || r == "*": // RFC 4647 section 3.4, lookup.
		c.ok("en English")
	case r == "i-default":
		c.ok("i-default English")
	default:
		return refused("", "the language is not supported")
	}
	return nil
}
