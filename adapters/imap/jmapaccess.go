package imap

import "context"

func init() {
	register(spec{name: "GETJMAPACCESS", states: loggedIn, run: runJMAPAccess})
	advertise("JMAPACCESS", (*conn).hasJMAP)
}

// hasJMAP tells whether the same mail can be had by JMAP, with the same ids (RFC 9698 section 3).
func (c *conn) hasJMAP() bool {
	return c.state() != notAuthenticated && c.server.cfg.JMAP != "" && !c.without["JMAPACCESS"]
}

// runJMAPAccess is GETJMAPACCESS (RFC 9698 section 4).
func runJMAPAccess(_ context.Context, c *conn, cmd *command) error {
	if !cmd.dec.ExpectCRLF() {
		return cmd.dec.Err()
	}
	if !c.hasJMAP() {
		return errUnknown
	}
	c.enc.Raw("* JMAPACCESS ").String(c.server.cfg.JMAP).CRLF()
	return nil
}
