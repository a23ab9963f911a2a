package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// library delivers the messages that the tests of SEARCH look through.
func library(s *testServer) {
	s.deliver("INBOX", "From: Smith <smith@example.org>\r\nTo: alice@example.org\r\nSubject: budget\r\nDate: Tue, 1 Feb 1994 23:00:00 -0800\r\n\r\nspring\r\n", `\Seen`)
	s.deliver("INBOX", "From: Jones <jones@example.org>\r\nCc: smith@example.org\r\nSubject: =?utf-8?q?B=C3=BCdget?=\r\nDate: Thu, 3 Feb 1994 09:00:00 +0000\r\n\r\nsummer\r\n", `\Deleted`, "$Junk")
	s.deliver("INBOX", "From: smith@example.net\r\nBcc: hidden@example.org\r\nSubject: other\r\nX-Spam: yes\r\nContent-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n", `\Flagged`, `\Answered`, `\Draft`)
	s.deliver("INBOX", "Subject: "+strings.Repeat("long ", 100)+"\r\nDate: Fri, 4 Feb 1994 09:00:00 +0000\r\n\r\n"+strings.Repeat("filler\r\n", 500)+"autumn\r\n")
}

func TestSearchKeys(t *testing.T) {
	s := start(t)
	library(s)
	c := s.selected("INBOX")
	for _, test := range []struct{ search, want string }{
		{"ALL", "1 2 3 4"},
		{"all all", "1 2 3 4"},
		{"SEEN", "1"},
		{"UNSEEN", "2 3 4"},
		{"DELETED", "2"},
		{"UNDELETED UNSEEN", "3 4"},
		{"FLAGGED ANSWERED DRAFT", "3"},
		{"UNFLAGGED UNANSWERED UNDRAFT", "1 2 4"},
		{"KEYWORD $junk", "2"},
		{"KEYWORD $None", ""},
		{"UNKEYWORD $Junk", "1 3 4"},
		{"RECENT", "1 2 3 4"},
		{"NEW", "2 3 4"},
		{"OLD", ""},
		{"2:3", "2 3"},
		{"*", "4"},
		{"3:100", "3 4"}, // beyond the end
		{"100:200", ""},
		{"NOT 2,4", "1 3"},
		{"UID 2:*", "2 3 4"},
		{"UID 100", ""},
		{"FROM Smith", "1 3"},
		{"FROM smith@EXAMPLE.org", "1"},
		{"FROM \"smith <smith@\"", "1"},
		{"TO alice", "1"},
		{"CC smith", "2"},
		{"BCC hidden", "3"},
		{"SUBJECT budget", "1"},
		{"SUBJECT \"B\u00dcDGET\"", "2"},
		{"CHARSET ISO-8859-1 SUBJECT {6+}\r\nb\xfcdget", "2"},
		{"CHARSET utf-8 SUBJECT {7+}\r\nb\u00fcdget", "2"},
		{"CHARSET KOI8-R BODY {6+}\r\n\xf0\xd2\xc9\xd7\xc5\xd4", "3"},
		{"BODY \u041f\u0440\u0438\u0432\u0435\u0442", ""}, // replaced below: atoms are ASCII
		{"BODY \"\u043f\u0440\u0418\u0412\u0435\u0442\"", "3"},
		{"BODY autumn", "4"},
		{"BODY budget", ""},
		{"TEXT budget", "1"},
		{"TEXT spring", "1"},
		{"HEADER X-Spam \"\"", "3"},
		{"HEADER x-spam y", "3"},
		{"HEADER X-Spam: y", "3"},
		{"HEADER Subject B\u00dc", ""}, // replaced below
		{"SENTBEFORE 1-Feb-1994", ""},
		{"SENTON 1-Feb-1994", "1"}, // disregarding the zone
		{"SENTSINCE 3-Feb-1994", "2 4"},
		{"SENTSINCE \"3-Feb-1994\" SENTBEFORE 4-Feb-1994", "2"},
		{"SINCE 1-Feb-1994", "1 2 3 4"},
		{"BEFORE 1-Feb-1994", ""},
		{"ON 1-Feb-1994", ""},
		{"SAVEDSINCE 1-Feb-1994", "1 2 3 4"},
		{"SAVEDBEFORE 1-Feb-1994", ""},
		{"SAVEDATESUPPORTED", "1 2 3 4"},
		{"YOUNGER 3600", "1 2 3 4"},
		{"OLDER 3600", ""},
		{"LARGER 1000", "4"},
		{"SMALLER 1000", "1 2 3"},
		{"OR SEEN FLAGGED", "1 3"},
		{"OR SEEN OR FLAGGED KEYWORD $Junk", "1 2 3"},
		{"NOT OR SEEN FLAGGED", "2 4"},
		{"NOT NOT SEEN", "1"},
		{"(SEEN)", "1"},
		{"(OR (FROM smith UNSEEN) (BODY autumn)) NOT DELETED", "3 4"},
		{"FROM nobody BODY autumn", ""},
	} {
		if strings.HasPrefix(test.search, "BODY \u041f") || strings.HasPrefix(test.search, "HEADER Subject B\u00dc") {
			c.cmd("SEARCH %s", test.search).want("BAD ...") // RFC 9051 section 9: an atom is ASCII.
			continue
		}
		want := "* SEARCH"
		if test.want != "" {
			want += " " + test.want
		}
		got := c.cmd("SEARCH %s", test.search)
		if len(got.untagged) != 1 || got.untagged[0] != want || got.tagged != "OK SEARCH completed" {
			t.Errorf("%s: %q, %s; want %s", test.search, got.untagged, got.tagged, want)
		}
	}
	for _, bad := range []string{"", " ", "NONSENSE", "NOT", "OR SEEN", "(SEEN", "SEEN)", "()", "FROM", "LARGER x", "LARGER -1", "SENTON yesterday", "0", "1:", "UID", "UID x",
		"KEYWORD", "HEADER Subject", "CHARSET utf-8", "RETURN (NONSENSE) ALL", "RETURN ALL", "RETURN (ALL", "OLDER 0", "ALL  ALL", "SEEN "} {
		c.cmd("SEARCH %s", bad).want("BAD ...")
	}
	c.cmd("SEARCH CHARSET x-klingon SUBJECT x").want("NO [BADCHARSET (US-ASCII UTF-8 ...)] ...")
	c.cmd("SEARCH SEEN").want("* SEARCH 1", "OK SEARCH completed")
}

