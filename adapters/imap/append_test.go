package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/account"
)

// literal is a non-synchronising literal.
func literal(text string) string { return fmt.Sprintf("{%d+}\r\n%s", len(text), text) }

func TestMultiAppend(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Append = 1000 })
	c := s.selected("INBOX")
	tag := c.begin(`APPEND INBOX (\Seen) {%d}`, len(mail(1)))
	c.expect("+ Ready")
	c.send(`%s (\Flagged $Work) " 7-Feb-1994 22:43:04 -0800" {%d}`+"\r\n", mail(1), len(mail(2)))
	c.expect("+ Ready")
	c.send("%s %s\r\n", mail(2), literal(mail(3)))
	c.finish(tag).want("* FLAGS ...", "* OK [PERMANENTFLAGS ...", "* 3 EXISTS", "* 3 RECENT", "OK [APPENDUID ... 1:3] APPEND completed")
	c.cmd("FETCH 2:3 (FLAGS INTERNALDATE)").want(
		`* 2 FETCH (FLAGS (\Flagged $Work \Recent) INTERNALDATE "08-Feb-1994 06:43:04 +0000")`, `* 3 FETCH (FLAGS (\Recent) ...)`, "OK ...")

	// The whole command fails, whatever came before, and nothing of it is read as a command.
	smuggled := "x CREATE smuggled\r\n"
	for name, second := range map[string]string{
		"cancelled":         "{0+}\r\n",
		"too large":         literal(strings.Repeat(smuggled, 100)),
		"bad flags":         "(one(two) " + literal(smuggled),
		"no message":        "(one)",
		"a bad flag":        `(\Bogus) ` + literal(smuggled),
		"NUL":               literal(smuggled + "\x00" + smuggled),
		"an unknown form":   "POEM " + literal(smuggled),
		"two spaces":        " " + literal(smuggled),
		"text after it":     literal(smuggled) + "junk",
		"a third, refused":  literal(mail(1)) + " {100000+}\r\n" + strings.Repeat(" ", 100_000),
		"a size not a size": "{-1+}",
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			got := c.cmd("APPEND INBOX %s %s", literal(mail(4)), second)
			if strings.HasPrefix(got.tagged, "OK") {
				t.Errorf("answered %s", got.tagged)
			}
			c.cmd("NOOP").want("OK NOOP completed") // and no EXISTS
		})
	}
	c.t = t
	tag = c.begin("APPEND INBOX %s {0}", literal(mail(4))) // RFC 3502 section 6.3.11: how to cancel.
	c.finish(tag).no("[CANNOT] ...")
	c.cmd(`LIST "" smuggled`).want("OK LIST completed")
}

func TestMultiAppendOverQuota(t *testing.T) {
	s := start(t)
	size := int64(len(mail(1)))
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.SetLimits{Limits: account.Limits{Bytes: 2*size + 10}}); err != nil {
		t.Fatal(err)
	}
	c := s.login()
	c.cmd("APPEND INBOX %s %s {%d}", literal(mail(1)), literal(mail(2)), size).no("[OVERQUOTA] ...") // before the third is asked for
	c.cmd("STATUS INBOX (MESSAGES)").has("* STATUS INBOX (MESSAGES 0)")
	c.cmd("APPEND INBOX %s %s", literal(mail(1)), literal(mail(2))).ok("[APPENDUID ... 1:2] ...")
}

func TestMultiAppendIsBounded(t *testing.T) {
	s := start(t)
	c := s.login()
	many := strings.Repeat(" {1+}\r\nx", account.MaxAdded)
	c.cmd("APPEND INBOX%s {1+}\r\nx", many).no("[LIMIT] ...")
	c.cmd("APPEND INBOX%s", many).ok(fmt.Sprintf("[APPENDUID ... 1:%d] ...", account.MaxAdded))
}

