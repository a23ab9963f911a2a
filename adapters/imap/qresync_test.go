package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// aware logs in and enables QRESYNC.
func (s *testServer) aware() *client {
	s.t.Helper()
	c := s.login()
	c.cmd("ENABLE QRESYNC").want("* ENABLED QRESYNC", "OK ENABLE completed")
	return c
}

// validity gives INBOX's UIDVALIDITY.
func (s *testServer) validity() (n uint32) {
	s.t.Helper()
	if err := s.Accounts.View(s.t.Context(), s.account, func(a *account.State) error {
		inbox, _ := a.Mailbox("INBOX")
		n = inbox.UIDValidity
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// expunge removes messages from INBOX behind the back of every session.
func (s *testServer) expunge(uids string) {
	s.t.Helper()
	set, err := domain.ParseUIDSet(uids)
	if err == nil {
		_, err = s.Accounts.Do(s.t.Context(), s.account, "test", account.Expunge{Mailbox: 1, UIDs: set, Any: true})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// earlier gives the FETCH and VANISHED lines of an answer.
func (a *answer) earlier() (lines []string) {
	for _, line := range a.untagged {
		if strings.Contains(line, " FETCH ") || strings.Contains(line, "VANISHED") {
			lines = append(lines, line)
		}
	}
	return lines
}

func (a *answer) wantEarlier(lines ...string) {
	a.t.Helper()
	if got := a.ok().earlier(); !slices.EqualFunc(lines, got, matches) {
		a.t.Fatalf("want\n\t%s\ngot\n\t%s", strings.Join(lines, "\n\t"), strings.Join(got, "\n\t"))
	}
}

// RFC 7162 section 3.2.5.1: what vanished and what changed since a mod-sequence, and nothing else.
func TestQuickResynchronisation(t *testing.T) {
	s := start(t)
	s.fill(10)
	since, other := s.modseq(), s.selected("INBOX")
	s.expunge("2:3,7")
	other.cmd(`UID STORE 5,9 FLAGS (\Flagged)`).ok()
	s.deliver("INBOX", mail(11))
	five := fmt.Sprintf(`* 3 FETCH (UID 5 FLAGS (\Flagged) MODSEQ (%d))`, s.modseq(5))
	nine := fmt.Sprintf(`* 6 FETCH (UID 9 FLAGS (\Flagged) MODSEQ (%d))`, s.modseq(9))
	eleven := fmt.Sprintf(`* 8 FETCH (UID 11 FLAGS (...) MODSEQ (%d))`, s.modseq(11))

	c := s.aware()
	c.cmd("SELECT INBOX (QRESYNC (%d %d))", s.validity(), since).want("* 8 EXISTS", "* 1 RECENT", "* FLAGS ...", "* OK [PERMANENTFLAGS ...", "* OK [UNSEEN 1] ...",
		"* OK [UIDVALIDITY ...", "* OK [UIDNEXT 12] ...", fmt.Sprintf("* OK [HIGHESTMODSEQ %d] ...", s.modseq()), "* OK [MAILBOXID ...", "* OK [URLMECH INTERNAL] ...",
		"* VANISHED (EARLIER) 2:3,7", five, nine, eleven, "OK [READ-WRITE] SELECT completed")
	for _, x := range []struct {
		since uint64
		more  string
		lines []string
	}{
		{since, " 1:10", []string{"* VANISHED (EARLIER) 2:3,7", five, nine}},
		{since, " 3,9:50", []string{"* VANISHED (EARLIER) 3", nine, eleven}},
		{since, " 7:8", []string{"* VANISHED (EARLIER) 7"}},
		{since, " 1", nil},
		{since, " 1:10 (1,4 1,4)", []string{"* VANISHED (EARLIER) 2:3,7", five, nine}}, // what is remembered needs no match data.
		{since, " (1,4 1,4)", []string{"* VANISHED (EARLIER) 2:3,7", five, nine, eleven}},
		{since + 1, "", []string{five, nine, eleven}},
		{s.modseq(), "", nil},
		{s.modseq() + 100, "", nil},
		{0, " 1:4", []string{"* VANISHED (EARLIER) 2:3", "* 1 FETCH (UID 1 ...", "* 2 FETCH (UID 4 ..."}},
	} {
		t.Run(fmt.Sprint(x.since, x.more), func(t *testing.T) {
			c.t = t
			c.cmd("EXAMINE INBOX (QRESYNC (%d %d%s))", s.validity(), x.since, x.more).wantEarlier(x.lines...)
		})
	}
	c.t = t
	// Section 3.2.5: another UIDVALIDITY, and nothing is said of changes.
	c.cmd("SELECT INBOX (QRESYNC (%d %d 1:10))", s.validity()+1, since).wantEarlier()
	// What comes next is no longer EARLIER.
	s.expunge("9")
	c.cmd("NOOP").want("* VANISHED 9", fmt.Sprintf("OK [HIGHESTMODSEQ %d] NOOP completed", s.modseq()))
}

func TestQResyncNeedsEnable(t *testing.T) { // RFC 7162 sections 3.2.3 and 3.2.5.
	s := start(t)
	s.fill(2)
	c := s.selected("INBOX")
	c.cmd("SELECT INBOX (QRESYNC (1 2))").bad("ENABLE QRESYNC comes first")
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)").bad("ENABLE QRESYNC comes first")
	c = s.aware()
	for _, wrong := range []string{"()", "(1)", "(0)", "(1 2 *)", "(1 2 1:*)", "(1 2 1 (1 *))", "(1 2 1 (1))", "(1 2 (1 1) 1)", "(1 2 $)", "1 2", "(1 2 1 (1 1) 1)", "(a 2)"} {
		c.cmd("SELECT INBOX (QRESYNC %s)", wrong).bad()
	}
	c.cmd("NOOP").ok()
	c.cmd("CHECK").bad("select a mailbox first")
	c.cmd("SELECT INBOX (CONDSTORE QRESYNC (1 2 1:5 (1,2 1,2)))").ok()
	c.cmd("FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)").bad()
	c.cmd("UID FETCH 1:* (FLAGS) (VANISHED)").bad()
}

func TestFetchVanished(t *testing.T) { // RFC 7162 section 3.2.6.
	s := start(t)
	s.fill(10)
	c := s.aware()
	c.cmd("SELECT INBOX").ok()
	since := s.modseq()
	s.expunge("4:5")
	c.cmd("NOOP").ok()
	c.cmd(`UID STORE 6 +FLAGS (\Seen)`).ok()
	six := fmt.Sprintf(`* 4 FETCH (UID 6 FLAGS (\Seen ...) MODSEQ (%d))`, s.modseq())
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)", since).wantEarlier("* VANISHED (EARLIER) 4:5", six)
	c.cmd("UID FETCH 5:6 (FLAGS) (VANISHED CHANGEDSINCE %d)", since).wantEarlier("* VANISHED (EARLIER) 5", six)
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)", s.modseq()).wantEarlier()
	// What the session still has is not EARLIER: the same command tells of its end.
	s.expunge("8")
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)", since).wantEarlier("* VANISHED (EARLIER) 4:5", six, "* VANISHED 8")
	// And what it never saw is neither.
	s.expunge(fmt.Sprint(s.deliver("INBOX", mail(11))))
	c.cmd("NOOP").want("OK ...")
	c.cmd("UID FETCH 1:11 (FLAGS) (CHANGEDSINCE %d VANISHED)", since).wantEarlier("* VANISHED (EARLIER) 4:5,8,11", six)
}

// RFC 7162 section 3.2.6, last note, and section 3.2.5.2: below the floor all that is not there has vanished, unless match data say more.
func TestBelowTheFloor(t *testing.T) {
	s := start(t)
	s.fill(12)
	since := s.modseq()
	s.expunge("1:2,4:5,7:8,10:11") // only numbers divisible by three are left, as in the RFC's example.
	s.expunge(fmt.Sprint(s.deliver("INBOX", mail(1))))
	s.Views.Forget(domain.Tx(s.modseq()) - 1)
	c := s.aware()
	for more, vanished := range map[string]string{
		"":                                "* VANISHED (EARLIER) 1:2,4:5,7:8,10:11,13",
		" 1:12":                           "* VANISHED (EARLIER) 1:2,4:5,7:8,10:11",
		" 1:99":                           "* VANISHED (EARLIER) 1:2,4:5,7:8,10:11,13",
		" 1:12 (1:4 3,6,9,12)":            "",
		" 1:12 (2 6)":                     "* VANISHED (EARLIER) 7:8,10:11",
		" 1:12 (1,3 3,10)":                "* VANISHED (EARLIER) 4:5,7:8,10:11", // the second pair does not match.
		" 1:12 (1,9 3,12)":                "* VANISHED (EARLIER) 4:5,7:8,10:11", // there is no ninth message.
		" 1:12 (1:4294967295 4294967295)": "* VANISHED (EARLIER) 1:2,4:5,7:8,10:11",
		" 3":                              "",
	} {
		var lines []string
		if vanished != "" {
			lines = []string{vanished}
		}
		c.cmd("SELECT INBOX (QRESYNC (%d %d%s))", s.validity(), since, more).wantEarlier(lines...)
	}
	c.cmd("UID FETCH 1:12 (FLAGS) (CHANGEDSINCE %d VANISHED)", since).wantEarlier("* VANISHED (EARLIER) 1:2,4:5,7:8,10:11")
	c.cmd("UID FETCH 1:99 (FLAGS) (CHANGEDSINCE %d VANISHED)", s.modseq()-1).wantEarlier("* VANISHED (EARLIER) 13")
}

func TestEmptyMailboxResynchronises(t *testing.T) { // RFC 7162 section 3.2.5.1.
	s := start(t)
	c := s.aware()
	s.Views.Forget(1000)
	c.cmd("SELECT INBOX (QRESYNC (%d 0))", s.validity()).wantEarlier()
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 0 VANISHED)").wantEarlier()
}

