package smtp

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
)

func TestDelivery(t *testing.T) {
	s := start(t, MX)
	c := s.dial()
	c.expect("220 mx.example.org ESMTP")
	c.do("EHLO client.example.net", "250 ")
	c.envelope("sender@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 2.0.0 Accepted as ")
	c.do("QUIT", "221 2.0.0")
	c.expectEnd()

	got := s.only(s.alice, "INBOX")
	want := regexp.MustCompile(`^Return-Path: <sender@example.net>\r
Received: from client.example.net \(\[127\.0\.0\.1\]\)\r
	by mx.example.org with ESMTP id [0-9a-v]{8}-1\r
	for <alice@example.org>;\r
	\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4}\r
Subject: hi\r
\r
Hello.\r
$`)
	if !want.MatchString(got) {
		t.Errorf("got\n%s", got)
	}
}

func TestCapabilities(t *testing.T) {
	for kind, want := range map[Kind]string{
		MX:         "PIPELINING 8BITMIME ENHANCEDSTATUSCODES CHUNKING STARTTLS SMTPUTF8 SIZE 52428800 LIMITS RCPTMAX=1000",
		Submission: "PIPELINING 8BITMIME ENHANCEDSTATUSCODES CHUNKING STARTTLS AUTH SCRAM-SHA-256 PLAIN LOGIN SMTPUTF8 SIZE 52428800 LIMITS RCPTMAX=1000",
		LMTP:       "PIPELINING 8BITMIME ENHANCEDSTATUSCODES CHUNKING STARTTLS SMTPUTF8 SIZE 52428800 LIMITS RCPTMAX=1000",
	} {
		s := start(t, kind)
		c := s.dial()
		c.expect("220 ")
		got := c.do(s.verb()+" x", "250 ")
		got = strings.NewReplacer("250-Hello x\r\n", "", "250-", "", "250 ", "", "\r\n", " ").Replace(got)
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

func TestRecipientsAtTheDoor(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	c.do("RCPT TO:<alice@example.org>", "503 5.5.1")
	c.do("DATA", "503 5.5.1")
	c.do("MAIL FROM:<>", "250 2.1.0")
	c.do("MAIL FROM:<a@example.net>", "503 5.5.1")
	c.do("DATA", "503 5.5.1")
	c.do("RCPT TO:<>", "501 5.5.2")
	c.do("RCPT TO:<nobody@example.org>", "550 5.1.1")
	c.do("RCPT TO:<alice@example.com>", "550 5.7.1 Relaying denied")
	c.do("RCPT TO:<alice@[127.0.0.1]>", "550 5.7.1")
	c.do(`RCPT TO:<"alice@example.com"@example.org>`, "550 5.1.1")
	c.do("RCPT TO:<alice%example.com@example.org>", "550 5.1.1")
	c.do("RCPT TO:<alice@example.org@example.com>", "550 5.7.1")
	c.do("RCPT TO:<@example.com:alice@example.com>", "550 5.7.1")
	c.do("RCPT TO:<al..ice@example.org>", "550 5.1.1")
	c.do("RCPT TO:<alice@exa_mple..org>", "553 5.1.3")
	c.do("RCPT TO:<ALICE@Example.ORG>", "250 2.1.5")
	c.do(`RCPT TO:<"bob"@example.org>`, "250 2.1.5")
	c.do("DATA", "354")
	c.send(dots(hi))
	c.expect("250 ")
	for _, text := range []string{s.only(s.alice, "INBOX"), s.only(s.bob, "INBOX")} {
		if !strings.HasPrefix(text, "Return-Path: <>\r\n") || strings.Contains(text, "\tfor ") {
			t.Errorf("%s", text)
		}
	}
	if a, b := s.only(s.alice, "INBOX"), s.only(s.bob, "INBOX"); a != b {
		t.Errorf("the recipients' bytes differ: %q, %q", a, b)
	}
}

func TestTwoAddressesOfOneAccountGetOneCopy(t *testing.T) {
	s := start(t, MX)
	if err := s.Directory.AddAddress(t.Context(), "test", s.alice, "a@example.org"); err != nil {
		t.Fatal(err)
	}
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org", "a@example.org", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
}

func TestPlusAddressing(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	for detail, mailbox := range map[string]string{"junk": "Junk", "Archive": "Archive", "none": "INBOX", "sent": "INBOX", "no*such": "INBOX"} {
		before := len(s.messages(s.alice, mailbox))
		c.envelope("x@example.net", "alice+"+detail+"@example.org")
		c.send(dots(hi))
		c.expect("250 ")
		if n := len(s.messages(s.alice, mailbox)); n != before+1 {
			t.Errorf("+%s did not reach %s", detail, mailbox)
		}
	}
}

func TestMessagesEndOnlyAtCRLFDotCRLF(t *testing.T) {
	s := start(t, MX)
	for name, sequence := range map[string]string{
		"LF . LF": "\n.\n", "LF . CRLF": "\n.\r\n", "CRLF . LF": "\r\n.\n", "CR . CR": "\r.\r", "CR . CRLF": "\r.\r\n", "CRLF . CR": "\r\n.\rx",
		"CRLF . CR CRLF": "\r\n.\r\r\n", "CR CR LF . CR CR LF": "\r\r\n.\r\r\n", "CRLF NUL . CRLF": "\r\n\x00.\r\n", "CR LF LF . CR LF": "\r\n\n.\r\n",
		"CRLF .. CR": "\r\n..\rx", "CR at the very end of what arrives": "\r",
	} {
		t.Run(name, func(t *testing.T) {
			c := s.hello()
			c.t = t
			c.envelope("x@example.net", "alice@example.org")
			c.send("Subject: outer\r\n\r\nbody" + sequence + "MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: inner\r\n\r\nevil\r\n.\r\n")
			switch name {
			case "CRLF NUL . CRLF": // A line with a NUL in it, no more.
				c.expect("250 ")
			default:
				c.expect("550 5.6.11")
			}
			// The dialogue goes on where the client believes it to be, and nothing was run in between.
			c.do("NOOP", "250 ")
		})
	}
	if n := len(s.messages(s.bob, "INBOX")); n != 0 {
		t.Errorf("%d messages were smuggled", n)
	}
}

// TestCRBeforeTheEnd: a CR before it does not hide the end of a message, which would swallow the commands after it.
func TestCRBeforeTheEnd(t *testing.T) {
	s := start(t, MX)
	for _, end := range []string{"\r\r\n.\r\n", "\r\n.\r\r\n.\r\n", "\r\n.\r\r\r\n.\r\n"} {
		c := s.hello()
		c.envelope("x@example.net", "alice@example.org")
		for _, octet := range []byte("Subject: outer\r\n\r\nbody" + end + "NOOP\r\n") {
			c.send(string(octet))
		}
		c.expect("550 5.6.11")
		c.expect("250 2.0.0 OK")
	}
}

func TestBrokenMessages(t *testing.T) {
	s := start(t, MX, func(c *Config) {
		c.Limits.Content.Message = 100_000
		c.Limits.Content.Header = 20_000
		c.Limits.Content.Line = 5000
		c.Limits.Content.Fields = 500
		c.Limits.Content.Hops = 10
	})
	long := strings.Repeat("x", 70)
	for _, m := range []struct{ name, text, want string }{
		{"bare LF", "Subject: a\nb\r\n\r\n", "550 5.6.11"},
		{"bare CR", "Subject: a\r\n\r\nx\ry\r\n", "550 5.6.11"},
		{"too big", hi + strings.Repeat(long+"\r\n", 2000), "552 5.3.4"},
		{"header too big", strings.Repeat("X-"+long+": "+long+"\r\n", 200) + "\r\n", "552 5.3.4"},
		{"too many fields", strings.Repeat("a: b\r\n", 501) + "\r\n", "552 5.3.4"},
		{"long line", hi + strings.Repeat(long, 90) + "\r\n", "554 5.6.0"},
		{"loop", strings.Repeat("Received: by x\r\n", 11) + "\r\n", "554 5.4.6"},
		{"no header", "\r\nbody\r\n", "250 "},
		{"NUL", "Subject: \x00\r\n\r\n\x00\r\n", "250 "},
		{"empty", "", "250 "},
		{"dots", "Subject: d\r\n\r\n.\r\n..\r\n...\r\n.x\r\n", "250 "},
	} {
		for _, how := range []string{"DATA", "BDAT", "BDAT in pieces"} {
			c := s.hello()
			c.do("MAIL FROM:<x@example.net>", "250 ")
			c.do("RCPT TO:<alice@example.org>", "250 ")
			before := len(s.messages(s.alice, "INBOX"))
			switch how {
			case "DATA":
				c.do("DATA", "354 ")
				if m.text == "" {
					c.send(".\r\n")
				} else {
					c.send(dots(m.text))
				}
			case "BDAT":
				c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(m.text), m.text))
			default:
				half := len(m.text) / 2
				c.send(fmt.Sprintf("BDAT %d\r\n%s", half, m.text[:half]))
				got, err := c.reply()
				if err != nil || !strings.HasPrefix(got, "250 ") {
					if err != nil || !strings.HasPrefix(got, m.want) {
						t.Errorf("%s by %s: first piece: %q (%v)", m.name, how, got, err)
					}
					c.do("NOOP", "250 ")
					continue
				}
				c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(m.text)-half, m.text[half:]))
			}
			if got, err := c.reply(); err != nil || !strings.HasPrefix(got, m.want) {
				t.Errorf("%s by %s: %q (%v), want %s", m.name, how, got, err, m.want)
				continue
			}
			c.do("NOOP", "250 ")
			all := s.messages(s.alice, "INBOX")
			if m.want != "250 " {
				if len(all) != before {
					t.Errorf("%s by %s was refused and delivered", m.name, how)
				}
			} else if got := s.body(all[len(all)-1]); got != m.text {
				t.Errorf("%s by %s arrived as %q", m.name, how, got)
			}
		}
	}
}

