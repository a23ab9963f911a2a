package imap

import (
	"fmt"
	"strings"
	"testing"
)

// correspondence delivers what the tests of SORT and THREAD look at. The last message says nothing of itself.
func correspondence(s *testServer) {
	for _, lines := range [][]string{
		{"From: =?utf-8?q?=C3=89mile?= <zola@example.org>", "To: b@example.org", "Subject: Re: germinal", "Date: Tue, 1 Feb 1994 23:00:00 -0800", "Message-ID: <2@x>", "In-Reply-To: <3@x>"},
		{"From: Ann <yes@example.org>", "To: a@example.org", "Subject: [books] Germinal", "Date: Wed, 2 Feb 1994 06:00:00 +0000", "Message-ID: <3@x>"},
		{"From: ABE@example.org", "To: A@example.org", "Cc: x@example.net", "Subject: =?utf-8?q?=C3=A9tude?=", "Date: Wed, 2 Feb 1994 06:00:00 +0000", "Message-ID: <4@x>"},
		{"From: zola@example.org", "Subject: Nana", "Date: Thu, 3 Feb 1994 06:00:00 +0000", "Message-ID: <5@x>", "References: <3@x> <2@x>"},
		{"From: Ann <yes@example.org>", "Subject: Re: Nana", "Date: Fri, 4 Feb 1994 06:00:00 +0000", "Message-ID: <6@x>", "References: <3@x>"},
		{"X-Nothing: here"},
	} {
		s.deliver("INBOX", strings.Join(append(lines, "", "text", ""), "\r\n"))
	}
}

// RFC 5256 section 3, RFC 5957.
func TestSort(t *testing.T) {
	s := start(t)
	correspondence(s)
	c := s.selected("INBOX")
	for _, test := range []struct{ sort, want string }{
		{"(ARRIVAL) UTF-8 ALL", " 1 2 3 4 5 6"},
		{"(reverse arrival) us-ascii all", " 1 2 3 4 5 6"}, // all arrive in the same second, and the number is no part of REVERSE
		{"(SUBJECT) UTF-8 ALL", " 6 3 1 2 4 5"},
		{"(REVERSE SUBJECT) UTF-8 ALL", " 4 5 1 2 3 6"},
		{"(SUBJECT REVERSE DATE) UTF-8 ALL", " 6 3 1 2 5 4"},
		{"(DATE) UTF-8 ALL", " 2 3 1 4 5 6"}, // the last one by its INTERNALDATE
		{"(FROM) UTF-8 ALL", " 6 3 2 5 1 4"},
		{"(DISPLAYFROM) UTF-8 ALL", " 6 3 2 5 1 4"},
		{"(TO FROM) UTF-8 ALL", " 6 5 4 3 2 1"},
		{"(CC REVERSE FROM) \"UTF-8\" ALL", " 1 4 2 5 6 3"},
		{"(SIZE) UTF-8 6", " 6"},
		{"(DATE) UTF-8 SUBJECT \"germinal\"", " 2 1"},
		{"(DATE) KOI8-R OR FROM zola 3", " 3 1 4"},
		{"(DATE) UTF-8 SUBJECT nothing", ""},
	} {
		c.cmd("SORT %s", test.sort).want("* SORT"+test.want, "OK SORT completed")
	}
	c.cmd("STORE 1:3 +FLAGS.SILENT (\\Deleted)").ok()
	c.cmd("EXPUNGE").ok()
	c.cmd("SORT (REVERSE SUBJECT) UTF-8 ALL").want("* SORT 1 2 3", "OK SORT completed")
	c.cmd("UID SORT (REVERSE SUBJECT) UTF-8 ALL").want("* SORT 4 5 6", "OK UID SORT completed")
	s.deliver("INBOX", "Subject: Oeuvre\r\n\r\n") // what is known of the others stays
	c.cmd("NOOP").ok()
	c.cmd("UID SORT (SUBJECT) UTF-8 ALL").want("* SORT 6 4 5 7", "OK UID SORT completed")
	for _, bad := range []string{"", "(DATE)", "(DATE) UTF-8", "() UTF-8 ALL", "(NONSENSE) UTF-8 ALL", "(REVERSE) UTF-8 ALL", "DATE UTF-8 ALL", "(DATE)  UTF-8 ALL",
		"(REVERSE REVERSE DATE) UTF-8 ALL", "(DATE) ALL", "RETURN (NONSENSE) (DATE) UTF-8 ALL"} {
		c.cmd("SORT %s", bad).want("BAD ...")
	}
	c.cmd("SORT (%s) UTF-8 ALL", strings.TrimSpace(strings.Repeat("DATE ", maxCriteria+1))).want("BAD [LIMIT] ...")
	c.cmd("SORT (DATE) X-KLINGON ALL").want("NO [BADCHARSET (US-ASCII UTF-8 ...)] ...")
}

