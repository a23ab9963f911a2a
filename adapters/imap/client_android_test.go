package imap

import "testing"

// K-9 Mail, which is Thunderbird for Android: the commands are those that its own tests expect.
func TestK9(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	c := s.dial()
	c.cmd("CAPABILITY").ok()
	c.cmd("AUTHENTICATE PLAIN %s", b64("\x00"+alice+"\x00"+password)).ok()
	c.cmd(`ID ("name" "K-9 Mail" "version" "6.800")`).ok()
	c.cmd("NAMESPACE").ok()
	c.cmd("ENABLE UTF8=ACCEPT").ok()
	c.cmd(`LIST "" "*" RETURN (SPECIAL-USE)`).has(`* LIST (...\Junk...) "/" Junk`).ok()
	c.cmd(`STATUS "INBOX" (UIDVALIDITY)`).ok()
	c.cmd(`SELECT "INBOX"`).has("* 1 EXISTS", "* OK [UIDNEXT 2] ...").ok()
	c.cmd("UID SEARCH 1:* NOT DELETED").want("* SEARCH 1", "OK ...")
	c.cmd("UID SEARCH 1:* SINCE 01-Nov-2026 NOT DELETED").ok()
	c.cmd("UID FETCH 1 (UID FLAGS)").has("* 1 FETCH (UID 1 FLAGS (...))").ok()
	c.cmd("UID FETCH 1 (UID INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc bcc reply-to message-id references in-reply-to list-post list-unsubscribe sender X-K9mail-Identity Chat-Version)])").
		has("* 1 FETCH (UID 1 INTERNALDATE ... RFC822.SIZE ... BODY[HEADER.FIELDS (date subject from content-type to cc bcc reply-to message-id references in-reply-to list-post list-unsubscribe sender X-K9mail-Identity Chat-Version)] {...}...)").ok()
	c.cmd("UID FETCH 1 (UID BODYSTRUCTURE)").has("* 1 FETCH (UID 1 BODYSTRUCTURE (...))").ok()
	c.cmd("UID FETCH 1 (UID BODY.PEEK[]<0.4096>)").has("* 1 FETCH (UID 1 BODY[]<0> {...}...)").ok()
	c.cmd("UID FETCH 1 (UID BODY.PEEK[TEXT]<0.20>)").has("* 1 FETCH (UID 1 BODY[TEXT]<0> {20}...)").ok()
	c.cmd("UID FETCH 1 (UID BODY.PEEK[1.1])").has("* 1 FETCH (UID 1 BODY[1.1] {15}...)").ok()
	c.cmd(`UID SEARCH HEADER MESSAGE-ID "<letter@example.org>"`).want("* SEARCH 1", "OK ...")
	c.cmd(`UID SEARCH OR OR OR SUBJECT "gr" FROM "gr" TO "gr" CC "gr"`).ok()
	c.cmd(`UID STORE 1 +FLAGS.SILENT (\Seen $Forwarded)`).ok()
	c.cmd(`UID MOVE 1 "Archive"`).has("* OK [COPYUID ...] ...").ok()
	c.cmd("UID SEARCH UID 2:* NOT DELETED").want("* SEARCH", "OK ...")
	c.cmd("NOOP").ok()
	c.cmd("CLOSE").ok()
	c.cmd("LOGOUT").ok()
}

// Samsung Email, which has its commands from the mail program of early Androids: envelopes, structures and parts.
func TestSamsungEmail(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	c := s.dial()
	c.cmd("CAPABILITY").ok()
	c.cmd(`ID ("name" "com.samsung.android.email.provider" "os" "android" "os-version" "14; UP1A" "vendor" "samsung" "x-android-device-model" "SM-G991B" "x-android-mobile-net-operator" "x")`).ok()
	c.cmd(`LOGIN %s "%s"`, alice, password).ok()
	c.cmd(`LIST "" "*"`).has(`* LIST (...) "/" INBOX`).ok()
	c.cmd(`SELECT "INBOX"`).ok()
	c.cmd("UID SEARCH 1:1 NOT DELETED").want("* SEARCH 1", "OK ...")
	c.cmd("UID SEARCH BEFORE 1-Jan-2100 SINCE 1-Oct-2026 NOT DELETED").want("* SEARCH 1", "OK ...")
	c.cmd("UID FETCH 1 (UID FLAGS ENVELOPE RFC822.SIZE INTERNALDATE BODYSTRUCTURE)").has("* 1 FETCH (UID 1 FLAGS (...) ENVELOPE (...) RFC822.SIZE ... INTERNALDATE ... BODYSTRUCTURE (...))").ok()
	c.cmd("UID FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (date subject from content-type to cc message-id)])").
		has("* 1 FETCH (UID 1 BODY[HEADER.FIELDS (date subject from content-type to cc message-id)] {...}...)").ok()
	c.cmd("UID FETCH 1 (UID BODY.PEEK[1.2]<0.51200>)").has("* 1 FETCH (UID 1 BODY[1.2]<0> {14}\r\n<p>Gruesse</p>)").ok()
	c.cmd("UID FETCH 1 BODY.PEEK[3]").has("* 1 FETCH (UID 1 BODY[3] NIL)").ok() // there is no such part
	c.cmd(`UID STORE 1 +FLAGS (\Answered)`).has(`* 1 FETCH (...FLAGS (...\Answered...)...)`).ok()
	c.cmd(`UID COPY 1 "Trash"`).ok()
	c.cmd(`STATUS "Trash" (UIDNEXT MESSAGES)`).ok()
	tag := c.begin("IDLE")
	c.expect("+ idling")
	c.send("DONE\r\n")
	c.finish(tag).ok()
	c.cmd("LOGOUT").ok()
}

// Google's importer takes every mailbox read-only, from the first message to the last, and comes back for what is new. Most use it by POP3, see package pop3.
func TestGmailImporter(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	c := s.dial()
	c.cmd("CAPABILITY").ok()
	c.cmd(`ID ("name" "GImapFetcher" "vendor" "Google, Inc.")`).ok()
	c.cmd(`LOGIN %s "%s"`, alice, password).ok()
	c.cmd(`LIST "" "*"`).ok()
	c.cmd(`EXAMINE "INBOX"`).has("* 1 EXISTS", "* OK [UIDVALIDITY ...] ...").ok("[READ-ONLY] ...")
	c.cmd("UID SEARCH UID 1:*").want("* SEARCH 1", "OK ...")
	c.cmd("UID FETCH 1:* (UID RFC822.SIZE FLAGS INTERNALDATE)").has("* 1 FETCH (UID 1 RFC822.SIZE ... FLAGS (...) INTERNALDATE ...)").ok()
	c.cmd("UID FETCH 1 (RFC822)").has("* 1 FETCH (UID 1 RFC822 {...}...)").hasNot(`...\Seen...`).ok() // EXAMINE: nothing is marked as read
	c.cmd("UID FETCH 2:* (UID)").has("* 1 FETCH (UID 1)").ok()                                        // RFC 9051 section 9, seq-range: * is the last message, which has a lower UID
	c.cmd("NOOP").ok()
	c.cmd("LOGOUT").ok()
}
