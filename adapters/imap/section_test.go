package imap

import (
	"fmt"
	"strings"
	"testing"
)

// nested is the message whose part specifiers RFC 9051 section 6.4.5.1 lists: parts 1 and 2, 3 as a message, 4 as a multipart that holds an image
// and a message.
const nested = "Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n" +
	"--o\r\nContent-Type: text/plain\r\n\r\none\r\n" +
	"--o\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\ndHcAbw==\r\n" +
	"--o\r\nContent-Type: message/rfc822\r\n\r\n" +
	"Subject: three\r\nContent-Type: multipart/mixed; boundary=t\r\n\r\n" +
	"--t\r\nContent-Type: text/plain\r\n\r\nthree-one\r\n--t\r\n\r\nthree-two\r\n--t--\r\n\r\n" +
	"--o\r\nContent-Type: multipart/mixed; boundary=f\r\n\r\n" +
	"--f\r\nContent-Type: image/gif\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nfour=2Done\r\n" +
	"--f\r\nContent-Type: message/rfc822\r\n\r\n" +
	"Subject: four-two\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n" +
	"--a\r\n\r\nfour-two-one\r\n--a\r\nContent-Type: text/richtext\r\n\r\nfour-two-two\r\n--a--\r\n" +
	"--f--\r\n" +
	"--o--\r\n"

func TestSections(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", nested)
	s.deliver("INBOX", "Subject: single\r\nX-Long: one\r\n two\r\nsubject : again\r\nno field\r\n\r\nbody\r\n")
	s.deliver("INBOX", "Subject: header only\r\n")
	c := s.selected("INBOX")
	outer := nested[:strings.Index(nested, "--o")]
	three := "Subject: three\r\nContent-Type: multipart/mixed; boundary=t\r\n\r\n"
	threeText := "--t\r\nContent-Type: text/plain\r\n\r\nthree-one\r\n--t\r\n\r\nthree-two\r\n--t--\r\n"
	for _, test := range []struct {
		message int
		section string // as asked for
		want    string // as answered, if the name differs
		value   string // NIL, or the octets
	}{
		{1, "BODY.PEEK[]", "BODY[]", nested},
		{1, "BODY.PEEK[HEADER]", "BODY[HEADER]", outer},
		{1, "BODY.PEEK[TEXT]", "BODY[TEXT]", nested[len(outer):]},
		{1, "BODY.PEEK[1]", "BODY[1]", "one"},
		{1, "BODY.PEEK[1.MIME]", "BODY[1.MIME]", "Content-Type: text/plain\r\n\r\n"},
		{1, "BODY.PEEK[2]", "BODY[2]", "dHcAbw=="},
		{1, "BODY.PEEK[3]", "BODY[3]", three + threeText},
		{1, "BODY.PEEK[3.HEADER]", "BODY[3.HEADER]", three},
		{1, "BODY.PEEK[3.TEXT]", "BODY[3.TEXT]", threeText},
		{1, "BODY.PEEK[3.MIME]", "BODY[3.MIME]", "Content-Type: message/rfc822\r\n\r\n"},
		{1, "BODY.PEEK[3.HEADER.FIELDS (subject)]", "BODY[3.HEADER.FIELDS (subject)]", "Subject: three\r\n\r\n"},
		{1, "BODY.PEEK[3.1]", "BODY[3.1]", "three-one"},
		{1, "BODY.PEEK[3.2]", "BODY[3.2]", "three-two"},
		{1, "BODY.PEEK[3.2.MIME]", "BODY[3.2.MIME]", "\r\n"},
		{1, "BODY.PEEK[4.1]", "BODY[4.1]", "four=2Done"},
		{1, "BODY.PEEK[4.2.HEADER]", "BODY[4.2.HEADER]", "Subject: four-two\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"},
		{1, "BODY.PEEK[4.2.1]", "BODY[4.2.1]", "four-two-one"},
		{1, "BODY.PEEK[4.2.2]", "BODY[4.2.2]", "four-two-two"},
		{1, "BODY.PEEK[4.2.2.MIME]", "BODY[4.2.2.MIME]", "Content-Type: text/richtext\r\n\r\n"},
		{1, "BODY.PEEK[5]", "BODY[5]", "NIL"},
		{1, "BODY.PEEK[1.1]", "BODY[1.1]", "NIL"},
		{1, "BODY.PEEK[1.HEADER]", "BODY[1.HEADER]", "NIL"},
		{1, "BODY.PEEK[4.3]", "BODY[4.3]", "NIL"},
		{1, "BODY.PEEK[4.2.1.1]", "BODY[4.2.1.1]", "NIL"},
		{1, "BODY.PEEK[5.MIME]", "BODY[5.MIME]", "NIL"},
		{1, "BODY.PEEK[4294967295]", "BODY[4294967295]", "NIL"},

		{1, "BODY.PEEK[]<0.9>", "BODY[]<0>", "Subject: "},
		{1, "BODY.PEEK[]<9.5>", "BODY[]<9>", "outer"},
		{1, "BODY.PEEK[1]<1.100>", "BODY[1]<1>", "ne"},
		{1, "BODY.PEEK[1]<3.100>", "BODY[1]<3>", ""},
		{1, "BODY.PEEK[1]<9223372036854775807.9223372036854775807>", "BODY[1]<9223372036854775807>", ""},
		{1, "BODY.PEEK[5]<0.10>", "BODY[5]<0>", "NIL"},
		{1, "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<3.4>", "BODY[HEADER.FIELDS (SUBJECT)]<3>", "ject"},

		{2, "BODY.PEEK[1]", "BODY[1]", "body\r\n"},
		{2, "BODY.PEEK[1.1]", "BODY[1.1]", "NIL"},
		{2, "BODY.PEEK[2]", "BODY[2]", "NIL"},
		{2, `BODY.PEEK[HEADER.FIELDS ("Subject" x-none)]`, `BODY[HEADER.FIELDS (Subject x-none)]`, "Subject: single\r\nsubject : again\r\n\r\n"},
		{2, "BODY.PEEK[HEADER.FIELDS (X-LONG)]", "BODY[HEADER.FIELDS (X-LONG)]", "X-Long: one\r\n two\r\n\r\n"},
		{2, "BODY.PEEK[HEADER.FIELDS (X-NONE)]", "BODY[HEADER.FIELDS (X-NONE)]", "\r\n"},
		{2, "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]", "BODY[HEADER.FIELDS.NOT (SUBJECT)]", "X-Long: one\r\n two\r\nno field\r\n\r\n"},
		{2, "RFC822.HEADER", "", "Subject: single\r\nX-Long: one\r\n two\r\nsubject : again\r\nno field\r\n\r\n"},
		{2, "RFC822.TEXT", "", "body\r\n"},

		{3, "BODY.PEEK[HEADER]", "BODY[HEADER]", "Subject: header only\r\n"},
		{3, "BODY.PEEK[TEXT]", "BODY[TEXT]", ""},
		{3, "BODY.PEEK[1]", "BODY[1]", ""},
		// RFC 3501 section 6.4.5: no empty line where the message has none.
		{3, "BODY.PEEK[HEADER.FIELDS (Subject)]", "BODY[HEADER.FIELDS (Subject)]", "Subject: header only\r\n"},

		{1, "BINARY.PEEK[1]", "BINARY[1]", "one"},
		{1, "BINARY.PEEK[4.1]", "BINARY[4.1]", "four-one"},
		{1, "BINARY.PEEK[4.1]<5.2>", "BINARY[4.1]<5>", "on"},
		{1, "BINARY.PEEK[7]", "BINARY[7]", "NIL"},
		{1, "BINARY.PEEK[]", "BINARY[]", nested},
		{1, "BINARY.PEEK[3]", "BINARY[3]", three + threeText},
	} {
		if test.want == "" {
			test.want = test.section
		}
		value := test.value
		if value != "NIL" {
			value = lit(value)
		}
		got := c.cmd("FETCH %d %s", test.message, test.section)
		if want := fmt.Sprintf("* %d FETCH (%s %s)", test.message, test.want, value); len(got.untagged) == 0 || got.untagged[0] != want || !strings.HasPrefix(got.tagged, "OK") {
			t.Errorf("%s of message %d:\nwant %q\n got %q, %s", test.section, test.message, want, got.untagged, got.tagged)
		}
	}
	// RFC 3516 section 4.2: NUL makes it a literal8.
	c.cmd("FETCH 1 (BINARY.SIZE[2] BINARY.SIZE[4.1] BINARY.SIZE[9] BINARY.PEEK[2] BINARY.PEEK[2]<3.1>)").want(
		"* 1 FETCH (BINARY.SIZE[2] 4 BINARY.SIZE[4.1] 8 BINARY.SIZE[9] 0 BINARY[2] ~"+lit("tw\x00o")+" BINARY[2]<3> "+lit("o")+")", "OK FETCH completed")
}

