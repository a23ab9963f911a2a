package imap

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/account"
)

// object finds the object ids of an answer.
func (a *answer) objects(kind string) (ids []string) {
	a.t.Helper()
	for _, line := range append(a.untagged, a.tagged) {
		for _, m := range regexp.MustCompile(kind+` \(([A-Za-z0-9_-]{1,255})\)`).FindAllStringSubmatch(line, -1) {
			ids = append(ids, m[1])
		}
	}
	return ids
}

// RFC 8474: mailboxes keep their id when they are renamed, emails when they are copied and moved.
func TestObjectIDs(t *testing.T) {
	s := start(t)
	c := s.login()
	foo := c.cmd("CREATE foo").ok("[MAILBOXID (F...)] CREATE completed").objects("MAILBOXID")[0]
	bar := c.cmd("CREATE bar").ok().objects("MAILBOXID")[0]
	c.cmd("CREATE foo").no("[ALREADYEXISTS] ...")
	if foo == bar {
		t.Errorf("two mailboxes are %s", foo)
	}
	c.cmd("STATUS foo (MAILBOXID MESSAGES)").want("* STATUS foo (MAILBOXID ("+foo+") MESSAGES 0)", "OK ...")
	c.cmd("RENAME foo bar/renamed").ok()
	c.cmd(`LIST "" bar/* RETURN (STATUS (MAILBOXID))`).want("* LIST ...", "* STATUS bar/renamed (MAILBOXID ("+foo+"))", "OK ...")
	c.cmd("SELECT bar/renamed").has("* OK [MAILBOXID (" + foo + ")] ...").ok()
	c.cmd("EXAMINE bar").has("* OK [MAILBOXID (" + bar + ")] ...").ok()
	c.cmd("DELETE bar/renamed").ok()
	if again := c.cmd("CREATE bar/renamed").ok().objects("MAILBOXID")[0]; again == foo {
		t.Errorf("a mailbox that was made anew is %s as before", foo)
	}

	// Section 5.3's example: A, an answer to A, and C.
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", "Subject: Re: number 1\r\nMessage-ID: <11@example.org>\r\nReferences: <1@example.org>\r\n\r\nyes\r\n")
	s.deliver("INBOX", mail(3))
	c.cmd("SELECT INBOX").ok()
	a := c.cmd("FETCH 1:* (EMAILID THREADID)").want("* 1 FETCH (EMAILID (M...) THREADID (T...))", "* 2 FETCH (...)", "* 3 FETCH (...)", "OK ...")
	emails, threads := a.objects("EMAILID"), a.objects("THREADID")
	if emails[0] == emails[1] || emails[1] == emails[2] || threads[0] != threads[1] || threads[1] == threads[2] || emails[0][1:] != threads[0][1:] {
		t.Errorf("the emails are %s and the threads %s", emails, threads)
	}
	c.cmd("COPY 1 bar").ok()
	c.cmd("MOVE 2 bar").ok()
	c.cmd("SELECT bar").ok()
	a = c.cmd("FETCH 1:* (EMAILID THREADID)").ok()
	if got := fmt.Sprint(a.objects("EMAILID"), a.objects("THREADID")); got != fmt.Sprint(emails[:2], threads[:2]) {
		t.Errorf("the copies are %s, not %s of %s", got, emails[:2], threads[:2])
	}
	c.cmd("SELECT INBOX").ok()
	c.cmd("UID SEARCH EMAILID %s", emails[2]).want("* SEARCH 3", "OK ...")
	c.cmd("UID SEARCH OR EMAILID %s THREADID %s", emails[2], threads[0]).want("* SEARCH 1 3", "OK ...")
	for _, unknown := range []string{emails[1], "M" + threads[0], threads[2], "M1", emails[2] + "0", emails[2] + "x", `"T"`, "m" + emails[2][1:]} {
		c.cmd("SEARCH EMAILID %s", unknown).want("* SEARCH", "OK ...")
	}
	c.cmd("SEARCH EMAILID").bad()
	c.cmd("SELECT Trash").ok() // RENAME of INBOX makes a mailbox (section 4).
	c.cmd("RENAME INBOX kept").ok()
	if kept := c.cmd("STATUS kept (MAILBOXID)").objects("MAILBOXID")[0]; kept == c.cmd("STATUS INBOX (MAILBOXID)").objects("MAILBOXID")[0] {
		t.Error("INBOX and what was moved out of it are one mailbox")
	}
}

