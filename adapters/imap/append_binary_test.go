package imap

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// binaryMail is a message with a part that is not encoded.
func binaryMail(body string) string {
	return "From: bob@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nthe text\r\n" +
		"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding:\r\n binary\r\nContent-Description: octets\r\n\r\n" + body + "\r\n--b--\r\n"
}

// TestAppendBinary: what comes with NUL is kept in base64, of which FETCH BODY may speak, and BINARY gives it back as it came.
func TestAppendBinary(t *testing.T) {
	s := start(t)
	c := s.selected("INBOX")
	body := strings.Repeat("\x00\x01\r\n\u00e9--b", 100)
	c.cmd("APPEND INBOX ~%s", literal(binaryMail(body))).ok()
	tag := c.begin("APPEND INBOX ~{%d}", len(binaryMail(body)))
	c.expect("+ Ready")
	c.send("%s\r\n", binaryMail(body))
	c.finish(tag).ok("[APPENDUID ... 2] ...")
	for n := 1; n <= 2; n++ {
		c.cmd("FETCH %d BODYSTRUCTURE", n).has(`...("application" "octet-stream" NIL NIL "octets" "base64" 1...`)
		c.cmd("FETCH %d BINARY.SIZE[2]", n).has(fmt.Sprintf("...BINARY.SIZE[2] %d)", len(body)))
		c.cmd("FETCH %d BINARY.PEEK[2]", n).has(fmt.Sprintf("...BINARY[2] ~{%d}\r\n%s)", len(body), body))
		c.cmd("FETCH %d BINARY.PEEK[2]<1.3>", n).has(fmt.Sprintf("...BINARY[2]<1> {3}\r\n%s)", body[1:4]))
		encoded := c.cmd("FETCH %d BODY.PEEK[2]", n).untagged[0]
		encoded = strings.TrimSuffix(encoded[strings.Index(encoded, "}\r\n")+3:], ")")
		if got, err := base64.StdEncoding.DecodeString(encoded); err != nil || string(got) != body {
			t.Errorf("%q: %v", encoded, err)
		}
		for _, line := range strings.Split(encoded, "\r\n") {
			if len(line) > 76 {
				t.Errorf("a line of %d characters", len(line))
			}
		}
		c.cmd("FETCH %d BODY.PEEK[2.MIME]", n).has("...Content-Transfer-Encoding: base64\r\nContent-Type: application/octet-stream\r\nContent-Description: octets\r\n\r\n)")
	}
	whole := c.cmd("FETCH 1 (RFC822.SIZE BODY.PEEK[])").untagged[0]
	if strings.Contains(whole, "\x00") {
		t.Errorf("NUL in %q", whole)
	}

	// Without NUL nothing is changed, since signatures would break.
	c.cmd("APPEND INBOX ~%s", literal(binaryMail("\u00e9"))).ok()
	text := binaryMail("\u00e9")
	c.cmd("FETCH 3 BODY.PEEK[]").has(fmt.Sprintf("...{%d}\r\n%s)", len(text), text))

	// A message inside a message.
	inner := "Subject: outer\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n" +
		"Subject: inner\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00png"
	c.cmd("APPEND INBOX ~%s", literal(inner)).ok()
	c.cmd("FETCH 4 BODYSTRUCTURE").has(`...("message" "rfc822" NIL NIL NIL "8bit" ...("image" "png" NIL NIL NIL "base64" 8...`)
	c.cmd("FETCH 4 BINARY.PEEK[1.1]").has("...")

	// NUL elsewhere would be lost.
	for name, message := range map[string]string{
		"in a header":          "Subject: a\x00b\r\n\r\ntext",
		"in an 8bit part":      "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\na\x00b",
		"beside a binary part": strings.Replace(binaryMail("\x00"), "the text", "the\x00text", 1),
	} {
		c.t = t
		if got := c.cmd("APPEND INBOX ~%s", literal(message)); !strings.HasPrefix(got.tagged, "NO [UNKNOWN-CTE] ") {
			t.Errorf("%s: %s", name, got.tagged)
		}
	}
	c.cmd("APPEND INBOX CATENATE (TEXT ~%s)", literal(binaryMail("\x00"))).ok()
	c.cmd("FETCH 5 BINARY.PEEK[2]").has("...BINARY[2] ~{1}\r\n\x00)")
}

// TestAppendUTF8 follows RFC 6855 section 4.
func TestAppendUTF8(t *testing.T) {
	s := start(t)
	c := s.login()
	message := "Subject: \u00e9t\u00e9\r\n\r\ntext\r\n"
	c.cmd("APPEND INBOX UTF8 (~%s)", literal(message)).no("[CANNOT] ENABLE UTF8=ACCEPT first")
	c.cmd("ENABLE UTF8=ACCEPT").want("* ENABLED UTF8=ACCEPT", "OK ...")
	c.cmd("APPEND INBOX UTF8 (~%s)", literal(message)).ok("[APPENDUID ... 1] ...")
	c.cmd("APPEND INBOX (\\Seen) UTF8 (~%s) UTF8 (~%s)", literal(message), literal(message)).ok("[APPENDUID ... 2:3] ...")
	c.cmd("APPEND INBOX UTF8 (%s)", literal("x CREATE smuggled\r\n")).bad("UTF8 takes a literal8...")
	c.cmd("APPEND INBOX UTF8 (~%s", literal("x CREATE smuggled\r\n")).bad()
	c.cmd("APPEND INBOX UTF8 ~%s", literal("x CREATE smuggled\r\n")).bad()
	c.cmd(`LIST "" smuggled`).want("OK LIST completed")
	c.cmd("SELECT INBOX").has("* 3 EXISTS")
	c.cmd("FETCH 1 BODY.PEEK[HEADER]").has("...Subject: \u00e9t\u00e9\r\n\r\n)")
}
