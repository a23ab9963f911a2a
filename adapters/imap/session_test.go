package imap

import (
	"strings"
	"testing"
)

func TestGreetingLoginLogout(t *testing.T) {
	s := start(t)
	c := s.connect()
	c.expect("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=PLAIN AUTH=SCRAM-SHA-256 ENABLE ID LITERAL+ SASL-IR] Streampost ready")
	c.cmd("NOOP").want("OK NOOP completed")
	c.cmd("SELECT INBOX").bad("log in first")
	c.cmd("LOGIN %s wrong", alice).want("NO [AUTHENTICATIONFAILED] ...")
	c.cmd("LOGIN nobody@example.org %s", password).want("NO [AUTHENTICATIONFAILED] ...")
	c.cmd("LOGIN %s {%d+}\r\n%s", alice, len(password), password).want("OK [CAPABILITY IMAP4rev1 IMAP4rev2 ... IDLE ...] logged in")
	c.cmd("LOGIN %s %s", alice, password).bad("already logged in")
	c.cmd("CAPABILITY").want("* CAPABILITY IMAP4rev1 IMAP4rev2 ACL APPENDLIMIT=104857600 ...", "OK CAPABILITY completed")
	c.cmd("STORE 1 FLAGS ()").bad("select a mailbox first")
	c.cmd("XYZZY").bad("unknown command")
	c.cmd("UID NOOP").bad("there is no UID NOOP")
	c.cmd("LOGOUT").want("* BYE logging out", "OK LOGOUT completed")
	c.ended()
}

func TestSwitchedOffCapabilities(t *testing.T) {
	s := start(t, func(c *Config) { c.Without = []string{"MOVE", "IMAP4rev2", "AUTH=PLAIN"} })
	c := s.dial()
	c.cmd("AUTHENTICATE PLAIN").no("[CANNOT] ...")
	c.cmd("LOGIN %s %s", alice, password).ok()
	if a := c.cmd("CAPABILITY"); strings.Contains(a.untagged[0], "MOVE") || strings.Contains(a.untagged[0], "rev2") {
		t.Errorf("advertised: %s", a.untagged[0])
	}
	c.cmd("ENABLE IMAP4rev2 UTF8=ACCEPT").want("* ENABLED UTF8=ACCEPT", "OK ENABLE completed")
	c.cmd("SELECT INBOX").ok()
	c.cmd("MOVE 1 Trash").bad("unknown command")
}

func TestIDTellsWhoWeAre(t *testing.T) {
	s := start(t, func(c *Config) { c.Version = "1.2" })
	c := s.dial()
	c.cmd(`ID NIL`).want(`* ID ("name" "Streampost" "version" "1.2")`, "OK ID completed")
	c.cmd(`ID ("name" "test" "os" NIL)`).want(`* ID (...)`, "OK ID completed")
	c.cmd(`ID ("%s" "x")`, strings.Repeat("n", 31)).bad()
	c.cmd(`ID`).bad()
}

func TestPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	s := start(t)
	c := s.dial()
	c.send("a LOGIN %s %s\r\nb SELECT INBOX\r\nc NOOP\r\nd CREATE new\r\ne STATUS new (MESSAGES)\r\nf LOGOUT\r\n", alice, password)
	for _, tag := range []string{"a", "b", "c", "d", "e", "f"} {
		c.finish(tag).ok()
	}
	c.ended()
}

func TestShutdownSaysBye(t *testing.T) {
	s := start(t)
	idle, waiting := s.selected("INBOX"), s.login()
	idle.begin("IDLE")
	idle.expect("+ idling")
	done := make(chan error, 1)
	go func() { done <- s.server.Shutdown(t.Context()) }()
	for _, c := range []*client{idle, waiting} {
		c.expect("* BYE [UNAVAILABLE] the server is shutting down")
		c.ended()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
