package imap

import (
	"slices"
	"testing"
)

// Every capability can be switched off by itself, and leaves a server that still serves.
func TestEachCapabilitySwitchedOff(t *testing.T) {
	s := start(t)
	s.fill(2)
	for _, known := range capabilities {
		if known.name == "IMAP4rev1" {
			continue
		}
		t.Run(known.name, func(t *testing.T) {
			s := &testServer{Node: s.Node, t: t, account: s.account}
			s.serve(func(c *Config) { c.Without, c.JMAP = []string{known.name}, "https://example.org/jmap" })
			c := s.login()
			shown := "* CAPABILITY ... " + s.server.parameter(known.name)
			c.cmd("CAPABILITY").has("* CAPABILITY IMAP4rev1 ...").hasNot(shown).hasNot(shown + " ...").ok()
			if feature, is := enablable[known.name]; is {
				c.cmd("ENABLE %s", feature.name).want("* ENABLED", "OK ...")
			}
			c.cmd("SELECT INBOX").ok()
			c.cmd("FETCH 1:* (FLAGS UID)").has("* 2 FETCH ...").ok()
			c.cmd("SEARCH ALL").ok()
			c.cmd("LOGOUT").ok()
		})
	}
}

// What makes no sense without another capability goes with it.
func TestCapabilitiesThatNeedAnother(t *testing.T) {
	off := []string{"CONDSTORE", "OBJECTID", "METADATA", "URLAUTH", "SORT", "QUOTA", "ACL"}
	for name, base := range requires {
		if !slices.Contains(off, base) || !slices.ContainsFunc(capabilities, func(c capability) bool { return c.name == name }) {
			t.Errorf("%s, which needs %s, is not tested", name, base)
		}
	}
	s := start(t, func(c *Config) { c.Without, c.JMAP = off, "https://example.org/jmap" })
	c := s.login()
	for name := range requires {
		c.cmd("CAPABILITY").hasNot("* CAPABILITY ... " + name + " ...").hasNot("* CAPABILITY ... " + name)
	}
	c.cmd("ENABLE CONDSTORE QRESYNC").want("* ENABLED", "OK ...")
	for _, item := range []string{"HIGHESTMODSEQ", "MAILBOXID", "DELETED-STORAGE"} {
		c.cmd("STATUS INBOX (%s)", item).bad("STATUS has no item of that name")
	}
	c.cmd(`LIST "" * RETURN (METADATA /private/comment)`).bad()
	c.cmd("NOTIFY SET (personal (MailboxMetadataChange))").no("[BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] ...")
	c.cmd("GETJMAPACCESS").bad("unknown command")
	c.cmd(`SETQUOTA "" ()`).bad("unknown command")
	c.cmd("MYRIGHTS INBOX").bad("unknown command")
	c.cmd(`LIST "" * RETURN (MYRIGHTS)`).bad()
	c.cmd("NAMESPACE").want(`* NAMESPACE (("" "/")) NIL NIL`, "OK ...")
	c.cmd(`CREATE "Other Users/mine"`).ok()
}
