package imap

import (
	"fmt"
	"strings"
	"testing"
)

// What clients do that is at the edge of the standard or beyond it, and what they rely on without its promise. Whole sessions of clients are in client_*_test.go.

// Keywords are told in the case in which somebody gave them first, and are found in any (RFC 9051 section 2.3.2). System flags that there are not are refused, and
// a backslash alone is no flag at all.
func TestOddFlags(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	c.cmd(`STORE 1 +FLAGS (\SEEN $Forwarded NonJunk)`).has(`* 1 FETCH (UID 1 FLAGS (\Seen $Forwarded NonJunk...))`).ok()
	c.cmd(`STORE 1 +FLAGS ($FORWARDED nonjunk $MDNSent)`).has(`* 1 FETCH (UID 1 FLAGS (\Seen $Forwarded NonJunk $MDNSent...))`).ok()
	c.cmd(`SEARCH KEYWORD $forwarded UNKEYWORD $junk`).want("* SEARCH 1", "OK ...")
	c.cmd(`STORE 1 -FLAGS $mdnsent`).has(`* 1 FETCH (UID 1 FLAGS (\Seen $Forwarded NonJunk...))`).ok() // without parentheses
	c.cmd(`STORE 1 +FLAGS ()`).ok()
	c.cmd(`STORE 1 +FLAGS (\)`).bad()
	c.cmd(`STORE 1 +FLAGS (\ \Seen)`).bad()
	c.cmd(`STORE 1 +FLAGS (\Bogus)`).no()
	c.cmd(`STORE 1 +FLAGS (\Recent)`).ok() // clients give back what they were told: it is passed over
	c.cmd(`STORE 1 FLAGS (a:b [c 1 $2 +x -y)`).has(`* 1 FETCH (UID 1 FLAGS (a:b [c 1 $2 +x -y...))`).ok()
	c.cmd("NOOP").ok()
}

// Names come in modified UTF-7, or as UTF-8 from a client that has enabled it. What no UTF-7 is, is refused and not mistaken.
func TestMailboxNamesInBothCodes(t *testing.T) {
	s := start(t)
	old, young := s.login(), s.login()
	young.cmd("ENABLE UTF8=ACCEPT").ok()
	old.cmd(`CREATE "Entw&APw-rfe &- &2D3eAA-"`).ok()
	young.cmd(`LIST "" "Entw*"`).want(`* LIST (...) "/" "Entwürfe & 😀"`, "OK ...")
	young.cmd(`SELECT "Entwürfe & 😀"`).ok()
	young.cmd(`CREATE "&APw-"`).ok() // that is its name: these are no escapes any more (RFC 6855 section 3).
	old.cmd(`LIST "" "&-*"`).want(`* LIST (...) "/" &-APw-`, "OK ...")
	for _, bad := range []string{"&", "&APw", "a&APw-&APw-", "&AGE-", "&2D0-", "&A-"} {
		old.cmd(`CREATE "%s"`, bad).bad()
	}
	old.cmd("CREATE \"Entw\xc3\xbcrfe\"").bad() // UTF-8 of a client that has not enabled it
	young.cmd("CREATE \"\xff\"").bad()
	young.cmd("CREATE {3+}\r\na\u00fc").ok() // also in a literal
}

// INBOX has no case, nor has it as the first level of a name (RFC 9051 section 5.1).
func TestInboxInAnyCase(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd("CREATE inbox/Child").ok()
	c.cmd(`LIST "" InBoX`).want(`* LIST (...) "/" INBOX`, "OK ...")
	c.cmd(`LIST "" "inbox/*"`).want(`* LIST (...) "/" INBOX/Child`, "OK ...")
	c.cmd(`LIST "Inbox/" "%%"`).want(`* LIST (...) "/" INBOX/Child`, "OK ...")
	c.cmd("SELECT iNBOX/Child").ok()
	c.cmd("SELECT inbox/child").no("[NONEXISTENT] ...")                            // below INBOX case counts
	c.cmd("STATUS inbox (MESSAGES)").want("* STATUS inbox (MESSAGES 0)", "OK ...") // as the client called it
	c.cmd("CREATE Inbox").no("[ALREADYEXISTS] ...")
	c.cmd("DELETE inbox").no()
	c.cmd("SUBSCRIBE inbox").ok()
	c.cmd(`LSUB "" "*box"`).want(`* LSUB () "/" INBOX`, "OK ...")
	c.cmd("CREATE INBOXES").ok()
	c.cmd("RENAME inbox/Child other").ok()
}

// A separator at the end says that there will be children, and changes nothing (RFC 9051 section 6.3.4).
func TestTrailingSeparators(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd(`CREATE "a/"`).ok()
	c.cmd(`CREATE "a"`).no("[ALREADYEXISTS] ...")
	c.cmd(`CREATE "a/b/"`).ok()
	for _, command := range []string{`SELECT "a/"`, `EXAMINE "a/b/"`, `STATUS "a/" (MESSAGES)`, `SUBSCRIBE "a/"`, `UNSUBSCRIBE "a/"`, `RENAME "a/b/" "a/c/"`, `DELETE "a/c/"`} {
		c.cmd("%s", command).ok()
	}
	c.append(`"a/"`, mail(1)).ok()
	c.cmd(`SELECT a`).has("* 1 EXISTS").ok()
	c.cmd(`COPY 1 "a/"`).ok()
	c.cmd(`LIST "" "a/"`).want("OK ...") // what ends with a separator is the name of no mailbox
	c.cmd(`CREATE "a//b"`).no()
	c.cmd(`CREATE "/"`).no()
	c.cmd(`CREATE "a//"`).no()
}