func TestBinaryOfUnknownEncoding(t *testing.T) {
	s := start(t)
	s.deliver("INBOX", "Content-Transfer-Encoding: x-mystery\r\n\r\nbody\r\n")
	c := s.selected("INBOX")
	c.cmd("FETCH 1 (UID BINARY[1])").want("* 1 FETCH (UID 1)", "NO [UNKNOWN-CTE] ...") // RFC 3516 section 4.3.
	c.cmd("FETCH 1 BINARY.SIZE[1]").want("NO [UNKNOWN-CTE] ...")
	c.cmd("FETCH 1 BODY.PEEK[1]").want("* 1 FETCH (BODY[1] "+lit("body\r\n")+")", "OK FETCH completed")
}

// What does not fit one buffer is computed twice instead of being held, and arrives the same.
func TestLargeComputedSections(t *testing.T) {
	s := start(t)
	var header, decoded strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&header, "X-%d: value %d\r\n", i, i)
	}
	var encoded strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&encoded, "line=20%d\r\n", i)
		fmt.Fprintf(&decoded, "line %d\r\n", i)
	}
	s.deliver("INBOX", header.String()+"Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"+encoded.String())
	c := s.selected("INBOX")
	rest := header.String() + "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
	c.cmd("FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]").want("* 1 FETCH (BODY[HEADER.FIELDS.NOT (SUBJECT)] "+lit(rest)+")", "OK FETCH completed")
	c.cmd("FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]<70000.300>").want("* 1 FETCH (BODY[HEADER.FIELDS.NOT (SUBJECT)]<70000> "+lit(rest[70000:70300])+")", "OK FETCH completed")
	c.cmd("FETCH 1 BINARY.PEEK[1]").want("* 1 FETCH (BINARY[1] "+lit(decoded.String())+")", "OK FETCH completed")
	c.cmd("FETCH 1 BINARY.PEEK[1]<100000.100000>").want("* 1 FETCH (BINARY[1]<100000> "+lit(decoded.String()[100000:200000])+")", "OK FETCH completed")
	c.cmd("FETCH 1 BINARY.SIZE[1]").want(fmt.Sprintf("* 1 FETCH (BINARY.SIZE[1] %d)", decoded.Len()), "OK FETCH completed")
}
