package imap

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// authorize has a URL authorized.
func (c *client) authorize(rump string) string {
	c.t.Helper()
	got := c.cmd(`GENURLAUTH "%s" INTERNAL`, rump)
	got.want(`* GENURLAUTH "`+rump+`:internal:..."`, "OK ...")
	return strings.TrimSuffix(strings.TrimPrefix(got.untagged[0], `* GENURLAUTH "`), `"`)
}

// urlServer is a server with alice's and bob's sessions, and a clock.
func urlServer(t *testing.T) (s *testServer, owner, other *client, later func(time.Duration)) {
	var shift atomic.Int64
	s = start(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) } })
	s.AddAccount(t, "bob@example.org", password)
	s.deliver("INBOX", twoParts)
	other = s.dial()
	other.cmd("LOGIN bob@example.org %s", password).ok()
	return s, s.login(), other, func(d time.Duration) { shift.Add(int64(d)) }
}

func TestURLAuth(t *testing.T) {
	s, alice, bob, later := urlServer(t)
	alice.cmd("CAPABILITY").has("... URLAUTH URLAUTH=BINARY...")
	alice.cmd("SELECT INBOX").has("* OK [URLMECH INTERNAL] ...")

	url := alice.authorize("imap://alice@example.org/INBOX/;UID=1/;SECTION=1;URLAUTH=anonymous")
	bob.cmd(`URLFETCH "%s"`, url).want(`* URLFETCH "`+url+`" {8}`+"\r\nthe text", "OK ...")
	alice.cmd("FETCH 1 FLAGS").hasNot(`...\Seen...`)
	whole := alice.authorize("imap://alice%40example.org@mail.example.org/INBOX/;UID=1;URLAUTH=authuser")
	bob.cmd(`URLFETCH "%s"`, whole).want(fmt.Sprintf("* URLFETCH \"%s\" {%d}\r\n%s", whole, len(twoParts), twoParts), "OK ...")
	bob.cmd(`URLFETCH "%s" nonsense "%s"`, url, url).want("* URLFETCH ... {8}\r\nthe text", `* URLFETCH "nonsense" NIL`, "* URLFETCH ... {8}\r\nthe text", "OK ...")

	// Whatever is changed, the URL is worth nothing.
	token := url[strings.LastIndexByte(url, ':')+1:]
	for _, forged := range []string{
		strings.Replace(url, "UID=1", "UID=2", 1), strings.Replace(url, "SECTION=1", "SECTION=2", 1), strings.Replace(url, "/;SECTION=1", "", 1),
		strings.Replace(url, "anonymous", "authuser", 1), strings.Replace(url, "INBOX", "Sent", 1), strings.Replace(url, "alice", "bob", 1),
		strings.Replace(url, token, strings.Repeat("0", 64), 1), strings.Replace(url, token, token[:62], 1), strings.Replace(url, token, "", 1),
		strings.Replace(url, ":internal:", ":xsample:", 1), strings.Replace(url, "imap:", "http:", 1), url + "0", url[:len(url)-65],
		strings.Replace(url, ";URLAUTH", ";EXPIRE=2999-01-01T00:00:00Z;URLAUTH", 1), "imap://nobody@example.org/INBOX/;UID=1;URLAUTH=anonymous:internal:" + token,
	} {
		bob.cmd(`URLFETCH "%s"`, forged).want("* URLFETCH ... NIL", "OK ...")
	}

	// Who may use it.
	his := alice.authorize("imap://alice@example.org/INBOX/;UID=1;URLAUTH=user+bob")
	hers := alice.authorize("imap://alice@example.org/INBOX/;UID=1;URLAUTH=user+alice%40example.org")
	submit := alice.authorize("imap://alice@example.org/INBOX/;UID=1;URLAUTH=submit+alice")
	bob.cmd(`URLFETCH "%s"`, his).has("* URLFETCH ... {...").ok()
	bob.cmd(`URLFETCH "%s"`, hers).want("* URLFETCH ... NIL", "OK ...")
	alice.cmd(`URLFETCH "%s"`, hers).has("* URLFETCH ... {...").ok()
	bob.cmd(`URLFETCH "%s"`, submit).want("* URLFETCH ... NIL", "OK ...")

	// Until when.
	expiring := alice.authorize("imap://alice@example.org/INBOX/;UID=1;EXPIRE=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + ";URLAUTH=anonymous")
	bob.cmd(`URLFETCH "%s"`, expiring).has("* URLFETCH ... {...").ok()
	later(2 * time.Hour)
	bob.cmd(`URLFETCH "%s"`, expiring).want("* URLFETCH ... NIL", "OK ...")

	// The keys are in the log: they are the same after everything in memory is gone, and others after RESETKEY.
	inSent := alice.authorize("imap://alice@example.org/Sent/;UID=1;URLAUTH=anonymous")
	s.Accounts.Rebuilt("", s.account)
	bob.cmd(`URLFETCH "%s"`, url).has("* URLFETCH ... {8}...").ok()
	alice.cmd("RESETKEY Sent").want("OK [URLMECH INTERNAL] ...")
	if again := alice.authorize("imap://alice@example.org/Sent/;UID=1;URLAUTH=anonymous"); again == inSent {
		t.Error("RESETKEY changed nothing")
	}
	bob.cmd(`URLFETCH "%s"`, url).has("* URLFETCH ... {8}...").ok()
	alice.cmd("RESETKEY INBOX internal").want("OK [URLMECH INTERNAL] ...")
	bob.cmd(`URLFETCH "%s"`, url).want("* URLFETCH ... NIL", "OK ...")
	url = alice.authorize("imap://alice@example.org/INBOX/;UID=1/;SECTION=1;URLAUTH=anonymous")
	alice.cmd("RESETKEY").want("OK [URLMECH INTERNAL] ...")
	bob.cmd(`URLFETCH "%s"`, url).want("* URLFETCH ... NIL", "OK ...")

	// A mailbox of the same name is another one.
	alice.cmd("CREATE box").ok()
	boxed := alice.authorize("imap://alice@example.org/box/;UID=1;URLAUTH=anonymous")
	alice.cmd("DELETE box").ok()
	alice.cmd("CREATE box").ok()
	s.deliver("box", mail(1))
	bob.cmd(`URLFETCH "%s"`, boxed).want("* URLFETCH ... NIL", "OK ...")

	// Disabled and erased accounts give nothing.
	url = alice.authorize("imap://alice@example.org/INBOX/;UID=1/;SECTION=1;URLAUTH=anonymous")
	if err := s.Directory.SetDisabled(t.Context(), "test", s.account, true); err != nil {
		t.Fatal(err)
	}
	bob.cmd(`URLFETCH "%s"`, url).want("* URLFETCH ... NIL", "OK ...")
	if err := s.Directory.Erase(t.Context(), "test", s.account); err != nil {
		t.Fatal(err)
	}
	bob.cmd(`URLFETCH "%s"`, url).want("* URLFETCH ... NIL", "OK ...")
}

func TestGenURLAuthRefuses(t *testing.T) {
	_, alice, bob, _ := urlServer(t)
	for _, url := range []string{
		"imap://alice@example.org/INBOX/;UID=1", "imap://alice@example.org/INBOX;URLAUTH=anonymous", "/INBOX/;UID=1;URLAUTH=anonymous",
		"imap://example.org/INBOX/;UID=1;URLAUTH=anonymous", "imap://alice@example.org/INBOX/;UID=1;URLAUTH=everybody",
		"imap://alice@example.org/INBOX/;UID=1;URLAUTH=user+", "imap://alice@example.org/INBOX/;UID=1;EXPIRE=tomorrow;URLAUTH=anonymous", "", "imap://",
		"imap://alice@example.org/" + strings.Repeat("x", 5000) + "/;UID=1;URLAUTH=anonymous",
	} {
		if got := alice.cmd(`GENURLAUTH "%s" INTERNAL`, url); !strings.HasPrefix(got.tagged, "BAD ") {
			t.Errorf("%q: %s", url, got.tagged)
		}
	}
	alice.cmd(`GENURLAUTH "imap://alice@example.org/INBOX/;UID=1;URLAUTH=anonymous" XSAMPLE`).bad()
	alice.cmd(`GENURLAUTH "imap://alice@example.org/INBOX/;UID=1;URLAUTH=anonymous"`).bad()
	alice.cmd(`GENURLAUTH`).bad()
	alice.cmd(`GENURLAUTH "imap://alice@example.org/nowhere/;UID=1;URLAUTH=anonymous" INTERNAL`).bad("the mailbox of a URL does not exist")
	alice.cmd(`GENURLAUTH "imap://alice@example.org/INBOX;UIDVALIDITY=1/;UID=1;URLAUTH=anonymous" INTERNAL`).bad("the mailbox of a URL does not exist")
	bob.cmd(`GENURLAUTH "imap://alice@example.org/INBOX/;UID=1;URLAUTH=anonymous" INTERNAL`).bad("a URL is not one of your messages")
	alice.cmd(`RESETKEY nowhere`).no("[NONEXISTENT] ...")
	alice.cmd(`RESETKEY INBOX XSAMPLE`).bad()
	alice.cmd(`RESETKEY ""`).bad()
	alice.cmd(`URLFETCH`).bad()
	alice.cmd(`URLFETCH ()`).bad()
	alice.cmd(`URLFETCH ("x" BINARY BODY)`).bad()
	alice.cmd(`URLFETCH ("x" BODY BODY)`).bad()
	alice.cmd(`URLFETCH ("x" FLAGS)`).bad()
	alice.cmd(`URLFETCH ("x" BINARY)`).want(`* URLFETCH "x" NIL`, "OK ...")
	alice.cmd("URLFETCH%s", strings.Repeat(" x", maxURLs+1)).bad("[LIMIT] ...")
}

// TestURLFetchBinary is RFC 5524 section 4.
func TestURLFetchBinary(t *testing.T) {
	s, alice, bob, _ := urlServer(t)
	url := alice.authorize("imap://alice@example.org/INBOX/;UID=1/;SECTION=2;URLAUTH=anonymous")
	bob.cmd(`URLFETCH ("%s")`, url).want(`* URLFETCH ... {8}`+"\r\nUEsDBA==", "OK ...")
	bob.cmd(`URLFETCH ("%s" BODY)`, url).want(`* URLFETCH ... (BODY {8}`+"\r\nUEsDBA==)", "OK ...")
	bob.cmd(`URLFETCH ("%s" BINARY)`, url).want("* URLFETCH ... (BINARY {4}\r\nPK\x03\x04)", "OK ...")
	bob.cmd(`URLFETCH ("%s" BINARY BODYPARTSTRUCTURE)`, url).want(
		`* URLFETCH ... (BODYPARTSTRUCTURE ("application" "zip" NIL NIL NIL "binary" 4)) (BINARY {4}`+"\r\nPK\x03\x04)", "OK ...")
	bob.cmd(`URLFETCH ("%s" BODYPARTSTRUCTURE)`, url).want(`* URLFETCH ... (BODYPARTSTRUCTURE ("application" "zip" NIL NIL NIL "base64" 8))`, "OK ...")
	bob.cmd(`URLFETCH ("%s" BODYPARTSTRUCTURE BODY)`, url).want(
		`* URLFETCH ... (BODYPARTSTRUCTURE ("application" "zip" NIL NIL NIL "base64" 8)) (BODY {8}`+"\r\nUEsDBA==)", "OK ...")

	s.deliver("INBOX", "Content-Type: image/png\r\nContent-Transfer-Encoding: x-blurdybloop\r\n\r\nabc")
	odd := alice.authorize("imap://alice@example.org/INBOX/;UID=2/;SECTION=1;URLAUTH=anonymous")
	bob.cmd(`URLFETCH ("%s" BODYPARTSTRUCTURE BINARY)`, odd).want(
		`* URLFETCH ... (BODYPARTSTRUCTURE ("image" "png" NIL NIL NIL "x-blurdybloop" 3)) (BINARY NIL)`, "OK ...")
	s.deliver("INBOX", "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAA=")
	nul := alice.authorize("imap://alice@example.org/INBOX/;UID=3/;SECTION=1;URLAUTH=anonymous")
	bob.cmd(`URLFETCH ("%s" BINARY)`, nul).want("* URLFETCH ... (BINARY ~{2}\r\n\x00\x00)", "OK ...")
	header := alice.authorize("imap://alice@example.org/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(Subject);URLAUTH=anonymous")
	bob.cmd(`URLFETCH ("%s" BINARY) "%s"`, header, header).want("* URLFETCH ... (BINARY {22}\r\nSubject: two parts\r\n\r\n)", "* URLFETCH ... {22}\r\nSubject: two parts\r\n\r\n", "OK ...")
}
