package imap

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
)

func messageLimit(l MessageLimit) func(*Config) { return func(c *Config) { c.MessageLimit = l } }

func TestMessageLimit(t *testing.T) {
	s := start(t, messageLimit(MessageLimit{Messages: 2, Enforced: 3}))
	s.fill(5)
	c := s.login()
	c.cmd("CAPABILITY").has("* CAPABILITY ... MESSAGELIMIT=2 ...").ok()
	c.cmd("SELECT INBOX").has("* 5 EXISTS").ok()
	c.cmd("FETCH 3:5 (UID)").ok("FETCH completed")
	c.cmd("FETCH 1:* (UID)").want("* 3 FETCH (UID 3)", "* 4 FETCH (UID 4)", "* 5 FETCH (UID 5)", "OK [MESSAGELIMIT 3 3] ...")
	c.cmd("UID FETCH 1,3,4:5 (UID)").want("* 3 FETCH ...", "* 4 FETCH ...", "* 5 FETCH ...", "OK [MESSAGELIMIT 3 3] ...")
	c.cmd("UID FETCH 1:2 (UID)").ok("UID FETCH completed") // what was left over
	c.cmd("UID FETCH 1:* (UID) (PARTIAL -1:-4)").want("NO [MESSAGELIMIT 3] ...")
	c.cmd("UID FETCH 1:* (UID) (PARTIAL -1:-3)").ok("UID FETCH completed")
	c.cmd("STORE 1:5 +FLAGS (x)").has("* 3 FETCH ...").hasNot("* 2 FETCH ...").ok("[MESSAGELIMIT 3 3] ...")
	c.cmd("STORE 1:5 (UNCHANGEDSINCE 1) +FLAGS (y)").has("* NO [MESSAGELIMIT 3 3] ...").ok("[MODIFIED 3:5] ...") // the tagged answer has one code
	c.cmd("SEARCH KEYWORD x").want("* SEARCH 3 4 5", "OK [MESSAGELIMIT 3 3] ...")
	c.cmd("SEARCH UNKEYWORD x").want("* SEARCH", "OK [MESSAGELIMIT 3 3] ...") // messages that are looked at count, and not those that are found
	c.cmd("UID SEARCH UID 1:3 UNKEYWORD x").want("* SEARCH 1 2", "OK UID SEARCH completed")
	c.cmd("SEARCH RETURN (SAVE) ALL").want("OK [MESSAGELIMIT 3 3] ...") // section 3.4: "$" is cut short
	c.cmd("UID SEARCH $").want("* SEARCH 3 4 5", "OK ...")
	c.cmd("UID SEARCH UIDAFTER 3").want("* SEARCH 4 5", "OK UID SEARCH completed")
	c.cmd("UID SEARCH UIDBEFORE 3").want("* SEARCH 1 2", "OK UID SEARCH completed")
	c.cmd("UID SEARCH NOT UIDBEFORE 1 UIDAFTER 4").want("* SEARCH 5", "OK ...")
	c.cmd("UID SEARCH UIDAFTER 4294967295").want("* SEARCH", "OK ...")
	c.cmd("UID SEARCH UIDAFTER 0").bad()
	c.cmd("UID SEARCH UIDAFTER").bad()
	c.cmd("SORT (ARRIVAL) UTF-8 ALL").has("* SORT 1 2 3 4 5").ok("SORT completed")
	c.cmd("COPY 1:4 Trash").no("[MESSAGELIMIT 3 2] ...")
	c.cmd("STATUS Trash (MESSAGES)").want("* STATUS Trash (MESSAGES 0)", "OK ...")
	c.cmd("COPY 1:3 Trash").ok("[COPYUID ...] ...")
	c.cmd("UID STORE 2:4 +FLAGS (\\Deleted)").ok("UID STORE completed")
	c.cmd("UID STORE 1 +FLAGS (\\Deleted)").ok()
	c.cmd("UID EXPUNGE 1:5").want("* 4 EXPUNGE", "* 3 EXPUNGE", "* 2 EXPUNGE", "OK [MESSAGELIMIT 3 2] ...")
	c.cmd("UID EXPUNGE 1:5").want("* 1 EXPUNGE", "OK UID EXPUNGE completed") // the same command again does the rest
	for n := range 4 {
		s.deliver("INBOX", mail(n), `\Deleted`)
	}
	c.cmd("NOOP").ok()
	c.cmd("UID MOVE 1:* Archive").has("* OK [COPYUID ...] ...", "* 5 EXPUNGE", "* 3 EXPUNGE").hasNot("* 2 EXPUNGE").ok("[MESSAGELIMIT 3 7] ...")
	c.cmd("STORE 1:* +FLAGS.SILENT (\\Deleted)").ok()
	c.cmd("EXPUNGE").has("* 1 EXPUNGE").ok("EXPUNGE completed") // no limit (section 3.1)
	m := mail(9)
	one := " {16+}\r\nSubject: x\r\n\r\nab"
	c.cmd("APPEND INBOX%s", strings.Repeat(one, 4)).no("[MESSAGELIMIT 3] ...")
	c.cmd("STATUS INBOX (MESSAGES)").want("* STATUS INBOX (MESSAGES 0)", "OK ...")
	c.append("INBOX", m).ok()
}

// A limit that is advertised and not enforced is for clients that know it (section 4.2). One that is not offered leaves no trace.
func TestMessageLimitThatIsNotEnforced(t *testing.T) {
	s := start(t, messageLimit(MessageLimit{Messages: 2}))
	s.fill(4)
	c := s.selected("INBOX")
	c.cmd("FETCH 1:* (UID)").has("* 4 FETCH ...").ok("FETCH completed")
	c.cmd("COPY 1:* Trash").ok("[COPYUID ...] ...")

	s = start(t, messageLimit(MessageLimit{Messages: 2, Enforced: 3}), func(c *Config) { c.Without = []string{"MESSAGELIMIT"} })
	s.fill(4)
	c = s.selected("INBOX")
	c.cmd("FETCH 1:* (UID)").has("* 1 FETCH ...").ok("FETCH completed")
	c.cmd("SEARCH UIDAFTER 1").bad()
}

func TestSaveLimit(t *testing.T) {
	s := start(t, messageLimit(MessageLimit{Saved: 2, Enforced: 2}))
	s.fill(3)
	c := s.login()
	c.cmd("CAPABILITY").has("* CAPABILITY ... SAVELIMIT=2 ...").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH 1:* (UID)").has("* 1 FETCH ...").ok("FETCH completed")
	c.cmd("COPY 1:* Trash").no("[MESSAGELIMIT 2 2] ...")
	c.cmd("MOVE 1:* Trash").ok()
}

func TestLimitedSets(t *testing.T) {
	c := &conn{sel: &selected{uids: []domain.UID{2, 4, 6, 8, 10}}}
	for _, x := range []struct {
		set, left string
		limit     int
		cut       cut
	}{
		{"1:100", "1:100", 5, cut{}},
		{"1:100", "6:100", 3, cut{3, 6}},
		{"2,4,6:100", "6:100", 3, cut{3, 6}},
		{"2,4,6:100", "4,6:100", 4, cut{4, 4}},
		{"3,5,7,10", "3,5,7,10", 1, cut{}},
		{"2:3,5,7,10", "5,7,10", 1, cut{1, 10}},
		{"1:2,20:30", "1:2,20:30", 1, cut{}},
	} {
		set, _ := domain.ParseUIDSet(x.set)
		if left, got := c.limited(set, x.limit); left.String() != x.left || got != x.cut {
			t.Errorf("%d of %s are %s, %+v", x.limit, x.set, left, got)
		}
	}
}
