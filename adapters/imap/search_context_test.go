package imap

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// RFC 5267 section 4.3.
func TestContextOfSearch(t *testing.T) {
	s := start(t)
	for i := range 4 {
		s.deliver("INBOX", mail(i+1))
	}
	c := s.selected("INBOX")
	c.send("B01 UID SEARCH RETURN (UPDATE COUNT) UNDELETED UNKEYWORD $Junk\r\n")
	c.expect(`* ESEARCH (TAG "B01") UID COUNT 4`, "B01 OK UID SEARCH completed")
	c.send("B02 SEARCH RETURN (UPDATE) SUBJECT 5\r\n")
	c.expect(`* ESEARCH (TAG "B02")`, "B02 OK SEARCH completed")
	c.send("B01 UID SEARCH RETURN (UPDATE COUNT) ALL\r\n") // section 4.3: the tag is in use.
	c.expect("B01 BAD ...")
	c.cmd("SEARCH RETURN (UPDATE UPDATE) ALL").bad("UPDATE is given twice")
	c.send("B03 SEARCH RETURN (CONTEXT) SEEN\r\n") // a hint that asks for nothing
	c.expect(`* ESEARCH (TAG "B03")`, "B03 OK SEARCH completed")

	c.cmd("STORE 2:3 +FLAGS.SILENT ($Junk)").want("* FLAGS ...", "* OK [PERMANENTFLAGS ...", `* ESEARCH (TAG "B01") UID REMOVEFROM (0 2:3)`, "OK STORE completed")
	s.deliver("INBOX", mail(5)) // section 4.3.3: after EXISTS.
	c.cmd("NOOP").want("* 5 EXISTS", "* 5 RECENT", `* ESEARCH (TAG "B01") UID ADDTO (0 5)`, `* ESEARCH (TAG "B02") ADDTO (0 5)`, "OK ...")
	c.cmd("STORE 2 -FLAGS.SILENT ($Junk)").want(`* ESEARCH (TAG "B01") UID ADDTO (0 2)`, "OK ...")
	c.cmd("STORE 1,5 +FLAGS.SILENT (\\Deleted)").want(`* ESEARCH (TAG "B01") UID REMOVEFROM (0 1,5)`, "OK ...")
	c.cmd("EXPUNGE").want(`* ESEARCH (TAG "B02") REMOVEFROM (0 5)`, "* 5 EXPUNGE", "* 1 EXPUNGE", "OK ...") // section 4.3.4: before EXPUNGE.
	c.cmd(`CANCELUPDATE "B01" "nobody"`).want("OK CANCELUPDATE completed")
	c.cmd("STORE 1 +FLAGS.SILENT ($Junk)").want("OK ...")
	s.deliver("INBOX", mail(5))
	c.cmd("NOOP").has(`* ESEARCH (TAG "B02") ADDTO (0 4)`)
	c.cmd("SELECT INBOX").ok() // section 4.3: updates cease when the mailbox is no longer selected.
	s.deliver("INBOX", mail(5))
	c.cmd("NOOP").hasNot("* ESEARCH ...")
	for _, bad := range []string{"", " ", " \"x", " \"x\"  \"y\"", " (\"x\")"} {
		c.cmd("CANCELUPDATE%s", bad).bad()
	}
}

// RFC 5267 section 4.3.2: also while nothing is asked.
func TestContextDuringIdle(t *testing.T) {
	s := start(t)
	c := s.selected("INBOX")
	c.send("B01 UID SEARCH RETURN (UPDATE) FROM bob\r\n")
	c.expect(`* ESEARCH (TAG "B01") UID`, "B01 OK ...")
	c.send("x IDLE\r\n")
	c.expect("+ idling")
	s.deliver("INBOX", mail(1))
	c.expect("* 1 EXISTS", "* 1 RECENT", `* ESEARCH (TAG "B01") UID ADDTO (0 1)`)
	c.send("DONE\r\n")
	c.expect("x OK ...")
}

