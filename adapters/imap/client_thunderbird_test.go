package imap

import "testing"

// letter is a message as people send them: two forms of a text and an attachment.
const letter = "Return-Path: <bob@example.org>\r\nFrom: Bob <bob@example.org>\r\nTo: alice@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"Date: Mon, 2 Nov 2026 10:00:00 +0100\r\nMessage-ID: <letter@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n" +
	"--outer\r\nContent-Type: multipart/alternative; boundary=\"inner\"\r\n\r\n" +
	"--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n" +
	"--inner\r\nContent-Type: text/html\r\n\r\n<p>Gruesse</p>\r\n--inner--\r\n" +
	"--outer\r\nContent-Type: application/pdf; name=\"a b.pdf\"\r\nContent-Disposition: attachment; filename=\"a b.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--outer--\r\n"

// Thunderbird 115 and newer, as transcripts in https://github.com/mjl-/mox/issues/66 show its beginning, and its source the rest.
func TestThunderbird(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	c := s.dial()
	c.cmd("capability").ok()
	c.cmd("authenticate PLAIN %s", b64("\x00"+alice+"\x00"+password)).ok()
	c.cmd(`ID ("name" "Thunderbird" "version" "115.2.2")`).has("* ID ...").ok()
	c.cmd("ENABLE UTF8=ACCEPT").want("* ENABLED UTF8=ACCEPT", "OK ...")
	c.cmd("namespace").want(`* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))`, "OK ...")
	c.cmd(`list (subscribed) "" "*" return (special-use)`).has(`* LIST (...\Subscribed...) "/" INBOX`, `* LIST (...\Sent...) "/" Sent`).ok()
	c.cmd(`list "" "INBOX"`).want(`* LIST (...) "/" INBOX`, "OK ...")
	c.cmd(`lsub "" "*"`).has(`* LSUB (...) "/" INBOX`).ok()
	c.cmd(`select "INBOX" (CONDSTORE)`).has("* 1 EXISTS", "* OK [HIGHESTMODSEQ ...] ...").ok("[READ-WRITE] ...")
	c.cmd(`getquotaroot "INBOX"`).has(`* QUOTAROOT INBOX ""`).ok()
	c.cmd("UID fetch 1:* (FLAGS)").has(`* 1 FETCH (UID 1 FLAGS (...))`).ok()
	c.cmd("UID fetch 1 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])").
		has("* 1 FETCH (UID 1 RFC822.SIZE ... FLAGS (...) BODY[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)] {...}...)").ok()
	c.cmd("UID fetch 1 (UID RFC822.SIZE BODY[])").has("* 1 FETCH (UID 1 RFC822.SIZE ... BODY[] {...}...)").ok()

	// It marks as junk, files and deletes.
	c.cmd(`uid store 1 +FLAGS (NonJunk $label1)`).has(`* 1 FETCH (...FLAGS (...NonJunk $label1...)...)`).ok()
	c.cmd(`uid store 1 -FLAGS (Junk)`).ok()
	c.cmd(`uid store 1 +Flags (\Seen)`).ok()
	c.cmd(`create "Projects/"`).ok()
	c.cmd(`subscribe "Projects/"`).ok()
	c.cmd(`list "" "Projects/%%"`).want("OK ...")
	c.cmd(`create "Projects/Größe"`).ok()
	c.cmd(`lsub "" "*"`).has(`* LSUB (...) "/" Projects`).ok()
	c.cmd(`uid move 1 "Projects/Größe"`).ok()
	c.cmd(`select "Projects/Größe"`).has("* 1 EXISTS").ok()
	c.cmd(`rename "Projects/Größe" "Projects/Umfang"`).ok()
	c.cmd(`select "Projects/Umfang/"`).has("* 1 EXISTS").ok() // Dovecot calls this workaround tb-extra-mailbox-sep.
	c.cmd(`uid store 1 +Flags (\Deleted)`).ok()
	c.cmd("expunge").has("* 1 EXPUNGE").ok()
	c.cmd("close").ok()
	c.cmd(`status "INBOX" (UIDNEXT MESSAGES UNSEEN RECENT)`).has("* STATUS INBOX (UIDNEXT 2 MESSAGES 0 UNSEEN 0 RECENT ...)").ok()
	c.cmd("logout").ok()
}
