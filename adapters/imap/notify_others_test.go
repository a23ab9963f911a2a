package imap

import (
	"fmt"
	"testing"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

// levelOf is what a client is told of the name above somebody's mailboxes, when one of them comes or goes (RFC 5465 section 5.4).
func levelOf(who string) string {
	return `* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users/` + who + `@example.org"`
}

// TestNotifyOfOthers: of mailboxes of others that it names, or subscribes to, a client hears as of its own, as long as it may read them (RFC 5465 section 6).
func TestNotifyOfOthers(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "work"})
	s.do(alice, account.CreateMailbox{Name: "secret"})
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(alice, "work", bob, "lrsi")
	s.grant(carol, "INBOX", bob, "lr")
	b := s.as(bob)
	const work, carols = `"Other Users/alice@example.org/work"`, `"Other Users/carol@example.org/INBOX"`
	b.cmd("SUBSCRIBE %s", carols).ok()
	b.cmd(`NOTIFY SET STATUS (subtree "Other Users/alice@example.org" (MessageNew MessageExpunge FlagChange MailboxName)) (subscribed (MessageNew MessageExpunge))`).has(
		"* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1 UNSEEN 0 HIGHESTMODSEQ ...)", "* STATUS "+work+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1 UNSEEN 0 HIGHESTMODSEQ ...)",
		"* STATUS "+carols+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)").hasNot("...secret...").ok()
	// Time passes, and no command runs.
	doortest.Deliver(t, s.Accounts, s.ids[alice], "secret", mail(1))
	doortest.Deliver(t, s.Accounts, s.ids[alice], "work", mail(2))
	b.expect("* STATUS " + work + " (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
	doortest.Deliver(t, s.Accounts, s.ids[carol], "INBOX", mail(3))
	b.expect("* STATUS " + carols + " (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
	a := s.login()
	a.cmd("SELECT work").ok()
	a.cmd(`STORE 1 +FLAGS (\Seen)`).ok()
	b.expect("* STATUS " + work + " (UIDVALIDITY ... UNSEEN 0)")
	s.do(alice, account.RenameMailbox{From: "work", To: "done"})
	b.expect(`* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/done" ("OLDNAME" (` + work + "))")
	s.grant(alice, "secret", bob, "lr")
	b.expect(levelOf("alice"), `* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/secret"`, `* STATUS "Other Users/alice@example.org/secret" (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2 UNSEEN 1)`)
	s.grant(alice, "secret", bob, "l")
	b.expect(`* LIST (\HasNoChildren \NoAccess) "/" "Other Users/alice@example.org/secret"`)
	doortest.Deliver(t, s.Accounts, s.ids[alice], "secret", mail(4))
	// The selected one tells by itself.
	b.cmd("SELECT %s", alicesInbox).ok()
	doortest.Deliver(t, s.Accounts, s.ids[alice], "INBOX", mail(5))
	b.cmd("NOOP").want("OK NOOP completed")
	b.cmd("UNSELECT").want("* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)", "OK UNSELECT completed")
	doortest.Deliver(t, s.Accounts, s.ids[alice], "done", mail(6))
	b.expect(`* STATUS "Other Users/alice@example.org/done" (UIDVALIDITY ... MESSAGES 2 UIDNEXT 3)`)
	b.cmd("NOTIFY NONE").want("OK NOTIFY completed")
	doortest.Deliver(t, s.Accounts, s.ids[alice], "done", mail(7))
	b.cmd("NOOP").want("OK NOOP completed")
	// Its own mailboxes are no others'.
	b.cmd("NOTIFY SET STATUS (personal (MessageNew MessageExpunge))").hasNot("...alice...").ok()
}

// TestNotifyOfThoseWhoBeginToShare: a client hears of mailboxes that it has named although nobody shared them yet, and of those to which it subscribes later.
func TestNotifyOfThoseWhoBeginToShare(t *testing.T) {
	s := share(t)
	b := s.as(bob)
	b.cmd(`NOTIFY SET (subtree "Other Users" (MailboxName MessageNew MessageExpunge))`).want("OK ...")
	s.grant(alice, "INBOX", bob, "lr")
	b.expect(levelOf("alice"), `* LIST (\HasNoChildren) "/" `+alicesInbox, "* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)")
	doortest.Deliver(t, s.Accounts, s.ids[alice], "INBOX", mail(1))
	b.expect("* STATUS " + alicesInbox + " (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
	s.do(carol, account.SetRights{Mailbox: "INBOX", Identifier: account.Anyone, Rights: account.MaySee | account.MayRead | account.MayLookup})
	const carols = `"Other Users/carol@example.org/INBOX"`
	b.expect(levelOf("carol"), `* LIST (\HasNoChildren) "/" `+carols, "* STATUS "+carols+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)")

	b.cmd("NOTIFY SET (subscribed (MessageNew MessageExpunge))").want("OK ...")
	doortest.Deliver(t, s.Accounts, s.ids[carol], "INBOX", mail(2))
	b.cmd("NOOP").want("OK ...")
	b.cmd("SUBSCRIBE %s", carols).ok()
	b.cmd("NOOP").ok()
	doortest.Deliver(t, s.Accounts, s.ids[carol], "INBOX", mail(3))
	b.expect("* STATUS " + carols + " (UIDVALIDITY ... MESSAGES 2 UIDNEXT 3)")
	b.cmd("NOTIFY NONE").ok()
}

// TestNotifyOfAnnotationsOfOthers: who may read shared annotations hears of their changes, and of no private ones (RFC 5465 section 5.6, RFC 5464 section 3.3).
func TestNotifyOfAnnotationsOfOthers(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "work"})
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(alice, "work", bob, "lr")
	a, b := s.login(), s.as(bob)
	b.cmd(`NOTIFY SET (subtree "Other Users" (MailboxMetadataChange))`).want("OK ...")
	a.cmd(`SETMETADATA INBOX (/private/comment "mine")`).ok()
	a.cmd(`SETMETADATA work (/private/comment "mine" /shared/comment "ours")`).ok()
	b.expect(`* METADATA "Other Users/alice@example.org/work" /shared/comment`)
	a.cmd(`SETMETADATA work (/shared/comment NIL)`).ok()
	b.expect(`* METADATA "Other Users/alice@example.org/work" /shared/comment`)
}

