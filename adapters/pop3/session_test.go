package pop3

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

func TestSession(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	s.deliver(mail(22))
	c := s.dial()
	c.says("STAT", "-ERR log in first")
	c.says("USER "+alice, "+OK send PASS")
	c.says("PASS "+password, "+OK maildrop has 2 messages (106 octets)")
	c.says("USER bob", "-ERR already logged in")
	c.says("stat", "+OK 2 106")
	c.says("LIST", "+OK 2 messages (106 octets)", "1 52", "2 54", ".")
	c.says("LIST 2", "+OK 2 54")
	c.says("LIST 3", "-ERR there is no message 3")
	c.says("RETR 1", "+OK 52 octets", "From: bob@example.org", "Subject: number 1", "", "text 1", ".")
	c.says("NOOP", "+OK nothing done")
	c.says("XYZZY", "-ERR unknown command")
	c.says("LAST", "-ERR unknown command") // RFC 1460 had it.
	c.says("RETR", "-ERR this command takes 1 numbers")
	c.says("RETR 0", "-ERR there is no message 0")
	c.says("RETR -1", `-ERR "-1" is not a number`)
	c.says("RETR 99999999999999999999", `-ERR "99999999999999999999" is not a number`)
	c.says("DELE 1", "+OK message 1 is marked as deleted")
	c.says("DELE 1", "-ERR message 1 is marked as deleted")
	c.says("RETR 1", "-ERR message 1 is marked as deleted")
	c.says("STAT", "+OK 1 54")
	c.says("LIST", "+OK 1 messages (54 octets)", "2 54", ".")
	c.says("RSET", "+OK maildrop has 2 messages (106 octets)")
	c.says("DELE 2", "+OK ...")
	c.says("QUIT", "+OK goodbye")
	c.ended()
	if left := s.inbox(); len(left) != 1 || left[0] != 1 {
		t.Errorf("left are %v", left)
	}
	c = s.dial()
	c.says("QUIT", "+OK goodbye")
	c.ended()
}

func TestCapabilities(t *testing.T) {
	s := start(t, withTLS(t), func(c *Config) { c.AllowInsecureAuth = false })
	common := []string{"+OK ...", "TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG"}
	c := s.dial()
	c.says("CAPA", append(common, "STLS", ".")...)
	c.says("USER "+alice, "-ERR [AUTH] use TLS first")
	c.says("AUTH PLAIN", "-ERR [AUTH] use TLS first")
	c.says("PASS x", "-ERR USER comes first")
	c.says("STLS", "+OK ...")
	c.startTLS()
	c.says("CAPA", append(common, "USER", "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN", ".")...)
	c.says("STLS", "-ERR TLS is active already")
	c.says("USER "+alice, "+OK ...")
	c.says("PASS "+password, "+OK ...")
	c.says("CAPA", append(common, "USER", "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN", "IMPLEMENTATION Streampost 1.2", ".")...)
}

func TestImplicitTLS(t *testing.T) {
	s := start(t, withTLS(t))
	s.plain = s.listen(true)
	c := s.connect()
	c.startTLS()
	c.expect("+OK Streampost ready")
	c.says("CAPA no", "-ERR this command takes no argument")
}