func TestMultiAppendSwitchedOff(t *testing.T) {
	s := start(t, func(c *Config) { c.Without = []string{"MULTIAPPEND"} })
	c := s.login()
	c.cmd("APPEND INBOX %s %s", literal(mail(1)), literal("x CREATE smuggled\r\n")).bad()
	c.cmd("CAPABILITY").hasNot("...MULTIAPPEND...")
	c.cmd(`LIST "" smuggled`).want("OK LIST completed")
}

func TestReplace(t *testing.T) {
	s := start(t)
	for n := range 3 {
		s.deliver("Drafts", mail(n), "$Old")
	}
	c, other := s.selected("Drafts"), s.selected("Drafts")
	other.begin("IDLE")
	other.expect("+ idling")
	c.cmd(`REPLACE 2 Drafts (\Draft) %s`, literal(mail(7))).want(
		"* OK [APPENDUID ... 4] ...", "* 2 EXPUNGE", "* 3 EXISTS", "* ... RECENT", "OK REPLACE completed")
	other.expect("* 2 EXPUNGE", "* 3 EXISTS", "* ... RECENT")                          // both at once
	c.cmd(`FETCH 3 (UID FLAGS)`).want(`* 3 FETCH (UID 4 FLAGS (\Draft...))`, "OK ...") // nothing of the old message
	c.cmd(`UID REPLACE 4 Sent %s`, literal(mail(8))).want("* OK [APPENDUID ... 1] ...", "* 3 EXPUNGE", "OK UID REPLACE completed")
	c.cmd(`REPLACE * Drafts %s`, literal(mail(9))).want("* OK [APPENDUID ... 5] ...", "* 2 EXPUNGE", "* 2 EXISTS", "* ... RECENT", "OK ...")
	c.cmd(`STATUS Sent (MESSAGES)`).has("* STATUS Sent (MESSAGES 1)")

	c.cmd(`UID REPLACE 2 Drafts {10}`).no("[NONEXISTENT] the message was expunged")
	c.cmd(`REPLACE 3 Drafts %s`, literal("x CREATE smuggled\r\n")).bad("the mailbox has 2 messages: ...")
	c.cmd(`REPLACE 0 Drafts %s`, literal("x CREATE smuggled\r\n")).bad()
	c.cmd(`UID REPLACE 0 Drafts %s`, literal("x CREATE smuggled\r\n")).bad()
	c.cmd(`REPLACE 1:2 Drafts %s`, literal("x CREATE smuggled\r\n")).bad()
	c.cmd(`REPLACE 1 nowhere {10}`).no("[TRYCREATE] ...")
	c.cmd(`REPLACE 1 Drafts {0}`).no("[CANNOT] ...")
	c.cmd(`REPLACE 1 Drafts %s %s`, literal(mail(1)), literal("x CREATE smuggled\r\n")).bad() // RFC 8508 section 4.7.
	c.cmd(`EXAMINE Drafts`).has("* 2 EXISTS")
	c.cmd(`REPLACE 1 Drafts %s`, literal(mail(1))).no("[READ-ONLY] ...")
	c.cmd(`UNSELECT`).ok()
	c.cmd(`REPLACE 1 Drafts %s`, literal(mail(1))).bad()
	c.cmd(`LIST "" smuggled`).want("OK LIST completed")
}

// TestReplaceAtTheQuota: only what the mailbox grows by counts (RFC 8508 section 3.4).
func TestReplaceAtTheQuota(t *testing.T) {
	s := start(t)
	s.deliver("Drafts", mail(1))
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.SetLimits{Limits: account.Limits{Bytes: int64(len(mail(1))), Messages: 1}}); err != nil {
		t.Fatal(err)
	}
	c := s.selected("Drafts")
	c.append("Drafts", mail(2)).no("[OVERQUOTA] ...")
	c.cmd("REPLACE 1 Drafts %s", literal(mail(2))).ok()
	c.cmd("REPLACE 1 Drafts %s", literal(mail(2)+"more")).no("[OVERQUOTA] ...")
	c.cmd("FETCH 1 UID").want("* 1 FETCH (UID 2)", "OK ...")
}
