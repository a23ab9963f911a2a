package imap

import (
	"fmt"
	"testing"
)

func TestSelectTellsEverything(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1), `\Seen`)
	s.deliver("INBOX", mail(2), "$Forwarded")
	c := s.login()
	c.cmd("SELECT inbox").want(
		"* 2 EXISTS",
		"* 2 RECENT",
		`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Forwarded)`,
		`* OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft $Forwarded \*)] ...`,
		"* OK [UNSEEN 2] ...",
		"* OK [UIDVALIDITY ...] ...",
		"* OK [UIDNEXT 3] ...",
		"* OK [HIGHESTMODSEQ 3] ...", "* OK [MAILBOXID ...", "* OK [URLMECH INTERNAL] ...",
		"OK [READ-WRITE] SELECT completed",
	)
	c.cmd("EXAMINE Trash").want(
		"* OK [CLOSED] ...",
		"* 0 EXISTS", "* 0 RECENT", "* FLAGS (...)", "* OK [PERMANENTFLAGS ()] ...", "* OK [UIDVALIDITY ...] ...", "* OK [UIDNEXT 1] ...", "* OK [HIGHESTMODSEQ 1] ...", "* OK [MAILBOXID ...", "* OK [URLMECH INTERNAL] ...",
		"OK [READ-ONLY] EXAMINE completed",
	)
	c.cmd("SELECT nowhere").want("* OK [CLOSED] ...", "NO [NONEXISTENT] the mailbox does not exist")
	c.cmd("EXPUNGE").bad("select a mailbox first")
	c.cmd("SELECT INBOX (COLOUR)").bad("there is no modifier COLOUR")
}

func TestSelectInRev2(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.login()
	c.cmd("ENABLE IMAP4rev2 CONDSTORE-NOT-YET").want("* ENABLED IMAP4rev2", "OK ENABLE completed")
	c.cmd("SELECT Sent").want(
		"* 0 EXISTS", "* FLAGS (...)", "* OK [PERMANENTFLAGS ...] ...", "* OK [UIDVALIDITY ...] ...", "* OK [UIDNEXT 1] ...", "* OK [HIGHESTMODSEQ ...] ...", "* OK [MAILBOXID ...", "* OK [URLMECH INTERNAL] ...",
		`* LIST (\HasNoChildren \Sent \Subscribed) "/" Sent`,
		"OK [READ-WRITE] SELECT completed",
	)
	c.cmd("SELECT INBOX").hasNot("* ... RECENT").hasNot("* OK [UNSEEN ...")
	c.cmd("ENABLE UTF8=ACCEPT").bad()
}

func TestRecentIsToldOnce(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c1, c2 := s.login(), s.login()
	c1.cmd("STATUS INBOX (RECENT)").has("* STATUS INBOX (RECENT 1)")
	c1.cmd("EXAMINE INBOX").has("* 1 RECENT") // shows it without taking it.
	c1.cmd("SELECT INBOX").has("* 1 RECENT")
	c2.cmd("SELECT INBOX").has("* 0 RECENT")
	c2.cmd("STATUS INBOX (RECENT)").has("* STATUS INBOX (RECENT 0)")
	s.deliver("INBOX", mail(2))
	c2.cmd("NOOP").want("* 2 EXISTS", "* 1 RECENT", "OK NOOP completed")
	c1.cmd("NOOP").want("* 2 EXISTS", "* 1 RECENT", "OK NOOP completed") // its own recent one is the first.
}

