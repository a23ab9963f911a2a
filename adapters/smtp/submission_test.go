package smtp

import (
	"context"
	"encoding/base64"
	"net/mail"
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
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
		if got, _ := c.reply(); strings.HasPrefix(got, "334 ") {
			c.do(b64("c=biws,r=abc,p=AAAA"), "535 5.7.8")
		} else if !strings.HasPrefix(got, "535 5.7.8") {
			t.Errorf("%q: %q", first, got)
		}
	}
	c.do("AUTH SCRAM-SHA-256 !", "454 ") // No base64.
	c.do("MAIL FROM:<alice@example.org>", "530 ")
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
	if caps := c.do("EHLO x", "250 "); !strings.Contains(caps, "AUTH SCRAM-SHA-256 PLAIN LOGIN") {
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

func (downDirectory) Authenticate(context.Context, string, string) (door.Identity, error) {
	return door.Identity{}, domain.Errorf(domain.Unavailable, "down")
}
