package imap

import (
	"context"
	"testing"
)

// What one extension does, another one tells.

func TestReplaceAndMoveAmongUpdatedSearches(t *testing.T) {
	s := start(t)
	s.fill(6)
	c := s.login()
	c.cmd("ENABLE UIDONLY QRESYNC").ok()
	c.cmd("SELECT INBOX").ok()
	c.send("s UID SEARCH RETURN (UPDATE COUNT) ALL\r\nt UID SORT RETURN (UPDATE COUNT) (REVERSE SIZE) UTF-8 SEEN\r\n")
	c.finish("s").want(`* ESEARCH (TAG "s") UID COUNT 6`, "OK ...")
	c.finish("t").want(`* ESEARCH (TAG "t") UID COUNT 0`, "OK ...")
	c.cmd(`UID REPLACE 3 INBOX (\Seen) %s`, literal(mail(7))).want("* OK [APPENDUID ... 7] ...", `* ESEARCH (TAG "s") UID REMOVEFROM (0 3)`, "* VANISHED 3", "* 6 EXISTS", "* ... RECENT",
		`* ESEARCH (TAG "s") UID ADDTO (0 7)`, `* ESEARCH (TAG "t") UID ADDTO (1 7)`, "OK [HIGHESTMODSEQ ...] UID REPLACE completed")
	c.cmd("UID SEARCH RETURN (SAVE PARTIAL -1:-2) ALL").want("* ESEARCH ... UID PARTIAL (-1:-2 6:7)", "OK ...")
	c.cmd("UID MOVE $ Trash").want("* OK [COPYUID ... 6:7 1:2] moved", `* ESEARCH (TAG "s") UID REMOVEFROM (0 6:7)`, `* ESEARCH (TAG "t") UID REMOVEFROM (1 7)`, "* VANISHED 6:7",
		"OK [HIGHESTMODSEQ ...] UID MOVE completed")
	c.cmd("ESEARCH IN (mailboxes Trash) RETURN (COUNT) $").bad("sequence numbers and $ are those of the selected mailbox")
	c.cmd(`APPEND Trash {1+}%sx CATENATE (URL ";UID=1" TEXT {8+}%sx LOGOUT URL "/nowhere/;UID=1")`, "\r\n", "\r\n").no("[BADURL /nowhere/;UID=1] ...") // nothing is left of it.
	c.cmd("STATUS Trash (MESSAGES)").want("* STATUS Trash (MESSAGES 2)", "OK ...")
}

// A mailbox that goes while it is selected leaves its sessions with an empty one, whatever they have asked for.
func TestTheSelectedMailboxGoesWhileItIsWatched(t *testing.T) {
	s := start(t)
	s.login().cmd("CREATE gone").ok()
	s.deliver("gone", mail(1))
	c := s.selected("gone")
	c.cmd("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (personal (MailboxName))").ok()
	c.send("s SEARCH RETURN (UPDATE COUNT) ALL\r\n")
	c.finish("s").ok()
	other := s.login()
	other.cmd("RENAME gone going").ok()
	c.expect(`* LIST (\HasNoChildren) "/" going ("OLDNAME" (gone))`)
	other.cmd("DELETE going").ok()
	c.expect(`* ESEARCH (TAG "s") REMOVEFROM (0 1)`, "* 1 EXPUNGE", `* LIST (\NonExistent \Noselect \HasNoChildren) "/" going`)
	for _, command := range []string{"SEARCH ALL", "SORT (DATE) UTF-8 ALL", "THREAD REFS UTF-8 ALL", "ESEARCH IN (selected) ALL", "EXPUNGE", "UID REPLACE 1 INBOX " + literal(mail(2))} {
		c.cmd("%s", command).no("[NONEXISTENT] ...")
	}
	c.cmd("UID FETCH 1:* FLAGS").want("OK UID FETCH completed")
	c.cmd("CLOSE").want("OK CLOSE completed")
}

func TestCompressedSessionsHearTheFarewell(t *testing.T) {
	s := start(t)
	idle, watching, sending := s.selected("INBOX"), s.login(), s.login()
	for _, c := range []*client{idle, watching, sending} {
		c.compress()
	}
	idle.begin("IDLE")
	idle.expect("+ idling")
	watching.cmd("NOTIFY SET (personal (MailboxName))").ok()
	sending.begin("APPEND INBOX {100}")
	sending.expect("+ Ready")
	drained, cancel := context.WithCancel(t.Context())
	go func() {
		_ = s.server.Shutdown(t.Context())
		cancel()
	}()
	for _, c := range []*client{idle, watching} {
		c.expect("* BYE [UNAVAILABLE] the server is shutting down")
		c.ended()
	}
	_ = sending.conn.Close()
	<-drained.Done()
}
