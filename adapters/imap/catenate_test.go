package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain/account"
)

// twoParts is a message with a text and an attachment.
const twoParts = "From: bob@example.org\r\nSubject: two parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain\r\n\r\nthe text\r\n--b\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n--b--\r\n"

// TestCatenate is the first example of RFC 4469, appendix A: an attachment is replaced.
func TestCatenate(t *testing.T) {
	s := start(t)
	s.deliver("Drafts", twoParts)
	s.deliver("Drafts", mail(2))
	c := s.selected("Drafts")
	validity := c.cmd("STATUS Drafts (UIDVALIDITY)").untagged[0]
	validity = validity[strings.LastIndexByte(validity, ' ')+1 : len(validity)-1]
	box := "/Drafts;UIDVALIDITY=" + validity
	tag := c.begin(`APPEND Drafts (\Seen \Draft $MDNSent) CATENATE (URL "%s/;UID=1/;section=HEADER" TEXT {7}`, box)
	c.expect("+ Ready")
	c.send("\r\n--b\r\n URL \"%s/;UID=1/;section=1.MIME\" URL \"%s/;UID=1/;section=1\" TEXT {9}\r\n", box, box)
	c.expect("+ Ready")
	c.send("\r\n--b\r\n\r\n URL \"%s/;UID=2\" TEXT {9+}\r\n\r\n--b--\r\n)\r\n", box)
	c.finish(tag).has("* 3 EXISTS").ok("[APPENDUID ... 3] ...")
	header := twoParts[:strings.Index(twoParts, "--b")]
	want := header + "\r\n--b\r\nContent-Type: text/plain\r\n\r\nthe text\r\n--b\r\n\r\n" + mail(2) + "\r\n--b--\r\n"
	c.cmd("UID FETCH 3 BODY.PEEK[]").want(fmt.Sprintf("* 3 FETCH (UID 3 BODY[] {%d}\r\n%s)", len(want), want), "OK ...")
	c.cmd("FETCH 1 FLAGS").hasNot(`...\Seen...`) // section 3: nothing is seen by it.

	for url, octets := range map[string]string{
		"/Drafts/;UID=2": mail(2),
		"/drafts;uidvalidity=" + validity + "/;uid=2":           "",
		"/%44rafts/;UID=2/;PARTIAL=6.3":                         mail(2)[6:9],
		"/Drafts/;UID=2/;PARTIAL=10":                            mail(2)[10:],
		"/Drafts/;UID=1/;SECTION=2/;PARTIAL=1.2":                "Es",
		"/Drafts/;UID=2/;SECTION=TEXT":                          "text 2\r\n",
		"/Drafts/;UID=2/;SECTION=HEADER.FIELDS%20(subject%20x)": "Subject: number 2\r\n\r\n",
		"/Drafts/;UID=1/;SECTION=2.MIME":                        "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n",
		";UID=2/;SECTION=TEXT":                                  "text 2\r\n", // relative to the selected mailbox
		"/Drafts;UIDVALIDITY=1/;UID=2":                          "",
		"/Drafts/;UID=9":                                        "",
		"/Drafts/;UID=0":                                        "",
		"/Drafts/;UID=2/;SECTION=3":                             "",
		"/Drafts/;UID=2/;SECTION=":                              "",
		"/Drafts/;UID=2/;SECTION=POEM":                          "",
		"/Drafts/;UID=2/;SECTION=1]":                            "",
		"/Drafts/;UID=2/;SECTION=%0D%0Ax CREATE smuggled%0D%0A": "",
		"/Drafts/;UID=2/;SECTION={5+}":                          "",
		"/Drafts/;UID=2/;SECTION=1.1.1.1.1.1.1":                 "",
		"/Drafts/;UID=2/;PARTIAL=1.0":                           "",
		"/Drafts/;UID=2/;PARTIAL=99999999999999999999":          "",
		"/Drafts/;UID=2;URLAUTH=anonymous":                      "",
		"/Drafts;UID=2":                                         "",
		"/Drafts":                                               "",
		"":                                                      "",
		"/":                                                     "",
		"Drafts2/;UID=2":                                        "",
		"imap://alice@example.org/Drafts/;UID=2":                "",
		"//example.org/Drafts/;UID=2":                           "",
		"/%zz/;UID=2":                                           "",
		"/" + strings.Repeat("x", 5000) + "/;UID=2":             "",
	} {
		got := c.cmd(`APPEND Trash CATENATE (TEXT {1+}`+"\r\nx URL \"%s\")", url)
		if octets == "" {
			if !strings.HasPrefix(got.tagged, "NO [BADURL "+strings.NewReplacer("]", "?", " ", "?").Replace(url[:min(len(url), 40)])) {
				t.Errorf("%q: %q", url, got.tagged)
			}
			continue
		}
		got.ok()
		other := s.selected("Trash")
		if text := other.cmd("FETCH * BODY.PEEK[]").untagged[0]; !strings.HasSuffix(text, "}\r\nx"+octets+")") {
			t.Errorf("%q: %q", url, text)
		}
		other.cmd("LOGOUT").ok()
	}
	c.cmd("APPEND Trash CATENATE (URL %s)", literal("/a]\r\nb CREATE")).no("[BADURL /a???b?CREATE] ...")
	c.cmd("UNSELECT").ok()
	c.cmd(`APPEND Trash CATENATE (URL ";UID=2")`).no("[BADURL ;UID=2] ...")
	c.cmd(`LIST "" smuggled`).want("OK LIST completed")
}