// TestNotifyNeedsLookup: of a mailbox that LIST hides nothing is told, and no more is when that begins (RFC 5465 sections 3.1 and 5.9).
func TestNotifyNeedsLookup(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "secret"})
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(alice, "secret", bob, "r")
	a, b := s.login(), s.as(bob)
	b.cmd(`NOTIFY SET STATUS (subtree "Other Users" (MailboxName MailboxMetadataChange MessageNew MessageExpunge))`).hasNot("...secret...").ok()
	doortest.Deliver(t, s.Accounts, s.ids[alice], "secret", mail(1))
	a.cmd(`SETMETADATA secret (/shared/comment "ours")`).ok()
	s.do(alice, account.RenameMailbox{From: "secret", To: "hidden"})
	b.cmd("NOOP").want("OK NOOP completed")
	s.grant(alice, "INBOX", bob, "r")
	b.cmd("NOOP").has(`* LIST (\NonExistent...) "/" ` + alicesInbox).hasNot("...STATUS...").ok()
	doortest.Deliver(t, s.Accounts, s.ids[alice], "INBOX", mail(2))
	b.cmd("NOOP").want("OK NOOP completed")
}

// TestNotifyOfANameThatLeaves: a rename is told to whoever asks for the old name or the new one (RFC 5465 section 5.4).
func TestNotifyOfANameThatLeaves(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "work/now"})
	s.grant(alice, "work/now", bob, "lr")
	b := s.as(bob)
	b.cmd(`NOTIFY SET (subtree "Other Users/alice@example.org/work" (MailboxName))`).want("OK ...")
	s.do(alice, account.RenameMailbox{From: "work/now", To: "done"})
	b.expect(`* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/done" ("OLDNAME" ("Other Users/alice@example.org/work/now"))`)
	s.do(alice, account.RenameMailbox{From: "done", To: "gone"})
	b.cmd("NOOP").want("OK NOOP completed")
	s.do(alice, account.RenameMailbox{From: "gone", To: "work/again"})
	b.expect(`* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/work/again" ("OLDNAME" ("Other Users/alice@example.org/gone"))`)
}