// RFC 5267 section 4.3.3 and 4.3.4: results of SORT have their positions.
func TestContextOfSort(t *testing.T) {
	s := start(t)
	for _, subject := range []string{"d", "b", "f"} {
		s.deliver("INBOX", "Subject: "+subject+"\r\n\r\n")
	}
	c := s.selected("INBOX")
	c.send("C01 UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNFLAGGED\r\n")
	c.expect(`* ESEARCH (TAG "C01") UID ALL 2,1,3`, "C01 OK ...")
	for _, subject := range []string{"e", "a", "c", "g", "h"} {
		s.deliver("INBOX", "Subject: "+subject+"\r\n\r\n")
	}
	c.cmd("NOOP").has(`* ESEARCH (TAG "C01") UID ADDTO (1 5 3 6 5 4 7 7:8)`) // 5 2 6 1 4 3 7 8
	c.cmd("STORE 2,4,6 +FLAGS.SILENT (\\Flagged)").want(`* ESEARCH (TAG "C01") UID REMOVEFROM (5 4 2 2,6)`, "OK ...")
	c.cmd("STORE 6 -FLAGS.SILENT (\\Flagged)").want(`* ESEARCH (TAG "C01") UID ADDTO (2 6)`, "OK ...")
}

func TestContextsAreBounded(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Contexts = 2 })
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	c.cmd("SEARCH RETURN (UPDATE) ALL").ok()
	c.cmd("SORT RETURN (UPDATE) (DATE) UTF-8 ALL").ok()
	c.send("B03 UID SEARCH RETURN (UPDATE COUNT) ALL\r\n") // section 4.3.1: the other options are honoured.
	c.expect(`* NO [NOUPDATE "B03"] ...`, `* ESEARCH (TAG "B03") UID COUNT 1`, "B03 OK ...")
	c.cmd(`CANCELUPDATE "a3"`).ok() // LOGIN and SELECT were a1 and a2
	c.cmd("SEARCH RETURN (UPDATE) ALL").want(`* ESEARCH (TAG "...")`, "OK ...")
}

// A damaged or deleted mailbox ends nothing but itself.
func TestContextOfADeletedMailbox(t *testing.T) {
	s := start(t)
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.CreateMailbox{Name: "x", UIDValidity: 7}); err != nil {
		t.Fatal(err)
	}
	s.deliver("x", mail(1))
	c := s.selected("x")
	c.send("B01 SEARCH RETURN (UPDATE ALL) ALL\r\n")
	c.expect(`* ESEARCH (TAG "B01") ALL 1`, "B01 OK ...")
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.DeleteMailbox{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	c.cmd("NOOP").want(`* ESEARCH (TAG "B01") REMOVEFROM (0 1)`, "* 1 EXPUNGE", "OK ...")
	c.cmd("NOOP").want("OK ...")
}

// follower is a client's copy of a result that it keeps up to date as RFC 5267 says.
type follower struct {
	t      *testing.T
	sorted bool
	uids   []domain.UID
}

var updateItem = regexp.MustCompile(`(ADDTO|REMOVEFROM) \(([^)]*)\)`)

func (f *follower) read(a *answer, tag string) {
	f.t.Helper()
	for _, line := range a.untagged {
		if !strings.HasPrefix(line, `* ESEARCH (TAG "`+tag+`")`) {
			continue
		}
		for _, m := range updateItem.FindAllStringSubmatch(line, -1) {
			pairs := strings.Fields(m[2])
			for i := 0; i+1 < len(pairs); i += 2 {
				at, _ := strconv.Atoi(pairs[i])
				uids := expand(f.t, pairs[i+1])
				switch {
				case f.sorted && m[1] == "ADDTO":
					f.uids = slices.Insert(f.uids, at-1, uids...)
				case f.sorted:
					if got := f.uids[at-1 : at-1+len(uids)]; !slices.Equal(got, uids) {
						f.t.Fatalf("%s: there are %d", line, got)
					}
					f.uids = slices.Delete(f.uids, at-1, at-1+len(uids))
				case m[1] == "ADDTO":
					f.uids = append(f.uids, uids...)
					slices.Sort(f.uids)
					if len(slices.Compact(slices.Clone(f.uids))) != len(f.uids) {
						f.t.Fatalf("%s: some are there already", line)
					}
				default:
					before := len(f.uids)
					f.uids = slices.DeleteFunc(f.uids, func(uid domain.UID) bool { return slices.Contains(uids, uid) })
					if len(f.uids) != before-len(uids) {
						f.t.Fatalf("%s: some are not there", line)
					}
				}
			}
		}
	}
}