// UIDs and sequence numbers differ once something is expunged.
func TestSearchNumbers(t *testing.T) {
	s := start(t)
	library(s)
	c := s.selected("INBOX")
	c.cmd("EXPUNGE").want("* 2 EXPUNGE", "OK ...")
	c.cmd("SEARCH 2:*").want("* SEARCH 2 3", "OK SEARCH completed")
	c.cmd("UID SEARCH 2:*").want("* SEARCH 3 4", "OK UID SEARCH completed")
	c.cmd("UID SEARCH UID 2:3").want("* SEARCH 3", "OK UID SEARCH completed")
	c.cmd("SEARCH RETURN () UID 3:*").want(`* ESEARCH (TAG "...") ALL 2:3`, "OK SEARCH completed")
	c.cmd("UID SEARCH RETURN () UID 3:*").want(`* ESEARCH (TAG "...") UID ALL 3:4`, "OK UID SEARCH completed")
}

// RFC 4731 section 3.1.
func TestESearch(t *testing.T) {
	s := start(t)
	library(s)
	c := s.selected("INBOX")
	c.send("A282 SEARCH RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith X\"\r\n")
	c.expect(`* ESEARCH (TAG "A282") MIN 3 COUNT 1`, "A282 OK SEARCH completed")
	c.send("A283 SEARCH RETURN () UNSEEN\r\n")
	c.expect(`* ESEARCH (TAG "A283") ALL 2:4`, "A283 OK SEARCH completed")
	c.cmd("UID SEARCH RETURN (MIN MAX ALL COUNT) UNSEEN").want(`* ESEARCH (TAG "...") UID MIN 2 MAX 4 ALL 2:4 COUNT 3`, "OK UID SEARCH completed")
	c.cmd("SEARCH RETURN (MIN MAX) KEYWORD nothing").want(`* ESEARCH (TAG "a...")`, "OK SEARCH completed")
	c.cmd("SEARCH RETURN (COUNT ALL) KEYWORD nothing").want(`* ESEARCH (TAG "a...") COUNT 0`, "OK SEARCH completed")
	c.cmd("search return (all) charset us-ascii seen").want(`* ESEARCH (TAG "a...") ALL 1`, "OK SEARCH completed")
}

// RFC 9051 section 6.4.4: with IMAP4rev2 the answer is always ESEARCH.
func TestSearchRev2(t *testing.T) {
	s := start(t)
	library(s)
	c := s.login()
	c.cmd("ENABLE IMAP4rev2").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("SEARCH UNSEEN").want(`* ESEARCH (TAG "...") ALL 2:4`, "OK SEARCH completed")
	c.cmd("SEARCH BODY winter").want(`* ESEARCH (TAG "...")`, "OK SEARCH completed")
	c.cmd("SEARCH CHARSET UTF-8 SUBJECT \"bü\"").want(`* ESEARCH (TAG "...") ALL 2`, "OK SEARCH completed")
}

// RFC 6855 section 3.
func TestSearchCharsetWithUTF8Accept(t *testing.T) {
	s := start(t)
	library(s)
	c := s.login()
	c.cmd("ENABLE UTF8=ACCEPT").ok()
	c.cmd("SELECT INBOX").ok()
	c.cmd("SEARCH CHARSET UTF-8 SUBJECT x").want("BAD ...")
	c.cmd("SEARCH SUBJECT \"bü\"").want("* SEARCH 2", "OK SEARCH completed")
}