// TestThreadsOfOthersTellNothing: who stores an answer to a guessed message in somebody's mailbox does not learn from its thread whether that message is there.
func TestThreadsOfOthersTellNothing(t *testing.T) {
	s := share(t)
	s.do(alice, account.CreateMailbox{Name: "ours"})
	s.grant(alice, "ours", bob, "lrsi")
	s.deliver("INBOX", mail(1)) // which bob may not read
	b := s.as(bob)
	const ours = `"Other Users/alice@example.org/ours"`
	b.append(ours, "Subject: Re: number 1\r\nMessage-ID: <guess@example.org>\r\nReferences: <1@example.org>\r\n\r\nx\r\n").ok()
	b.cmd("SELECT %s", ours).ok()
	b.cmd("FETCH 1 (EMAILID THREADID)").want("* 1 FETCH (EMAILID (M...) THREADID NIL)", "OK ...")
	a := s.login()
	a.cmd("SELECT ours").ok()
	thread := a.cmd("FETCH 1 THREADID").objects("THREADID")[0]
	a.cmd("SEARCH THREADID %s", thread).want("* SEARCH 1", "OK ...")
	b.cmd("SEARCH THREADID %s", thread).want("* SEARCH", "OK ...")
	b.cmd("SEARCH NOT THREADID %s", thread).want("* SEARCH 1", "OK ...")
	b.cmd("ESEARCH IN (mailboxes %s) THREADID %s", ours, thread).want("OK ...")
	b.cmd("ESEARCH IN (mailboxes %s) NOT THREADID %s", ours, thread).want("* ESEARCH (TAG ... MAILBOX "+ours+" ...) UID ALL 1", "OK ...")
}

// Another account's objects have other ids (RFC 8474 section 8.2).
func TestObjectIDsOfTwoAccounts(t *testing.T) {
	s := start(t)
	s.AddAccount(t, "bob@example.org", password)
	ids := s.login().cmd("STATUS INBOX (MAILBOXID)").objects("MAILBOXID")
	bob := s.dial()
	bob.cmd("LOGIN bob@example.org %s", password).ok()
	if other := bob.cmd("STATUS INBOX (MAILBOXID)").objects("MAILBOXID"); ids[0] == other[0] {
		t.Errorf("both INBOXes are %s", ids[0])
	}
}

// RFC 8514: the date at which a message came into this mailbox, which a copy gets anew.
func TestSaveDate(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	s := start(t, func(c *Config) { c.Now = func() time.Time { return now } })
	c := s.selected("INBOX")
	c.cmd("APPEND INBOX \"01-Feb-1994 00:00:00 +0000\" {%d+}\r\n%s", len(mail(1)), mail(1)).ok()
	c.cmd("FETCH 1 (INTERNALDATE SAVEDATE)").want(`* 1 FETCH (INTERNALDATE "01-Feb-1994 00:00:00 +0000" SAVEDATE "14-Mar-2026 12:00:00 +0000")`, "OK ...")
	now = now.AddDate(0, 0, 2)
	c.cmd("COPY 1 INBOX").ok()
	c.cmd("FETCH 2 (SAVEDATE)").want(`* 2 FETCH (SAVEDATE "16-Mar-2026 12:00:00 +0000")`, "OK ...")
	c.cmd("SEARCH SAVEDBEFORE 15-Mar-2026").want("* SEARCH 1", "OK ...")
	c.cmd("SEARCH SAVEDON 16-Mar-2026").want("* SEARCH 2", "OK ...")
	c.cmd("SEARCH SAVEDSINCE 14-Mar-2026").want("* SEARCH 1 2", "OK ...")
	c.cmd("SEARCH SAVEDATESUPPORTED").want("* SEARCH 1 2", "OK ...")
}
