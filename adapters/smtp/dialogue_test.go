package smtp

import (
	"fmt"
	"strings"
	"testing"
)

func TestPostmasterWithoutDomain(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP} {
		s := start(t, kind)
		for _, secure := range []bool{false, true} {
			c := s.hello()
			if secure {
				c = c.starttls()
				c.do(s.verb()+" x", "250 ")
			}
			for _, spelt := range []string{"<Postmaster>", "<POSTMASTER>", " <postmaster>"} { // RFC 5321 sections 4.1.1.3 and 4.5.1.
				c.do("MAIL FROM:<>", "250 ")
				c.do("RCPT TO:"+spelt, "250 ")
				c.do("DATA", "354 ")
				c.send(dots(hi))
				c.expect("250 ")
			}
			c.do("MAIL FROM:<>", "250 ")
			c.do("RCPT TO:<Postmaster@mx.example.org>", "250 ") // the server's own name
			c.do("RCPT TO:<alice@mx.example.org>", "550 5.7.1")
			c.do("RCPT TO:<postmaster> NONSENSE", "555 5.5.4")
			c.do("RCPT TO:<alice>", "501 5.5.2")
		}
		if n := len(s.messages(s.alice, "INBOX")); n != 6 { // the oldest account
			t.Errorf("%v: %d messages have come", kind, n)
		}
	}
}

// TestExactlySize: SIZE is what a message may have, to the octet (RFC 1870 section 5), however it is sent.
func TestExactlySize(t *testing.T) {
	const limit = 10_000
	s := start(t, MX, func(c *Config) { c.Limits.Content.Message = limit })
	c := s.hello()
	if caps := c.do("EHLO x", "250 "); !strings.Contains(caps, fmt.Sprintf("SIZE %d\r\n", limit)) {
		t.Errorf("the client is told %s", caps)
	}
	text := func(octets int) string { // with short lines
		head := "Subject: x\r\n\r\n"
		body := strings.Repeat(strings.Repeat("x", 62)+"\r\n", octets/64+1)[:octets-len(head)-2]
		return head + strings.TrimRight(body, "\r\n") + strings.Repeat("y", len(body)-len(strings.TrimRight(body, "\r\n"))) + "\r\n"
	}
	for size, answer := range map[int]string{limit - 1: "250 ", limit: "250 ", limit + 1: "552 5.3.4", limit + 2: "552 5.3.4", 2 * limit: "552 5.3.4"} {
		message := text(size)
		if len(message) != size {
			t.Fatalf("%d octets instead of %d", len(message), size)
		}
		c.envelope("x@example.net", "alice@example.org")
		c.send(message + ".\r\n")
		c.expect(answer)
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
		c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", size, message))
		c.expect(answer)
		c.do("RSET", "250 ")
		c.do(fmt.Sprintf("MAIL FROM:<x@example.net> SIZE=%d", size), answer)
		c.do("RSET", "250 ")
	}
}

// TestHELO: a client without extensions is no ESMTP client (RFC 5321 section 4.4, RFC 3848).
func TestHELO(t *testing.T) {
	s := start(t, MX)
	c := s.dial()
	c.expect("220 ")
	for greeting, want := range map[string]string{"HELO": " with SMTP id ", "EHLO": " with ESMTP id "} {
		before := len(s.messages(s.alice, "INBOX"))
		c.do(greeting+" old.example", "250 ")
		c.envelope("x@example.net", "alice@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		if got := s.messages(s.alice, "INBOX"); len(got) != before+1 || !strings.Contains(got[before], want) {
			t.Errorf("%s: no %q in %q", greeting, want, got[before:])
		}
	}
}

