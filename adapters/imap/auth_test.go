package imap

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAuthenticatePlain(t *testing.T) {
	s := start(t)
	credentials := b64("\x00" + alice + "\x00" + password)
	for name, dialogue := range map[string]func(c *client){
		"initial response": func(c *client) { c.cmd("AUTHENTICATE PLAIN %s", credentials).want("OK [CAPABILITY ...] ...") },
		"asked for": func(c *client) {
			tag := c.begin("authenticate plain")
			c.expect("+ ")
			c.send(credentials + "\r\n")
			c.finish(tag).ok("[CAPABILITY ...] ...")
		},
		"own name as authorization": func(c *client) {
			c.cmd("AUTHENTICATE PLAIN %s", b64(alice+"\x00"+alice+"\x00"+password)).ok()
		},
		"another's name": func(c *client) {
			c.cmd("AUTHENTICATE PLAIN %s", b64("bob@example.org\x00"+alice+"\x00"+password)).no("[AUTHORIZATIONFAILED] ...")
		},
		"cancelled": func(c *client) {
			tag := c.begin("AUTHENTICATE PLAIN")
			c.expect("+ ")
			c.send("*\r\n")
			c.finish(tag).bad("the exchange is cancelled")
			c.cmd("NOOP").ok()
		},
		"wrong password": func(c *client) {
			c.cmd("AUTHENTICATE PLAIN %s", b64("\x00"+alice+"\x00wrong")).no("[AUTHENTICATIONFAILED] user name or password is wrong")
		},
		"empty response":    func(c *client) { c.cmd("AUTHENTICATE PLAIN =").bad() },
		"no base64":         func(c *client) { c.cmd("AUTHENTICATE PLAIN ????").bad() },
		"unknown mechanism": func(c *client) { c.cmd("AUTHENTICATE CRAM-MD5").no("[CANNOT] ...") },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			dialogue(c)
		})
	}
}

func TestAuthenticateScram(t *testing.T) {
	s := start(t)
	exchange := func(t *testing.T, user, password string) *answer {
		c := s.dial()
		mechanism, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			t.Fatal(err)
		}
		talk := mechanism.NewConversation()
		first, _ := talk.Step("")
		tag := c.begin("AUTHENTICATE SCRAM-SHA-256 %s", b64(first))
		for {
			line := c.line()
			challenge, more := strings.CutPrefix(line, "+ ")
			if !more {
				a := &answer{t: t, tagged: strings.TrimPrefix(line, tag+" ")}
				if strings.HasPrefix(a.tagged, "OK") && !talk.Valid() {
					t.Error("the server did not prove that it knows the password")
				}
				return a
			}
			text, err := base64.StdEncoding.DecodeString(challenge)
			if err != nil {
				t.Fatal(err)
			}
			response, err := talk.Step(string(text))
			if err != nil {
				t.Fatal(err)
			}
			c.send("%s\r\n", b64(response))
		}
	}
	exchange(t, alice, password).ok("[CAPABILITY ...] logged in")
	exchange(t, alice, "wrong").no("[AUTHENTICATIONFAILED] ...")
	exchange(t, "nobody@example.org", password).no("[AUTHENTICATIONFAILED] ...")
}

func TestFailedLoginsEndTheConnection(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Failures = 2 })
	c := s.dial()
	c.cmd("LOGIN %s a", alice).no("[AUTHENTICATIONFAILED] ...")
	c.cmd("LOGIN %s b", alice).no("[AUTHENTICATIONFAILED] ...")
	c.expect("* BYE too many failed logins")
	c.ended()
}

func TestLoginWaitsForTLS(t *testing.T) {
	s := start(t, withTLS(t), func(c *Config) { c.AllowInsecureAuth = false })
	c := s.connect()
	c.expect("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 ENABLE ID LITERAL+ LOGINDISABLED SASL-IR STARTTLS] Streampost ready")
	c.cmd("LOGIN %s %s", alice, password).no("[PRIVACYREQUIRED] ...")
	c.cmd("AUTHENTICATE PLAIN").no("[PRIVACYREQUIRED] ...")
	c.cmd("STARTTLS").ok()
	c.startTLS()
	c.cmd("CAPABILITY").want("* CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=PLAIN AUTH=SCRAM-SHA-256 ENABLE ID LITERAL+ SASL-IR", "OK ...")
	c.cmd("STARTTLS").bad("TLS is active already")
	c.cmd("LOGIN %s %s", alice, password).ok()
	c.cmd("SELECT INBOX").ok()
}

func TestImplicitTLS(t *testing.T) {
	s := start(t, withTLS(t), func(c *Config) { c.AllowInsecureAuth = false })
	s.plain = s.listen(true)
	c := s.connect()
	c.startTLS()
	c.expect("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=PLAIN ...] ...")
	c.cmd("LOGIN %s %s", alice, password).ok()
	c.cmd("LOGOUT").ok()
}

// TestNothingSlipsThroughSTARTTLS is the injection of CVE-2011-0411: a command that an attacker puts behind STARTTLS must not run inside TLS.
func TestNothingSlipsThroughSTARTTLS(t *testing.T) {
	s := start(t, withTLS(t))
	c := s.dial()
	c.send("a STARTTLS\r\nb LOGIN %s %s\r\n", alice, password)
	c.expect("* BYE nothing may follow STARTTLS before the handshake")
	c.ended()
}

func TestSlowLoginEnds(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Login = 50 * time.Millisecond })
	c := s.dial()
	c.expect("* BYE too slow or idle for too long")
	c.ended()
}
