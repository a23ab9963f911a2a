package imap

import (
	"strings"
	"testing"
)

func TestMetadata(t *testing.T) {
	s := start(t)
	c, other := s.login(), s.login()
	c.cmd("CAPABILITY").has("...LIST-METADATA...", "... METADATA ...")
	tag := c.begin("SETMETADATA INBOX (/private/comment {33}")
	c.expect("+ Ready")
	c.send("My new comment across\r\ntwo lines. /Shared/Comment \"for you\")\r\n")
	c.finish(tag).want("OK SETMETADATA completed")
	other.cmd(`GETMETADATA "INBOX" (/shared/COMMENT /private/comment)`).want(
		"* METADATA INBOX (/shared/COMMENT \"for you\" /private/comment {33}\r\nMy new comment across\r\ntwo lines.)", "OK ...")
	c.cmd(`SETMETADATA INBOX (/private/comment NIL /shared/comment "")`).ok()
	other.cmd(`GETMETADATA INBOX (/shared/comment /private/comment)`).want(`* METADATA INBOX (/shared/comment "" /private/comment NIL)`, "OK ...")
	c.cmd("SETMETADATA INBOX (/private/vendor/x/octets ~{3+}\r\n\x00\x01\x02)").ok()
	c.cmd(`GETMETADATA INBOX /private/vendor/x/octets`).want("* METADATA INBOX (/private/vendor/x/octets ~{3}\r\n\x00\x01\x02)", "OK ...")

	// The server's.
	c.cmd(`SETMETADATA "" (/private/vendor/x/y "mine")`).ok()
	c.cmd(`GETMETADATA "" (/private/vendor/x/y /shared/admin)`).want(`* METADATA "" (/private/vendor/x/y "mine" /shared/admin NIL)`, "OK ...")
	c.cmd(`SETMETADATA "" (/private/comment "a" /shared/comment "b")`).no("[NOPERM] ...")
	c.cmd(`GETMETADATA "" /private/comment`).want(`* METADATA "" (/private/comment NIL)`, "OK ...")

	for _, wrong := range []string{
		`SETMETADATA INBOX (comment "x")`, `SETMETADATA INBOX (/comment "x")`, `SETMETADATA INBOX (/private/a*b "x")`, `SETMETADATA INBOX (/private//b "x")`,
		`SETMETADATA INBOX (/private/b/ "x")`, `SETMETADATA INBOX (/private "x")`, `SETMETADATA INBOX (/private/vendor/x "x")`, `SETMETADATA INBOX (/private/comment)`,
		`SETMETADATA INBOX /private/comment "x"`, `SETMETADATA INBOX (/private/comment atom)`, `GETMETADATA INBOX ()`, `GETMETADATA INBOX /other`, `GETMETADATA INBOX /private/%`,
		`GETMETADATA (DEPTH 2) INBOX /private`, `GETMETADATA (DEPTH 1 DEPTH 0) INBOX /private`, `GETMETADATA (MAXSIZE 1) INBOX (MAXSIZE 2) /private`, `SETMETADATA INBOX ()`, `GETMETADATA (WIDTH 2) INBOX /private`, `GETMETADATA INBOX`,
		"SETMETADATA INBOX (/private/comment {2+}\r\na\x00)",
	} {
		if got := c.cmd("%s", wrong); !strings.HasPrefix(got.tagged, "BAD ") {
			t.Errorf("%s: %s", wrong, got.tagged)
		}
	}
	c.cmd(`GETMETADATA nowhere /private/comment`).no("[NONEXISTENT] ...")
	c.cmd(`SETMETADATA nowhere (/private/comment "x")`).no("[NONEXISTENT] ...")
}

func TestMetadataDepthAndSize(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd(`SETMETADATA INBOX (/private/filters/values/small "SMALLER 5000" /private/filters/values/boss "FROM boss" /private/filters/values/boss/old "%s")`,
		strings.Repeat("x", 2000)).ok()
	c.cmd(`GETMETADATA (DEPTH 1) INBOX /private/filters/values`).want(
		`* METADATA INBOX (/private/filters/values/boss "FROM boss" /private/filters/values/small "SMALLER 5000")`, "OK GETMETADATA completed")
	c.cmd(`GETMETADATA "INBOX" (DEPTH 1) (/private/filters/values)`).has("* METADATA INBOX (...boss...)").ok() // as the examples of section 4.2 put it
	c.cmd(`GETMETADATA (DEPTH infinity MAXSIZE 1999) INBOX (/private /private/filters)`).want(
		`* METADATA INBOX (/private/filters/values/boss "FROM boss" /private/filters/values/small "SMALLER 5000")`, "OK [METADATA LONGENTRIES 2000] ...")
	c.cmd(`GETMETADATA (MAXSIZE 2000) INBOX /private/filters/values/boss/old`).has("* METADATA INBOX (/private/filters/values/boss/old ...)").ok()
	c.cmd(`GETMETADATA (MAXSIZE 0) INBOX /private/filters/values/boss/old`).want("OK [METADATA LONGENTRIES 2000] ...")
	c.cmd(`GETMETADATA (DEPTH infinity) INBOX /shared`).want("OK ...")
}

