package imap

import "testing"

// Outlook for Windows: it downloads messages whole, marks and expunges, knows neither MOVE nor a quiet STORE, and looks at other mailboxes by STATUS.
func TestOutlook(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", letter)
	s.deliver("INBOX", mail(2))
	c := s.dial()
	c.cmd("CAPABILITY").ok()
	c.cmd(`LOGIN "%s" "%s"`, alice, password).ok()
	c.cmd("CAPABILITY").ok()
	c.cmd(`ID ("name" "Microsoft.Outlook" "version" "16.0" "os" "Windows")`).ok()
	c.cmd("NAMESPACE").ok()
	c.cmd(`XLIST "" "*"`).bad() // is not offered, and asked for all the same by some.
	c.cmd(`LIST "" ""`).has(`* LIST (\Noselect) "/" ""`).ok()
	c.cmd(`LIST "" "*"`).has(`* LIST (...\Trash...) "/" Trash`).ok()
	c.cmd(`LSUB "" "*"`).has(`* LSUB (...) "/" INBOX`).ok()
	c.cmd(`LIST (SPECIAL-USE) "" "*"`).has(`* LIST (...\Drafts...) "/" Drafts`).ok()
	c.cmd(`SELECT "INBOX"`).has("* 2 EXISTS").ok()
	c.cmd(`UID FETCH 1:* (UID FLAGS)`).has(`* 2 FETCH (UID 2 FLAGS (...))`).ok()
	c.cmd(`UID FETCH 1:2 (UID FLAGS RFC822.SIZE RFC822.HEADER INTERNALDATE)`).has("* 1 FETCH (UID 1 FLAGS (...) RFC822.SIZE ... RFC822.HEADER {...}... INTERNALDATE ...)").ok()
	c.cmd(`UID FETCH 1 (UID FLAGS RFC822.SIZE BODY.PEEK[] INTERNALDATE)`).has("* 1 FETCH (UID 1 FLAGS (...) RFC822.SIZE ... BODY[] {...}...)").ok()
	c.cmd(`UID FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (References X-Ref X-Priority X-MSMail-Priority X-MSOESRec Newsgroups)] ENVELOPE RFC822.SIZE FLAGS INTERNALDATE)`).
		has("* 1 FETCH (UID 1 BODY[HEADER.FIELDS (References X-Ref X-Priority X-MSMail-Priority X-MSOESRec Newsgroups)] {2}\r\n\r\n ENVELOPE (...) ...)").ok() // the empty line is there (Dovecot: outlook-no-eoh).
	c.cmd(`UID STORE 1 +FLAGS.SILENT (\Seen \Deleted)`).ok()
	c.cmd(`UID COPY 1 "Trash"`).ok()
	c.cmd("EXPUNGE").has("* 1 EXPUNGE").ok()
	c.cmd(`FETCH * (UID)`).want("* 1 FETCH (UID 2)", "OK ...")
	c.cmd(`STATUS "Trash" (UNSEEN MESSAGES RECENT)`).has("* STATUS Trash (UNSEEN 0 MESSAGES 1 RECENT ...)").ok()
	c.cmd(`STATUS "INBOX" (UNSEEN)`).has("* STATUS INBOX (UNSEEN 1)").ok() // of the selected one too, which RFC 9051 section 6.3.11 lets clients do
	c.cmd("UID SEARCH UNDELETED").want("* SEARCH 2", "OK ...")
	c.cmd("CHECK").ok()
	c.cmd("LOGOUT").ok()
}

// The service behind Outlook's apps enables UIDONLY and then speaks of message numbers (https://github.com/modern-email/defects/issues/49). The
// configuration that the server begins with takes UIDONLY away from it.
func TestOutlookThroughMicrosoft365(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Clients = []ClientRule{{Fields: map[string]string{"name": "Microsoft Office 365"}, Without: []string{"UIDONLY"}}}
	})
	s.deliver("INBOX", mail(1))
	c := s.dial()
	c.cmd(`ID ("name" "Microsoft Office 365" "version" "15.20.9160.4" "vendor" "Microsoft Corporation" "support-url" "https://support.microsoft.com/")`).ok()
	c.cmd("AUTHENTICATE PLAIN %s", b64("\x00"+alice+"\x00"+password)).ok()
	c.cmd("CAPABILITY").hasNot("* CAPABILITY ... UIDONLY ...").ok()
	c.cmd("ENABLE UIDONLY").want("* ENABLED", "OK ...")
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 1 (UID FLAGS)").has("* 1 FETCH (UID 1 FLAGS (...))").ok()
}
