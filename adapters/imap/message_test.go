package imap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door/doortest"
)

func TestAppend(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Append = 1000 })
	c := s.selected("INBOX")
	c.append("INBOX", mail(1)).want("* 1 EXISTS", "* 1 RECENT", "OK [APPENDUID ... 1] APPEND completed")

	tag := c.begin(`APPEND INBOX (\Seen $Work) "17-Jul-1996 02:44:25 -0700" {%d}`, len(mail(2)))
	c.expect("+ Ready")
	c.send("%s\r\n", mail(2))
	c.finish(tag).want(`* FLAGS (... $Work)`, `* OK [PERMANENTFLAGS (... $Work \*)] ...`, "* 2 EXISTS", "* 2 RECENT", "OK [APPENDUID ... 2] APPEND completed")
	_ = s.Accounts.View(t.Context(), s.account, func(state *account.State) error {
		m, _ := state.Mailbox("INBOX")
		if at := time.Unix(m.Internal[1], 0).UTC().Format(time.RFC3339); at != "1996-07-17T09:44:25Z" {
			t.Errorf("the internal date is %s", at)
		}
		return nil
	})

	c.append("nowhere", mail(3)).no("[TRYCREATE] ...")
	c.cmd("NOOP").want("OK NOOP completed") // the literal did not run as commands.
	c.cmd("APPEND nowhere {100}").no("[TRYCREATE] ...")
	c.cmd("APPEND INBOX {1001}").no("[TOOBIG] ...")
	c.append("INBOX", strings.Repeat("x", 1001)).no("[TOOBIG] ...")
	c.cmd("APPEND INBOX {0+}\r\n").no("[CANNOT] ...")
	c.cmd("APPEND INBOX (bad flag(s) {3+}\r\nabc").bad()
	c.cmd(`APPEND INBOX "yesterday" {3+}` + "\r\nabc").bad()
	c.cmd("APPEND INBOX {5+}\r\nhello ").bad()
	c.cmd("APPEND INBOX ~{5+}\r\nhello").ok("[APPENDUID ...] ...")
	c.cmd("APPEND INBOX {5+}\r\nhe\x00lo").bad("NUL ...")
	c.cmd("EXAMINE INBOX").has("* 3 EXISTS")
}

func TestAppendOverQuota(t *testing.T) {
	s := start(t)
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.SetLimits{Limits: account.Limits{Bytes: 200}}); err != nil {
		t.Fatal(err)
	}
	c := s.login()
	c.append("INBOX", mail(1)).ok()
	c.cmd("APPEND INBOX {150}").no("[OVERQUOTA] ...")
	c.cmd("SELECT INBOX").ok()
	c.cmd("COPY 1 Trash").no("[OVERQUOTA] ...")
	c.cmd("MOVE 1 Trash").ok()
}

func TestStore(t *testing.T) {
	s := start(t)
	for n := range 3 {
		s.deliver("INBOX", mail(n))
	}
	c := s.selected("INBOX")
	c.cmd(`STORE 1:2 +FLAGS (\Seen $Todo)`).want(
		`* FLAGS (\Seen \Answered \Flagged \Deleted \Draft $Todo)`, `* OK [PERMANENTFLAGS ...] ...`,
		`* 1 FETCH (UID 1 FLAGS (\Seen $Todo \Recent))`, `* 2 FETCH (UID 2 FLAGS (\Seen $Todo \Recent))`, "OK STORE completed")
	c.cmd(`STORE 1 -FLAGS.SILENT \Seen`).want("OK STORE completed")
	c.cmd(`UID STORE 2,99 FLAGS (\Flagged)`).want(`* 2 FETCH (UID 2 FLAGS (\Flagged \Recent))`, "OK UID STORE completed")
	c.cmd(`UID STORE 99 FLAGS (\Flagged)`).want("OK UID STORE completed")
	c.cmd(`STORE * FLAGS ()`).want(`* 3 FETCH (UID 3 FLAGS (\Recent))`, "OK STORE completed")
	c.cmd(`STORE 1 FLAGS \Recent`).want(`* 1 FETCH (UID 1 FLAGS (\Recent))`, "OK STORE completed")
	c.cmd(`STORE 4 FLAGS ()`).bad("the mailbox has 3 messages: ...")
	c.cmd(`STORE 0 FLAGS ()`).bad()
	c.cmd(`STORE 2:1 FLAGS (\Bogus)`).no("[CANNOT] ...")
	c.cmd(`STORE 1 (UNHEARDOF 5) FLAGS ()`).bad("there is no modifier UNHEARDOF")
	c.cmd(`STORE 1 COLOUR red`).bad()
	c.cmd(`EXAMINE INBOX`).ok()
	c.cmd(`STORE 1 FLAGS ()`).no("[READ-ONLY] ...")
}