func TestDeclaredSize(t *testing.T) {
	s := start(t, MX, func(c *Config) { c.Limits.Content.Message = 1000 })
	c := s.hello()
	c.do("MAIL FROM:<x@example.net> SIZE=1001", "552 5.3.4")
	c.do("MAIL FROM:<x@example.net> SIZE=999 BODY=8BITMIME", "250 ")
	c.do("RCPT TO:<alice@example.org>", "250 ")
	c.do("DATA", "354 ")
	text := hi + strings.Repeat("x", 999-len(hi)-2) + "\r\n"
	c.send(dots(text))
	c.expect("250 ")
	if got := s.body(s.only(s.alice, "INBOX")); got != text {
		t.Errorf("%q", got)
	}
}

func TestPipelining(t *testing.T) {
	s := start(t, MX)
	c := s.dial()
	c.send("EHLO x\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n" +
		dots(hi) + "MAIL FROM:<b@example.net>\r\nRCPT TO:<bob@example.org>\r\nBDAT 5\r\nA: b\rBDAT 7 LAST\r\n\n\r\nXYZ\r\nRSET\r\nNOOP\r\nQUIT\r\n")
	for _, want := range []string{"220 ", "250 ", "250 ", "550 5.1.1", "250 ", "354 ", "250 2.0.0 Accepted", "250 ", "250 ", "250 2.0.0 Continue"} {
		c.expect(want)
	}
	// The two chunks "A: b\r" and "\n\r\nXYZ\r" make lines only together, and the second ends with a bare CR, so RSET is behind a bare LF.
	for _, want := range []string{"550 5.6.11", "500 5.5.2", "500 5.5.2", "250 ", "221 "} {
		c.expect(want)
	}
	c.expectEnd()
	if text := s.body(s.only(s.alice, "INBOX")); text != hi {
		t.Errorf("%q", text)
	}
}

