package imap

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
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

// prove runs a SCRAM exchange up to its tagged answer.
func (c *client) prove(mechanism string, talk *scram.ClientConversation) *answer {
	c.t.Helper()
	first, _ := talk.Step("")
	tag := c.begin("AUTHENTICATE %s %s", mechanism, b64(first))
	for {
		line := c.line()
		challenge, more := strings.CutPrefix(line, "+ ")
		if !more {
			a := &answer{t: c.t, tagged: strings.TrimPrefix(line, tag+" ")}
			if strings.HasPrefix(a.tagged, "OK") && !talk.Valid() {
				c.t.Error("the server did not prove that it knows the password")
			}
			return a
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		response, err := talk.Step(string(text))
		if err != nil {
			c.t.Fatal(err)
		}
		c.send("%s\r\n", b64(response))
	}
}

func scramUser(t *testing.T, user, password string) *scram.Client {
	t.Helper()
	u, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAuthenticateScram(t *testing.T) {
	s := start(t, withTLS(t))
	s.dial().prove("SCRAM-SHA-256", scramUser(t, alice, password).NewConversation()).ok("[CAPABILITY ...] logged in")
	s.dial().prove("SCRAM-SHA-256", scramUser(t, alice, "wrong").NewConversation()).no("[AUTHENTICATIONFAILED] ...")
	s.dial().prove("SCRAM-SHA-256", scramUser(t, "nobody@example.org", password).NewConversation()).no("[AUTHENTICATIONFAILED] ...")

	c := s.dial()
	c.cmd("AUTHENTICATE SCRAM-SHA-256-PLUS").no("[CANNOT] ...") // there is nothing to bind to
	c.cmd("STARTTLS").ok()
	c.startTLS()
	c.cmd("NOOP").ok()
	state := c.conn.(*tls.Conn).ConnectionState()
	binding, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		t.Fatal(err)
	}
	c.prove("SCRAM-SHA-256", scramUser(t, alice, password).NewConversationAdvertisingChannelBinding()).no("[AUTHENTICATIONFAILED] ...") // a downgrade
	c.prove("SCRAM-SHA-256-PLUS", scramUser(t, alice, password).NewConversationWithChannelBinding(binding)).ok()
}

// vouchers are tokens that name their user.
type vouchers struct{}

func (vouchers) Address(_ context.Context, token string) (string, error) {
	address, good := strings.CutPrefix(token, "good-")
	if !good {
		return "", domain.Errorf(domain.Denied, "the token is not good")
	}
	return address, nil
}

func (vouchers) Configuration() (string, string) { return "https://id.example.org/x", "mail" }

func TestAuthenticateWithToken(t *testing.T) {
	s := start(t)
	s.dial().cmd("AUTHENTICATE OAUTHBEARER").no("[CANNOT] ...")
	s = start(t, func(c *Config) { c.Tokens = vouchers{} })
	s.dial().cmd("AUTHENTICATE OAUTHBEARER %s", b64("n,a="+alice+",\x01auth=Bearer good-"+alice+"\x01\x01")).ok("[CAPABILITY ...] logged in")
	s.dial().cmd("AUTHENTICATE XOAUTH2 %s", b64("user="+alice+"\x01auth=Bearer good-"+alice+"\x01\x01")).ok("[CAPABILITY ...] logged in")
	c := s.dial()
	tag := c.begin("AUTHENTICATE OAUTHBEARER %s", b64("n,,\x01auth=Bearer stale\x01\x01"))
	c.expect("+ " + b64(`{"openid-configuration":"https://id.example.org/x","scope":"mail","status":"invalid_token"}`)) // RFC 7628 section 4.3
	c.send(b64("\x01") + "\r\n")
	c.finish(tag).no("[AUTHENTICATIONFAILED] ...")
	c.cmd("AUTHENTICATE XOAUTH2 %s", b64("nonsense")).bad("the response is not one of the mechanism")
	c.cmd("NOOP").ok()
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
	c.cmd("CAPABILITY").want("* CAPABILITY IMAP4rev1 IMAP4rev2 AUTH=PLAIN AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS ENABLE ID LITERAL+ SASL-IR", "OK ...")
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

// TestProxy: a client behind a proxy is where the proxy says, also on the port that speaks TLS from the first octet, and never on this machine.
func TestProxy(t *testing.T) {
	const header = "PROXY TCP6 2001:db8::7 2001:db8::25 4000 993\r\n"
	var logged lines
	s := start(t, withTLS(t), func(c *Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	})
	c := s.connect()
	c.send(header)
	c.expect("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 ENABLE ID LITERAL+ LOGINDISABLED SASL-IR STARTTLS] Streampost ready")
	s.plain = s.listen(true)
	c = s.connect()
	c.send(header)
	c.startTLS()
	c.expect("* OK [CAPABILITY ...] ...")
	c.cmd("LOGIN %s wrong", alice).no("[AUTHENTICATIONFAILED] ...")
	c.cmd("LOGIN %s %s", alice, password).ok()
	if !strings.Contains(logged.String(), "remote=[2001:db8::7]:4000") {
		t.Errorf("the log says %s", logged.String())
	}
}

func TestStrangersAreNoProxies(t *testing.T) {
	c := start(t).dial()
	c.send("PROXY TCP4 198.51.100.7 192.0.2.25 4000 143\r\n")
	c.expect("* BYE a PROXY header is not taken from this address")
	c.ended()
}

// lines are what a server logs.
type lines struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.String()
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
