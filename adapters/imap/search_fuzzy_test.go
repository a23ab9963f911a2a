package imap

import (
	"fmt"
	"strings"
	"testing"
)

// RFC 6203.
func TestFuzzySearch(t *testing.T) {
	s := start(t)
	for _, text := range []string{
		"Hello, we break IMAP today",           // 1
		"IMAP is going to be broken",           // 2
		"the imap break of tomorrow",           // 3
		"Breaking news about IMAP",             // 4
		"nothing of the kind",                  // 5
		"\u6771\u4eac\u90fd\u306b\u4f4f\u3080", // 6
	} {
		s.deliver("INBOX", "From: bob@example.org\r\nSubject: "+text+"\r\n\r\nfiller\r\n", `\Seen`)
	}
	c := s.selected("INBOX")
	for _, test := range []struct{ search, want string }{
		{`RETURN (RELEVANCY ALL) FUZZY (SUBJECT "IMAP break")`, "ALL 1,3:4 RELEVANCY (75 100 75)"}, // "break" is in "Breaking"
		{`RETURN (ALL RELEVANCY) FUZZY SUBJECT "imap breaking"`, "ALL 1,3:4 RELEVANCY (40 40 75)"},
		{`RETURN (ALL RELEVANCY) FUZZY TEXT "Helo"`, "ALL 1 RELEVANCY (40)"},   // a letter is missing
		{`RETURN (ALL RELEVANCY) FUZZY TEXT "Hlelo"`, "ALL 1 RELEVANCY (40)"},  // two changed places
		{`RETURN (ALL RELEVANCY) FUZZY TEXT "Helllo"`, "ALL 1 RELEVANCY (40)"}, // one is too many
		{`RETURN (ALL RELEVANCY) FUZZY SUBJECT "news today about IMAP"`, "ALL 4 RELEVANCY (10)"},
		{`RETURN (ALL RELEVANCY) FUZZY SUBJECT "` + "\u4eac\u90fd\u306b" + `"`, "ALL 6 RELEVANCY (100)"},
		{`RETURN (ALL RELEVANCY) FUZZY SUBJECT "` + "\u90fd\u306b\u4f4f" + `" FUZZY FROM bbo`, ""}, // three letters are what they are
		{`RETURN (ALL RELEVANCY) FUZZY SEEN`, "ALL 1:6 RELEVANCY (100 100 100 100 100 100)"},       // section 5
		{`RETURN (ALL) FUZZY SUBJECT "Helo" FROM bob`, "ALL 1"},
		{`RETURN (ALL) FUZZY SUBJECT Hello FROM bbo`, ""}, // section 3: the second key is not fuzzy
		{`RETURN (COUNT) NOT FUZZY SUBJECT "Helo"`, "COUNT 5"},
		{`RETURN (RELEVANCY PARTIAL 2:3) FUZZY (SUBJECT "IMAP break")`, "PARTIAL (2:3 3:4) RELEVANCY (100 75)"},
		{`RETURN (RELEVANCY) FUZZY (SUBJECT "zzzzzzz")`, "RELEVANCY ()"},
	} {
		want := `* ESEARCH (TAG "...")`
		if test.want != "" {
			want += " " + test.want
		} else {
			want += "..."
		}
		a := c.cmd("SEARCH %s", test.search).want(want, "OK ...")
		if test.want == "" {
			a.hasNot("... ALL ...")
		}
	}
	c.cmd(`SEARCH FUZZY SUBJECT "imap break"`).want("* SEARCH 1 3 4", "OK ...")
	c.cmd(`SORT (RELEVANCY) UTF-8 FUZZY SUBJECT "imap break"`).want("* SORT 3 1 4", "OK ...") // section 6
	c.cmd(`SORT RETURN (RELEVANCY ALL) (RELEVANCY REVERSE ARRIVAL) UTF-8 FUZZY (SUBJECT "imap break")`).want(`* ESEARCH (TAG "...") ALL 3,1,4 RELEVANCY (100 75 75)`, "OK ...")
	c.cmd(`ESEARCH IN (personal) RETURN (ALL RELEVANCY) FUZZY (SUBJECT "imap break")`).want(
		`* ESEARCH (TAG "..." MAILBOX INBOX UIDVALIDITY ...) UID ALL 1,3:4 RELEVANCY (75 100 75)`, "OK ...")
	for _, bad := range []string{"SEARCH RETURN (RELEVANCY ALL) SEEN", "SORT (RELEVANCY) UTF-8 ALL", "SEARCH FUZZY", "SEARCH FUZZY (SEEN", "SEARCH FUZZY NONSENSE"} {
		c.cmd("%s", bad).bad() // sections 4 and 6
	}
	c.cmd("SEARCH %s", strings.TrimSpace(strings.Repeat("FUZZY TEXT abcdef ", maxFuzzy+1))).bad("[LIMIT] ...")
	c.cmd(`SEARCH FUZZY TEXT "%s"`, strings.Repeat("abcdefghij ", 1000)).want("* SEARCH", "OK ...")
	c.cmd(`SORT RETURN (UPDATE) (RELEVANCY) UTF-8 FUZZY TEXT imap`).has(`* NO [NOUPDATE "..."] ...`)
}

// A fuzzy search finds with the index what it finds without.
func TestFuzzySearchWithTheIndex(t *testing.T) {
	s, x := startIndexed(t)
	for i := range 40 {
		s.deliver("INBOX", fmt.Sprintf("Subject: number %d\r\n\r\nthe quick brown fox jumps over lazy dog %d\r\n", i, i))
	}
	c := s.selected("INBOX")
	for _, search := range []string{`TEXT "quik borwn foxx"`, `BODY "lazzy dgo 7"`, `SUBJECT "nubmer 3"`, `TEXT "the quickest fox jumped"`} {
		command := "SEARCH RETURN (ALL RELEVANCY) FUZZY " + search
		want := c.cmd("%s", command).untagged[0]
		x.catchUp()
		if got := c.cmd("%s", command).untagged[0]; strings.SplitN(got, ")", 2)[1] != strings.SplitN(want, ")", 2)[1] {
			t.Errorf("%s: with the index %s, without it %s", search, got, want)
		}
	}
}