// RFC 7162 sections 3.2.7 to 3.2.11.
func TestVanishedInsteadOfExpunge(t *testing.T) {
	s := start(t)
	s.fill(11)
	c := s.aware()
	c.cmd("SELECT INBOX").ok()
	c.cmd(`UID STORE 3,4,7,11 +FLAGS.SILENT (\Deleted)`).ok()
	c.cmd("EXPUNGE").want("* VANISHED 3:4,7,11", fmt.Sprintf("OK [HIGHESTMODSEQ %d] EXPUNGE completed", s.modseq()))
	c.cmd("EXPUNGE").want("OK EXPUNGE completed")
	c.cmd(`UID STORE 1:2 +FLAGS.SILENT (\Deleted)`).ok()
	c.cmd("UID EXPUNGE 1").want("* VANISHED 1", fmt.Sprintf("OK [HIGHESTMODSEQ %d] UID EXPUNGE completed", s.modseq()))
	c.cmd("UID MOVE 5 Trash").want("* OK [COPYUID ...] moved", "* VANISHED 5", fmt.Sprintf("OK [HIGHESTMODSEQ %d] UID MOVE completed", s.modseq()))
	s.expunge("6")
	c.cmd("UID COPY 8 Trash").want("* VANISHED 6", fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest", s.modseq()), "OK [COPYUID ...] UID COPY completed")
	idle := c.begin("IDLE")
	c.expect("+ idling")
	s.expunge("9")
	c.expect("* VANISHED 9", fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest", s.modseq()))
	c.send("DONE\r\n")
	c.finish(idle).ok()
	c.cmd("SELECT Trash").has("* OK [CLOSED] ...")
	c.cmd("SELECT INBOX").ok()
	c.cmd(`UID STORE 10 +FLAGS.SILENT (\Deleted)`).ok()
	before := s.modseq()
	c.cmd("CLOSE").want("OK CLOSE completed") // section 3.2.8: without HIGHESTMODSEQ.
	c.cmd("SELECT INBOX (QRESYNC (%d %d))", s.validity(), before).wantEarlier("* VANISHED (EARLIER) 2,10")
}

// A mailbox that is deleted while it is selected loses its messages as any other.
func TestDeletedMailboxVanishes(t *testing.T) {
	s := start(t)
	c := s.aware()
	c.cmd("CREATE a").ok()
	c.append("a", mail(1)).ok()
	c.append("a", mail(2)).ok()
	c.cmd("SELECT a").ok()
	s.login().cmd("DELETE a").ok()
	c.cmd("NOOP").has("* VANISHED 1:2").ok()
}

// TestResyncGrammar: a UIDVALIDITY is nz-number, and known numbers are written out (RFC 7162 section 7).
func TestResyncGrammar(t *testing.T) {
	s := start(t)
	c := s.aware()
	for _, wrong := range []string{"(0 1)", "(1)", "(1 1 $)", "(1 1 *)", "(1 1 1:*)", "(1 1 (1:3 *))", "(1 1 1:3 (1))", "(1 9223372036854775808)", "(1 1 )"} {
		c.cmd("SELECT INBOX (QRESYNC %s)", wrong).bad()
	}
	c.cmd("SELECT INBOX").ok()
	for _, wrong := range []string{`"/flags/\\Seen" 1`, `"/flags/\\Seen" both 1`, `"/comment" all 1`, "9223372036854775808"} {
		c.cmd("SEARCH MODSEQ %s", wrong).bad()
	}
	c.cmd(`SEARCH MODSEQ "/flags/\\Seen" all 0`).ok()
	c.cmd("FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)").bad() // section 3.2.6: only UID FETCH
	c.cmd("UID FETCH 1 FLAGS (VANISHED)").bad()            // and only with CHANGEDSINCE.
}
