package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door/doortest"
)

// bodies gives what a mailbox holds, by UID.
func (s *shared) bodies(owner, mailbox string) string {
	s.t.Helper()
	c := s.as(owner)
	c.cmd("EXAMINE %s", mailbox).ok()
	var all []string
	for _, line := range c.cmd("UID FETCH 1:* (FLAGS INTERNALDATE BODY[TEXT])").ok().untagged {
		line = strings.NewReplacer(` \Recent`, "", `\Recent`, "").Replace(line)
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

// TestCopyIntoAnotherAccount and back: messages arrive with dates, keywords by their names, and a thread.
func TestCopyIntoAnotherAccount(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lrswipkxtea")
	b := s.as(bob)
	b.cmd("APPEND INBOX (first) \"01-Jan-2020 10:00:00 +0000\" {%d+}\r\n%s", len(mail(1)), mail(1)).ok() // so that keywords have other numbers there
	b.cmd("APPEND INBOX (\\Seen second) \"02-Jan-2020 10:00:00 +0000\" {%d+}\r\n%s", len(mail(2)), mail(2)).ok()
	s.deliver("INBOX", mail(3), "second")
	b.cmd("SELECT INBOX").ok()
	b.cmd("COPY 1:2 " + alicesInbox).ok("[COPYUID ... 1:2 2:3] ...")
	b.cmd("COPY 2 " + alicesInbox).ok("[COPYUID ... 2 4] ...")
	b.cmd("COPY 9 " + alicesInbox).bad()
	b.cmd("UID COPY 9 " + alicesInbox).want("OK ...")
	got := s.bodies(alice, "INBOX")
	for _, want := range []string{
		"* 2 FETCH (UID 2 FLAGS (first) INTERNALDATE \"01-Jan-2020 10:00:00 +0000\" BODY[TEXT] {8}\r\ntext 1",
		"* 3 FETCH (UID 3 FLAGS (\\Seen second) INTERNALDATE \"02-Jan-2020 10:00:00 +0000\" BODY[TEXT] {8}\r\ntext 2",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("MOVE 1 Archive").want("* OK [COPYUID ... 1 1] moved", "* 1 EXPUNGE", "OK ...")
	if got := s.bodies(bob, "Archive"); !strings.Contains(got, "FLAGS (second)") || !strings.Contains(got, "text 3") {
		t.Errorf("what came back is %s", got)
	}
	b.cmd("COPY 1 nowhere").no("[TRYCREATE] ...")
	b.cmd(`COPY 1 "Other Users/alice@example.org/Archive"`).no("[TRYCREATE] ...")
	b.cmd("COPY 1 " + alicesInbox).ok("[COPYUID ... 2 5] ...") // within the other's account
}

// TestMoveNeedsRightsOnTheSource before anything is copied.
func TestMoveNeedsRightsOnTheSource(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	b := s.as(bob)
	for _, rights := range []string{"lrt", "lre", "lri"} {
		s.grant(alice, "INBOX", bob, rights)
		b.cmd("SELECT " + alicesInbox).ok()
		b.cmd("MOVE 1 INBOX").no("[NOPERM] ...")
		b.cmd("REPLACE 1 INBOX {2+}\r\nab").no("[NOPERM] ...")
		b.cmd("STATUS INBOX (MESSAGES)").want("* STATUS INBOX (MESSAGES 0)", "OK ...")
	}
	s.grant(alice, "INBOX", bob, "lrw") // to COPY, reading is enough
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("COPY 1 INBOX").ok("[COPYUID ... 1 1] ...")
}

func TestReplaceAcrossAccounts(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	s.grant(alice, "INBOX", bob, "lrte")
	b := s.as(bob)
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("REPLACE 1 Drafts {2+}\r\nab").want("* OK [APPENDUID ... 1] ...", "* 1 EXPUNGE", "OK ...")
	b.cmd("STATUS Drafts (MESSAGES)").want("* STATUS Drafts (MESSAGES 1)", "OK ...")
	b.cmd("UID REPLACE 1 Drafts {2+}\r\nab").no("[NONEXISTENT] the message was expunged") // as within one account
	b.cmd("STATUS Drafts (MESSAGES)").want("* STATUS Drafts (MESSAGES 1)", "OK ...")
	s.grant(alice, "Drafts", bob, "lrtei")
	b.cmd(`SELECT "Other Users/alice@example.org/Drafts"`).ok()
	b.append(`"Other Users/alice@example.org/Drafts"`, mail(2)).ok()
	b.cmd("NOOP").ok()
	b.cmd("REPLACE 1 \"Other Users/alice@example.org/Drafts\" {2+}\r\nab").want("* OK [APPENDUID ... 2] ...", "* 1 EXPUNGE", "* 1 EXISTS", "* 1 RECENT", "OK ...")
}

// TestACopyOfMany is several transactions, and all or nothing.
func TestACopyOfMany(t *testing.T) {
	s := share(t)
	n := account.MaxAdded + 20
	stored, err := s.Accounts.Ingest(t.Context(), strings.NewReader(mail(1)))
	if err != nil {
		t.Fatal(err)
	}
	adds := make(account.AddMessages, account.MaxAdded)
	for i := range adds {
		adds[i] = account.AddMessage{Mailbox: "INBOX", Blob: stored.Blob, Summary: stored.Summary}
	}
	s.do(bob, adds)
	s.do(bob, adds[:20])
	s.grant(alice, "INBOX", bob, "lrite")
	b := s.as(bob)
	b.cmd("SELECT INBOX").ok()
	b.cmd("COPY 1:* " + alicesInbox).ok(fmt.Sprintf("[COPYUID ... 1:%d 1:%d] ...", n, n))

	// The rights are taken away, on another node, while the second portion is on its way. It is decided again, and refused; what has arrived goes again.
	other := doortest.Join(t, s.Log, s.Blobs)
	portions := 0
	s.Log.Before = func(id domain.AccountID, tx *event.Transaction) doortest.Fault {
		if _, adds := tx.Events[len(tx.Events)-1].(*event.MessageAdded); adds && id == s.ids[alice] {
			if portions++; portions == 2 {
				wish := account.SetRights{Mailbox: "INBOX", Identifier: account.Identifier(s.ids[bob])}
				if _, err := other.Accounts.Do(t.Context(), id, "test", wish); err != nil {
					t.Error(err)
				}
			}
		}
		return doortest.None
	}
	b.cmd("COPY 1:* " + alicesInbox).no("[TRYCREATE] the mailbox does not exist")
	s.as(alice).cmd("STATUS INBOX (MESSAGES)").want(fmt.Sprintf("* STATUS INBOX (MESSAGES %d)", n), "OK ...")

	// Of a MOVE what has moved has moved, and nothing is lost.
	s.grant(alice, "INBOX", bob, "lrite")
	portions = 0
	b.cmd("MOVE 1:* " + alicesInbox).has(fmt.Sprintf("* OK [COPYUID ... 1:%d %d:%d] moved", account.MaxAdded, n+account.MaxAdded+1, n+2*account.MaxAdded)).no("[TRYCREATE] ...")
	b.cmd("STATUS INBOX (MESSAGES)").has("* STATUS INBOX (MESSAGES 20)").ok()
	s.as(alice).cmd("STATUS INBOX (MESSAGES)").want(fmt.Sprintf("* STATUS INBOX (MESSAGES %d)", n+account.MaxAdded), "OK ...")
}

// TestAMoveWhoseSourceIsTakenAway: when the right to remove is lost after the messages have arrived, they go from the target again.
func TestAMoveWhoseSourceIsTakenAway(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	s.grant(alice, "INBOX", bob, "lrte")
	b := s.as(bob)
	b.cmd("SELECT " + alicesInbox).ok()
	other := doortest.Join(t, s.Log, s.Blobs)
	once := false
	s.Log.Before = func(id domain.AccountID, tx *event.Transaction) doortest.Fault {
		if _, gone := tx.Events[0].(*event.MessagesExpunged); gone && id == s.ids[alice] && !once {
			once = true
			wish := account.SetRights{Mailbox: "INBOX", Identifier: account.Identifier(s.ids[bob]), Rights: account.MayLookup | account.MayRead}
			if _, err := other.Accounts.Do(t.Context(), id, "test", wish); err != nil {
				t.Error(err)
			}
		}
		return doortest.None
	}
	b.cmd("MOVE 1 Archive").no("[NOPERM] ...")
	b.cmd("STATUS Archive (MESSAGES)").want("* STATUS Archive (MESSAGES 0)", "OK ...")
	b.cmd("FETCH 1 FLAGS").has("* 1 FETCH ...").ok()
	b.cmd("REPLACE 1 Archive {2+}\r\nab").no("[READ-ONLY] ...") // as it has been told it is now
}

// TestAMailboxThatIsTakenAwayDuringACopy: its messages are copied in portions, and before each the right to read them is asked for.
func TestAMailboxThatIsTakenAwayDuringACopy(t *testing.T) {
	s := share(t)
	stored, err := s.Accounts.Ingest(t.Context(), strings.NewReader(mail(1)))
	if err != nil {
		t.Fatal(err)
	}
	adds := make(account.AddMessages, account.MaxAdded)
	for i := range adds {
		adds[i] = account.AddMessage{Mailbox: "INBOX", Blob: stored.Blob, Summary: stored.Summary}
	}
	s.do(alice, adds)
	s.do(alice, adds[:1])
	b := s.as(bob)
	portions := 0
	s.Log.Before = func(id domain.AccountID, tx *event.Transaction) doortest.Fault {
		if _, adds := tx.Events[len(tx.Events)-1].(*event.MessageAdded); adds && id == s.ids[bob] {
			if portions++; portions == 1 {
				s.grant(alice, "INBOX", bob, "")
			}
		}
		return doortest.None
	}
	s.grant(alice, "INBOX", bob, "lrte")
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("COPY 1:* Archive").no("... the selected mailbox was deleted")
	b.cmd("STATUS Archive (MESSAGES)").want("* STATUS Archive (MESSAGES 0)", "OK ...")
	if portions != 1 {
		t.Errorf("%d portions were copied", portions)
	}

	// A MOVE misses the right when the messages of the first portion are to leave: they stay, and the copies go.
	portions = 0
	s.grant(alice, "INBOX", bob, "lrte")
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("MOVE 1:* Archive").no("... the selected mailbox was deleted")
	b.cmd("STATUS Archive (MESSAGES)").want("* STATUS Archive (MESSAGES 0)", "OK ...")
	s.as(alice).cmd("STATUS INBOX (MESSAGES)").want(fmt.Sprintf("* STATUS INBOX (MESSAGES %d)", account.MaxAdded+1), "OK ...")
}

// TestTwoMovesOfOneMessage into another account leave one copy, whoever is faster.
func TestTwoMovesOfOneMessage(t *testing.T) {
	s := share(t)
	for n := range 3 {
		s.deliver("INBOX", mail(n))
	}
	s.grant(alice, "INBOX", bob, "lrte")
	b := s.as(bob)
	b.cmd("SELECT " + alicesInbox).ok()
	other := doortest.Join(t, s.Log, s.Blobs)
	once := false
	s.Log.Before = func(id domain.AccountID, tx *event.Transaction) doortest.Fault {
		if gone, is := tx.Events[0].(*event.MessagesExpunged); is && id == s.ids[alice] && !once {
			once = true
			wish := account.Expunge{Mailbox: gone.Mailbox, UIDs: domain.UIDs(2), Any: true} // as the end of another MOVE
			if _, err := other.Accounts.Do(t.Context(), id, "test", wish); err != nil {
				t.Error(err)
			}
		}
		return doortest.None
	}
	b.cmd("MOVE 1:3 Archive").want("* OK [COPYUID ... 1,3 1,3] moved", "* 3 EXPUNGE", "* 2 EXPUNGE", "* 1 EXPUNGE", "OK ...")
	b.cmd("STATUS Archive (MESSAGES)").want("* STATUS Archive (MESSAGES 2)", "OK ...")
	once = false
	s.deliver("INBOX", mail(4))
	b.cmd("NOOP").ok()
	s.Log.Before = func(id domain.AccountID, tx *event.Transaction) doortest.Fault {
		if _, is := tx.Events[0].(*event.MessagesExpunged); is && id == s.ids[alice] && !once {
			once = true
			if _, err := other.Accounts.Do(t.Context(), id, "test", account.Expunge{Mailbox: 1, Any: true}); err != nil {
				t.Error(err)
			}
		}
		return doortest.None
	}
	b.cmd("REPLACE 1 Drafts {2+}\r\nab").no("[NONEXISTENT] the message was expunged")
	b.cmd("STATUS Drafts (MESSAGES)").want("* STATUS Drafts (MESSAGES 0)", "OK ...")
}

// TestASharedMailboxHasEveryCommand: what extensions do with a selected mailbox they do with another's.
func TestASharedMailboxHasEveryCommand(t *testing.T) {
	s := share(t)
	for n := range 4 {
		s.deliver("INBOX", mail(n+1))
		doortest.Deliver(t, s.Accounts, s.ids[bob], "INBOX", mail(n+11)) // the numbers of which are the same
	}
	s.grant(alice, "INBOX", bob, "lrswipkxtea")
	b := s.as(bob)
	b.cmd("ENABLE QRESYNC IMAP4rev2").ok()
	opened := b.cmd("SELECT "+alicesInbox).has(`* LIST (\HasNoChildren) "/" `+alicesInbox, "* OK [MAILBOXID (F"+string(s.ids[alice])+"-1)] ...").ok()
	b.cmd("FETCH 1 (EMAILID THREADID ENVELOPE BODY[TEXT])").has("* 1 FETCH (EMAILID (M" + string(s.ids[alice]) + "-1) THREADID NIL ENVELOPE (... \"number 1\" ...text 1...").ok()
	b.cmd(`SEARCH EMAILID M%s-2`, s.ids[alice]).has("* ESEARCH (TAG ...) ALL 2").ok()
	b.cmd(`SEARCH EMAILID M%s-2`, s.ids[bob]).hasNot("...ALL...").ok()
	b.cmd(`SEARCH TEXT "text 3"`).has("* ESEARCH (TAG ...) ALL 3").ok()
	b.cmd(`SEARCH RETURN (SAVE) SUBJECT "number 4"`).ok()
	b.cmd("FETCH $ UID").has("* 4 FETCH ...").ok()
	b.cmd("SORT (REVERSE SUBJECT) UTF-8 ALL").has("* SORT 4 3 2 1...").ok()
	b.cmd("THREAD REFERENCES UTF-8 ALL").has("* THREAD (1)(2)(3)(4)").ok()
	b.cmd(`ESEARCH IN (selected) SUBJECT "number 1"`).has("* ESEARCH (TAG ... MAILBOX " + alicesInbox + " UIDVALIDITY ...) UID ALL 1").ok()
	b.cmd(`ESEARCH IN (selected personal) SUBJECT "number 1"`).has("* ESEARCH (TAG ... MAILBOX "+alicesInbox+" UIDVALIDITY ...) UID ALL 1", "* ESEARCH (TAG ... MAILBOX INBOX UIDVALIDITY ...) UID ALL 1:4").ok()
	b.cmd(`ESEARCH IN (subtree "Other Users") EMAILID M%s-2`, s.ids[alice]).has("* ESEARCH (TAG ... MAILBOX " + alicesInbox + " ...) UID ALL 2").ok()
	b.cmd(`ESEARCH IN (personal mailboxes %s) EMAILID M%s-2`, alicesInbox, s.ids[bob]).has("* ESEARCH (TAG ... MAILBOX INBOX ...) UID ALL 2").hasNot("...Other...").ok()
	b.cmd("UID STORE 1 (UNCHANGEDSINCE 1) +FLAGS (x)").has().ok("[MODIFIED 1] ...")
	b.cmd(`UID STORE 2 +FLAGS (\Deleted)`).ok()
	b.cmd("EXPUNGE").has("* VANISHED 2").ok("[HIGHESTMODSEQ ...] ...")
	b.cmd("UID FETCH 1:4 FLAGS (CHANGEDSINCE 1 VANISHED)").has("* VANISHED (EARLIER) 2").ok()
	var validity string
	for _, line := range opened.untagged {
		if after, is := strings.CutPrefix(line, "* OK [UIDVALIDITY "); is {
			validity, _, _ = strings.Cut(after, "]")
		}
	}
	b.cmd("CLOSE").ok()
	b.cmd("SELECT "+alicesInbox+" (QRESYNC (%s 1))", validity).has("* VANISHED (EARLIER) 2").ok()
	b.cmd(`APPEND INBOX CATENATE (URL ";UID=3/;SECTION=TEXT" TEXT {3+}` + "\r\nend)").ok() // relative to what is selected
	b.cmd(`APPEND INBOX CATENATE (URL "/;UID=3/;SECTION=TEXT" TEXT {3+}` + "\r\nend)").no("[BADURL ...] ...")
	b.cmd(`APPEND INBOX CATENATE (URL "/Other%%20Users/alice@example.org/INBOX/;UID=3/;SECTION=TEXT" TEXT {3+}` + "\r\nend)").ok()
	s.grant(alice, "INBOX", bob, "liswt")
	b.cmd(`APPEND INBOX CATENATE (URL "/Other%%20Users/alice@example.org/INBOX/;UID=3/;SECTION=TEXT" TEXT {3+}` + "\r\nend)").no("[BADURL ...] ...")
	b.cmd("SELECT INBOX").ok()
	b.cmd("FETCH * BODY[]").has("* 6 FETCH ...text 3\r\nend...").ok()
	b.cmd(`ESEARCH IN (mailboxes %s) ALL`, alicesInbox).want("OK ...") // which may not be read
}

// TestNotifyAndAnothersMailbox: what happens in it while it is selected is told as in one's own, and never taken for one's own mailbox of the same number.
func TestNotifyAndAnothersMailbox(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lrswipkxtea")
	b := s.as(bob)
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (personal (MessageNew MessageExpunge))").ok()
	b.append(alicesInbox, mail(1)).has("* 1 EXISTS").hasNot("* STATUS ...").ok()
	doortest.Deliver(t, s.Accounts, s.ids[bob], "INBOX", mail(2)) // of the same number
	b.expect("* STATUS INBOX (... MESSAGES 1 ...")
	s.deliver("INBOX", mail(3))
	b.expect("* 2 EXISTS", "* ... RECENT", "* 2 FETCH (UID 2)")
}
