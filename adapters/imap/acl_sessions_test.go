package imap

import (
	"context"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/mailboxes"
)

// TestTheRightsOfASession: what SELECT says, and what STORE, FETCH, EXPUNGE and CLOSE do, follow the rights (RFC 4314 sections 4 and 5).
func TestTheRightsOfASession(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", mail(2), "work")
	b := s.as(bob)
	sees := func(rights, flags, mode string) {
		t.Helper()
		s.grant(alice, "INBOX", bob, rights)
		b.cmd("SELECT " + alicesInbox).has("* OK [PERMANENTFLAGS (" + flags + ")] ...").ok("[" + mode + "] ...")
	}
	sees("lr", "", "READ-ONLY")
	b.cmd(`STORE 1 +FLAGS (\Seen)`).no("[READ-ONLY] ...")
	b.cmd("FETCH 1 BODY[]").ok()
	sees("lri", "", "READ-WRITE")
	b.cmd(`STORE 1 +FLAGS (\Seen)`).no("[NOPERM] ...")
	b.cmd("FETCH 1 BODY[]").hasNot(`* 1 FETCH (UID 1 FLAGS...`).ok() // not marked, and no error
	b.cmd("CLOSE").ok()
	sees("lrs", `\Seen`, "READ-WRITE")
	b.cmd("FETCH 1 BODY[]").has(`* 1 FETCH (UID 1 FLAGS (\Seen))`).ok()
	b.cmd(`STORE 1 FLAGS (\Deleted \Flagged other)`).want(`* 1 FETCH (UID 1 FLAGS ())`, "OK ...")
	b.cmd(`STORE 2 +FLAGS.SILENT (\Seen \Flagged)`).want(`* 2 FETCH (UID 2 FLAGS (\Seen work))`, "OK ...") // which is not what the client must expect
	b.cmd(`STORE 2 -FLAGS (work)`).no("[NOPERM] ...")
	sees("lrw", `\Answered \Flagged \Draft work \*`, "READ-WRITE")
	b.cmd(`STORE 1 FLAGS (\Flagged \Deleted other)`).want(`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft work other)`, "* OK [PERMANENTFLAGS ...", `* 1 FETCH (UID 1 FLAGS (\Flagged other))`, "OK ...")
	sees("lrt", `\Deleted`, "READ-WRITE")
	b.cmd(`STORE 1 +FLAGS (\Deleted)`).want(`* 1 FETCH (UID 1 FLAGS (\Flagged \Deleted other))`, "OK ...")
	b.cmd("EXPUNGE").no("[NOPERM] ...")
	b.cmd("UID EXPUNGE 1").no("[NOPERM] ...")
	b.cmd("CLOSE").ok() // nothing is expunged
	b.cmd("STATUS "+alicesInbox+" (MESSAGES DELETED)").want("* STATUS "+alicesInbox+" (MESSAGES 2 DELETED 1)", "OK ...")
	sees("lre", "", "READ-WRITE")
	b.cmd("EXPUNGE").want("* 1 EXPUNGE", "OK ...")
	sees("lrswipkxtea", `\Seen \Answered \Flagged \Deleted \Draft work \*`, "READ-WRITE") // "other" went with the only message that had it
	b.cmd("EXAMINE " + alicesInbox).has("* OK [PERMANENTFLAGS ()] ...").ok("[READ-ONLY] ...")
}

// TestOthersSeeWhatOneDoes: a change by one user reaches every session of every user who has the mailbox selected.
func TestOthersSeeWhatOneDoes(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lrswite")
	s.grant(alice, "INBOX", carol, "lr")
	a, b, c := s.as(alice), s.as(bob), s.as(carol)
	a.cmd("SELECT INBOX").ok()
	b.cmd("SELECT " + alicesInbox).ok()
	c.cmd("EXAMINE " + alicesInbox).ok()
	idle := c.begin("IDLE")
	c.expect("+ idling")
	b.append(alicesInbox, mail(1)).ok("[APPENDUID ... 1] ...")
	c.expect("* 1 EXISTS", "* ... RECENT")
	a.cmd("NOOP").has("* 1 EXISTS").ok()
	a.cmd(`STORE 1 +FLAGS (\Flagged)`).ok()
	c.expect(`* 1 FETCH (UID 1 FLAGS (\Flagged...))`)
	b.cmd("NOOP").has(`* 1 FETCH (UID 1 FLAGS (\Flagged...))`).ok()
	b.cmd(`STORE 1 +FLAGS (\Deleted)`).ok()
	c.expect(`* 1 FETCH (UID 1 FLAGS (\Flagged \Deleted...))`)
	b.cmd("EXPUNGE").want("* 1 EXPUNGE", "OK ...")
	c.expect("* 1 EXPUNGE")
	a.cmd("NOOP").has("* 1 EXPUNGE").ok()
	c.send("DONE\r\n")
	c.finish(idle).ok()
	s.deliver("INBOX", mail(2)) // by mail
	c.cmd("NOOP").has("* 1 EXISTS").ok()
	b.cmd("NOOP").has("* 1 EXISTS").ok()
	a.cmd("RENAME INBOX gone").ok()
	b.cmd("NOOP").has("* 1 EXPUNGE").ok()
}