// A SELECT that fails leaves no mailbox selected (RFC 9051 section 6.3.2), and the client is told.
func TestSelectOfNothingWhileSelected(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	c.cmd("SELECT nowhere").want("* OK [CLOSED] ...", "NO [NONEXISTENT] ...")
	c.cmd("FETCH 1 (FLAGS)").bad("select a mailbox first")
	c.cmd("CLOSE").bad()
	c.cmd("EXAMINE nowhere").want("NO [NONEXISTENT] ...")
	c.cmd("SELECT INBOX").ok()
	c.cmd("SELECT").bad() // what cannot be read selects nothing and closes nothing
	c.cmd("FETCH 1 (FLAGS)").ok()
}

// An absent field is NIL, one that is there and empty is not (RFC 9051 section 7.5.2); lists are never empty.
func TestNILAndEmpty(t *testing.T) {
	for header, envelope := range map[string]string{
		"X: y\r\n":                               `NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL`,
		"Subject:\r\n":                           `NIL "" NIL NIL NIL NIL NIL NIL NIL NIL`,
		"Subject: \r\nTo:\r\nCc: ;\r\n":          `NIL "" NIL NIL NIL NIL NIL NIL NIL NIL`,
		"To: undisclosed-recipients:;\r\n":       `NIL NIL NIL NIL NIL ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL`,
		"In-Reply-To: \r\nDate:\r\n":             `"" NIL NIL NIL NIL NIL NIL NIL "" NIL`,
		"From: a@example.org\r\nSender:\r\n":     `NIL NIL ((NIL NIL "a" "example.org")) ((NIL NIL "a" "example.org")) ((NIL NIL "a" "example.org")) NIL NIL NIL NIL NIL`,
		"From: \"\" <a@example.org>\r\nTo: \r\n": `NIL NIL ((... NIL "a" "example.org")) ((... NIL "a" "example.org")) ((... NIL "a" "example.org")) NIL NIL NIL NIL NIL`,
	} {
		t.Run(header, func(t *testing.T) {
			s := start(t)
			s.deliver("INBOX", header+"\r\n\r\n")
			c := s.selected("INBOX")
			c.cmd("FETCH 1 ENVELOPE").has("* 1 FETCH (ENVELOPE (" + envelope + "))").ok()
			if line := c.cmd("FETCH 1 (BODYSTRUCTURE BODY)").ok().untagged[0]; strings.Contains(line, "()") {
				t.Errorf("an empty list in %s", line)
			}
		})
	}
	s := start(t)
	s.deliver("INBOX", "Subject: empty parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\nContent-Type: text/plain; charset=\"\"\r\nContent-ID:\r\n\r\n\r\n--b--\r\n")
	c := s.selected("INBOX")
	c.cmd("FETCH 1 (BODY[1] BODY[2] BODY[3] BODY[1.MIME])").has("* 1 FETCH (BODY[1] {0}\r\n BODY[2] {0}\r\n BODY[3] NIL BODY[1.MIME] {2}\r\n\r\n)").ok()
	if line := c.cmd("FETCH 1 BODYSTRUCTURE").ok().untagged[0]; strings.Contains(line, "()") {
		t.Errorf("an empty list in %s", line)
	}
}

// Between the parts of a multipart there is no space, and one everywhere else (RFC 9051 section 9, body-type-mpart): parsers of clients take nothing else.
func TestSpacesInBodyStructure(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", "Subject: nested\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\none\r\n"+
		"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>one\r\n--b--\r\n--a\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=x.eml\r\n\r\nSubject: inner\r\n\r\ntwo\r\n--a--\r\n")
	c := s.selected("INBOX")
	const one, two = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 0`, `("text" "html" ("charset" "utf-8") NIL NIL "7bit" 6 0`
	const inner = `("message" "rfc822" NIL NIL NIL "7bit" 21 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) ` + one
	c.cmd("FETCH 1 BODY").want("* 1 FETCH (BODY (("+one+")"+two+`) "alternative")`+inner+`) 2) "mixed"))`, "OK ...")
	c.cmd("FETCH 1 BODYSTRUCTURE").want("* 1 FETCH (BODYSTRUCTURE (("+one+" NIL NIL NIL NIL)"+two+` NIL NIL NIL NIL) "alternative" ("boundary" "b") NIL NIL NIL)`+inner+
		` NIL NIL NIL NIL) 2 NIL ("attachment" ("filename" "x.eml")) NIL NIL) "mixed" ("boundary" "a") NIL NIL NIL))`, "OK ...")
}

// RFC822.SIZE is what BODY[] has, for every odd message.
func TestSizesOfOddMessages(t *testing.T) {
	for _, text := range []string{"", "\r\n", "no header", "Subject: x\n\nbare LF\n", "Subject: x\r\n\r\nno end", "Subject: \u00ff\r\n\r\n\u0080", "a\rb"} {
		s := start(t)
		s.deliver("INBOX", text)
		c := s.selected("INBOX")
		want := fmt.Sprintf("{%d}\r\n%s", len(text), text)
		if text == "" {
			want = "..."
		}
		c.cmd("FETCH 1 (RFC822.SIZE BODY.PEEK[])").has(fmt.Sprintf("* 1 FETCH (RFC822.SIZE %d BODY[] %s)", len(text), want)).ok()
	}
}
