package imap

import (
	"strings"
	"testing"
)

func TestUnauthenticate(t *testing.T) {
	s := start(t)
	s.AddAccount(t, "bob@example.org", password)
	s.deliver("INBOX", mail(1), `\Deleted`)
	c := s.dial()
	c.cmd("UNAUTHENTICATE").bad("log in first")
	c.cmd("LOGIN %s %s", alice, password).ok("[CAPABILITY ... UNAUTHENTICATE...] ...")
	c.cmd("ENABLE IMAP4rev2").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("SEARCH RETURN (SAVE) ALL").ok()
	// Pipelined with the next login (RFC 8437 section 3).
	c.send("u UNAUTHENTICATE\r\nl LOGIN bob@example.org %s\r\ns SELECT INBOX\r\n", password)
	c.finish("u").want("OK [CAPABILITY IMAP4rev1 ... AUTH=PLAIN ...] UNAUTHENTICATE completed")
	c.finish("l").ok()
	c.finish("s").has("* 0 EXISTS", "* 0 RECENT").hasNot("* LIST ...") // rev1 again
	s.selected("INBOX").cmd("NOOP").want("OK NOOP completed")
	c.cmd("UNAUTHENTICATE").ok()
	c.cmd("SELECT INBOX").bad("log in first")
	c.cmd("UNAUTHENTICATE now").bad()
	c.cmd("LOGIN %s %s", alice, password).ok()
	c.cmd("SELECT INBOX").has("* 1 EXISTS") // nothing was expunged
	c.cmd("LOGOUT").ok()

	// The first user's end is not the second one's.
	c = s.login()
	c.cmd("UNAUTHENTICATE").ok()
	c.cmd("LOGIN bob@example.org %s", password).ok()
	if err := s.Directory.SetPassword(t.Context(), "test", s.account, "another secret"); err != nil {
		t.Fatal(err)
	}
	c.cmd("NOOP").ok()
}

func TestUnauthenticateIsNotOffered(t *testing.T) {
	s := start(t)
	c := s.login()
	c.compress()
	c.cmd("CAPABILITY").hasNot("...UNAUTHENTICATE...")
	c.cmd("UNAUTHENTICATE").bad("unknown command")
	c.cmd("NOOP").ok()
	off := start(t, func(c *Config) { c.Without = []string{"UNAUTHENTICATE"} }).login() // section 8: there MUST be a way.
	off.cmd("CAPABILITY").hasNot("...UNAUTHENTICATE...")
	off.cmd("UNAUTHENTICATE").bad("unknown command")
}

func TestLanguage(t *testing.T) {
	s := start(t)
	c := s.dial()
	c.cmd("LANGUAGE").want("* LANGUAGE (EN i-default)", "OK ...")
	c.cmd("LOGIN %s %s", alice, password).ok("[CAPABILITY ... LANGUAGE...] ...")
	c.cmd("LANGUAGE MUL").no("[CANNOT] the language is not supported")
	c.cmd("LANGUAGE FR-CA EN-CA").want("* LANGUAGE (EN)", "OK ...")
	c.cmd(`LANGUAGE "default"`).want("* LANGUAGE (i-default)", "OK ...")
	c.cmd("LANGUAGE i-default en").want("* LANGUAGE (i-default)", "OK ...")
	c.cmd("LANGUAGE {2+}\r\nen").want("* LANGUAGE (EN)", "OK ...")
	c.cmd("LANGUAGE (en)").bad()
	c.cmd("LANGUAGE%s", strings.Repeat(" fr", maxLanguages+1)).bad("[LIMIT] ...")
}

func TestJMAPAccess(t *testing.T) {
	c := start(t).login()
	c.cmd("CAPABILITY").hasNot("...JMAPACCESS...")
	c.cmd("GETJMAPACCESS").bad("unknown command")
	c = start(t, func(c *Config) { c.JMAP = "https://example.org/.well-known/jmap" }).login()
	c.cmd("CAPABILITY").has("...JMAPACCESS...")
	c.cmd("GETJMAPACCESS").want(`* JMAPACCESS "https://example.org/.well-known/jmap"`, "OK ...")
}

// TestUnauthenticateForgets is RFC 8437 section 4.1: nothing that the first user switched on holds for the second.
func TestUnauthenticateForgets(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.login()
	c.cmd("ENABLE QRESYNC UIDONLY UTF8=ACCEPT").ok()
	c.cmd("NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge))").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 1 UID").bad("[UIDREQUIRED] ...")
	c.cmd("UNAUTHENTICATE").ok()
	c.cmd("LOGIN %s %s", alice, password).ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 1 (UID FLAGS)").want(`* 1 FETCH (UID 1 FLAGS (...))`, "OK ...").hasNot("...MODSEQ...")
	c.cmd(`STORE 1 +FLAGS (\Deleted)`).want(`* 1 FETCH (UID 1 FLAGS (...))`, "OK ...").hasNot("...MODSEQ...")
	c.cmd("EXPUNGE").want("* 1 EXPUNGE", "OK ...")
	c.cmd("APPEND INBOX UTF8 (~%s)", literal(mail(2))).no("[CANNOT] ...")
}

// TestSpecialUseByMetadata is RFC 6154 sections 4 and 5.4.
func TestSpecialUseByMetadata(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd(`GETMETADATA Sent /private/specialuse`).want(`* METADATA Sent (/private/specialuse "\\Sent")`, "OK ...")
	c.cmd(`GETMETADATA INBOX /private/specialuse`).want(`* METADATA INBOX (/private/specialuse NIL)`, "OK ...")
	c.cmd(`CREATE Mine`).ok()
	c.cmd(`SETMETADATA Mine (/private/specialuse "\\Sent")`).no("[USEATTR] ...")
	c.cmd(`SETMETADATA Mine (/private/specialuse "\\All")`).no("[USEATTR] ...")
	c.cmd(`SETMETADATA Mine (/private/specialuse "\\Archive \\Junk")`).no("[USEATTR] ...")
	c.cmd(`SETMETADATA Sent (/private/specialuse NIL)`).ok()
	c.cmd(`SETMETADATA Mine (/private/specialuse "\\sent" /private/comment "x")`).ok()
	c.cmd(`LIST (SPECIAL-USE) "" *`).has(`* LIST (\HasNoChildren \Sent) "/" Mine`).hasNot(`... Sent`)
	c.cmd(`SETMETADATA "" (/private/specialuse "\\Sent")`).no()
}

func TestIDBounds(t *testing.T) {
	c := start(t).dial()
	c.cmd("ID (%s)", strings.TrimSpace(strings.Repeat(`"n" "v" `, 30))).want("* ID (...)", "OK ...")
	c.cmd("ID (%s)", strings.TrimSpace(strings.Repeat(`"n" "v" `, 31))).bad()
	c.cmd(`ID ("n" "%s")`, strings.Repeat("v", 1024)).ok()
	c.cmd(`ID ("n" "%s")`, strings.Repeat("v", 1025)).bad()
	c.cmd("ID (\"n\" {3+}\r\na\r\n)").ok()
	c.cmd("ID (\"n\" {2+}\r\na\x00)").bad()
	c.cmd(`ID ("n")`).bad()
	c.cmd(`ID (n v)`).bad()
	c.cmd(`ID "n"`).bad()
}