// TestRightsAreLostUnderAReader: his mailbox is as if it had been deleted. The connection goes on.
func TestRightsAreLostUnderAReader(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	s.deliver("INBOX", mail(2))
	s.grant(alice, "INBOX", bob, "lrswite")
	b, idler := s.as(bob), s.as(bob)
	b.cmd("SELECT " + alicesInbox).ok()
	idler.cmd("SELECT " + alicesInbox).ok()
	idle := idler.begin("IDLE")
	idler.expect("+ idling")
	s.grant(alice, "INBOX", bob, "lr")                                                  // He may still read.
	idler.expect("* FLAGS ...", "* OK [PERMANENTFLAGS ()] ...", "* OK [READ-ONLY] ...") // RFC 9051 section 7.1.
	b.cmd(`STORE 1 +FLAGS (\Seen)`).no("[NOPERM] ...")
	b.cmd("NOOP").want("OK ...")
	for _, command := range []string{`STORE 1 +FLAGS (\Seen)`, "EXPUNGE", "MOVE 1 INBOX"} {
		b.cmd("%s", command).no("[READ-ONLY] ...")
	}
	b.cmd("FETCH 1 BODY[]").hasNot("...\\Seen...").ok()
	b.cmd("COPY 1 INBOX").ok() // which needs "r" only
	b.cmd("SEARCH ALL").want("* SEARCH 1 2", "OK ...")
	s.grant(alice, "INBOX", bob, "lrs")
	idler.expect("* FLAGS ...", `* OK [PERMANENTFLAGS (\Seen)] ...`, "* OK [READ-WRITE] ...")
	b.cmd(`STORE 1 +FLAGS (\Seen)`).ok()
	idler.expect(`* 1 FETCH (UID 1 FLAGS (\Seen))`)
	s.grant(alice, "INBOX", bob, "l")
	idler.expect("* 2 EXPUNGE", "* 1 EXPUNGE")
	b.cmd("FETCH 1:2 (FLAGS BODY[])").no("[NONEXISTENT] ...")
	b.cmd("SEARCH ALL").no("[NONEXISTENT] ...")
	b.cmd("NOOP").want("* 2 EXPUNGE", "* 1 EXPUNGE", "OK ...")
	b.cmd("UID FETCH 1:* FLAGS").ok()
	b.cmd(`UID STORE 1 +FLAGS (\Seen)`).ok()
	b.cmd("EXPUNGE").no()
	b.cmd("SELECT " + alicesInbox).no("[NOPERM] ...")
	s.grant(alice, "INBOX", bob, "")
	b.cmd("SELECT " + alicesInbox).no("[NONEXISTENT] ...")
	idler.send("DONE\r\n")
	idler.finish(idle).ok()
	idler.cmd("CLOSE").ok()
	s.grant(alice, "INBOX", bob, "lr")
	b.cmd("SELECT " + alicesInbox).has("* 2 EXISTS").ok()
}

// TestAnOwnerIsErasedUnderAReader: only the mailbox goes.
func TestAnOwnerIsErasedUnderAReader(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	s.grant(alice, "INBOX", bob, "lrswite")
	b := s.as(bob)
	b.cmd("SELECT " + alicesInbox).ok()
	if err := s.Directory.Erase(context.WithoutCancel(t.Context()), "test", s.account); err != nil {
		t.Fatal(err)
	}
	b.cmd("FETCH 1 FLAGS").no("[NONEXISTENT] ...")
	b.cmd("NOOP").want("* 1 EXPUNGE", "OK ...")
	b.cmd("SELECT " + alicesInbox).no("[NONEXISTENT] ...")
	b.cmd(`LIST "" *`).hasNot(`...Other...`).ok()
	b.cmd("SELECT INBOX").ok()
	b.cmd("GETACL INBOX").want("* ACL INBOX bob@example.org lrswipkxteacd", "OK ...")
}