// pipes is a listener that accepts a pipe, of which each Read gives what one Write wrote.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// TestRepliesComeTogether: the replies to a group of commands are sent at once (RFC 2920 section 3.2), and none waits for a command that has not come.
func TestRepliesComeTogether(t *testing.T) {
	s := start(t, MX)
	ours, theirs := net.Pipe()
	defer ours.Close()
	line := make(pipes, 1)
	line <- theirs
	close(line)
	served := make(chan error)
	go func() { served <- s.server.Serve(t.Context(), line, false) }()
	read := func(want ...string) {
		t.Helper()
		buffer := make([]byte, 4096)
		n, err := ours.Read(buffer)
		got := strings.Split(strings.TrimSpace(string(buffer[:n])), "\r\n")
		if err != nil || len(got) != len(want) {
			t.Fatalf("at once came %q, %v; wanted %q", got, err, want)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("reply %d is %q, wanted %s", i, got[i], want[i])
			}
		}
	}
	send := func(text string) {
		t.Helper()
		if _, err := io.WriteString(ours, text); err != nil {
			t.Fatal(err)
		}
	}
	read("220 ")
	send("HELO x\r\n")
	read("250 ")
	send("MAIL FROM:<a@example.net>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
	read("250 ", "550 5.1.1", "250 ", "354 ")
	send(dots(hi) + "MAIL FROM:<a@example.net>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<bob@exam")
	read("250 ") // a message's reply is its own
	read("250 ", "250 ")
	send("ple.org>\r\n")
	read("250 ")
	send("RSET\r\nVRFY alice\r\nQUIT\r\n") // VRFY ends a group
	read("250 ", "252 ")
	read("221 ")
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestChunkRefusedBeforeRecipientsIsNotRun(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	evil := "MAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\n"
	c.send(fmt.Sprintf("BDAT %d LAST\r\n%sNOOP\r\n", len(evil), evil))
	c.expect("503 5.5.1")
	c.expect("250 2.0.0 OK")
}

func TestAbandonedChunksDeliverNothing(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	for range 20 {
		c.do("MAIL FROM:<x@example.net>", "250 ")
		c.do("RCPT TO:<alice@example.org>", "250 ")
		c.send("BDAT 6\r\nA: b\r\n")
		c.expect("250 2.0.0 Continue")
		c.do("RSET", "250 ")
	}
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	if got := s.body(s.only(s.alice, "INBOX")); got != hi {
		t.Errorf("%q", got)
	}
}

func TestConnectionLostInData(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	c.envelope("x@example.net", "alice@example.org")
	c.send("Subject: half\r\n\r\nbody\r\n")
	_ = c.Close()
	d := s.hello()
	d.envelope("x@example.net", "alice@example.org")
	d.send(dots(hi))
	d.expect("250 ")
	if got := s.body(s.only(s.alice, "INBOX")); got != hi {
		t.Errorf("%q", got)
	}
}

func TestSMTPUTF8(t *testing.T) {
	s := start(t, MX)
	jörg := s.AddAccount(t, "jörg@bücher.example", "secret")
	c := s.hello()
	c.do("MAIL FROM:<müller@example.net>", "553 5.6.7")
	c.do("MAIL FROM:<m\xfcller@example.net> SMTPUTF8", "553 5.6.7")
	c.do("MAIL FROM:<x@example.net>", "250 ")
	c.do("RCPT TO:<jörg@bücher.example>", "553 5.6.7")
	c.do("RSET", "250 ")
	c.do("MAIL FROM:<müller@example.net> SMTPUTF8", "250 ")
	c.do("RCPT TO:<JÖRG@Bücher.example>", "250 ")
	c.do("RCPT TO:<jo\u0308rg@xn--bcher-kva.example>", "250 ")
	c.do("DATA", "354 ")
	c.send(dots("Subject: grüße\r\n\r\n"))
	c.expect("250 ")
	got := s.only(jörg, "INBOX")
	if !strings.HasPrefix(got, "Return-Path: <müller@example.net>\r\n") || !strings.Contains(got, " with UTF8SMTP id ") {
		t.Errorf("%s", got)
	}
}

func TestStartTLS(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	// What was sent in plain text after STARTTLS must not be run inside TLS (RFC 3207 section 4.2).
	c.send("STARTTLS\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<bob@example.org>\r\n")
	c.expect("220 ")
	if rest, _ := c.r.Peek(c.r.Buffered()); len(rest) > 0 {
		t.Fatalf("an answer in plain text: %q", rest)
	}

	c = s.hello()
	c.do("MAIL FROM:<old@example.net>", "250 ")
	c = c.starttls()
	c.do("RCPT TO:<alice@example.org>", "503 5.5.1") // All is forgotten.
	c.do("MAIL FROM:<x@example.net>", "503 5.5.1")
	if caps := c.do("EHLO x", "250 "); strings.Contains(caps, "STARTTLS") {
		t.Error("STARTTLS inside TLS")
	}
	c.do("STARTTLS", "502 5.5.1")
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	if got := s.only(s.alice, "INBOX"); !strings.Contains(got, " with ESMTPS id ") || !strings.Contains(got, "\r\n\ttls TLS_") {
		t.Errorf("%s", got)
	}
}

func TestImplicitTLS(t *testing.T) {
	s := start(t, MX)
	c := s.dialTLS()
	c.expect("220 ")
	c.do("EHLO x", "250 ")
	c.envelope("x@example.net", "alice@example.org")
	c.send(dots(hi))
	c.expect("250 ")
	s.only(s.alice, "INBOX")
}

func TestNonsense(t *testing.T) {
	s := start(t, MX)
	c := s.hello()
	for line, want := range map[string]string{
		"EHLO": "501 ", "EHLO [127.0.0.1]": "250 ", "EHLO ödd_name": "250 ", "HELO x": "250 ", "LHLO x": "500 ", "VRFY alice": "252 ", "EXPN x": "502 ", "HELP": "502 ",
		"MAIL x": "501 ", "MAIL FROM:<a@b> NOSUCH=1": "555 ", "MAIL FROM:<a@b> BODY=BINARYMIME": "504 ", "MAIL FROM:a": "501 ", "BDAT x": "501 ", "DATA now": "501 ",
		"AUTH PLAIN AGEAYg==": "502 ", "MAIL FROM:<a@b> RET=FULL": "504 ",
	} {
		c.do(line, want)
	}
	for range 3 {
		c.do("WXYZ", "500 5.5.2")
	}
	c.do("WXYZ", "500 5.5.2")
	c.expect("421 4.7.0 Too many errors")
	c.expectEnd()
}
