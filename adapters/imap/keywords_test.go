package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

// TestOthersLeaveKeywordsToTheOwner: who may write in one shared mailbox cannot use up the keywords of the account, which are numbered for ever.
func TestOthersLeaveKeywordsToTheOwner(t *testing.T) {
	s := share(t)
	s.deliver("INBOX", mail(1))
	s.grant(alice, "INBOX", bob, "lrwite")
	b := s.as(bob)
	b.cmd("SELECT " + alicesInbox).has(`* OK [PERMANENTFLAGS (...\*)] ...`).ok()
	for i := range account.OthersKeywords {
		b.cmd("STORE 1 +FLAGS.SILENT (b%d)", i).ok()
	}
	b.cmd("STORE 1 +FLAGS (more)").no("[LIMIT] only the owner of an account gives it more than 30 keywords")
	b.cmd("STORE 1 +FLAGS (B3)").ok() // those there are can be used on
	text := "Subject: x\r\n\r\nx\r\n"
	for _, command := range []string{"APPEND " + alicesInbox, "REPLACE 1 " + alicesInbox} {
		b.begin("%s (more) {%d+}\r\n%s", command, len(text), text)
		if line := b.line(); !strings.Contains(line, " NO [LIMIT] ") {
			t.Errorf("%s with one keyword too many: %s", command, line)
		}
	}
	b.cmd("SELECT " + alicesInbox).has(`* OK [PERMANENTFLAGS (... b29)] Flags kept`).hasNot(`...\*...`).ok()
	a := s.selected("INBOX")
	for i := account.OthersKeywords; i < event.MaxKeywords; i++ {
		a.cmd("STORE 1 +FLAGS.SILENT (a%d)", i).ok()
	}
	a.cmd("STORE 1 +FLAGS (more)").no("[LIMIT] an account has at most 59 keywords")
}

// TestTheLastKeyword: an account has a fixed number of keywords. What would make one more is refused whole, with LIMIT, and PERMANENTFLAGS has
// promised no more (RFC 9051 section 7.1).
func TestTheLastKeyword(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	for i := range event.MaxKeywords {
		c.cmd("STORE 1 +FLAGS.SILENT (k%d)", i).ok()
	}
	c.cmd("STORE 1 +FLAGS (more)").no("[LIMIT] an account has at most 59 keywords")
	c.cmd(`STORE 1 +FLAGS (\Seen k0 more)`).no("[LIMIT] ...")
	c.cmd("FETCH 1 (FLAGS)").hasNot(`* 1 FETCH (FLAGS (\Seen...`)
	text := "Subject: x\r\n\r\nx\r\n"
	c.begin("APPEND INBOX (more) {%d+}\r\n%s", len(text), text)
	if line := c.line(); !strings.Contains(line, " NO [LIMIT] ") {
		t.Errorf("APPEND with one keyword too many: %s", line)
	}
	c.cmd("STATUS INBOX (MESSAGES)").has("* STATUS INBOX (MESSAGES 1)")
	c.cmd("STORE 1 -FLAGS (k7)").ok()
	c.cmd("STORE 1 +FLAGS (K7)").ok() // those there are can be used on
	other := s.login()
	answer := other.cmd("SELECT INBOX")
	answer.hasNot(`...\*...`)
	answer.has(fmt.Sprintf("* OK [PERMANENTFLAGS (... k%d)] Flags kept", event.MaxKeywords-1))
}