func TestExpungeCopyMove(t *testing.T) {
	s := start(t)
	for n := range 5 {
		s.deliver("INBOX", mail(n))
	}
	c := s.selected("INBOX")
	c.cmd(`COPY 2:3 Trash`).want("OK [COPYUID ... 2:3 1:2] COPY completed")
	c.cmd(`UID COPY 99 Trash`).want("OK UID COPY completed")
	c.cmd(`COPY 1 nowhere`).no("[TRYCREATE] ...")
	c.cmd(`COPY 9 Trash`).bad()
	c.cmd(`COPY 1 INBOX`).want("* 6 EXISTS", "* 6 RECENT", "OK [COPYUID ... 1 6] COPY completed")
	c.cmd(`MOVE 1,3 Junk`).want("* OK [COPYUID ... 1,3 1:2] moved", "* 3 EXPUNGE", "* 1 EXPUNGE", "OK MOVE completed")
	c.cmd(`UID MOVE 6 Junk`).want("* OK [COPYUID ... 6 3] moved", "* 4 EXPUNGE", "OK UID MOVE completed")
	c.cmd(`STORE 1:* +FLAGS.SILENT (\Deleted)`).want("OK STORE completed")
	c.cmd(`UID EXPUNGE 4`).want("* 2 EXPUNGE", "OK UID EXPUNGE completed")
	c.cmd(`EXPUNGE`).want("* 2 EXPUNGE", "* 1 EXPUNGE", "OK EXPUNGE completed")
	c.cmd(`EXPUNGE`).want("OK EXPUNGE completed")
	c.cmd(`SELECT Junk`).has("* 3 EXISTS")
	c.cmd(`STORE 1 +FLAGS.SILENT (\Deleted)`).ok()
	c.cmd(`UNSELECT`).want("OK UNSELECT completed")
	c.cmd(`EXAMINE Junk`).has("* 3 EXISTS")
	c.cmd(`MOVE 1 Trash`).no("[READ-ONLY] ...")
	c.cmd(`EXPUNGE`).no("[READ-ONLY] ...")
	c.cmd(`CLOSE`).ok()
	c.cmd(`SELECT Junk`).has("* 3 EXISTS")
	c.cmd(`CLOSE`).want("OK CLOSE completed")
	c.cmd(`STATUS Junk (MESSAGES)`).has("* STATUS Junk (MESSAGES 2)")
}

func TestIdlePushes(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c, other := s.selected("INBOX"), s.selected("INBOX")
	tag := c.begin("IDLE")
	c.expect("+ idling")
	s.deliver("INBOX", mail(2))
	c.expect("* 2 EXISTS", "* ... RECENT")
	other.cmd(`STORE 1 +FLAGS (\Deleted)`).ok()
	c.expect(`* 1 FETCH (UID 1 FLAGS (\Deleted...))`)
	other.cmd("EXPUNGE").ok()
	c.expect("* 1 EXPUNGE")
	c.send("DONE\r\n")
	c.finish(tag).want("OK IDLE completed")
}

// TestIdleEndsInTheMiddleOfAPacket is what iOS sends: DONE and the next commands at once.
func TestIdleEndsInTheMiddleOfAPacket(t *testing.T) {
	s := start(t)
	c := s.selected("INBOX")
	tag := c.begin("IDLE")
	c.expect("+ idling")
	c.send("DONE\r\nx NOOP\r\ny STATUS INBOX (MESSAGES)\r\n")
	c.finish(tag).ok()
	c.finish("x").ok()
	c.finish("y").has("* STATUS INBOX (MESSAGES 0)")
	c.send("i IDLE\r\nDONE\r\nz NOOP\r\n")
	c.expect("+ idling")
	c.finish("i").ok()
	c.finish("z").ok()
	c.send("i IDLE\r\n")
	c.expect("+ idling")
	c.send("NOOP\r\n")
	c.finish("i").bad("IDLE ends with DONE")
	c.cmd("NOOP").ok()
}

func TestIdleEndsAfterSilence(t *testing.T) {
	asleep(t, func(_ *testServer, c *client) {
		c.begin("IDLE")
		c.expect("+ idling", "* BYE too slow or idle for too long")
		c.ended()
	}, func(c *Config) { c.Limits.Line.Idle = 100 * time.Millisecond })
}

