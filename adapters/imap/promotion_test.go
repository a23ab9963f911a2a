package imap

import (
	"testing"

	"github.com/streampost/streampost/domain/account"
)

func (s *testServer) promote(node string) {
	s.t.Helper()
	if _, err := s.Accounts.Do(s.t.Context(), s.account, "test", account.Promote{Node: node}); err != nil {
		s.t.Fatal(err)
	}
}

// TestSessionsStayAfterAPromotion, with all that they have: any node serves any account.
func TestSessionsStayAfterAPromotion(t *testing.T) {
	s := start(t)
	s.fill(2)
	c := s.selected("INBOX")
	s.promote("mail2")
	c.cmd(`STORE 1 +FLAGS (\Answered)`).want("* 1 FETCH (UID 1 FLAGS (\\Answered...))", "OK ...")
}

// TestSessionsFollowThePrimary where they are told to, between two commands.
func TestSessionsFollowThePrimary(t *testing.T) {
	s := start(t, func(c *Config) { c.Node = "mail1" })
	s.fill(1)
	waiting, idle := s.login(), s.selected("INBOX")
	idle.begin("IDLE")
	idle.expect("+ idling")
	s.promote("mail1") // where they are
	waiting.cmd("NOOP").ok()
	s.promote("mail2")
	for _, c := range []*client{waiting, idle} {
		c.expect("* BYE [UNAVAILABLE] this account is now served by mail2: connect again")
		c.ended()
	}
	s.login().cmd("NOOP").ok() // who insists is served
}

// TestAPromotionLeavesWhatClientsSynchroniseBy: UIDVALIDITY, UIDNEXT and HIGHESTMODSEQ, and nothing has happened since.
func TestAPromotionLeavesWhatClientsSynchroniseBy(t *testing.T) {
	s := start(t)
	s.fill(3)
	status := func() string {
		return s.login().cmd("STATUS INBOX (UIDVALIDITY UIDNEXT HIGHESTMODSEQ MESSAGES MAILBOXID)").ok().untagged[0]
	}
	before, since := status(), s.modseq()
	s.promote("mail2")
	if after := status(); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
	s.aware().cmd("SELECT INBOX (QRESYNC (%d %d))", s.validity(), since).wantEarlier()
}
