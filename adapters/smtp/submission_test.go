package smtp

import (
	"context"
	"encoding/base64"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/xdg-go/scram"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func plainAuth(login, password string) string {
	return "AUTH PLAIN " + b64("\x00"+login+"\x00"+password)
}

func TestSubmission(t *testing.T) {
	s := start(t, Submission)
	if err := s.Directory.AddAddress(t.Context(), "test", s.alice, "sales@example.org"); err != nil {
		t.Fatal(err)
	}
	c := s.hello().starttls()
	c.do("EHLO laptop", "250 ")
	c.do("MAIL FROM:<alice@example.org>", "530 5.7.0")
	c.do(plainAuth("alice@example.org", "secret"), "235 2.0.0")
	c.do(plainAuth("alice@example.org", "secret"), "503 5.5.1")
	c.do("MAIL FROM:<bob@example.org>", "553 5.7.1")
	c.do("MAIL FROM:<alice@example.net>", "553 5.7.1")
	c.do("MAIL FROM:<nobody@example.org>", "553 5.7.1")
	c.do("MAIL FROM:<sales@example.org>", "250 ")
	c.do("RSET", "250 ")
	c.do("MAIL FROM:<>", "250 ") // A receipt (RFC 8098 section 2.1).
	c.do("RSET", "250 ")
	c.do("MAIL FROM:<alice+list@example.org>", "250 ")
	c.do("RCPT TO:<x@example.net>", "550 5.4.4 Remote delivery is not configured")
	c.do("RCPT TO:<nobody@example.org>", "550 5.1.1")
	c.do("RCPT TO:<bob@example.org>", "250 ")
	c.do("DATA", "354 ")
	c.send(dots("Subject: hi\r\nFrom: alice@example.org\r\n\r\nHello.\r\n"))
	c.expect("250 ")

	got := s.only(s.bob, "INBOX")
	if !strings.Contains(got, "\r\n\t(authenticated as alice@example.org)\r\n\tby mx.example.org with ESMTPSA id ") {
		t.Errorf("%s", got)
	}
	m, err := mail.ReadMessage(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Header.Date(); err != nil || !strings.HasSuffix(m.Header.Get("Message-ID"), "@mx.example.org>") {
		t.Errorf("Date and Message-ID are missing: %v", m.Header)
	}
}

func TestSubmissionKeepsTheUsersFields(t *testing.T) {
	s := start(t, Submission)
	c := s.hello()
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	c.envelope("alice@example.org", "bob@example.org")
	text := "Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nmessage-id: <1@laptop>\r\nSubject: hi\r\n\r\nDate: no field\r\n"
	c.send(dots(text))
	c.expect("250 ")
	if got := s.body(s.only(s.bob, "INBOX")); got != text {
		t.Errorf("%q", got)
	}
}

func TestLoginMechanisms(t *testing.T) {
	s := start(t, Submission)
	c := s.hello()
	c.do("AUTH PLAIN", "334 ")
	c.do(b64("\x00alice@example.org\x00secret"), "235 ")

	c = s.hello()
	c.do("AUTH LOGIN", "334 "+b64("Username:"))
	c.do(b64("alice@example.org"), "334 "+b64("Password:"))
	c.do(b64("secret"), "235 ")

	c = s.hello()
	c.do("AUTH LOGIN "+b64("alice@example.org"), "334 ")
	c.do("*", "501 ")
	c.do(plainAuth("alice@example.org", "secret"), "235 ")

	c = s.hello()
	c.do("AUTH CRAM-MD5", "504 5.5.4")
	c.do("AUTH PLAIN "+b64("alice@example.org\x00alice@example.org\x00secret"), "235 ")

	c = s.hello()
	c.do("MAIL FROM:<alice@example.org>", "530 5.7.0")
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	c.do("MAIL FROM:<alice@example.org>", "250 ")
	c.do("AUTH PLAIN", "503 5.5.1")
}

// scramLogin runs a SCRAM-SHA-256 exchange up to the answer to the client's proof.
func scramLogin(t *testing.T, c *client, login, password string) (reply string) {
	t.Helper()
	user, err := scram.SHA256.NewClient(login, password, "")
	if err != nil {
		t.Fatal(err)
	}
	exchange := user.NewConversation()
	first, _ := exchange.Step("")
	challenge := c.do("AUTH SCRAM-SHA-256 "+b64(first), "334 ")
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(challenge[4:]))
	proof, err := exchange.Step(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	c.send(b64(proof) + "\r\n")
	reply, _ = c.reply()
	if strings.HasPrefix(reply, "334 ") {
		raw, _ = base64.StdEncoding.DecodeString(strings.TrimSpace(reply[4:]))
		if _, err := exchange.Step(string(raw)); err != nil || !exchange.Valid() {
			t.Fatalf("the server's signature is wrong: %v", err)
		}
		c.do("", "235 ")
	}
	return reply
}

func TestSCRAM(t *testing.T) {
	s := start(t, Submission)
	c := s.dialTLS()
	c.expect("220 ")
	c.do("EHLO x", "250 ")
	for _, wrong := range [][2]string{{"alice@example.org", "wrong"}, {"nobody@example.org", "secret"}} {
		if got := scramLogin(t, c, wrong[0], wrong[1]); !strings.HasPrefix(got, "535 5.7.8") {
			t.Errorf("%s: %q", wrong[0], got)
		}
	}
	if got := scramLogin(t, c, "alice@example.org", "secret"); !strings.HasPrefix(got, "334 ") {
		t.Fatalf("%q", got)
	}
	c.do("MAIL FROM:<alice@example.org>", "250 ")
}

func TestMalformedSCRAM(t *testing.T) {
	s := start(t, Submission, func(c *Config) { c.Limits.AuthFailures = 100 })
	c := s.hello()
	for _, first := range []string{"", "x", "n,,", "n,,n=,r=", "p=tls-exporter,,n=alice,r=abc", "n,a=bob,n=alice@example.org,r=abc", "\x00\xff"} {
		c.send("AUTH SCRAM-SHA-256 " + b64(first) + "\r\n")
		got, _ := c.reply()
		if strings.HasPrefix(got, "334 ") {
			c.send(b64("c=biws,r=abc,p=AAAA") + "\r\n")
			got, _ = c.reply()
		}
		if !strings.HasPrefix(got, "535 5.7.8") && !strings.HasPrefix(got, "501 5.5.2") {
			t.Errorf("%q: %q", first, got)
		}
	}
	c.do("AUTH SCRAM-SHA-256 !", "501 5.5.2") // No base64.
	c.do("MAIL FROM:<alice@example.org>", "530 ")
}

// TestResponsesThatAreNoBase64 (RFC 4954 section 4): the exchange has failed for good, it costs what a wrong password costs, and the dialogue goes on.
func TestResponsesThatAreNoBase64(t *testing.T) {
	long := strings.Repeat("QUJD", 12288/4)
	for _, mechanism := range []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"} {
		s := start(t, Submission, func(c *Config) { c.Limits.AuthFailures = 6 })
		c := s.hello()
		c.do("AUTH "+mechanism+" !", "501 5.5.2")
		c.do("AUTH "+mechanism+" QUJD QUJD", "501 5.5.2")
		c.do("AUTH "+mechanism+" "+long+"QUJD", "500 5.5.6")
		c.do("NOOP", "250 ")
		c.do("AUTH "+mechanism, "334 ")
		c.do("!", "501 5.5.2")
		c.do("NOOP", "250 ")
		c.do("AUTH "+mechanism, "334 ")
		c.do(long+"QUJD", "500 5.5.6")
		c.do("AUTH "+mechanism, "334 ")
		c.send("QUJD\nNOOP\r\nNOOP\r\n")
		c.expect("500 5.5.2")
		c.expect("500 5.5.2")
		c.expect("250 ")
		c.do("AUTH "+mechanism+" !", "421 4.7.0")
		c.expectEnd()
	}
	s := start(t, Submission, func(c *Config) { c.Limits.AuthFailures = 100 })
	c := s.hello()
	c.do("AUTH PLAIN", "334 ")
	c.do(long, "501 5.5.2") // The longest that is allowed is read.
	c.do("AUTH CRAM-MD5 !", "504 5.5.4")
	c.do("AUTH", "501 5.5.4")
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
	c.do("AUTH PLAIN !", "503 5.5.1")
	for _, kind := range []Kind{MX, LMTP} {
		c := start(t, kind).hello()
		c.do("AUTH PLAIN !", "502 5.5.1")
		c.do("NOOP", "250 ")
	}
	c = start(t, Submission, func(c *Config) { c.PlaintextOnLoopback = false }).hello()
	c.do("AUTH PLAIN !", "538 5.7.11")
}