// TestFlagsThatMayNotBeSetAreLeftOut of what one appends or copies (RFC 4314 section 4).
func TestFlagsThatMayNotBeSetAreLeftOut(t *testing.T) {
	s := share(t)
	s.grant(alice, "INBOX", bob, "lris")
	s.grant(alice, "Archive", bob, "lriw")
	b := s.as(bob)
	b.cmd("APPEND "+alicesInbox+" (\\Seen \\Deleted \\Flagged work) {%d+}\r\n%s", len(mail(1)), mail(1)).ok()
	b.cmd("SELECT " + alicesInbox).ok()
	b.cmd("FETCH 1 FLAGS").has(`* 1 FETCH (FLAGS (\Seen...))`).hasNot("...Flagged...").ok()
	s.deliver("INBOX", mail(2), `\Seen`, `\Deleted`, `\Flagged`, "work")
	b.cmd("NOOP").ok()
	b.cmd(`COPY 1:* "Other Users/alice@example.org/Archive"`).ok("[COPYUID ... 1:2 1:2] ...")
	b.cmd(`SELECT "Other Users/alice@example.org/Archive"`).ok()
	b.cmd("FETCH 1:2 FLAGS").has(`* 1 FETCH (FLAGS (...))`, `* 2 FETCH (FLAGS (\Flagged work...))`).hasNot("...Deleted...").hasNot("...Seen...").ok()
}

// TestRightsOutliveTheViews: on the real log, views and blobs, what is shared is the same after a restart and with all views made anew.
func TestRightsOutliveTheViews(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole server")
	}
	whole := stack.New(t)
	s := &shared{&testServer{t: t, account: whole.AddAccount(t, alice, password)}, map[string]domain.AccountID{}}
	s.ids[alice], s.ids[bob] = s.account, whole.AddAccount(t, bob, password)
	serve := func() {
		s.Node = &doortest.Node{Accounts: whole.Accounts, Directory: whole.Directory}
		s.testServer.serve(func(c *Config) { c.Anyone = true })
	}
	serve()
	a := s.login()
	a.append("INBOX", mail(1)).ok()
	a.cmd("SETACL INBOX anyone l").ok()
	a.cmd("SETACL INBOX %s lrsi", bob).ok()
	a.cmd("SETACL INBOX -%s s", bob).ok()
	a.cmd("CREATE gone").ok()
	a.cmd("SETACL gone %s lr", bob).ok()
	a.cmd("DELETE gone").ok()
	look := func() string {
		b := s.as(bob)
		all := b.cmd(`LIST "" "Other*" RETURN (MYRIGHTS STATUS (MESSAGES HIGHESTMODSEQ))`).ok().untagged
		b.cmd("SELECT " + alicesInbox).ok("[READ-WRITE] ...")
		all = append(all, b.cmd("FETCH 1 (UID EMAILID BODY[TEXT])").ok().untagged...)
		return strings.Join(append(all, s.login().cmd("GETACL INBOX").ok().untagged...), "\n")
	}
	before := look()
	for _, want := range []string{"* MYRIGHTS " + alicesInbox + " lri\n", "text 1", "* ACL INBOX alice@example.org lrswipkxteacd -bob@example.org s anyone l bob@example.org lrsi"} {
		if !strings.Contains(before, want) {
			t.Errorf("no %q in %s", want, before)
		}
	}
	for _, disturb := range []func(){whole.Restart, whole.RemoveViews} {
		if err := s.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		disturb()
		serve()
		if _, err := whole.Runner.Readers(t.Context(), mailboxes.Name); err != nil { // until the rows are complete, a list may lack what is shared.
			t.Fatal(err)
		}
		if after := look(); after != before {
			t.Fatalf("before there was\n%s\nafter it\n%s", before, after)
		}
	}
}

// TestAKeywordThatMayNotBeMade: a client that may set a part of what it says is told all the flags, with CONDSTORE too, and also when nobody has the keyword yet.
func TestAKeywordThatMayNotBeMade(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", letter)
	s.grant(alice, "INBOX", bob, "lrs")
	b := s.as(bob)
	b.cmd("ENABLE CONDSTORE").ok()
	b.cmd("SELECT %s", alicesInbox).ok()
	b.cmd(`STORE 1 +FLAGS.SILENT (\Seen Unheard)`).want(`* 1 FETCH (UID 1 FLAGS (\Seen...) MODSEQ (...))`, "OK ...")
}
