package imap

import (
	"fmt"
	"testing"
)

// RFC 9586: no message numbers in either direction.
func TestUIDOnly(t *testing.T) {
	s := start(t)
	s.fill(6)
	c := s.login()
	c.cmd("ENABLE UIDONLY").want("* ENABLED UIDONLY", "OK ENABLE completed")
	c.cmd("SELECT INBOX").ok().hasNot("...UNSEEN...")
	for _, numbered := range []string{"FETCH 1 FLAGS", "STORE 1 FLAGS ()", "COPY 1 Trash", "MOVE 1 Trash", "SEARCH ALL", "SEARCH 1", "UID SEARCH 1:3", "UID SEARCH NOT (OR SEEN 2)",
		"SORT (DATE) UTF-8 ALL", "UID SORT (DATE) UTF-8 1", "THREAD REFS UTF-8 ALL", "UID THREAD REFS UTF-8 1:*", "ESEARCH IN (selected) NOT 1", "FETCH $ FLAGS",
		"SEARCH RETURN (UPDATE) ALL", "UID SEARCH RETURN (UPDATE) FUZZY (TEXT x 3)", "REPLACE 1 INBOX {1+}\r\na"} {
		c.cmd("%s", numbered).bad("[UIDREQUIRED] ...")
	}
	c.cmd("UID FETCH 2:3 (FLAGS RFC822.SIZE)").want("* 2 UIDFETCH (FLAGS (...) RFC822.SIZE ...)", "* 3 UIDFETCH (FLAGS (...) RFC822.SIZE ...)", "OK UID FETCH completed")
	c.cmd("UID FETCH 2 (UID)").want("* 2 UIDFETCH (UID 2)", "OK ...")
	c.cmd(`UID STORE 4 FLAGS (\Deleted)`).want(`* 4 UIDFETCH (FLAGS (\Deleted ...))`, "OK UID STORE completed")
	c.cmd("UID SEARCH RETURN (SAVE) DELETED").ok()
	c.cmd("UID SEARCH $").want("* SEARCH 4", "OK ...")
	c.cmd("EXPUNGE").want("* VANISHED 4", "OK EXPUNGE completed")
	c.cmd("UID MOVE 5 Trash").want("* OK [COPYUID ...] moved", "* VANISHED 5", "OK UID MOVE completed")
	c.cmd("UID COPY 1 Trash").ok("[COPYUID ...] ...")
	s.selected("INBOX").cmd(`UID STORE 6 FLAGS ($new)`).ok()
	c.cmd("NOOP").has("* 6 UIDFETCH (FLAGS ($new...))").ok()
	s.deliver("INBOX", mail(7))
	c.cmd("NOOP").has("* 5 EXISTS").ok()
}

func TestUIDOnlyWithQResync(t *testing.T) {
	s := start(t)
	s.fill(4)
	since := s.modseq()
	s.expunge("2")
	s.selected("INBOX").cmd(`UID STORE 3 FLAGS (\Seen)`).ok()
	c := s.login()
	c.cmd("ENABLE UIDONLY QRESYNC").want("* ENABLED UIDONLY QRESYNC", "OK ...")
	c.cmd("SELECT INBOX (QRESYNC (%d %d 1:4 (1 1)))", s.validity(), since).bad("[UIDREQUIRED] ...")
	c.cmd("SELECT INBOX (QRESYNC (%d %d 1:4))", s.validity(), since).has("* VANISHED (EARLIER) 2", fmt.Sprintf(`* 3 UIDFETCH (FLAGS (\Seen) MODSEQ (%d))`, s.modseq())).ok()
	c.cmd("UID FETCH 1:9 (FLAGS) (CHANGEDSINCE %d VANISHED)", since).has("* VANISHED (EARLIER) 2", fmt.Sprintf(`* 3 UIDFETCH (FLAGS (\Seen) MODSEQ (%d))`, s.modseq())).ok()
	c.cmd(`UID STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Seen)`, since).want(fmt.Sprintf(`* 1 UIDFETCH (MODSEQ (%d))`, s.modseq()), "OK UID STORE completed")
}

// UNAUTHENTICATE forgets what ENABLE and NOTIFY have switched on (RFC 8437 section 4.1).
func TestUnauthenticateForgetsSynchronisation(t *testing.T) {
	s := start(t)
	s.fill(2)
	c := s.login()
	c.cmd("ENABLE UIDONLY QRESYNC").ok()
	c.cmd("NOTIFY SET (selected NONE)").ok()
	c.cmd("REPLACE 1 INBOX {1+}\r\nx").bad()
	c.cmd("SELECT INBOX").ok()
	c.cmd("REPLACE 1 INBOX {1+}\r\nx").bad("[UIDREQUIRED] ...")
	c.cmd("UNAUTHENTICATE").ok()
	c.cmd("LOGIN %s %s", alice, password).ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 1 (FLAGS)").want("* 1 FETCH (FLAGS (...))", "OK ...")
	s.expunge("1")
	c.cmd("NOOP").want("* 1 EXPUNGE", "OK NOOP completed")
	s.selected("INBOX").cmd(`STORE 1 FLAGS (\Seen)`).ok()
	c.cmd("NOOP").want(`* 1 FETCH (UID 2 FLAGS (\Seen...))`, "OK NOOP completed")
}
