package imap

import (
	"fmt"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

// The dialogue of RFC 5465 section 3.1.
func TestNotify(t *testing.T) {
	s := start(t)
	other := s.login()
	for _, name := range []string{"Lists", "Lists/Lemonade", "Lists/Im2000", "misc"} {
		other.cmd("CREATE %s", name).ok()
	}
	other.append("Lists/Lemonade", mail(1)).ok()
	c := s.login()
	c.cmd("NOTIFY set status (selected MessageNew (uid body.peek[header.fields (from subject)]) MessageExpunge) (subtree Lists MessageNew)").bad() // events stand in parentheses
	c.cmd("NOTIFY set status (selected (MessageNew (uid body.peek[header.fields (from subject)]) MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))").want(
		"* STATUS Lists (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)", "* STATUS Lists/Im2000 (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)", "* STATUS Lists/Lemonade (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)", "OK NOTIFY completed")
	c.cmd("SELECT INBOX").ok()
	// Time passes, and no command runs.
	other.append("Lists/Lemonade", mail(2)).ok()
	c.expect("* STATUS Lists/Lemonade (UIDVALIDITY ... MESSAGES 2 UIDNEXT 3)")
	other.append("misc", mail(3)).ok() // of which nobody wants to hear
	s.deliver("INBOX", mail(4))
	c.expect("* 1 EXISTS", "* 1 RECENT", "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (from subject)] {44}\r\nFrom: bob@example.org\r\nSubject: number 4\r\n\r\n)")
	s.expunge("1")
	c.expect("* 1 EXPUNGE")
	other.cmd("SELECT Lists/Lemonade").ok()
	other.cmd(`STORE 1 +FLAGS (\Deleted)`).ok() // flags were not asked for
	other.cmd("EXPUNGE").ok()
	c.expect("* STATUS Lists/Lemonade (UIDVALIDITY ... MESSAGES 1 UIDNEXT 3)")
	// What it does itself it is not told (sections 5 and 5.2).
	c.append("INBOX", mail(5)).want("* 1 EXISTS", "* 1 RECENT", "OK [APPENDUID ...] ...")
	c.append("Lists", mail(6)).want("OK [APPENDUID ...] ...")
	c.cmd("COPY 1 INBOX").want("* 2 EXISTS", "* 2 RECENT", "OK [COPYUID ...] ...")
	// NONE ends it all.
	c.cmd("NOTIFY NONE").want("OK NOTIFY completed")
	s.deliver("INBOX", mail(7))
	other.append("Lists/Lemonade", mail(8)).ok()
	c.cmd("NOOP").want("OK NOOP completed")
	c.cmd("NOTIFY SET (selected (MessageNew MessageExpunge))").want("* 3 EXISTS", "* 3 RECENT", "OK NOTIFY completed") // as NOOP did (section 3.1)
}

func TestNotifyGrammar(t *testing.T) { // RFC 5465 sections 5, 6 and 8.
	s := start(t)
	c := s.login()
	for _, wrong := range []string{
		"", "SOME", "SET", "SET STATUS", "SET ()", "SET (selected)", "SET (selected ())", "SET (selected NEVER)", "SET (selected (MessageNew))", "SET (personal (MessageExpunge))", "SET (personal (FlagChange))",
		"SET (selected (MessageNew MessageExpunge)) (selected-delayed (MessageNew MessageExpunge))", "SET (selected (MailboxName))", "SET (personal (MessageNew (UID) MessageExpunge))",
		"SET (selected (MessageNew (NOTHING) MessageExpunge))", "SET (subtree (MessageNew MessageExpunge))", "SET (nobody (MailboxName))", "SET (mailboxes () (MailboxName))",
	} {
		c.cmd("NOTIFY %s", wrong).bad()
	}
	for _, event := range []string{"AnnotationChange", "x-news"} {
		c.cmd("NOTIFY SET (personal (MessageNew MessageExpunge %s))", event).no("[BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)] ...")
	}
	for _, right := range []string{
		"NONE", "SET (selected NONE)", "SET STATUS (selected-delayed (MessageNew MessageExpunge FlagChange)) (inboxes (MailboxName))", "set (mailboxes INBOX (Messagenew messageExpunge)) (personal (SubscriptionChange))",
		`SET (subtree ("a b" nowhere) (MailboxName)) (subscribed (FlagChange MessageNew MessageExpunge))`,
	} {
		c.cmd("NOTIFY %s", right).ok()
	}
}

func TestNotifySelectedDelayed(t *testing.T) { // RFC 5465 section 6.1.2.
	s := start(t)
	s.fill(3)
	c := s.selected("INBOX")
	c.cmd("NOTIFY SET (selected-delayed (MessageNew (FLAGS) MessageExpunge FlagChange))").ok()
	s.expunge("1")
	s.selected("INBOX").cmd(`STORE 1 FLAGS (\Seen)`).ok()
	c.expect(`* 2 FETCH (UID 2 FLAGS (\Seen \Recent))`)
	c.cmd("FETCH 1:3 (UID)").has("* 2 FETCH (UID 2)").hasNot("...EXPUNGE")
	c.cmd("NOOP").want("* 1 EXPUNGE", "OK NOOP completed")
}

// RFC 5465 sections 5 and 6.1: of the selected mailbox a client hears what it asks for there, whatever it says of others.
func TestNotifyWithoutFlagChange(t *testing.T) {
	s := start(t)
	s.fill(2)
	c, other := s.selected("INBOX"), s.selected("INBOX")
	c.cmd("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge FlagChange))").ok()
	other.cmd(`STORE 1 FLAGS (\Flagged)`).ok()
	c.cmd("NOOP").want("OK NOOP completed")
	c.cmd(`STORE 2 FLAGS (\Answered)`).want(`* 2 FETCH (UID 2 FLAGS (\Answered \Recent))`, "OK STORE completed")
	c.cmd("FETCH 1 BODY[TEXT]").has(`* 1 FETCH (UID 1 FLAGS (\Seen \Flagged \Recent))`).ok()
	c.cmd("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))").ok()
	s.expunge("1")
	other.cmd("NOOP").has("* 1 EXPUNGE")
	c.cmd("NOOP").want("OK NOOP completed") // SELECTED NONE
	c.cmd(`STORE 2 +FLAGS.SILENT (\Deleted)`).ok()
	c.cmd("EXPUNGE").want("* 2 EXPUNGE", "* 1 EXPUNGE", "OK EXPUNGE completed") // what it does itself keeps its numbers right.
}

// RFC 5465 sections 5.1 to 5.3 with CONDSTORE and QRESYNC.
func TestNotifyWithQResync(t *testing.T) {
	s := start(t)
	s.fill(2)
	c, other := s.aware(), s.login()
	c.cmd("SELECT INBOX").ok()
	other.cmd("CREATE misc").ok()
	c.cmd("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (mailboxes misc (MessageNew MessageExpunge FlagChange))").ok()
	s.expunge("1")
	c.expect("* VANISHED 1", fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest", s.modseq()))
	other.append("misc", mail(1)).ok()
	c.expect("* STATUS misc (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2 HIGHESTMODSEQ ...)")
	other.cmd("SELECT misc").ok()
	other.cmd(`STORE 1 FLAGS (\Seen)`).ok()
	c.expect("* STATUS misc (UIDVALIDITY ... UNSEEN 0 HIGHESTMODSEQ ...)")
	other.cmd("SELECT INBOX").ok()
	other.cmd(`STORE 1 FLAGS (\Seen)`).ok()
	c.expect(fmt.Sprintf(`* 1 FETCH (UID 2 FLAGS (\Seen...) MODSEQ (%d))`, s.modseq()))
	// IDLE tells the same (section 4).
	idle := c.begin("IDLE")
	c.expect("+ idling")
	other.append("misc", mail(2)).ok()
	c.expect("* STATUS misc (UIDVALIDITY ... MESSAGES 2 UIDNEXT 3 HIGHESTMODSEQ ...)")
	c.send("DONE\r\n")
	c.finish(idle).ok()
}

func TestNotifyOfNames(t *testing.T) { // RFC 5465 sections 5.4 and 5.5.
	s := start(t)
	c, other := s.login(), s.login()
	other.cmd("CREATE a").ok()
	other.cmd("CREATE a/b/c").ok()
	c.cmd("NOTIFY SET (personal (MailboxName SubscriptionChange))").ok()
	other.cmd("CREATE new").ok()
	c.expect(`* LIST (\HasNoChildren) "/" new`)
	other.cmd("CREATE new/below").ok()
	c.expect(`* LIST (\HasChildren) "/" new`, `* LIST (\HasNoChildren) "/" new/below`) // and the name above it
	other.cmd("RENAME a z").ok()
	c.expect(`* LIST (\HasChildren) "/" z ("OLDNAME" (a))`) // and nothing of those below it
	other.cmd("DELETE new/below").ok()
	c.expect(`* LIST (\HasNoChildren) "/" new`, `* LIST (\NonExistent \Noselect \HasNoChildren) "/" new/below`)
	other.cmd("DELETE z/b/c").ok()
	c.expect(`* LIST (\NonExistent \Noselect \HasNoChildren) "/" z/b`, `* LIST (\NonExistent \Noselect \HasNoChildren) "/" z/b/c`)
	other.cmd("SUBSCRIBE new").ok()
	c.expect(`* LIST (\HasNoChildren \Subscribed) "/" new`)
	other.cmd("UNSUBSCRIBE new").ok()
	c.expect(`* LIST (\HasNoChildren) "/" new`)
	other.append("INBOX", mail(1)).ok()
	other.cmd("RENAME INBOX old").ok()
	c.expect(`* LIST (\HasNoChildren) "/" old`)
	for _, own := range []string{"CREATE mine", "SUBSCRIBE mine", "RENAME mine yours", "DELETE yours"} {
		c.cmd("%s", own).has().ok().hasNot("* LIST ...")
	}
	c.cmd("NOTIFY SET (subscribed (SubscriptionChange MessageNew MessageExpunge))").ok()
	other.cmd("UNSUBSCRIBE Trash").ok()
	c.expect(`* LIST (\HasNoChildren \Trash) "/" Trash`)
	other.append("Trash", mail(1)).ok()
	other.append("Sent", mail(1)).ok()
	c.expect("* STATUS Sent (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
}

// A client hears of nothing that is not in the log, and of everything that is.
func TestNotifyWhileTheLogFails(t *testing.T) {
	s := start(t)
	c, other := s.login(), s.login()
	c.cmd("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))").ok()
	s.failing(func() doortest.Fault { return doortest.LostKept }, func() {
		other.cmd("CREATE lost").no()
		other.append("Trash", mail(1)).no()
	})
	s.failing(func() doortest.Fault { return doortest.LostSent }, func() { other.append("Sent", mail(1)).no() })
	c.expect("* STATUS Sent (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
	c.cmd("NOOP").want("OK NOOP completed")
}

// What a client waits for while it speaks comes as well, and its commands are answered in order.
func TestNotifyAmongCommands(t *testing.T) {
	s := start(t)
	c := s.selected("INBOX")
	c.cmd("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))").ok()
	m := &model{client: c, kind: ordinary}
	for i := range 50 {
		s.deliver("INBOX", mail(i))
		tag := c.begin("UID SEARCH ALL")
		m.learn(c.finish(tag)).ok()
	}
	for m.told < 50 {
		m.learn(c.cmd("NOOP")).ok()
	}
	c.cmd("LOGOUT").ok()
	c.ended()
}

// RFC 5465 section 7: a search that is kept up to date can fetch what is new among its results.
func TestUpdateWithItems(t *testing.T) {
	s := start(t)
	s.fill(2)
	c := s.selected("INBOX")
	tag := c.begin(`SEARCH RETURN (COUNT UPDATE (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])) SUBJECT "number"`)
	c.finish(tag).want(`* ESEARCH (TAG "`+tag+`") COUNT 2`, "OK SEARCH completed")
	c.cmd("NOTIFY SET (selected (MessageNew MessageExpunge))").ok()
	s.deliver("INBOX", mail(3))
	c.expect("* 3 EXISTS", "* 3 RECENT", "* 3 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {21}\r\nSubject: number 3\r\n\r\n)", `* ESEARCH (TAG "`+tag+`") ADDTO (0 3)`)
	s.deliver("INBOX", "Subject: something else\r\n\r\n")
	c.expect("* 4 EXISTS", "* 4 RECENT")
	c.cmd("SEARCH RETURN (UPDATE ()) ALL").bad()
}

func TestNotifyOfMetadata(t *testing.T) { // RFC 5465 sections 5.6 and 5.7.
	s := start(t)
	s.fill(1)
	c, other := s.aware(), s.login()
	c.cmd("SELECT INBOX").ok()
	other.cmd(`SETMETADATA Sent (/private/comment "before")`).ok()
	other.cmd(`SETMETADATA "" (/private/comment "before")`).ok()
	c.cmd("NOTIFY SET (personal (MessageNew MessageExpunge))").ok() // remembers no annotations
	c.cmd("NOTIFY SET (personal (MailboxMetadataChange)) (mailboxes Sent (ServerMetadataChange))").want("OK NOTIFY completed")
	before := s.modseq()
	other.cmd(`SETMETADATA INBOX (/private/comment "x" /shared/comment "y")`).ok()
	c.expect("* METADATA INBOX /private/comment /shared/comment")
	if now := s.modseq(); now <= before { // RFC 7162 section 3.2.
		t.Errorf("an annotation leads from mod-sequence %d to %d", before, now)
	}
	other.cmd(`SETMETADATA INBOX (/private/comment NIL /shared/comment "y")`).ok()
	c.expect("* METADATA INBOX /private/comment")
	other.cmd(`SETMETADATA "" (/private/comment "z")`).ok()
	c.expect(`* METADATA "" /private/comment`)
	c.cmd(`SETMETADATA Sent (/private/comment "own")`).want("OK SETMETADATA completed")
	c.cmd("NOOP").want("OK NOOP completed")
}

// TestNotifyStatusTellsModSeq: RFC 5465 section 3.1, of a client that has not enabled CONDSTORE.
func TestNotifyStatusTellsModSeq(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd("NOTIFY SET STATUS (mailboxes INBOX (MessageNew MessageExpunge FlagChange)) (mailboxes Sent (MessageNew MessageExpunge))").want(
		"* STATUS INBOX (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1 UNSEEN 0 HIGHESTMODSEQ ...)", "* STATUS Sent (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)", "OK NOTIFY completed")
	s.deliver("INBOX", mail(1))
	c.expect("* STATUS INBOX (UIDVALIDITY ... MESSAGES 1 UIDNEXT 2)")
}

// TestNotifyAgain: what happens just before a NOTIFY that replaces another is told (RFC 5465 section 3.1).
func TestNotifyAgain(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lr")
	b, other := s.as(bob), s.as(bob)
	other.cmd(`SETMETADATA Sent (/private/comment "old")`).ok()
	other.cmd(`SETMETADATA "" (/private/comment "old")`).ok()
	events := "(MessageNew MessageExpunge MailboxName)"
	b.cmd(`NOTIFY SET (personal %s) (subtree "Other Users" %s)`, events, events).want("OK ...")
	for i, status := range []string{"", "STATUS "} {
		tag := b.begin(`NOTIFY SET %s(subtree "Other Users" %s) (mailboxes Sent (MessageNew MessageExpunge MailboxMetadataChange ServerMetadataChange)) (subtree {3}`, status, events)
		b.expect("+ ...")
		other.cmd("CREATE new/%d", i).ok()
		other.append("Sent", mail(1)).ok()
		doortest.Deliver(t, s.Accounts, s.ids[alice], "INBOX", mail(2))
		b.send("new " + events + ")\r\n")
		told := []string{
			fmt.Sprintf(`* LIST (\HasNoChildren) "/" new/%d`, i), fmt.Sprintf("* STATUS Sent (UIDVALIDITY ... MESSAGES %d UIDNEXT %d)", i+1, i+2),
			fmt.Sprintf("* STATUS new/%d (UIDVALIDITY ... MESSAGES 0 UIDNEXT 1)", i), fmt.Sprintf("* STATUS "+alicesInbox+" (UIDVALIDITY ... MESSAGES %d UIDNEXT %d)", i+1, i+2),
		}
		b.finish(tag).has(told...).hasNot("* METADATA ...").ok()
	}
	b.cmd("NOOP").want("OK NOOP completed")
}

// TestNotifyRemembersNoAnnotationsWithoutNeed: of thousands of mailboxes they would fill each session.
func TestNotifyRemembersNoAnnotationsWithoutNeed(t *testing.T) {
	m := &account.Mailbox{Name: "work", Metadata: account.Metadata{"/private/comment": "x"}}
	for event, want := range map[events]bool{messageEvents: false, mailboxNames: false, mailboxMetadata: true} {
		n := &notification{groups: []eventGroup{{events: event}}}
		n.begin(&account.State{Mailboxes: map[domain.MailboxID]*account.Mailbox{1: m}, Metadata: m.Metadata})
		if got := n.known[1].metadata != nil; got != want || n.metadata != nil != want {
			t.Errorf("%d: remembers %v", event, got)
		}
	}
}

// TestNotifyAfterUnselect: what was held back while a mailbox was selected is told when it no longer is, and nothing else (RFC 5465 section 6.1).
func TestNotifyAfterUnselect(t *testing.T) {
	s := start(t)
	s.fill(3)
	c, other := s.login(), s.selected("INBOX")
	c.cmd("NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge FlagChange))").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("UNSELECT").want("OK UNSELECT completed")
	c.cmd("SELECT INBOX").ok()
	s.deliver("INBOX", mail(4))
	c.expect("* 4 EXISTS", "* 1 RECENT")
	s.expunge("4")
	c.cmd(`STORE 1 +FLAGS (\Flagged)`).has("* 1 FETCH ...").ok()
	c.cmd("UNSELECT").want("* STATUS INBOX (UIDVALIDITY ... MESSAGES 3 UIDNEXT 5)", "OK UNSELECT completed")
	c.cmd("SELECT INBOX").ok()
	c.cmd(`STORE 2 +FLAGS (\Flagged)`).ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("SELECT Sent").has("* FLAGS ...").hasNot("* STATUS ...").ok()
	other.cmd(`STORE 3 +FLAGS (\Seen)`).ok()
	c.expect("* STATUS INBOX (UIDVALIDITY ... UNSEEN 2)")
	c.cmd("UNSELECT").want("OK UNSELECT completed")

	c.cmd("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))").ok() // and nothing of the selected mailbox
	c.cmd("SELECT INBOX").ok()
	s.deliver("INBOX", mail(5))
	other.cmd(`STORE 2 +FLAGS (\Answered)`).ok()
	c.cmd("NOOP").want("OK NOOP completed")
	c.cmd("SELECT Sent").has("* STATUS INBOX (UIDVALIDITY ... MESSAGES 4 UIDNEXT 6 UNSEEN 3)").ok()
	s.deliver("INBOX", mail(6))
	c.expect("* STATUS INBOX (UIDVALIDITY ... MESSAGES 5 UIDNEXT 7)")
}

// TestCloseTellsNothing of what it expunges, not by NOTIFY either (RFC 9051 section 6.4.1, RFC 5465 section 5), and one that fails leaves the mailbox selected.
func TestCloseTellsNothing(t *testing.T) {
	s := start(t)
	s.fill(3)
	c := s.login()
	c.cmd("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd(`STORE 1,3 +FLAGS.SILENT (\Deleted)`).ok()
	s.failing(func() doortest.Fault { return doortest.LostKept }, func() { c.cmd("CLOSE").no("[UNAVAILABLE] ...") })
	c.cmd("CLOSE").want("OK CLOSE completed")
	c.cmd("NOOP").want("OK NOOP completed")
	s.deliver("INBOX", mail(4))
	c.expect("* STATUS INBOX (UIDVALIDITY ... MESSAGES 2 UIDNEXT 5)")
}