func TestLoginNeedsTLS(t *testing.T) {
	s := start(t, Submission, func(c *Config) { c.PlaintextOnLoopback = false })
	c := s.dial()
	c.expect("220 ")
	if caps := c.do("EHLO x", "250 "); strings.Contains(caps, "AUTH") {
		t.Errorf("AUTH is offered in plain text: %s", caps)
	}
	c.do(plainAuth("alice@example.org", "secret"), "538 5.7.11")
	c = c.starttls()
	if caps := c.do("EHLO x", "250 "); !strings.Contains(caps, "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN") {
		t.Errorf("AUTH is not offered inside TLS: %s", caps)
	}
	c.do(plainAuth("alice@example.org", "secret"), "235 ")
}

func TestGuessingPasswords(t *testing.T) {
	s := start(t, Submission)
	c := s.hello()
	c.do(plainAuth("alice@example.org", "wrong"), "535 5.7.8")
	c.do("AUTH PLAIN "+b64("bob@example.org\x00alice@example.org\x00secret"), "535 5.7.8")
	c.do("AUTH PLAIN "+b64("nonsense"), "421 4.7.0")
	c.expectEnd()

	if err := s.Directory.SetDisabled(t.Context(), "test", s.alice, true); err != nil {
		t.Fatal(err)
	}
	c = s.hello()
	c.do(plainAuth("alice@example.org", "secret"), "535 5.7.8")
}