// TestNotifyWithoutAccess: the name of a mailbox that may be seen and not read is told with \NoAccess, and nothing of what is in it (RFC 5465 sections 3.1, 5.4 and 5.9).
func TestNotifyWithoutAccess(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "work"})
	s.do(alice, account.CreateMailbox{Name: "other"})
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(alice, "work", bob, "l")
	s.grant(alice, "other", bob, "l")
	b := s.as(bob)
	const work, other = `"Other Users/alice@example.org/work"`, `"Other Users/alice@example.org/other"`
	b.cmd(`NOTIFY SET (mailboxes %s (MessageNew MessageExpunge))`, work).want(`* LIST (\HasNoChildren \NoAccess) "/" `+work, "OK NOTIFY completed")
	b.cmd(`NOTIFY SET STATUS (subtree "Other Users" (MailboxName MessageNew MessageExpunge)) (mailboxes %s (MessageNew MessageExpunge))`, work).want(
		"* STATUS "+alicesInbox+" ...", `* LIST (\HasNoChildren \NoAccess) "/" `+work, "OK NOTIFY completed")
	doortest.Deliver(t, s.Accounts, s.ids[alice], "work", mail(1))
	b.cmd("NOOP").want("OK NOOP completed")
	s.grant(alice, "work", bob, "lr")
	b.expect(`* LIST (\HasNoChildren) "/" `+work, "* STATUS "+work+" (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
	s.grant(alice, "work", bob, "l")
	b.expect(`* LIST (\HasNoChildren \NoAccess) "/" ` + work)
	s.do(alice, account.RenameMailbox{From: "other", To: "third"})
	b.expect(`* LIST (\HasNoChildren \NoAccess) "/" "Other Users/alice@example.org/third" ("OLDNAME" (` + other + "))")
	s.grant(alice, "work", bob, "r")
	b.expect(levelOf("alice"), `* LIST (\NonExistent \Noselect \HasNoChildren \NoAccess) "/" `+work)
	doortest.Deliver(t, s.Accounts, s.ids[alice], "work", mail(2))
	b.cmd("NOOP").want("OK NOOP completed")
}

// TestNotifyOfSubscriptionsToOthers: a subscription to somebody else's mailbox is told with what LIST says of it (RFC 5465 section 5.5).
func TestNotifyOfSubscriptionsToOthers(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "work"})
	s.do(alice, account.CreateMailbox{Name: "hidden"})
	s.grant(alice, "INBOX", bob, "lr")
	s.grant(alice, "work", bob, "l")
	b, other := s.as(bob), s.as(bob)
	b.cmd("NOTIFY SET (subscribed (SubscriptionChange))").want("OK ...")
	const prefix = "Other Users/alice@example.org/"
	for _, test := range []struct{ name, attributes string }{
		{"INBOX", `\HasNoChildren \Subscribed`}, {"work", `\HasNoChildren \Subscribed \NoAccess`}, {"hidden", `\NonExistent \Noselect \HasNoChildren \Subscribed`},
		{"nothing", `\NonExistent \Noselect \HasNoChildren \Subscribed`},
	} {
		s.do(bob, account.Subscribe{Name: prefix + test.name, On: true})
		b.expect(`* LIST (` + test.attributes + `) "/" "` + prefix + test.name + `"`)
	}
	other.cmd("UNSUBSCRIBE %s", alicesInbox).ok()
	b.expect(`* LIST (\HasNoChildren) "/" ` + alicesInbox)
}

// TestNotifyOfNamesOfOthers: what is told of names of others is what is told of one's own, as far as they are seen (RFC 5465 sections 5.4 and 5.5).
func TestNotifyOfNamesOfOthers(t *testing.T) {
	s := share(t)
	const prefix = "Other Users/alice@example.org/"
	for _, name := range []string{"work", "work/now", "hidden/a", "hidden/a/b"} {
		s.do(alice, account.CreateMailbox{Name: name})
		s.grant(alice, name, bob, "lr")
	}
	s.do(alice, account.CreateMailbox{Name: "hidden"})
	b, narrow := s.as(bob), s.as(bob)
	b.cmd(`NOTIFY SET (subtree "Other Users" (MailboxName))`).want("OK ...")
	narrow.cmd(`NOTIFY SET (mailboxes "%swork/now" (MailboxName))`, prefix).want("OK ...")
	s.do(alice, account.RenameMailbox{From: "work", To: "done"})
	b.expect(`* LIST (\HasChildren) "/" "` + prefix + `done" ("OLDNAME" ("` + prefix + `work"))`) // and nothing of those below it,
	narrow.expect(`* LIST (\HasNoChildren) "/" "` + prefix + `done/now" ("OLDNAME" ("` + prefix + `work/now"))`)
	s.do(alice, account.RenameMailbox{From: "hidden", To: "other"}) // unless that is not seen.
	b.expect(`* LIST (\HasChildren) "/" "` + prefix + `other/a" ("OLDNAME" ("` + prefix + `hidden/a"))`)
	s.do(alice, account.DeleteMailbox{Name: "done/now"})
	b.expect(`* LIST (\HasNoChildren) "/" "`+prefix+`done"`, `* LIST (\NonExistent \Noselect \HasNoChildren \NoAccess) "/" "`+prefix+`done/now"`)
	s.do(alice, account.CreateMailbox{Name: "done/again"}) // which gets the rights of the one above.
	b.expect(`* LIST (\HasChildren) "/" "`+prefix+`done"`, `* LIST (\HasNoChildren) "/" "`+prefix+`done/again"`)
	s.grant(alice, "other/a/b", bob, "")
	b.expect(`* LIST (\HasNoChildren) "/" "`+prefix+`other/a"`, `* LIST (\NonExistent \Noselect \HasNoChildren \NoAccess) "/" "`+prefix+`other/a/b"`)
	s.do(alice, account.DeleteMailbox{Name: "other/a/b"})
	b.cmd("NOOP").want("OK NOOP completed")
	s.grant(alice, "other/a", bob, "")
	s.grant(alice, "done", bob, "")
	b.cmd("NOOP").ok()
	// With an account, its mailboxes are gone.
	if err := s.Directory.Erase(t.Context(), "test", s.ids[alice]); err != nil {
		t.Fatal(err)
	}
	b.cmd("NOOP").has(`* LIST (\NonExistent \Noselect \HasNoChildren \NoAccess) "/" "` + prefix + `done/again"`).ok()
	b.cmd("NOOP").want("OK NOOP completed")
}