// What came with STLS in plain text does not run inside TLS.
func TestNothingFollowsSTLS(t *testing.T) {
	s := start(t, withTLS(t))
	c := s.dial()
	c.says("STLS\r\nUSER "+alice, "-ERR nothing may follow STLS before the handshake")
	c.ended()
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAuth(t *testing.T) {
	s := start(t)
	good := b64("\x00" + alice + "\x00" + password)
	for name, dialogue := range map[string]func(c *client){
		"with the command": func(c *client) { c.says("AUTH PLAIN "+good, "+OK maildrop has 0 messages (0 octets)") },
		"asked for": func(c *client) {
			c.says("auth plain", "+ ")
			c.says(good, "+OK maildrop has 0 messages (0 octets)")
		},
		"cancelled": func(c *client) {
			c.says("AUTH PLAIN", "+ ")
			c.says("*", "-ERR the exchange is cancelled")
			c.says("USER "+alice, "+OK ...")
		},
		"wrong":             func(c *client) { c.says("AUTH PLAIN "+b64("\x00"+alice+"\x00no"), "-ERR [AUTH] ...") },
		"no base64":         func(c *client) { c.says("AUTH PLAIN ???", "-ERR the response is not in base64") },
		"empty":             func(c *client) { c.says("AUTH PLAIN =", "-ERR ...") },
		"unknown mechanism": func(c *client) { c.says("AUTH CRAM-MD5", "-ERR the mechanism is not supported") },
		"list":              func(c *client) { c.says("AUTH", "+OK ...", "SCRAM-SHA-256", "PLAIN", ".") },
		"for another":       func(c *client) { c.says("AUTH PLAIN "+b64("bob\x00"+alice+"\x00"+password), "-ERR [AUTH] ...") },
		"no APOP":           func(c *client) { c.says("APOP "+alice+" c4c9334bac560ecc979e58001b3e22fb", "-ERR unknown command") },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			dialogue(c)
			c.says("QUIT", "+OK goodbye") // and the maildrop is free for the next one.
		})
	}
}

func TestScram(t *testing.T) {
	s := start(t)
	for given, answer := range map[string]string{password: "+OK maildrop has ...", "wrong": ""} {
		mechanism, err := scram.SHA256.NewClient(alice, given, "")
		if err != nil {
			t.Fatal(err)
		}
		exchange := mechanism.NewConversation()
		c := s.dial()
		first, _ := exchange.Step("")
		c.send("AUTH SCRAM-SHA-256 " + b64(first) + "\r\n")
		challenge, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.line(), "+ "))
		proof, err := exchange.Step(string(challenge))
		if err != nil {
			t.Fatal(err)
		}
		if answer == "" {
			c.says(b64(proof), "-ERR [AUTH] user name or password is wrong")
			continue
		}
		c.send(b64(proof) + "\r\n")
		signature, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.line(), "+ "))
		if _, err := exchange.Step(string(signature)); err != nil || !exchange.Valid() {
			t.Errorf("the server did not prove itself: %q, %v", signature, err)
		}
		c.says("", answer)
		c.says("QUIT", "+OK goodbye")
	}
}

func TestFailedLoginsEndTheConnection(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Failures = 2 })
	c := s.dial()
	c.says("USER nobody@example.org", "+OK send PASS")
	c.says("PASS x", "-ERR [AUTH] user name or password is wrong")
	c.says("PASS "+password, "-ERR USER comes first")
	c.says("USER "+alice, "+OK send PASS")
	c.says("NOOP", "-ERR log in first")
	c.says("PASS "+password, "-ERR USER comes first") // RFC 1939 section 7: immediately after.
	c.says("USER "+alice, "+OK send PASS")
	c.says("PASS secret", "-ERR [AUTH] user name or password is wrong")
	c.ended()
}

func TestUTF8AndLanguages(t *testing.T) {
	s := start(t)
	account := s.AddAccount(t, "jürgen@example.org", "pässword")
	c := s.dial()
	c.says("UTF8", "+OK UTF-8 it is")
	c.says("LANG", "+OK ...", "en English", "i-default English", ".")
	c.says("LANG en-GB", "+OK en English")
	c.says("LANG *", "+OK en English")
	c.says("LANG fr", "-ERR the language is not supported")
	c.says("USER jürgen@example.org", "+OK send PASS")
	c.says("PASS pässword", "+OK maildrop has 0 messages (0 octets)")
	c.says("UTF8", "-ERR already logged in") // RFC 6856 section 2.1.
	if account == s.account {
		t.Error("two accounts are one")
	}
}