// A relative URL means the selected mailbox, not one that has got its name.
func TestCatenateInARenamedMailbox(t *testing.T) {
	s := start(t)
	s.deliver("Drafts", mail(1))
	c := s.selected("Drafts")
	s.login().cmd("RENAME Drafts Older").ok()
	s.login().cmd("CREATE Drafts").ok()
	s.deliver("Drafts", mail(2))
	c.cmd(`APPEND Sent CATENATE (URL ";UID=1")`).ok()
	s.selected("Sent").cmd("FETCH 1 BODY.PEEK[TEXT]").has("...text 1\r\n)")
	s.login().cmd("DELETE Older").ok()
	c.cmd(`APPEND Sent CATENATE (URL ";UID=1")`).no("[BADURL ;UID=1] ...")
}

// What one command takes from other messages is bounded as one message is.
func TestCatenateMultipliesLittle(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Append = 1000 })
	s.deliver("Drafts", mail(1)+strings.Repeat("x", 500))
	c := s.selected("Drafts")
	const one = ` CATENATE (URL ";UID=1")`
	c.cmd("APPEND Sent%s", one).ok()
	c.cmd("APPEND Sent%s%s", one, one).no("[TOOBIG] one command takes at most 1000 octets from other messages")
	c.cmd("STATUS Sent (MESSAGES)").want("* STATUS Sent (MESSAGES 1)", "OK ...")
}

func TestCatenateRefuses(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Append = 1000 })
	s.deliver("INBOX", mail(1))
	c := s.selected("INBOX")
	smuggled := "x CREATE smuggled\r\n"
	half := strings.Repeat("x", 600)
	for name, data := range map[string]string{
		"nothing":                 "()",
		"no list":                 "TEXT " + literal(smuggled),
		"an unknown part":         "(POEM " + literal(smuggled) + ")",
		"no end":                  "(TEXT " + literal(smuggled),
		"NUL":                     "(TEXT " + literal(smuggled+"\x00"+smuggled) + ")",
		"no space":                "(TEXT " + literal("x") + "TEXT " + literal(smuggled) + ")",
		"an empty message":        "(TEXT {0+}\r\n)",
		"too much text":           "(TEXT " + literal(half) + " TEXT " + literal(half) + ")",
		"too large a part":        "(TEXT {99999999+}\r\n" + strings.Repeat(smuggled, 20) + ")",
		"UTF8 that is not on":     "(UTF8 (~" + literal(smuggled) + "))",
		"a URL that is a literal": "(URL " + literal(smuggled) + ")",
	} {
		t.Run(name, func(t *testing.T) {
			if name == "too large a part" {
				other := s.login()
				other.t = t
				other.send("a APPEND INBOX CATENATE %s\r\n", data)
				other.expect("a NO [TOOBIG] ...", "* BYE [TOOBIG] ...")
				return
			}
			c.t = t
			if got := c.cmd("APPEND INBOX CATENATE %s", data); strings.HasPrefix(got.tagged, "OK") {
				t.Errorf("answered %s", got.tagged)
			}
			c.cmd("NOOP").want("OK NOOP completed")
		})
	}
	c.t = t
	// Urls count as what they bring: many of the same message come to too much.
	many := strings.Repeat(` URL /INBOX/;UID=1`, 1+1000/len(mail(1)))
	c.cmd("APPEND INBOX CATENATE (%s)", many[1:]).no("[TOOBIG] ...")
	c.cmd("APPEND INBOX CATENATE (%s)", strings.Repeat(` TEXT {0+}`+"\r\n", maxCatenated+1)[1:]).bad("[LIMIT] ...")
	c.cmd("APPEND nowhere CATENATE (TEXT {10}").no("[TRYCREATE] ...")
	s.limit(account.Limits{Bytes: 2 * int64(len(mail(1)))})
	c.cmd("APPEND INBOX CATENATE (URL /INBOX/;UID=1 TEXT {1}").no("[OVERQUOTA] ...")
	c.cmd("APPEND INBOX CATENATE (URL /INBOX/;UID=1)").ok()
	c.cmd(`LIST "" smuggled`).want("OK LIST completed")
}

// TestCatenateWithOtherExtensions: several messages, some of them put together; a replacement; UTF-8.
func TestCatenateWithOtherExtensions(t *testing.T) {
	s := start(t)
	s.deliver("Drafts", mail(1))
	c := s.login()
	c.cmd("ENABLE UTF8=ACCEPT").ok()
	c.cmd("SELECT Drafts").ok()
	c.cmd("APPEND Sent %s (\\Seen) CATENATE (URL /Drafts/;UID=1 TEXT %s) %s", literal(mail(2)), literal("x"), literal(mail(3))).ok("[APPENDUID ... 1:3] ...")
	c.cmd("UID REPLACE 1 Drafts CATENATE (TEXT %s URL \"/Drafts/;UID=1\")", literal("To: Mitzy <miss.mitzy@example.org>\r\n")).want(
		"* OK [APPENDUID ... 2] ...", "* 1 EXPUNGE", "* 1 EXISTS", "...", "OK ...") // RFC 8508 section 4.2.
	c.cmd("APPEND Sent CATENATE (UTF8 (~%s) TEXT %s)", literal("Subject: é\r\n"), literal("\r\nx")).ok()
	c.cmd("SELECT Sent").has("* 4 EXISTS")
	c.cmd("FETCH 4 BODY[HEADER.FIELDS (Subject)]").has("...Subject: é...")
}