func TestMailboxesAreMadeRenamedAndDeleted(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd("CREATE work/projects/").want("OK [MAILBOXID ...] CREATE completed")
	c.cmd("CREATE work/projects").no("[ALREADYEXISTS] ...")
	c.cmd("CREATE inbox").no("[ALREADYEXISTS] ...")
	c.cmd(`CREATE ""`).no("[CANNOT] ...")
	c.cmd("CREATE #news").no("[CANNOT] ...")
	c.cmd(`CREATE "a*b"`).no("[CANNOT] ...")
	c.cmd(`LIST "" work*`).want(
		`* LIST (\NonExistent \Noselect \HasChildren) "/" work`,
		`* LIST (\HasNoChildren) "/" work/projects`,
		"OK LIST completed",
	)
	c.cmd("SELECT work").no("[NONEXISTENT] ...")
	c.cmd("RENAME work play").ok()
	c.cmd(`LIST "" play/%%`).want(`* LIST (\HasNoChildren) "/" play/projects`, "OK ...")
	c.cmd("RENAME play/projects play/projects/below").no("[CANNOT] ...")
	c.cmd("RENAME nowhere else").no("[NONEXISTENT] ...")
	c.cmd("DELETE play/projects").ok()
	c.cmd("DELETE play/projects").no("[NONEXISTENT] ...")
	c.cmd("DELETE Inbox").no("[CANNOT] ...")
	c.cmd("CREATE Entw&APw-rfe").ok()
	c.cmd(`LIST "" Ent*`).want(`* LIST (\HasNoChildren) "/" Entw&APw-rfe`, "OK ...")
	c.cmd("CREATE &bad").bad()

	u := s.login()
	u.cmd("ENABLE UTF8=ACCEPT").ok()
	u.cmd(`LIST "" "Entwürfe"`).want(`* LIST (\HasNoChildren) "/" "Entwürfe"`, "OK ...")
}

func TestRenameOfInboxMovesItsMessages(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", mail(2))
	c := s.selected("INBOX")
	c.cmd("RENAME INBOX old").want("* 2 EXPUNGE", "* 1 EXPUNGE", "OK RENAME completed")
	c.cmd("STATUS old (MESSAGES)").has("* STATUS old (MESSAGES 2)")
	c.cmd("STATUS INBOX (MESSAGES)").has("* STATUS INBOX (MESSAGES 0)")
}

func TestCreateWithSpecialUse(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd(`CREATE Vital (USE (\Important))`).ok()
	c.cmd(`LIST (SPECIAL-USE) "" *`).has(`* LIST (\HasNoChildren \Important) "/" Vital`, `* LIST (\HasNoChildren \Sent) "/" Sent`).hasNot("* LIST ... INBOX")
	c.cmd(`CREATE Other (USE (\Sent))`).no("[USEATTR] ...")
	c.cmd(`CREATE Other (USE (\Flying))`).no("[USEATTR] ...")
	c.cmd(`CREATE Sent (USE (\Sent))`).no("[ALREADYEXISTS] ...")
	c.cmd(`CREATE Other (USE (\Junk \Trash))`).no("[USEATTR] ...")
	c.cmd(`CREATE Other (COLOUR (red))`).bad()
}

func TestStatus(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1), `\Seen`)
	s.deliver("INBOX", mail(2), `\Deleted`)
	c := s.login()
	c.cmd("STATUS Inbox (MESSAGES UIDNEXT UNSEEN DELETED SIZE)").want(
		fmt.Sprintf("* STATUS Inbox (MESSAGES 2 UIDNEXT 3 UNSEEN 1 DELETED 1 SIZE %d)", len(mail(1))+len(mail(2))), "OK STATUS completed")
	c.cmd("STATUS nowhere (MESSAGES)").no("[NONEXISTENT] ...")
	c.cmd("STATUS INBOX ()").bad()
	c.cmd("STATUS INBOX (APPENDLIMIT)").want("* STATUS INBOX (APPENDLIMIT 104857600)", "OK ...") // RFC 7889.
	c.cmd("STATUS INBOX (COLOUR)").bad()
}