// TestTheDialogueKeepsStep sends in one packet what can be taken for something else: commands inside messages, chunks and challenges, and
// lines that are longer than what is looked at.
func TestTheDialogueKeepsStep(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	inner := "RCPT TO:<Postmaster>\r\nSTARTTLS\r\nBDAT 1000\r\nHELO x\r\n"
	c.send("MAIL FROM:<x@example.net>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" + "Subject: a\r\n\r\n" + inner + ".\r\nNOOP\r\n" +
		"MAIL FROM:<x@example.net>\r\nRCPT TO:<alice@example.org>\r\n" + fmt.Sprintf("BDAT %d LAST\r\nSubject: b\r\n\r\n%s", 14+len(inner), inner) + "NOOP\r\n")
	for _, want := range []string{"250 2.1.0 Sender accepted", "250 2.1.5 Recipient accepted", "354 ", "250 2.0.0 Accepted", "250 2.0.0 OK", "250 2.1.0 Sender accepted", "250 2.1.5 Recipient accepted", "250 2.0.0 Accepted", "250 2.0.0 OK"} {
		c.expect(want)
	}
	for _, got := range s.messages(s.alice, "INBOX") {
		if !strings.HasSuffix(got, inner) || !strings.Contains(got, " with ESMTP id ") {
			t.Errorf("the message is %q", got)
		}
	}
	// Chunks that are refused are taken off the connection, malformed ones have none.
	c.send("BDAT 6\r\nNOOP\r\nBDAT x\r\nBDAT 1 FIRST\r\nBDAT 1 LAST x\r\nNOOP\r\n")
	for _, want := range []string{"503 5.5.1", "501 5.5.4", "501 5.5.4", "501 5.5.4", "250 2.0.0 OK"} {
		c.expect(want)
	}
	// The end of a long line is not a command.
	c.send("VRFY " + strings.Repeat("x", authLine-5) + "STARTTLS\r\nNOOP " + strings.Repeat("y", 20_000) + "\r\nNOOP\r\n")
	for _, want := range []string{"500 5.5.2", "500 5.5.2", "250 "} {
		c.expect(want)
	}
	c.do("STARTTLS now", "501 5.5.4")
	c.do("NOOP", "250 ")

	s = start(t, Submission)
	c = s.hello()
	c.send("AUTH LOGIN\r\n")
	c.expect("334 ")
	c.send("STARTTLS\r\nUkNQVA==\r\n") // which are base64, both of them
	c.expect("334 ")
	c.expect("535 5.7.8")
	c.do("NOOP", "250 ")
}

// TestCommandLinesEndWithCRLF: nothing that shares a line with a bare LF or CR is run, and every line is answered (RFC 5321 section 2.3.8).
func TestCommandLinesEndWithCRLF(t *testing.T) {
	evil := "RCPT TO:<bob@example.org>"
	for name, sent := range map[string]struct {
		lines   string
		answers []string
	}{
		"LF alone":              {"NOOP\n", []string{"500 5.5.2"}},
		"LF inside a line":      {"NOOP\n" + evil + "\r\n", []string{"500 5.5.2", "500 5.5.2"}},
		"LFs inside a line":     {"NOOP\n" + evil + "\n" + evil + "\r\n", []string{"500 5.5.2", "500 5.5.2", "500 5.5.2"}},
		"LF before CRLF":        {evil + "\n\r\n", []string{"500 5.5.2", "500 5.5.2"}},
		"CR inside a line":      {"NOOP\r" + evil + "\r\n", []string{"500 5.5.2"}},
		"CR before CRLF":        {evil + "\r\r\n", []string{"500 5.5.2"}},
		"LF in a chunk's place": {"BDAT 3\nNO\r\n", []string{"500 5.5.2", "500 5.5.2"}},
	} {
		s := start(t, MX)
		c := s.hello()
		c.t = t
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.send(sent.lines)
		for _, answer := range sent.answers {
			if got, err := c.reply(); err != nil || !strings.HasPrefix(got, answer) {
				t.Errorf("%s: %q (%v), want %s", name, got, err, answer)
			}
		}
		if strings.HasSuffix(sent.lines, "\r\n") {
			c.do("NOOP", "250 ")
		} else {
			c.do("NOOP", "500 5.5.2") // The line of the LF ends here.
		}
		c.do("DATA", "503 5.5.1") // There is no recipient.
	}
	s := start(t, MX)
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org")
	c.send("Subject: outer\r\n\r\n.\r\nNOOP\nMAIL FROM:<evil@example.net>\r\nNOOP\r\n")
	for _, want := range []string{"250 2.0.0 Accepted", "500 5.5.2", "500 5.5.2", "250 2.0.0 OK"} {
		c.expect(want)
	}
}