// TestTwoSessionsAgree follows RFC 9051 section 7.5.1: sequence numbers change at known points only.
func TestTwoSessionsAgree(t *testing.T) {
	s := start(t)
	for n := range 4 {
		s.deliver("INBOX", mail(n))
	}
	a, b := s.selected("INBOX"), s.selected("INBOX")
	a.cmd(`STORE 1,3 +FLAGS.SILENT (\Deleted)`).ok()
	a.cmd("EXPUNGE").want("* 3 EXPUNGE", "* 1 EXPUNGE", "OK ...")
	s.deliver("INBOX", mail(5))

	// b numbers four messages still. STORE may not renumber them, but may tell of the arrival.
	b.cmd(`STORE 2 +FLAGS (\Seen)`).want("* 5 EXISTS", "* 1 RECENT", `* 2 FETCH (UID 2 FLAGS (\Seen))`, "OK ...")
	b.cmd(`STORE 3 +FLAGS (\Seen)`).want("OK ...") // gone, and not yet said so.
	b.cmd(`UID STORE 4 +FLAGS (\Flagged)`).want("* 3 EXPUNGE", "* 1 EXPUNGE", `* 2 FETCH (UID 4 FLAGS (\Flagged))`, "OK ...")
	b.cmd("NOOP").want("OK NOOP completed")
	a.cmd("NOOP").want("* 3 EXISTS", "* 2 RECENT", `* 1 FETCH (UID 2 FLAGS (\Seen ...))`, `* 2 FETCH (UID 4 FLAGS (\Flagged ...))`, "OK ...")

	// A silent STORE is silent about its own change, not about another's.
	a.cmd(`STORE 1 +FLAGS ($Mine)`).ok()
	b.cmd(`STORE 1:2 +FLAGS.SILENT (\Answered)`).want("* FLAGS ...", "* OK [PERMANENTFLAGS ...", `* 1 FETCH (UID 2 FLAGS (\Seen \Answered $Mine))`, "OK ...")
	b.cmd(`NOOP`).want("OK NOOP completed")
}

func TestSelectedMailboxIsRenamedOrDeleted(t *testing.T) {
	s := start(t)
	s.deliver("Trash", mail(1))
	a, b := s.selected("Trash"), s.login()
	b.cmd("RENAME Trash Bin").ok()
	a.cmd(`STORE 1 +FLAGS (\Seen)`).has(`* 1 FETCH (UID 1 FLAGS (\Seen...))`).ok()
	b.cmd("DELETE Bin").ok()
	a.cmd("STORE 1 +FLAGS (\\Seen)").no("[NONEXISTENT] ...")
	a.cmd("NOOP").want("* 1 EXPUNGE", "OK NOOP completed")
	a.cmd("STORE 1 +FLAGS (\\Seen)").bad()
	a.cmd("EXPUNGE").no("[NONEXISTENT] ...")
	a.cmd("CLOSE").ok()
	a.cmd("SELECT INBOX").ok()
}

func TestManyMessagesGoAtOnce(t *testing.T) {
	s := start(t)
	const n = 300
	for i := range n {
		s.deliver("INBOX", mail(i))
	}
	a, b := s.selected("INBOX"), s.selected("INBOX")
	a.cmd(`STORE 1:* +FLAGS.SILENT (\Deleted)`).want("OK ...")
	a.cmd(`CLOSE`).want("OK ...")
	got := b.cmd("NOOP")
	if len(got.untagged) != n || got.untagged[0] != fmt.Sprintf("* %d EXPUNGE", n) {
		t.Errorf("%d responses, the first is %q", len(got.untagged), got.untagged[0])
	}
}

func TestLogFailsUnderACommand(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	s.failing(func() doortest.Fault { return doortest.LostKept }, func() {
		c.cmd(`STORE 1 +FLAGS.SILENT (\Seen)`).no("[UNAVAILABLE] ...")
		c.append("INBOX", mail(2)).no("[UNAVAILABLE] ...")
	})
	c.cmd("NOOP").want("OK NOOP completed")
	lost := true // the answer of one append
	s.failing(func() doortest.Fault {
		if lost {
			lost = false
			return doortest.LostSent
		}
		return doortest.None
	}, func() {
		c.cmd(`STORE 1 +FLAGS.SILENT (\Flagged)`).want(`* 1 FETCH (UID 1 FLAGS (\Flagged...))`, "NO [UNAVAILABLE] ...") // it did happen, as the client learns.
	})
}

func TestErasedAccountsEndTheirSessions(t *testing.T) {
	s := start(t)
	idle, busy := s.selected("INBOX"), s.selected("INBOX")
	idle.begin("IDLE")
	idle.expect("+ idling")
	if err := s.Directory.Erase(t.Context(), "test", s.account); err != nil {
		t.Fatal(err)
	}
	idle.expect("* BYE [...")
	idle.ended()
	busy.expect("* BYE [...")
	busy.ended()
	s.dial().cmd("LOGIN %s %s", alice, password).no("[AUTHENTICATIONFAILED] ...")
}
