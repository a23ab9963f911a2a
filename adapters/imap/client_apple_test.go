package imap

import (
	"strings"
	"testing"
)

// Apple Mail on macOS. It asks for no special uses and wants them all the same, in each LIST (https://github.com/mjl-/mox/issues/66,
// https://github.com/cyrusimap/cyrus-imapd/issues/1514).
func TestAppleMail(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	c := s.dial()
	c.cmd(`ID ("name" "Mac OS X Mail" "version" "16.0 (3696.80.82.1.1)" "os" "Mac OS X" "os-version" "12.3 (21E230)" "vendor" "Apple Inc.")`).has("* ID ...").ok()
	tag := c.begin("AUTHENTICATE PLAIN")
	c.expect("+ ")
	c.send(b64("\x00"+alice+"\x00"+password) + "\r\n")
	c.finish(tag).ok()
	c.cmd("CAPABILITY").ok()
	c.cmd(`LIST "" ""`).want(`* LIST (\Noselect) "/" ""`, "OK ...")
	listed := c.cmd(`LIST "" "*"`).has(`* LIST (...\Drafts...) "/" Drafts`, `* LIST (...\Sent...) "/" Sent`, `* LIST (...\Trash...) "/" Trash`).ok()
	for _, line := range listed.untagged {
		if !strings.HasPrefix(line, "* LIST (") {
			t.Errorf("something else than a list: %q", line)
		}
	}
	c.cmd(`STATUS "Sent" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)`).has("* STATUS Sent (...)").ok()
	c.cmd("SELECT INBOX").has("* 1 EXISTS", "* 1 RECENT", "* OK [UIDNEXT 2] ...").ok()
	c.cmd("FETCH 1:1 (FLAGS UID)").want(`* 1 FETCH (FLAGS (\Recent) UID 1)`, "OK ...")
	c.cmd("UID FETCH 1 (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier x-universally-unique-identifier list-id list-unsubscribe)])").
		has("* 1 FETCH (INTERNALDATE ... UID 1 RFC822.SIZE ... FLAGS (...) BODY[HEADER.FIELDS (date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier x-universally-unique-identifier list-id list-unsubscribe)] {...}...)").ok()
	c.cmd("UID FETCH 1 (BODYSTRUCTURE BODY.PEEK[HEADER])").has("* 1 FETCH (UID 1 BODYSTRUCTURE (...) BODY[HEADER] {...}...)").ok()
	c.cmd("UID FETCH 1 (BODY.PEEK[1.1] BODY.PEEK[2.MIME] BODY.PEEK[2]<0.4>)").has("* 1 FETCH (UID 1 BODY[1.1] {15}\r\nGr=C3=BC=C3=9Fe BODY[2.MIME] {...}... BODY[2]<0> {4}\r\nJVBE)").ok()

	// It colours flags, and believes that junk is a matter of keywords.
	c.cmd(`UID STORE 1 +FLAGS.SILENT (\Seen $NotJunk $MailFlagBit0)`).ok()
	c.cmd(`UID STORE 1 -FLAGS.SILENT ($Junk JunkRecorded)`).ok()
	c.cmd("UID FETCH 1 FLAGS").has(`* 1 FETCH (UID 1 FLAGS (\Seen $NotJunk $MailFlagBit0 \Recent))`).ok()
	c.cmd("UID SEARCH 1:* NOT DELETED").want("* SEARCH 1", "OK ...")
	c.cmd(`CREATE "Sent Messages"`).ok()
	c.cmd("APPEND \"Sent Messages\" (\\Seen $NotJunk NotJunk) \"02-Nov-2026 10:00:00 +0100\" {%d+}\r\n%s", len(letter), letter).ok("[APPENDUID ...] ...")
	c.cmd(`UID COPY 1 "Trash"`).ok("[COPYUID ...] ...")
	c.cmd(`UID STORE 1 +FLAGS.SILENT (\Deleted)`).ok()
	c.cmd("UID EXPUNGE 1").has("* 1 EXPUNGE").ok()

	// DONE and what comes next are one packet.
	tag = c.begin("IDLE")
	c.expect("+ idling")
	s.deliver("INBOX", mail(2))
	c.expect("* 1 EXISTS", "* 1 RECENT")
	c.send("DONE\r\nx1 NOOP\r\nx2 UID FETCH 2 FLAGS\r\n")
	c.finish(tag).ok()
	c.finish("x1").ok()
	c.finish("x2").has(`* 1 FETCH (UID 2 FLAGS (\Recent))`).ok()
	c.cmd("LOGOUT").ok()
}

// Mail on iOS asks with RETURN, and looks only at what changed (https://github.com/stalwartlabs/stalwart/issues/765).
func TestAppleMailOniOS(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	c := s.login()
	c.cmd(`ID ("name" "iPhone Mail" "version" "22A3351" "os" "iOS" "os-version" "18.0 (22A3351)")`).ok()
	c.cmd("NAMESPACE").ok()
	c.cmd(`LIST "" "*" RETURN (SPECIAL-USE)`).has(`* LIST (...) "/" INBOX`, `* LIST (...\Sent...) "/" Sent`).ok()
	c.cmd("ENABLE CONDSTORE").ok()
	highest := strings.Fields(c.cmd("STATUS INBOX (UIDNEXT UIDVALIDITY HIGHESTMODSEQ)").has("* STATUS INBOX (UIDNEXT 2 UIDVALIDITY ... HIGHESTMODSEQ ...)").ok().untagged[0])
	since := strings.Trim(highest[len(highest)-1], ")")
	c.cmd("SELECT INBOX (CONDSTORE)").has("* OK [HIGHESTMODSEQ " + since + "] ...").ok()
	c.cmd("UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE %s)", since).want("OK ...")
	c.cmd("UID SEARCH RETURN (ALL COUNT) SINCE 1-Oct-2026 UNDELETED").has("* ESEARCH (TAG ...) UID ...").ok()
	c.cmd("UID FETCH 1 (FLAGS MODSEQ ENVELOPE BODYSTRUCTURE)").has("* 1 FETCH (UID 1 FLAGS (...) MODSEQ (...) ENVELOPE (...) BODYSTRUCTURE (...))").ok()
	c.cmd(`UID MOVE 1 "Trash"`).has("* OK [COPYUID ...] ...").ok()
	c.cmd("LOGOUT").ok()
}