// expand gives the numbers of a set in its own order.
func expand(t *testing.T, set string) (uids []domain.UID) {
	t.Helper()
	for _, part := range strings.FieldsFunc(set, func(r rune) bool { return r == ',' }) {
		var lo, hi domain.UID
		if n, _ := fmt.Sscanf(part, "%d:%d", &lo, &hi); n == 1 {
			hi = lo
		} else if n == 0 || lo >= hi { // RFC 5267 section 3.2
			t.Fatalf("the set %s", set)
		}
		for ; lo <= hi; lo++ {
			uids = append(uids, lo)
		}
	}
	return uids
}

// Whatever happens in a mailbox, results that are kept up to date are those of a new search.
func TestContextsFollowTheMailbox(t *testing.T) {
	s := start(t)
	random := rand.New(rand.NewPCG(3, 4))
	deliver := func() {
		s.deliver("INBOX", fmt.Sprintf("Subject: %c\r\nFrom: %c@example.org\r\n\r\n", 'a'+random.IntN(26), 'a'+random.IntN(4)))
	}
	for range 20 {
		deliver()
	}
	c, other := s.selected("INBOX"), s.selected("INBOX")
	searches := []struct {
		tag, command string
		follower
	}{
		{"S0", "UID SEARCH RETURN (%s) UNSEEN", follower{t: t}},
		{"S1", "UID SEARCH RETURN (%s) OR FLAGGED FROM a", follower{t: t}},
		{"S2", "UID SORT RETURN (%s) (SUBJECT) UTF-8 UNSEEN", follower{t: t, sorted: true}},
		{"S3", "UID SORT RETURN (%s) (REVERSE FROM SUBJECT) UTF-8 NOT FROM b", follower{t: t, sorted: true}},
	}
	all := func(a *answer) []domain.UID {
		_, set, _ := strings.Cut(a.untagged[0], " ALL ")
		return expand(t, set)
	}
	for i := range searches {
		x := &searches[i]
		c.send("%s "+x.command+"\r\n", x.tag, "UPDATE ALL")
		x.uids = all(c.finish(x.tag))
	}
	for round := range 60 {
		switch random.IntN(6) {
		case 0, 1:
			for range random.IntN(4) {
				deliver()
			}
		case 2:
			other.cmd("UID STORE %d:%d -FLAGS (\\Seen \\Flagged)", 1+random.IntN(30), 1+random.IntN(60)).ok()
		case 3:
			other.cmd("UID STORE %d:%d +FLAGS (%s)", 1+random.IntN(60), 1+random.IntN(60), []string{`\Seen`, `\Flagged`}[random.IntN(2)]).ok()
		case 4:
			uid := 1 + random.IntN(60)
			other.cmd("UID STORE %d:%d +FLAGS (\\Deleted)", uid, uid+random.IntN(3)).ok()
			other.cmd("EXPUNGE").ok()
		case 5:
			a := c.cmd("UID STORE %d:%d FLAGS.SILENT (\\Seen)", 1+random.IntN(60), 1+random.IntN(60)).ok()
			for i := range searches {
				searches[i].read(a, searches[i].tag)
			}
		}
		command := "NOOP"
		if random.IntN(3) == 0 {
			command = "SEARCH NOT ALL" // after which EXPUNGE has to wait
		}
		a := c.cmd("%s", command)
		for i := range searches {
			searches[i].read(a, searches[i].tag)
		}
		if command != "NOOP" {
			continue
		}
		for i := range searches {
			x := &searches[i]
			if want := all(c.cmd(x.command, "ALL")); !slices.Equal(x.uids, want) {
				t.Fatalf("round %d: %s is kept as %d, and a new search gives %d", round, x.command, x.uids, want)
			}
		}
	}
}