// RFC 5255 section 4.2: texts are compared as i;unicode-casemap says, in searches, orders and threads alike.
func TestComparator(t *testing.T) {
	s := start(t)
	for _, subject := range []string{"\u00d6LE", "zebra", "o\u0308le", "\u0444\u0430\u043a\u0442", "\u0424\u0410\u041a\u0422", "\uff4f\u0308le", "\u03c3\u03bf\u03c6\u03cc\u03c2", "\u03a3\u039f\u03a6\u038c\u03a3"} {
		s.deliver("INBOX", "Subject: "+subject+"\r\n\r\n")
	}
	c := s.selected("INBOX")
	c.cmd("CAPABILITY").has("* CAPABILITY ... I18NLEVEL=1 ...")
	c.cmd("SEARCH SUBJECT \"\u00f6le\"").want("* SEARCH 1 3 6", "OK ...")
	c.cmd("SEARCH SUBJECT \"\u0424\u0430\u041a\"").want("* SEARCH 4 5", "OK ...")
	c.cmd("SEARCH SUBJECT \"\u03c3\u03bf\u03c6\u03cc\u03c3\"").want("* SEARCH 7 8", "OK ...")
	c.cmd("SORT (SUBJECT) UTF-8 ALL").want("* SORT 1 3 6 2 7 8 4 5", "OK ...")
	c.cmd("THREAD ORDEREDSUBJECT UTF-8 ALL").want("* THREAD (1 (3)(6))(2)(4 5)(7 8)", "OK ...")
}

// RFC 5267 section 3.
func TestESort(t *testing.T) {
	s := start(t)
	correspondence(s)
	c := s.selected("INBOX")
	c.cmd("UID SORT RETURN () (REVERSE DATE) UTF-8 ALL").want(`* ESEARCH (TAG "...") UID ALL 6,5,4,1:3`, "OK UID SORT completed") // 2 and 3 were sent together
	c.cmd("SORT RETURN (MIN MAX COUNT) (SUBJECT) UTF-8 ALL").want(`* ESEARCH (TAG "...") MIN 6 MAX 5 COUNT 6`, "OK SORT completed")
	c.cmd("SORT RETURN (ALL COUNT) (SUBJECT) UTF-8 SUBJECT nothing").want(`* ESEARCH (TAG "...") COUNT 0`, "OK SORT completed")
	c.cmd("SORT RETURN (SAVE MIN) (SUBJECT) UTF-8 ALL").want(`* ESEARCH (TAG "...") MIN 6`, "OK SORT completed")
	c.cmd("SEARCH $").want("* SEARCH 6", "OK ...")
	c.cmd("SORT RETURN (SAVE) (SUBJECT) UTF-8 2:3").want("OK SORT completed")
	c.cmd("SORT (SUBJECT) UTF-8 $").want("* SORT 3 2", "OK ...")
}

// RFC 9394 section 3.1, RFC 5267 section 4.4.
func TestPartial(t *testing.T) {
	s := start(t)
	correspondence(s)
	c := s.selected("INBOX")
	for _, test := range []struct{ command, want string }{
		{"SEARCH RETURN (PARTIAL 1:2) 2:6", "PARTIAL (1:2 2:3)"},
		{"SEARCH RETURN (PARTIAL 5:2) 2:6", "PARTIAL (5:2 3:6)"}, // section 4: 5:2 is the same as 2:5.
		{"SEARCH RETURN (PARTIAL 4:10) 2:6", "PARTIAL (4:10 5:6)"},
		{"SEARCH RETURN (PARTIAL 6:10 COUNT) 2:6", "COUNT 5 PARTIAL (6:10 NIL)"},
		{"SEARCH RETURN (PARTIAL -1:-2) 2:6", "PARTIAL (-1:-2 5:6)"},
		{"SEARCH RETURN (partial -2:-1) 2:6", "PARTIAL (-2:-1 5:6)"},
		{"SEARCH RETURN (PARTIAL -4:-10) 2:6", "PARTIAL (-4:-10 2:3)"},
		{"SEARCH RETURN (MIN PARTIAL -6:-10) 2:6", "MIN 2 PARTIAL (-6:-10 NIL)"},
		{"SORT RETURN (PARTIAL 1:3) (SUBJECT) UTF-8 ALL", "PARTIAL (1:3 6,3,1)"},
		{"SORT RETURN (PARTIAL -1:-3) (SUBJECT) UTF-8 ALL", "PARTIAL (-1:-3 2,4:5)"},
		{"SEARCH RETURN (PARTIAL 1:4294967295) ALL", "PARTIAL (1:4294967295 1:6)"},
	} {
		c.cmd("%s", test.command).want(`* ESEARCH (TAG "...") `+test.want, "OK ...")
	}
	for _, bad := range []string{"PARTIAL", "PARTIAL 1", "PARTIAL 0:1", "PARTIAL 1:*", "PARTIAL -1:2", "PARTIAL 1:-2", "PARTIAL 1:2 ALL", "ALL PARTIAL 1:2", "PARTIAL 1:2 PARTIAL 3:4", "PARTIAL 1:4294967296"} {
		c.cmd("SEARCH RETURN (%s) ALL", bad).want("BAD ...")
	}
	// RFC 9394 section 3.2: what "$" becomes.
	for _, test := range []struct{ options, saved string }{
		{"SAVE PARTIAL 2:3", " 3 4"}, {"SAVE MIN PARTIAL 2:3", " 2 3 4"}, {"SAVE MAX PARTIAL 2:3", " 3 4 6"}, {"SAVE MIN MAX PARTIAL -1:-2", " 2 5 6"},
		{"SAVE COUNT PARTIAL 2:3", " 2 3 4 5 6"}, {"SAVE PARTIAL 7:9", ""},
	} {
		c.cmd("SEARCH RETURN (%s) 2:6", test.options).ok()
		c.cmd("SEARCH $").want("* SEARCH"+test.saved, "OK ...")
	}
}