func TestGuessesInOnePacket(t *testing.T) {
	s := start(t, Submission)
	c := s.hello()
	c.send(strings.Repeat(plainAuth("alice@example.org", "wrong")+"\r\n", 3) + plainAuth("alice@example.org", "secret") + "\r\n")
	c.expect("535 5.7.8")
	c.expect("535 5.7.8")
	c.expect("421 4.7.0")
	c.expectEnd() // The password was right, but came too late.
}

func TestNobodyLogsInAtTheMX(t *testing.T) {
	for _, kind := range []Kind{MX, LMTP} {
		s := start(t, kind)
		c := s.hello()
		c.do(plainAuth("alice@example.org", "secret"), "502 5.5.1")
		c.do("MAIL FROM:<alice@example.org>", "250 ") // Not for this door to judge.
		c.do("RCPT TO:<x@example.net>", "550 5.7.1")
	}
}

func TestDirectoryDownIsNoGuess(t *testing.T) {
	s := start(t, Submission, func(c *Config) { c.Directory = downDirectory{c.Directory} })
	c := s.hello()
	for range 5 {
		c.do(plainAuth("alice@example.org", "secret"), "454 4.7.0")
	}
}

type downDirectory struct{ Directory }

func (downDirectory) Login(context.Context, string, string, string, string) (door.Identity, error) {
	return door.Identity{}, domain.Errorf(domain.Unavailable, "down")
}

// TestSessionsEndWithTheirLogin: a changed password ends a submission, between two commands and in the middle of a message.
func TestSessionsEndWithTheirLogin(t *testing.T) {
	s := start(t, Submission)
	login := func() *client {
		c := s.hello()
		c.do(plainAuth("alice@example.org", "secret"), "235 ")
		return c
	}
	waiting, busy := login(), login()
	busy.do("MAIL FROM:<alice@example.org>", "250 ")
	busy.do("RCPT TO:<alice@example.org>", "250 ")
	busy.do("DATA", "354 ")
	busy.send("Subject: begun before\r\n")
	if err := s.Directory.SetPassword(t.Context(), "test", s.alice, "another"); err != nil {
		t.Fatal(err)
	}
	waiting.expect("421 4.7.0")
	waiting.expectEnd()
	busy.send("\r\nand ended after\r\n.\r\n")
	busy.expect("421 4.7.0")
	busy.expectEnd()
	if got := s.messages(s.alice, "INBOX"); len(got) > 0 {
		t.Errorf("a message came in by a login that is gone: %q", got)
	}
	c := s.hello()
	c.do(plainAuth("alice@example.org", "another"), "235 ")
}

// TestTooManySessions: a login that is one too many ends its connection (RFC 5321 section 3.8).
func TestTooManySessions(t *testing.T) {
	s := startOn(t, doortest.Start(t, func(c *door.Config) { c.Sessions = door.Sessions{Account: 1} }), Submission)
	s.hello().do(plainAuth("alice@example.org", "secret"), "235 ")
	c := s.hello()
	c.do(plainAuth("alice@example.org", "secret"), "421 4.7.0 Too many sessions")
	c.expectEnd()
}

// TestGuessesAreCountedOverConnections: a guess waits for the ones before it, wherever they were made, and too many at once are put off.
func TestGuessesAreCountedOverConnections(t *testing.T) {
	node := doortest.Start(t, func(c *door.Config) {
		c.Guessing = door.Guessing{Free: 2, Delay: time.Hour, Max: time.Hour}
	})
	s := startOn(t, node, Submission)
	for range 2 {
		c := s.hello()
		c.do(plainAuth("Alice@example.org", "wrong"), "535 5.7.8")
	}
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	if err := node.Directory.Admit(gaveUp, "", "alice@example.org"); !domain.Is(err, domain.Unavailable) {
		t.Fatalf("the third attempt does not wait: %v", err)
	}
	c := s.hello()
	c.do(plainAuth("ALICE@example.org", "secret"), "454 4.7.0") // it would wait for two hours
	c.do("AUTH SCRAM-SHA-256 "+b64("n,,n=alice@example.org,r=abc"), "454 4.7.0")
	c.do(plainAuth("bob@example.org", "secret"), "535 5.7.8") // who has no password
}