// TestNotifyIsSilentOfOwnChangesInOthers: what the session does itself in mailboxes of others it is not told (RFC 5465 section 5).
func TestNotifyIsSilentOfOwnChangesInOthers(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "work"})
	s.grant(alice, "INBOX", bob, "lrswite")
	s.grant(alice, "work", bob, "lrswipkxte")
	b := s.as(bob)
	b.append("INBOX", mail(0)).ok()
	const work = `"Other Users/alice@example.org/work"`
	b.cmd(`NOTIFY SET (selected (MessageNew (UID) MessageExpunge FlagChange)) (subtree "Other Users" (MessageNew MessageExpunge FlagChange MailboxName MailboxMetadataChange))`).want("OK ...")
	const made = `"Other Users/alice@example.org/work/made"`
	b.append("INBOX", mail(1)).ok()
	b.append(alicesInbox, mail(1)).want("OK [APPENDUID ...] ...")
	b.cmd("CREATE %s", made).want("OK ...")
	b.cmd(`SETMETADATA %s (/shared/comment "mine")`, work).want("OK ...")
	b.append(work, mail(2)).want("OK [APPENDUID ...] ...")
	b.cmd("RENAME %s %s", made, `"Other Users/alice@example.org/work/other"`).want("OK ...")
	b.cmd("DELETE %s", `"Other Users/alice@example.org/work/other"`).want("OK ...")
	b.cmd("SELECT INBOX").ok()
	b.cmd("COPY 1 %s", work).want("OK [COPYUID ...] ...")
	b.cmd("SELECT %s", work).ok()
	b.append(work, mail(3)).want("* 3 EXISTS", "* 3 RECENT", "OK [APPENDUID ...] ...") // and no FETCH (section 5.2)
	b.cmd("MOVE 1 %s", alicesInbox).want("* OK [COPYUID ...] moved", "* 1 EXPUNGE", "OK ...")
	b.cmd(`STORE 1:* FLAGS.SILENT (\Deleted)`).want("OK ...")
	b.cmd("CLOSE").want("OK ...")
	b.cmd("NOOP").want("OK NOOP completed")
	// What somebody else does in the same moment is told.
	doortest.Deliver(t, s.Accounts, s.ids[alice], "work", mail(4))
	b.expect("* STATUS " + work + " (UIDVALIDITY ... MESSAGES 1 UIDNEXT 5)")
	b.cmd("NOTIFY NONE").ok()
}

// TestNotifyOfInboxAndRoot: a filter names another's INBOX in any case, and the subtree of the root is everything (RFC 9051 section 5.1, RFC 5465 section 6.6).
func TestNotifyOfInboxAndRoot(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lr")
	for i, filter := range []string{`mailboxes "Other Users/alice@example.org/inbox"`, `subtree ""`, `subtree "Other Users/alice@example.org/InBox"`} {
		b := s.as(bob)
		b.cmd(`NOTIFY SET (%s (MessageNew MessageExpunge))`, filter).want("OK ...")
		doortest.Deliver(t, s.Accounts, s.ids[alice], "INBOX", mail(1))
		b.expect(fmt.Sprintf("* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES %d UIDNEXT %d)", i+1, i+2))
		b.cmd(`ESEARCH IN (%s) RETURN (COUNT) ALL`, filter).want(fmt.Sprintf("* ESEARCH (TAG ... MAILBOX "+alicesInbox+" ...) UID COUNT %d", i+1), "OK ...")
		b.cmd("NOTIFY NONE").ok()
	}
}