// RFC 5182: "$" is the result of the last SEARCH RETURN (SAVE).
func TestSearchRes(t *testing.T) {
	s := start(t)
	library(s)
	c := s.selected("INBOX")
	c.cmd("SEARCH $").want("* SEARCH", "OK SEARCH completed") // section 2.1: empty at first.
	c.cmd("SEARCH RETURN (SAVE) UNSEEN").want("OK SEARCH completed")
	c.cmd("FETCH $ UID").want("* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "* 4 FETCH (UID 4)", "OK FETCH completed")
	c.cmd("UID FETCH $ UID").want("* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "* 4 FETCH (UID 4)", "OK UID FETCH completed")
	c.cmd("SEARCH RETURN (SAVE COUNT) $ SMALLER 1000").want(`* ESEARCH (TAG "...") COUNT 2`, "OK SEARCH completed") // section 2.4, example 4.
	c.cmd("SEARCH UID $").want("* SEARCH 2 3", "OK SEARCH completed")
	c.cmd("SEARCH NOT $").want("* SEARCH 1 4", "OK SEARCH completed")

	c.cmd("SEARCH ALL").want("* SEARCH 1 2 3 4", "OK SEARCH completed") // section 2.1: without SAVE, "$" stays.
	c.cmd("SEARCH RETURN (SAVE) NONSENSE").want("BAD ...")              // so it does after BAD
	c.cmd("SEARCH $").want("* SEARCH 2 3", "OK SEARCH completed")
	c.cmd("SEARCH RETURN (SAVE) CHARSET x-klingon BODY x").want("NO [BADCHARSET ...")
	c.cmd("SEARCH $").want("* SEARCH", "OK SEARCH completed") // a NO empties it

	// Section 2.4: what is saved with MIN and MAX.
	for _, test := range []struct{ options, shown, saved string }{
		{"SAVE MIN", " MIN 2", " 2"},
		{"SAVE MAX", " MAX 4", " 4"},
		{"SAVE MIN MAX", " MIN 2 MAX 4", " 2 4"},
		{"SAVE MIN ALL", " MIN 2 ALL 2:4", " 2 3 4"},
		{"SAVE MAX COUNT", " MAX 4 COUNT 3", " 2 3 4"},
		{"SAVE ALL", " ALL 2:4", " 2 3 4"},
	} {
		c.cmd("SEARCH RETURN (%s) UNSEEN", test.options).want(`* ESEARCH (TAG "...")`+test.shown, "OK SEARCH completed")
		c.cmd("SEARCH $").want("* SEARCH"+test.saved, "OK SEARCH completed")
	}

	// Section 2.1: messages that are expunged leave "$", and SELECT empties it.
	c.cmd("EXPUNGE").want("* 2 EXPUNGE", "OK ...")
	c.cmd("FETCH $ UID").want("* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)", "OK ...")
	c.cmd("SELECT INBOX").ok()
	c.cmd("FETCH $ UID").want("OK FETCH completed")
}

// One damaged message does not end a search; its client is warned.
func TestSearchOfDamagedMessages(t *testing.T) {
	s := start(t, quiet)
	library(s)
	for e, err := range s.Accounts.Emails(t.Context(), s.account, 1, domain.UIDs(2), 0xff) {
		if err != nil {
			t.Fatal(err)
		}
		s.Blobs.Remove(e.Blob.ID)
	}
	c := s.selected("INBOX")
	c.cmd("SEARCH TEXT example").want("* NO [CORRUPTION] ...", "* SEARCH 1 3", "OK SEARCH completed")
	c.cmd("SEARCH FROM example").want("* SEARCH 1 2 3", "OK SEARCH completed")
}

func TestSearchOfTheExpunged(t *testing.T) {
	s := start(t)
	library(s)
	c := s.selected("INBOX")
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.Expunge{Mailbox: 1}); err != nil {
		t.Fatal(err)
	}
	c.cmd("SEARCH ALL").want("* SEARCH 1 3 4", "OK SEARCH completed") // its EXPUNGE has to wait, RFC 9051 section 7.5.1.
	c.cmd("NOOP").want("* 2 EXPUNGE", "OK NOOP completed")
	c.cmd("SEARCH ALL").want("* SEARCH 1 2 3", "OK SEARCH completed")
}

// Hostile searches end in BAD, and the session goes on.
func TestSearchLimits(t *testing.T) {
	s := start(t)
	library(s)
	c := s.selected("INBOX")
	c.cmd("SEARCH %s", strings.Repeat("NOT ", 100_000)+"SEEN").want("BAD [LIMIT] ...")
	c.cmd("SEARCH %s", strings.Repeat("(", 100_000)).want("BAD [LIMIT] ...")
	c.cmd("SEARCH %sSEEN", strings.Repeat("SEEN ", 100_000)).want("BAD [LIMIT] ...")
	c.cmd("SEARCH SUBJECT {2000000+}\r\n%s", strings.Repeat("x", 2_000_000)).want("BAD [TOOBIG] ...")
	var or strings.Builder // what clients do to find many messages at once
	for i := range 200 {
		fmt.Fprintf(&or, "OR HEADER Message-ID <%d@example.org> ", i)
	}
	c.cmd("SEARCH %sSEEN", or.String()).want("* SEARCH 1", "OK SEARCH completed")
}