// TestCommandLinesAreBounded (RFC 5321 section 4.5.3.1.4): what the extensions may add fits, more does not, and the dialogue goes on.
func TestCommandLinesAreBounded(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	c.do("NOOP "+strings.Repeat("a", commandLine-7), "250 ")
	for _, length := range []int{commandLine - 6, 4096, 100_000} {
		c.do("NOOP "+strings.Repeat("a", length), "500 5.5.2 The line is too long")
		c.do("MAIL FROM:<"+strings.Repeat("a", length)+"@example.net>", "500 5.5.2 The line is too long")
		c.do("RSET", "250 ")
		c = s.hello() // go-smtp closes after four mistakes.
	}
	for range 3 {
		c.do("NOOP "+strings.Repeat("a", commandLine), "500 5.5.2")
	}
	c.do("NOOP "+strings.Repeat("a", commandLine), "500 5.5.2")
	c.expect("421 4.7.0 Too many errors")
	c.expectEnd()

	c = s.hello()
	c.send("MAIL FROM:<x@example.net>\r\nNOOP " + strings.Repeat("a", endless+authLine))
	c.expect("250 ")
	c.expect("421 4.7.0 mx.example.org The line does not end")
}

// TestSizesOfTwentyDigits (RFC 1870 section 3): more than there can be is too big and no mistake.
func TestSizesOfTwentyDigits(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	for _, size := range []string{"52428801", "4294967295", "4294967296", "99999999999", "18446744073709551616", "99999999999999999999"} {
		c.do("MAIL FROM:<x@example.net> SIZE="+size, "552 5.3.4")
		c.do("MAIL FROM:<x@example.net> BODY=8BITMIME size="+size+" SMTPUTF8", "552 5.3.4")
	}
	for _, size := range []string{"999999999999999999999", "", "-1", "1e9"} {
		c.do("MAIL FROM:<x@example.net> SIZE="+size, "501 5.5.4")
	}
	c.do("MAIL FROM:<x@example.net> SIZE=00000000000000001000", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	// Nobody knows where the command behind such a chunk begins.
	c.send("BDAT 99999999999\r\nRSET\r\nMAIL FROM:<evil@example.net>\r\n")
	c.expect("552 5.3.4")
	c.expectEnd()
}

// TestPlainWords: what go-smtp says reaches no client where it is a joke, or repeats what the client sent.
func TestPlainWords(t *testing.T) {
	s := start(t, MX)
	c := s.dial()
	c.expect("220 mx.example.org ESMTP Service Ready")
	c.do("MAIL FROM:<x@example.net>", "503 5.5.1 EHLO comes first")
	c.do("EHLO x", "250 ")
	c.do("NOOP", "250 2.0.0 OK")
	c.do("MAIL FROM:x@", "501 5.5.2 Syntax: MAIL FROM:<address>")
	c.do("MAIL FROM:<x@example.net> X=1", "555 5.5.4")
	c.do("MAIL FROM:<x@example.net>", "250 2.1.0 Sender accepted")
	c.do("RCPT TO:<alice@example.org>", "250 2.1.5 Recipient accepted")
	for range 3 {
		c.do("EXAMPLE", "501 5.5.2")
	}
	c.do("EXAMPLE", "501 5.5.2")
	c.expect("421 4.7.0 Too many errors")
	c.expectEnd()
}