// RFC 5256 section 3.
func TestThread(t *testing.T) {
	s := start(t)
	correspondence(s)
	c := s.selected("INBOX")
	for _, test := range []struct{ command, want string }{
		{"THREAD REFERENCES UTF-8 ALL", " (2 (1 4)(5))(3)(6)"},
		{"THREAD references us-ascii 4:6", " ((4)(5))(6)"}, // what the search leaves out still joins what refers to it
		{"THREAD ORDEREDSUBJECT UTF-8 ALL", " (2 1)(3)(4 5)(6)"},
		{"THREAD REFS UTF-8 ALL", " (3)(2 (1 4)(5))(6)"},
		{"THREAD REFERENCES UTF-8 SUBJECT nothing", ""},
		{"THREAD REFERENCES UTF-8 1,5", " ((1)(5))"},
	} {
		c.cmd("%s", test.command).want("* THREAD"+test.want, "OK THREAD completed")
	}
	c.cmd("STORE 3 +FLAGS.SILENT (\\Deleted)").ok()
	c.cmd("EXPUNGE").ok()
	c.cmd("THREAD REFERENCES UTF-8 ALL").want("* THREAD (2 (1 3)(4))(5)", "OK THREAD completed")
	c.cmd("UID THREAD REFERENCES UTF-8 ALL").want("* THREAD (2 (1 4)(5))(6)", "OK UID THREAD completed")
	for _, bad := range []string{"", "REFERENCES", "REFERENCES UTF-8", "REFERENCES ALL", "NONSENSE UTF-8 ALL", "REFERENCES UTF-8 NONSENSE"} {
		c.cmd("THREAD %s", bad).want("BAD ...")
	}
	c.cmd("THREAD REFERENCES X-KLINGON ALL").want("NO [BADCHARSET ...")
}

// A conversation may be as deep as the mailbox is large.
func TestDeepThread(t *testing.T) {
	s := start(t)
	want := "* THREAD (1"
	for i := range 300 {
		s.deliver("INBOX", fmt.Sprintf("Message-ID: <%d@x>\r\nReferences: <%d@x>\r\nDate: Fri, 4 Feb 1994 06:00:00 +0000\r\n\r\n", i, i-1))
		if i > 0 {
			want += fmt.Sprint(" ", i+1)
		}
	}
	s.selected("INBOX").cmd("THREAD REFERENCES UTF-8 ALL").want(want+")", "OK ...")
}

func TestSortAndThreadCanBeSwitchedOff(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Without = []string{"SORT=DISPLAY", "ESORT", "THREAD=REFS", "PARTIAL", "CONTEXT=SEARCH", "CONTEXT=SORT"}
	})
	c := s.selected("INBOX")
	c.cmd("SORT (DATE) UTF-8 ALL").ok()
	c.cmd("SORT (DISPLAYFROM) UTF-8 ALL").bad()
	c.cmd("SORT RETURN () (DATE) UTF-8 ALL").bad()
	c.cmd("THREAD REFERENCES UTF-8 ALL").ok()
	c.cmd("THREAD REFS UTF-8 ALL").bad()
	c.cmd("SEARCH RETURN (PARTIAL 1:2) ALL").bad()
	c.cmd("CAPABILITY").has("* CAPABILITY ... SORT ...", "* CAPABILITY ... THREAD=ORDEREDSUBJECT THREAD=REFERENCES ...").hasNot("...SORT=DISPLAY...").hasNot("...REFS...")
}
