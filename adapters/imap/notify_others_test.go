package imap

import (
	"testing"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

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
		"* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1 UNSEEN 0)", "* STATUS "+work+" (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1 UNSEEN 0)",
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
	b.expect(`* LIST (\HasNoChildren) "/" "Other Users/alice@example.org/secret"`, `* STATUS "Other Users/alice@example.org/secret" (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2 UNSEEN 1)`)
	s.grant(alice, "secret", bob, "l")
	b.expect(`* LIST (\NonExistent \Noselect \HasNoChildren) "/" "Other Users/alice@example.org/secret"`)
	doortest.Deliver(t, s.Accounts, s.ids[alice], "secret", mail(4))
	// The selected one tells by itself.
	b.cmd("SELECT %s", alicesInbox).ok()
	doortest.Deliver(t, s.Accounts, s.ids[alice], "INBOX", mail(5))
	b.cmd("NOOP").want("OK NOOP completed")
	b.cmd("UNSELECT").ok()
	doortest.Deliver(t, s.Accounts, s.ids[alice], "done", mail(6))
	b.expect(`* STATUS "Other Users/alice@example.org/done" (UIDVALIDITY ... MESSAGES 2 UIDNEXT 3)`)
	b.cmd("NOTIFY NONE").want("OK NOTIFY completed")
	doortest.Deliver(t, s.Accounts, s.ids[alice], "done", mail(7))
	b.cmd("NOOP").want("OK NOOP completed")
	// Its own mailboxes are no others'.
	b.cmd("NOTIFY SET STATUS (personal (MessageNew MessageExpunge))").hasNot("...alice...").ok()
}