func TestPipelining(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	c := s.dial()
	c.send("USER " + alice + "\r\nPASS " + password + "\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\nSTAT\r\n")
	c.expect("+OK ...", "+OK ...", "+OK 1 52", "+OK 52 octets", "From: bob@example.org", "Subject: number 1", "", "text 1", ".", "+OK ...", "+OK goodbye")
	if left := s.inbox(); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// One session has the maildrop. IMAP, which is the door here, does not notice.
func TestMaildropIsLocked(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	first := s.login()
	second := s.dial()
	second.says("USER "+alice, "+OK ...")
	second.says("PASS "+password, "-ERR [IN-USE] another POP3 session is using the maildrop")
	s.deliver(mail(2))
	if _, err := s.Accounts.Do(t.Context(), s.account, "test", account.Expunge{Mailbox: 1, UIDs: nil, Any: true}); err != nil {
		t.Fatal(err)
	}
	first.says("STAT", "+OK 1 52")
	first.says("RETR 1", "-ERR message 1 was deleted by another session")
	first.says("QUIT", "+OK goodbye")
	second.says("USER "+alice, "+OK ...")
	second.says("PASS "+password, "+OK maildrop has 0 messages (0 octets)")
}

func TestLoginDelay(t *testing.T) {
	var now time.Time
	s := start(t, func(c *Config) { c.Maildrops = NewMaildrops(time.Minute); c.Now = func() time.Time { return now } })
	c := s.login()
	c.says("QUIT", "+OK goodbye")
	c = s.dial()
	c.says("USER "+alice, "+OK ...")
	c.says("PASS "+password, "-ERR [LOGIN-DELAY] wait 1m0s between two logins")
	c.send("CAPA\r\n")
	for line := c.line(); line != "LOGIN-DELAY 60"; line = c.line() {
		if line == "." {
			t.Fatal("CAPA does not show the delay")
		}
	}
}

// A session that ends without QUIT deletes nothing, and frees the maildrop.
func TestDroppedConnectionDeletesNothing(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	for _, end := range []func(c *client){
		func(c *client) { c.conn.Close() },
		func(c *client) { c.send("QUI"); c.conn.Close() },
	} {
		c := s.login()
		c.says("DELE 1", "+OK ...")
		end(c)
		for { // the server sees the end a moment later.
			next := s.dial()
			next.says("USER "+alice, "+OK ...")
			next.send("PASS " + password + "\r\n")
			if line := next.line(); strings.HasPrefix(line, "+OK") {
				next.says("STAT", "+OK 1 52")
				next.says("QUIT", "+OK goodbye")
				break
			}
			next.conn.Close()
		}
	}
}

// What QUIT could not write it says, and nothing is deleted.
func TestQuitThatFails(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	c := s.login()
	c.says("DELE 1", "+OK ...")
	s.refuse.Store(true)
	c.says("QUIT", "-ERR [SYS/TEMP] messages may not have been deleted: ...")
	c.ended()
	s.refuse.Store(false)
	c = s.login()
	c.says("STAT", "+OK 1 52")
}

// All that QUIT deletes is one transaction.
func TestQuitIsOneTransaction(t *testing.T) {
	s := start(t)
	for n := range 5 {
		s.deliver(mail(n))
	}
	c := s.login()
	for _, n := range []int{1, 3, 5} {
		c.says(fmt.Sprintf("DELE %d", n), "+OK ...")
	}
	before, err := s.Log.Last(t.Context(), s.account)
	if err != nil {
		t.Fatal(err)
	}
	c.says("QUIT", "+OK goodbye")
	after, err := s.Log.Last(t.Context(), s.account)
	if err != nil || after.Tx != before.Tx+1 {
		t.Fatalf("from %d to %d, %v", before.Tx, after.Tx, err)
	}
	for e, err := range s.Log.ReadAccount(t.Context(), s.account, before.Seq) {
		if err != nil || e.Transaction.Actor != "pop3:"+alice || len(e.Transaction.Events) != 1 || e.Transaction.Events[0].(*event.MessagesExpunged).UIDs.String() != "1,3,5" {
			t.Errorf("%+v, %v", e.Transaction, err)
		}
	}
}

func TestUniqueIDs(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	s.deliver(mail(1)) // the same octets are another message
	c := s.login()
	c.says("UIDL", "+OK ...", "1 ....1", "2 ....2", ".")
	c.says("UIDL 2", "+OK 2 ....2")
	c.says("DELE 1", "+OK ...")
	c.says("UIDL 1", "-ERR message 1 is marked as deleted")
	ids := c.fetches("UIDL")
	c.says("QUIT", "+OK goodbye")
	c = s.login()
	c.says("UIDL", "+OK ...", "1 "+strings.TrimPrefix(strings.TrimSpace(ids), "2 "), ".")
}

// TestUniqueIDsOnEveryNode: UIDL says the same on another node, and on either after a promotion, so that no client takes a message twice.
func TestUniqueIDsOnEveryNode(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	s.deliver(mail(2))
	s.deliver(mail(3))
	listed := func(s *testServer) string {
		t.Helper()
		c := s.login()
		ids := c.fetches("UIDL")
		c.says("QUIT", "+OK goodbye")
		return ids
	}
	c := s.login()
	c.says("DELE 2", "+OK ...")
	c.says("QUIT", "+OK goodbye")
	want := listed(s)
	if strings.Count(want, "\r\n") != 2 {
		t.Fatalf("UIDL shows %q", want)
	}
	other := s.join()
	if got := listed(other); got != want {
		t.Errorf("%q on one node, %q on the other", want, got)
	}
	if _, err := other.Accounts.Do(t.Context(), s.account, "test", account.Promote{Node: "mail2"}); err != nil {
		t.Fatal(err)
	}
	for _, node := range []*testServer{s, other, s.join()} {
		if got := listed(node); got != want {
			t.Errorf("%q before the promotion, %q after it", want, got)
		}
	}
}

// The server ends, or the login does: the client is told, and nothing is deleted.
func TestEndOfASession(t *testing.T) {
	for name, end := range map[string]func(s *testServer) string{
		"shutdown": func(s *testServer) string {
			done := make(chan error, 1)
			go func() { done <- s.server.Shutdown(context.Background()) }()
			t.Cleanup(func() { <-done })
			return "-ERR [SYS/TEMP] the server is shutting down; nothing was deleted"
		},
		"another password": func(s *testServer) string {
			if err := s.Directory.SetPassword(t.Context(), "test", s.account, "another password"); err != nil {
				t.Fatal(err)
			}
			return "-ERR [AUTH] ..."
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.deliver(mail(1))
			c := s.login()
			c.says("DELE 1", "+OK ...")
			c.expect(end(s))
			c.ended()
			if left := s.inbox(); len(left) != 1 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

func TestSilenceEndsInSilence(t *testing.T) {
	s := start(t, func(c *Config) { c.Limits.Line.Idle = time.Millisecond })
	s.deliver(mail(1))
	c := s.login()
	c.ended() // RFC 1939 section 3: without a response, and without the UPDATE state.
	if left := s.inbox(); len(left) != 1 {
		t.Errorf("left are %v", left)
	}
}

// Google's importer, and programs on JavaMail: they ask what there is before and after the login, want UIDL in both answers
// (https://github.com/jakartaee/mail-api/issues/50), and leave messages where they are.
func TestGmailImporter(t *testing.T) {
	s := start(t)
	s.deliver(mail(1))
	s.deliver(mail(2))
	hasUIDL := func(c *client) {
		t.Helper()
		if got := c.fetches("CAPA"); !strings.Contains("\r\n"+got, "\r\nUIDL\r\n") {
			t.Errorf("CAPA shows %q", got)
		}
	}
	c := s.dial()
	hasUIDL(c)
	c.says("USER "+alice, "+OK ...")
	c.says("PASS "+password, "+OK ...")
	hasUIDL(c)
	first := c.fetches("UIDL")
	c.says("LIST", "+OK ...", "1 52", "2 52", ".")
	if got := c.fetches("RETR 2"); got != mail(2) {
		t.Errorf("RETR gave %q", got)
	}
	c.says("QUIT", "+OK goodbye")
	c = s.login()
	if again := c.fetches("UIDL"); again != first {
		t.Errorf("unique ids were %q and are %q", first, again)
	}
}
