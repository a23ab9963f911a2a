package imap

import (
	"context"
	"strings"
)

func init() {
	advertise("IMAP4rev1", always)
	advertise("IMAP4rev2", always)
	advertise("LITERAL+", always) // RFC 7888 section 5: it includes LITERAL-.
	register(spec{name: "CAPABILITY", states: anyState, run: runCapability})
	register(spec{name: "NOOP", states: anyState, fresh: true, asks: true, run: runNoop})
	register(spec{name: "CHECK", states: mailboxSelected, fresh: true, asks: true, run: runNoop}) // RFC 3501 section 6.4.1: nothing here waits for a checkpoint.
	register(spec{name: "LOGOUT", states: anyState, run: runLogout})
}

// runCapability is CAPABILITY (RFC 9051 section 6.1.1).
func runCapability(_ context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	c.enc.Raw("* CAPABILITY ").Raw(strings.Join(c.capabilityList(), " ")).CRLF()
	return nil
}

// runNoop is NOOP (RFC 9051 section 6.1.2): the updates that it polls for come with every command.
func runNoop(_ context.Context, _ *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	return nil
}

// runLogout is LOGOUT (RFC 9051 section 6.1.3).
func runLogout(_ context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	c.status("*", "BYE", "", "logging out")
	c.status(cmd.tag, "OK", "", "LOGOUT completed")
	return errLogout
}

// capabilityCode is the response code that spares the client a CAPABILITY command.
func (c *conn) capabilityCode() string { return "CAPABILITY " + strings.Join(c.capabilityList(), " ") }
