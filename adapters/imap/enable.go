package imap

import (
	"context"
)

func init() {
	register(spec{name: "ENABLE", states: authenticated, run: runEnable}) // RFC 5161 section 3.1: before a mailbox is selected.
	advertise("ENABLE", always)
	advertise("UTF8=ACCEPT", whenAuthenticated)
	enablable["IMAP4REV2"] = feature{"IMAP4rev2", func(c *conn) { c.rev2 = true; c.acceptUTF8() }}
	enablable["UTF8=ACCEPT"] = feature{"UTF8=ACCEPT", (*conn).acceptUTF8} // RFC 6855 section 3.
}

// feature is what ENABLE can switch on. Extensions add theirs to enablable from init.
type feature struct {
	name string // as ENABLED and CAPABILITY show it
	on   func(c *conn)
}

var enablable = map[string]feature{} // by name in upper case

// acceptUTF8 lets UTF-8 into quoted strings and mailbox names, in both directions.
func (c *conn) acceptUTF8() {
	c.utf8, c.dec.UTF8, c.enc.UTF8 = true, true, true
}

// runEnable is ENABLE (RFC 5161, RFC 9051 section 6.3.1). What is unknown is passed over.
func runEnable(_ context.Context, c *conn, cmd *command) error {
	d := cmd.dec
	var names []string
	for d.SP() || len(names) == 0 && d.ExpectSP() {
		var name string
		if !d.Item() || !d.ExpectName(&name) {
			return d.Err()
		}
		names = append(names, name)
	}
	if !d.ExpectCRLF() {
		return d.Err()
	}
	c.enc.Raw("* ENABLED")
	for _, name := range names {
		if f, known := enablable[name]; known && !c.without[f.name] {
			f.on(c)
			c.enc.SP().Raw(f.name)
		}
	}
	c.enc.CRLF()
	return nil
}