func TestMetadataLimits(t *testing.T) {
	s := start(t, func(c *Config) {
		c.Limits.MetadataValue, c.Limits.MetadataEntries, c.Limits.MetadataOctets = 1024, 3, 4000
	})
	c := s.login()
	large := strings.Repeat("x", 1024)
	c.cmd(`SETMETADATA INBOX (/private/a "%sx")`, large).no("[METADATA MAXSIZE 1024] ...")
	c.cmd(`SETMETADATA INBOX (/private/a "1" /private/b "2" /private/c "3" /private/d "4")`).no("[METADATA TOOMANY] ...")
	c.cmd(`GETMETADATA (DEPTH infinity) INBOX /private`).want("OK ...") // none of them was set.
	c.cmd(`SETMETADATA INBOX (/private/a "%s" /private/b "%s" /private/c "%s")`, large, large, large).ok()
	c.cmd(`SETMETADATA INBOX (/private/d "4" /private/a NIL)`).ok()
	c.cmd(`SETMETADATA Trash (/private/a "%s")`, large).ok()
	c.cmd(`SETMETADATA Trash (/private/b "%s")`, large).no("[METADATA TOOMANY] ...") // the account's octets
	c.cmd(`DELETE Trash`).ok()
	c.cmd(`CREATE Trash`).ok()
	c.cmd(`GETMETADATA Trash /private/a`).want("* METADATA Trash (/private/a NIL)", "OK ...") // RFC 5464 section 4.1.
	c.cmd(`SETMETADATA Trash (/private/b "%s")`, large).ok()
}

// TestMetadataFollowsItsMailbox is RFC 5464 section 4.1.
func TestMetadataFollowsItsMailbox(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd(`SETMETADATA Trash (/private/comment "rubbish")`).ok()
	c.cmd(`SETMETADATA INBOX (/private/comment "first")`).ok()
	c.cmd("RENAME Trash Bin").ok()
	c.cmd(`GETMETADATA Bin /private/comment`).want(`* METADATA Bin (/private/comment "rubbish")`, "OK ...")
	c.cmd("RENAME INBOX Old").ok()
	c.cmd(`GETMETADATA Old /private/comment`).want(`* METADATA Old (/private/comment "first")`, "OK ...")
	c.cmd(`GETMETADATA INBOX /private/comment`).want(`* METADATA INBOX (/private/comment "first")`, "OK ...")
}

func TestListMetadata(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd("CREATE a/b").ok()
	c.cmd(`SETMETADATA a/b (/shared/vendor/x/color "#b71c1c" /private/comment "x")`).ok()
	c.cmd(`LIST "" (a* Sent) RETURN (METADATA (/shared/vendor/x/color "/private/comment") STATUS (MESSAGES))`).want(
		`* LIST (\HasNoChildren \Sent) "/" Sent`, `* STATUS Sent (MESSAGES 0)`, `* METADATA Sent (/shared/vendor/x/color NIL /private/comment NIL)`,
		`* LIST (\NonExistent \Noselect \HasChildren) "/" a`,
		`* LIST (\HasNoChildren) "/" a/b`, `* STATUS a/b (MESSAGES 0)`, `* METADATA a/b (/shared/vendor/x/color "#b71c1c" /private/comment "x")`, "OK ...")
	c.cmd(`LIST "" a/b RETURN (METADATA /private/comment)`).has(`* METADATA a/b (/private/comment "x")`).ok()
	c.cmd(`LIST "" a/b RETURN (METADATA)`).bad()
	c.cmd(`LIST "" a/b RETURN (METADATA comment)`).bad()
	c.cmd(`LIST "" a/b RETURN (METADATA /private/a METADATA /private/b)`).bad("the return option METADATA is given twice")
	c.cmd(`LIST "" a/b RETURN (METADATA (%s))`, strings.Repeat("/private/x ", maxMetadataEntries+1)+"/private/x").bad("[LIMIT] ...")

	off := start(t, func(c *Config) { c.Without = []string{"LIST-METADATA", "METADATA"} }).login()
	off.cmd(`LIST "" a/b RETURN (METADATA (/private/comment))`).bad()
	off.cmd(`GETMETADATA "" /private/comment`).bad("unknown command")
}

// TestMetadataIsInTheLog: the rows give the annotations back.
func TestMetadataIsInTheLog(t *testing.T) {
	s := start(t)
	c := s.login()
	c.cmd(`SETMETADATA INBOX (/private/comment "kept")`).ok()
	s.Accounts.Rebuilt("", s.account) // forget the state in memory
	c.cmd(`GETMETADATA INBOX /private/comment`).want(`* METADATA INBOX (/private/comment "kept")`, "OK ...")
}