func TestListForms(t *testing.T) {
	s := start(t)
	c := s.login()
	for _, name := range []string{"foo", "foo/bar", "foo/bar/deep", "other/one"} {
		c.cmd("CREATE %s", name).ok()
	}
	for _, name := range []string{"Archive", "Drafts", "Junk", "Sent", "Trash"} {
		c.cmd("DELETE %s", name).ok()
		c.cmd("UNSUBSCRIBE %s", name).ok()
	}
	c.cmd("SUBSCRIBE foo/bar/deep").ok()
	c.cmd("SUBSCRIBE gone/away").ok()
	c.cmd(`LIST "" ""`).want(`* LIST (\Noselect) "/" ""`, "OK ...")
	c.cmd(`LIST "" *`).want(
		`* LIST (\HasNoChildren) "/" INBOX`,
		`* LIST (\HasChildren) "/" foo`,
		`* LIST (\HasChildren) "/" foo/bar`,
		`* LIST (\HasNoChildren) "/" foo/bar/deep`,
		`* LIST (\NonExistent \Noselect \HasChildren) "/" other`,
		`* LIST (\HasNoChildren) "/" other/one`,
		"OK ...")
	c.cmd(`LIST "" %%`).want(
		`* LIST (\HasNoChildren) "/" INBOX`,
		`* LIST (\HasChildren) "/" foo`,
		`* LIST (\NonExistent \Noselect \HasChildren) "/" other`,
		"OK ...")
	c.cmd(`LIST foo/ %%`).want(`* LIST (\HasChildren) "/" foo/bar`, "OK ...")
	c.cmd(`LIST "" inBOX`).want(`* LIST (\HasNoChildren) "/" INBOX`, "OK ...")
	c.cmd(`LIST "" (INBOX foo/bar/*)`).want(`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren) "/" foo/bar/deep`, "OK ...")
	c.cmd(`LIST (SUBSCRIBED) "" *`).want(
		`* LIST (\HasNoChildren \Subscribed) "/" INBOX`,
		`* LIST (\HasNoChildren \Subscribed) "/" foo/bar/deep`,
		`* LIST (\NonExistent \Noselect \HasNoChildren \Subscribed) "/" gone/away`,
		"OK ...")
	c.cmd(`LIST (SUBSCRIBED RECURSIVEMATCH) "" %%`).want(
		`* LIST (\HasNoChildren \Subscribed) "/" INBOX`,
		`* LIST (\HasChildren) "/" foo ("CHILDINFO" ("SUBSCRIBED"))`,
		`* LIST (\NonExistent \Noselect \HasNoChildren) "/" gone ("CHILDINFO" ("SUBSCRIBED"))`,
		"OK ...")
	c.cmd(`LIST "" foo/* RETURN (SUBSCRIBED STATUS (MESSAGES))`).want(
		`* LIST (\HasChildren) "/" foo/bar`,
		`* STATUS foo/bar (MESSAGES 0)`,
		`* LIST (\HasNoChildren \Subscribed) "/" foo/bar/deep`,
		`* STATUS foo/bar/deep (MESSAGES 0)`,
		"OK ...")
	c.cmd(`LIST "" other RETURN (STATUS (MESSAGES))`).want(`* LIST (\NonExistent \Noselect \HasChildren) "/" other`, "OK ...")
	c.cmd(`LIST (RECURSIVEMATCH) "" *`).bad()
	c.cmd(`LIST (NONSENSE) "" *`).bad()
	c.cmd(`LSUB "" *`).want(`* LSUB () "/" INBOX`, `* LSUB () "/" foo/bar/deep`, `* LSUB () "/" gone/away`, "OK ...")
	c.cmd(`LSUB "" %%`).want(`* LSUB () "/" INBOX`, `* LSUB (\Noselect) "/" foo`, `* LSUB (\Noselect) "/" gone`, "OK ...")
	c.cmd("NAMESPACE").want(`* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))`, "OK ...")
}

func TestPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		match         bool
	}{
		{"*", "a/b/c", true}, {"%", "a", true}, {"%", "a/b", false}, {"%/%", "a/b", true}, {"%/%", "a/b/c", false},
		{"a*", "a", true}, {"a*c", "abc", true}, {"a*c", "ab/c", true}, {"a%c", "ab/c", false}, {"*%", "a/b", true},
		{"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false}, {"", "a", false}, {"a", "a", true}, {"a", "ab", false},
		{"%a%b", "xa/b", false}, {"%b/%", "ab/c", true}, {"*/c", "a/b/c", true}, {"%*", "a/b", true}, {"%%%%", "abc", true},
	} {
		if got := matchPattern(x.pattern, x.name); got != x.match {
			t.Errorf("matchPattern(%q, %q) = %v", x.pattern, x.name, got)
		}
	}
}
