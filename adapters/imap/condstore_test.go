package imap

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain/account"
)

// modseq gives the mod-sequence of INBOX, or of a message in it.
func (s *testServer) modseq(uid ...int) (n uint64) {
	s.t.Helper()
	if err := s.Accounts.View(s.t.Context(), s.account, func(a *account.State) error {
		inbox, _ := a.Mailbox("INBOX")
		n = uint64(inbox.ModSeq)
		for i := range inbox.UID {
			if len(uid) > 0 && int(inbox.UID[i]) == uid[0] {
				n = uint64(inbox.Modified[i])
			}
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// fill delivers messages into INBOX.
func (s *testServer) fill(n int) {
	s.t.Helper()
	for i := range n {
		s.deliver("INBOX", mail(i))
	}
}

// RFC 7162 section 3.1: each of these commands makes the client CONDSTORE-aware, and the first one tells of the selected mailbox.
func TestCondstoreEnablingCommands(t *testing.T) {
	for _, command := range []string{
		"STATUS Trash (HIGHESTMODSEQ)", `LIST "" Trash RETURN (STATUS (HIGHESTMODSEQ))`, "FETCH 1 (MODSEQ)", "SEARCH MODSEQ 1", "FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
		"STORE 1 (UNCHANGEDSINCE 1) +FLAGS (a)", "SELECT INBOX (CONDSTORE)", "ENABLE CONDSTORE", "ENABLE QRESYNC", "ENABLE CONDSTORE QRESYNC",
	} {
		t.Run(command, func(t *testing.T) {
			s := start(t)
			s.fill(1)
			c := s.login()
			if strings.HasPrefix(command, "ENABLE") {
				c.cmd("%s", command).want("* "+strings.Replace(command, "ENABLE", "ENABLED", 1), "OK ENABLE completed")
				c.cmd("SELECT INBOX").has(fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest", s.modseq()))
			} else {
				c.cmd("SELECT INBOX").ok()
				c.cmd("STORE 1 +FLAGS (b)").has(`* 1 FETCH (UID 1 FLAGS (b...))`).hasNot("...MODSEQ...")
				highest := fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest", s.modseq())
				c.cmd("%s", command).ok().has(highest)
				c.cmd("%s", command).ok()
			}
			c.cmd("STORE 1 FLAGS (c)").ok().has(fmt.Sprintf("* 1 FETCH (UID 1 FLAGS (c...) MODSEQ (%d))", s.modseq()))
			s.selected("INBOX").cmd(`STORE 1 +FLAGS (\Seen)`).ok()
			c.cmd("NOOP").want(fmt.Sprintf(`* 1 FETCH (UID 1 FLAGS (\Seen c...) MODSEQ (%d))`, s.modseq()), "OK ...")
		})
	}
}

// RFC 7162 section 3.1.3, examples 3 to 6.
func TestConditionalStore(t *testing.T) {
	s := start(t)
	s.fill(9)
	c, other := s.selected("INBOX"), s.selected("INBOX")
	since := s.modseq()
	c.cmd(`UID STORE 6,4,8 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Deleted)`, since).want(fmt.Sprintf("* OK [HIGHESTMODSEQ %d] Highest", since),
		fmt.Sprintf("* 4 FETCH (UID 4 MODSEQ (%d))", since+1), fmt.Sprintf("* 6 FETCH (UID 6 MODSEQ (%d))", since+1), fmt.Sprintf("* 8 FETCH (UID 8 MODSEQ (%d))", since+1),
		"OK UID STORE completed")
	c.cmd(`STORE * (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Deleted $Processed)`, since).want("* FLAGS ...", "* OK [PERMANENTFLAGS ...",
		fmt.Sprintf("* 9 FETCH (UID 9 MODSEQ (%d))", since+2), "OK STORE completed")

	// Somebody else changes 7 and 9. What the client did not know it is told.
	other.cmd(`STORE 7,9 FLAGS (\Answered)`).ok()
	c.cmd(`STORE 7,5,9 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Deleted)`, since+2).want(fmt.Sprintf("* 5 FETCH (UID 5 MODSEQ (%d))", since+4),
		fmt.Sprintf(`* 7 FETCH (UID 7 FLAGS (\Answered ...) MODSEQ (%d))`, since+3), fmt.Sprintf(`* 9 FETCH (UID 9 FLAGS (\Answered ...) MODSEQ (%d))`, since+3),
		"OK [MODIFIED 7,9] ...")
	c.cmd(`UID STORE 7 (UNCHANGEDSINCE %d) +FLAGS (\Deleted)`, since+3).want(fmt.Sprintf(`* 7 FETCH (UID 7 FLAGS (\Answered \Deleted ...) MODSEQ (%d))`, since+5), "OK UID STORE completed")
	// Setting what is set changes nothing (section 3.1.11), and is answered all the same.
	c.cmd(`UID STORE 7 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Deleted)`, since+5).want(fmt.Sprintf(`* 7 FETCH (UID 7 MODSEQ (%d))`, since+5), "OK UID STORE completed")
	// Example 11: numbers of messages that are gone are passed over.
	other.cmd("EXPUNGE").ok()
	c.cmd(`STORE 4:5 (UNCHANGEDSINCE %d) +FLAGS (x)`, since).ok("...")
	c.cmd("STORE 1 (UNCHANGEDSINCE) +FLAGS (a)").bad()
	c.cmd("STORE 1 (UNCHANGEDSINCE 9223372036854775808) +FLAGS (a)").bad()
	c.cmd("STORE 1 (UNCHANGEDSINCE 9223372036854775807) +FLAGS (a)").ok()
}

// RFC 7162 section 3.1.3, examples 7 and 8: zero tests whether a keyword is there; system flags always are.
func TestStoreUnchangedSinceZero(t *testing.T) {
	s := start(t)
	s.fill(2)
	c := s.selected("INBOX")
	c.cmd(`STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\Seen)`).ok("[MODIFIED 1] ...")
	c.cmd(`STORE 1 (UNCHANGEDSINCE 0) FLAGS.SILENT ($MDNSent)`).ok("[MODIFIED 1] ...")
	c.cmd(`STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)`).ok("STORE completed")
	c.cmd(`STORE 2 -FLAGS.SILENT ($MDNSent)`).ok()
	c.cmd(`UID STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)`).ok("[MODIFIED 1] ...")
}

// Many clients test and set at the same time: one of them wins each round (RFC 7162 section 3.1.3).
func TestConditionalStoresRace(t *testing.T) {
	s := start(t)
	s.fill(1)
	const clients, rounds = 8, 20
	all := make([]*client, clients)
	for i := range all {
		all[i] = s.selected("INBOX")
	}
	for range rounds {
		since := s.modseq(1)
		answers := make([]*answer, clients)
		var busy sync.WaitGroup
		for i, c := range all {
			busy.Go(func() { answers[i] = c.cmd("UID STORE 1 (UNCHANGEDSINCE %d) FLAGS.SILENT (owner%d)", since, i) })
		}
		busy.Wait()
		won := 0
		for i, a := range answers {
			// Who won the last round may set what is set, which changes nothing; what another changed meanwhile is told then, with its flags.
			told := strings.Join(a.untagged, "")
			_, flags, another := strings.Cut(told, "* 1 FETCH (UID 1 FLAGS (")
			nothing := strings.Contains(told, fmt.Sprintf("MODSEQ (%d)", since)) || another && !strings.Contains(flags, fmt.Sprintf("owner%d", i))
			if !strings.Contains(a.ok().tagged, "[MODIFIED 1]") && !nothing {
				won++
			}
		}
		if won > 1 || won == 0 && s.modseq(1) != since {
			t.Fatalf("%d clients were told that they have changed the message since %d", won, since)
		}
	}
}

// RFC 7162 section 3.1.4.
func TestFetchChangedSince(t *testing.T) {
	s := start(t)
	s.fill(5)
	c := s.selected("INBOX")
	c.cmd("FETCH 1:3 (MODSEQ)").want("* OK [HIGHESTMODSEQ ...", fmt.Sprintf("* 1 FETCH (MODSEQ (%d))", s.modseq(1)), fmt.Sprintf("* 2 FETCH (MODSEQ (%d))", s.modseq(2)),
		fmt.Sprintf("* 3 FETCH (MODSEQ (%d))", s.modseq(3)), "OK FETCH completed")
	since := s.modseq()
	c.cmd(`STORE 2,4 +FLAGS.SILENT (\Seen)`).ok()
	c.cmd("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)", since).want(
		fmt.Sprintf(`* 2 FETCH (UID 2 FLAGS (\Seen ...) MODSEQ (%d))`, since+1), fmt.Sprintf(`* 4 FETCH (UID 4 FLAGS (\Seen ...) MODSEQ (%d))`, since+1), "OK UID FETCH completed")
	c.cmd("FETCH 1:3 UID (CHANGEDSINCE %d)", since).want(fmt.Sprintf(`* 2 FETCH (UID 2 MODSEQ (%d))`, since+1), "OK FETCH completed")
	c.cmd("FETCH 1:5 (FLAGS) (CHANGEDSINCE %d)", since+1).want("OK FETCH completed")
	// \Seen that comes with a body comes with its mod-sequence (section 3.2.4).
	c.cmd("FETCH 1 BODY[TEXT]").has(fmt.Sprintf(`* 1 FETCH (UID 1 FLAGS (\Seen ...) MODSEQ (%d))`, since+2))
	c.cmd("FETCH 1 (FLAGS) (CHANGEDSINCE)").bad()
	c.cmd("FETCH 1 (FLAGS) (UNHEARDOF)").bad("there is no modifier UNHEARDOF")
	c.cmd("FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)").bad("ENABLE QRESYNC comes first")
}

// RFC 7162 sections 3.1.5, 3.1.6 and 3.1.10, RFC 4731 section 3.2.
func TestSearchModSeq(t *testing.T) {
	s := start(t)
	s.fill(5)
	c := s.selected("INBOX")
	since := s.modseq()
	c.cmd(`STORE 2 +FLAGS.SILENT (\Draft)`).ok()
	c.cmd(`STORE 4 +FLAGS.SILENT (\Draft)`).ok()
	c.cmd(`SEARCH MODSEQ "/flags/\\draft" all %d`, since+1).want("* OK [HIGHESTMODSEQ ...", fmt.Sprintf("* SEARCH 2 4 (MODSEQ %d)", since+2), "OK SEARCH completed")
	c.cmd(`UID SEARCH MODSEQ %d NOT UID 4`, since+1).want(fmt.Sprintf("* SEARCH 2 (MODSEQ %d)", since+1), "OK ...")
	c.cmd(`SEARCH OR NOT MODSEQ 1 LARGER 50000`).want("* SEARCH", "OK ...")
	c.cmd(`SEARCH RETURN (ALL) MODSEQ %d`, since).want(fmt.Sprintf(`* ESEARCH (TAG "...") ALL 2,4:5 MODSEQ %d`, since+2), "OK ...")
	c.cmd(`SEARCH RETURN (MIN) MODSEQ %d`, since).want(fmt.Sprintf(`* ESEARCH (TAG "...") MIN 2 MODSEQ %d`, since+1), "OK ...")
	c.cmd(`SEARCH RETURN (MIN MAX) MODSEQ %d`, since).want(fmt.Sprintf(`* ESEARCH (TAG "...") MIN 2 MAX 5 MODSEQ %d`, since+1), "OK ...")
	c.cmd(`SEARCH RETURN (COUNT MIN) MODSEQ %d`, since).want(fmt.Sprintf(`* ESEARCH (TAG "...") MIN 2 COUNT 3 MODSEQ %d`, since+2), "OK ...")
	c.cmd(`SEARCH RETURN (COUNT) MODSEQ %d`, since+9).want(`* ESEARCH (TAG "...") COUNT 0`, "OK ...")
	// Sections 3.1.9 and 3.1.10.
	c.cmd(`SORT (REVERSE SUBJECT) UTF-8 MODSEQ %d`, since+1).want(fmt.Sprintf("* SORT 4 2 (MODSEQ %d)", since+2), "OK SORT completed")
	c.cmd(`SORT (SUBJECT) UTF-8 MODSEQ %d`, since+9).want("* SORT", "OK SORT completed")
	c.cmd(`SORT RETURN (MIN) (SUBJECT) UTF-8 MODSEQ %d`, since+1).want(fmt.Sprintf(`* ESEARCH (TAG "...") MIN 2 MODSEQ %d`, since+1), "OK SORT completed")
	c.cmd(`ESEARCH IN (personal) MODSEQ %d`, since+2).want(fmt.Sprintf(`* ESEARCH (TAG "..." MAILBOX INBOX UIDVALIDITY ...) UID ALL 4 MODSEQ %d`, since+2), "OK ...")
	c.cmd(`SEARCH MODSEQ "/flags/\\draft" some 1`).bad()
	c.cmd(`SEARCH MODSEQ x`).bad()
}

func TestStatusHighestModSeq(t *testing.T) { // RFC 7162 section 3.1.7.
	s := start(t)
	s.fill(2)
	c := s.login()
	c.cmd("STATUS INBOX (MESSAGES HIGHESTMODSEQ)").want(fmt.Sprintf("* STATUS INBOX (MESSAGES 2 HIGHESTMODSEQ %d)", s.modseq()), "OK ...")
	other := s.selected("INBOX")
	other.cmd(`STORE 1 +FLAGS (\Deleted)`).ok()
	before := s.modseq()
	other.cmd("EXPUNGE").ok()
	if s.modseq() != before+1 {
		t.Errorf("an expunge leads from mod-sequence %d to %d", before, s.modseq())
	}
	c.cmd("STATUS INBOX (HIGHESTMODSEQ)").want(fmt.Sprintf("* STATUS INBOX (HIGHESTMODSEQ %d)", before+1), "OK ...")
}

// RFC 7162 section 6: while an expunge has to wait, the client is told of a mod-sequence below it after each answer that shows a higher one.
func TestHeldBackExpunge(t *testing.T) {
	s := start(t)
	s.fill(5)
	c, other := s.login(), s.selected("INBOX")
	c.cmd("ENABLE QRESYNC").ok()
	c.cmd("SELECT INBOX").ok()
	known := s.modseq()
	other.cmd(`STORE 4 +FLAGS (\Deleted)`).ok()
	other.cmd("EXPUNGE").ok()
	held := fmt.Sprintf("* OK [HIGHESTMODSEQ %d] ...", known)
	c.cmd(`STORE 1:2 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Seen)`, known).want("* 1 FETCH (UID 1 MODSEQ ...", "* 2 FETCH (UID 2 MODSEQ ...", held, "OK STORE completed")
	c.cmd("FETCH 3 (FLAGS)").want("* 3 FETCH (FLAGS (...))", "OK FETCH completed")
	c.cmd("FETCH 2 (MODSEQ)").want("* 2 FETCH (MODSEQ (...))", held, "OK FETCH completed")
	c.cmd(`STORE 3 +FLAGS.SILENT (\Seen)`).want("* 3 FETCH (UID 3 MODSEQ (...))", held, "OK STORE completed")
	c.cmd("UID SEARCH 4:5").want("* SEARCH 5", "OK ...") // message numbers must keep their meaning (section 3.2.10.2).
	c.cmd("NOOP").want("* VANISHED 4", fmt.Sprintf("OK [HIGHESTMODSEQ %d] NOOP completed", s.modseq()))
	c.cmd("NOOP").want("OK NOOP completed")
}

func TestCondstoreSwitchedOff(t *testing.T) {
	s := start(t, func(c *Config) { c.Without = []string{"CONDSTORE"} })
	s.fill(1)
	c := s.login()
	c.cmd("CAPABILITY").hasNot("...CONDSTORE...").hasNot("...QRESYNC...")
	c.cmd("ENABLE CONDSTORE").want("* ENABLED", "OK ...")
	c.cmd("SELECT INBOX (CONDSTORE)").bad()
	c.cmd("SELECT INBOX").ok().hasNot("...HIGHESTMODSEQ...")
	for _, command := range []string{"FETCH 1 MODSEQ", "FETCH 1 FLAGS (CHANGEDSINCE 1)", "STORE 1 (UNCHANGEDSINCE 1) FLAGS (a)", "SEARCH MODSEQ 1"} {
		c.cmd("%s", command).bad()
	}
}
