package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tap passes connections on to a server and keeps what goes either way.
type tap struct {
	addr string

	mu       sync.Mutex
	asked    bytes.Buffer
	answered bytes.Buffer
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	tp := &tap{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go tp.pass(server, client, &tp.asked)
			go tp.pass(client, server, &tp.answered)
		}
	}()
	return tp
}

func (tp *tap) pass(to, from net.Conn, kept *bytes.Buffer) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		tp.mu.Lock()
		kept.Write(buf[:n])
		tp.mu.Unlock()
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}

// take gives what has gone either way since it was last called.
func (tp *tap) take() (asked, answered string) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	asked, answered = tp.asked.String(), tp.answered.String()
	tp.asked.Reset()
	tp.answered.Reset()
	return asked, answered
}

// kept is a message as Thunderbird has it.
type kept struct {
	Subject, Keywords      string
	Read, Flagged, Offline bool
}

// TestThunderbirdBothWays has Thunderbird itself read, mark, copy, move, delete and store messages, and keep them for reading without a connection. What it has
// it does not fetch again, whatever happened to the server meanwhile. It takes a minute and a program of 80 MB, so it is asked for.
func TestThunderbirdBothWays(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_THUNDERBIRD") == "" {
		t.Skip("STREAMPOST_TEST_THUNDERBIRD is not set: Thunderbird was not run")
	}
	if _, err := exec.LookPath("thunderbird"); err != nil {
		t.Fatal("thunderbird is not installed: apt-get install --no-install-recommends thunderbird")
	}
	s := demoServer(t)
	line := newTap(t, s.addr(1143))
	tb := newThunderbird(t, line.addr)
	for _, subject := range []string{"to be read", "to be marked", "to be moved", "to be copied", "to be deleted"} {
		client(t, "From: carol@example.net\r\nTo: alice@example.org\r\nSubject: "+subject+"\r\n\r\nThe text of what is "+subject+".\r\n",
			"curl", "-sS", "smtp://"+s.addr(1025), "--mail-from", "carol@example.net", "--mail-rcpt", "alice@example.org", "-T", "-")
	}
	shown := map[string][]kept{}
	tb.open()
	tb.do(&shown, "sync", password)
	synced := func(subject string) { // with all texts. A busy Thunderbird does not tell when it has looked.
		there := func(m kept) bool { return m.Subject == subject }
		lacks := func(m kept) bool { return !m.Offline }
		for deadline := time.Now().Add(patience); (!slices.ContainsFunc(shown["INBOX"], there) || slices.ContainsFunc(shown["INBOX"], lacks)) && time.Now().Before(deadline); {
			shown = map[string][]kept{}
			tb.do(&shown, "sync", password)
		}
	}
	synced("to be deleted")
	asked, answered := line.take()
	if !bodies.MatchString(asked) || !literals.MatchString(answered) {
		t.Errorf("Thunderbird fetched nothing:\n%s", asked)
	}
	tb.has(shown, "INBOX", kept{Subject: "to be read", Offline: true}, kept{Subject: "to be marked", Offline: true})

	var text string
	tb.do(&text, "read", "INBOX", "to be read")
	if want := s.text("INBOX", "to be read"); !strings.Contains(strings.ReplaceAll(text, "\r", ""), strings.ReplaceAll(want, "\r", "")) {
		t.Errorf("Thunderbird reads\n%s\nand the server has\n%s", text, want)
	}
	tb.do(nil, "mark", "INBOX", "to be read", map[string]any{"read": true})
	tb.do(nil, "mark", "INBOX", "to be marked", map[string]any{"flagged": true, "keyword": "$label1"})
	tb.do(nil, "create", "", "Größe")
	tb.do(nil, "copy", "INBOX", "to be moved", "Archive", true)
	tb.do(nil, "copy", "INBOX", "to be copied", "Größe", false)
	tb.do(nil, "delete", "INBOX", "to be deleted")
	letter := filepath.Join(t.TempDir(), "letter")
	write(t, letter, "From: alice@example.org\r\nTo: carol@example.net\r\nSubject: sent\r\n\r\nA text that was sent.\r\n")
	tb.do(nil, "append", "Sent", letter)
	tb.do(nil, "compact", "INBOX")
	imap := dial(t, "Streampost", s.addr(1143), "alice@example.org", password)
	holds := func(mailbox, key, subject string, n int) { // Flags it sends when it has done other things.
		t.Helper()
		found := -1
		for deadline := time.Now().Add(patience); found != n && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			imap.ask("EXAMINE %s", mailbox)
			found = len(strings.Fields(imap.answer("SEARCH", "SEARCH SUBJECT \"%s\" %s", subject, key)))
		}
		if found != n {
			t.Errorf("%s: %d messages are %s %q", mailbox, found, key, subject)
		}
	}
	holds("INBOX", "SEEN", "to be read", 1)
	holds("INBOX", "FLAGGED KEYWORD $label1", "to be marked", 1)
	holds("INBOX", "ALL", "to be moved", 0)
	holds("Archive", "ALL", "to be moved", 1)
	holds("INBOX", "ALL", "to be copied", 1)
	holds(`"Gr&APYA3w-e"`, "ALL", "to be copied", 1)
	holds("INBOX", "ALL", "to be deleted", 0)
	holds("Trash", "ALL", "to be deleted", 1)
	holds("Sent", "SEEN", "sent", 1)
	if got := s.text("Sent", "sent"); !strings.HasSuffix(got, "A text that was sent.\r\n") {
		t.Errorf("what was stored in Sent reads\n%s", got)
	}

	// The other way.
	imap.ask("SELECT INBOX")
	imap.ask(`STORE 1:* -FLAGS (\Flagged)`)
	found := imap.answer("SEARCH", `SEARCH SUBJECT "to be copied"`)
	imap.ask(`STORE %s +FLAGS (\Deleted)`, found)
	imap.ask("EXPUNGE")
	imap.ask("APPEND INBOX (\\Flagged) {%d+}\r\n%s", len("Subject: from elsewhere\r\n\r\ntext\r\n"), "Subject: from elsewhere\r\n\r\ntext\r\n")
	synced("from elsewhere")
	tb.has(shown, "INBOX", kept{Subject: "to be read", Read: true, Offline: true}, kept{Subject: "to be marked", Keywords: "$label1", Offline: true},
		kept{Subject: "from elsewhere", Flagged: true, Offline: true})
	for _, m := range shown["INBOX"] {
		if m.Subject == "to be copied" || m.Subject == "to be deleted" || m.Subject == "to be moved" {
			t.Errorf("Thunderbird still has %+v", m)
		}
	}
	tb.quit()
	s.stays(func(when string) {
		t.Helper()
		line.take()
		var again map[string][]kept
		tb.open()
		tb.do(&again, "sync", password)
		tb.quit()
		asked, answered := line.take()
		if !strings.Contains(strings.ToUpper(asked), "SELECT") {
			t.Errorf("%s: Thunderbird asked for nothing:\n%s", when, asked)
		}
		if got := append(bodies.FindAllString(asked, -1), literals.FindAllString(answered, -1)...); got != nil {
			t.Errorf("%s: Thunderbird fetches again: %q", when, got)
		}
		if fmt.Sprint(again) != fmt.Sprint(shown) {
			t.Errorf("%s: Thunderbird has\n%v\nand had\n%v", when, again, shown)
		}
	})
}

var (
	bodies   = regexp.MustCompile(`(?i)[^\r\n]*fetch[^\r\n]*(?:BODY|RFC822[^.])[^\r\n]*`)
	literals = regexp.MustCompile(`[^\r\n]*\{\d+\}\r\n`)
)

// text gives the octets of a message.
func (s *server) text(mailbox, subject string) string {
	s.t.Helper()
	uid := regexp.MustCompile(`\d+`).FindString(s.curl(mailbox, fmt.Sprintf("UID SEARCH SUBJECT %q", subject)))
	return client(s.t, "", "curl", "-sS", "imap://"+s.addr(1143)+"/"+mailbox+";UID="+uid, "-u", "alice@example.org:"+password)
}

// has asserts that messages are in a folder.
func (tb *thunderbird) has(shown map[string][]kept, folder string, want ...kept) {
	tb.t.Helper()
	for _, w := range want {
		found := false
		for _, m := range shown[folder] {
			found = found || m == w
		}
		if !found {
			tb.t.Errorf("%s: no %+v among %+v", folder, w, shown)
		}
	}
}

// newThunderbird makes a profile with one account, at an address on loopback.
func newThunderbird(t *testing.T, addr string) *thunderbird {
	t.Helper()
	script, err := os.ReadFile("testdata/thunderbird.js")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	tb := &thunderbird{t: t, profile: t.TempDir(), script: string(script)}
	t.Cleanup(tb.kill)
	var prefs strings.Builder
	for name, value := range map[string]string{
		"marionette.port": "0", "app.update.disabledForTesting": "true", "mail.provider.suppress_dialog_on_startup": "true", "mail.shell.checkDefaultClient": "false",
		"mail.spotlight.firstRunDone": "true", "mail.winsearch.firstRunDone": "true", "mailnews.start_page.enabled": "false", "mail.rights.version": "1",
		"datareporting.policy.dataSubmissionEnabled": "false", "extensions.update.enabled": "false", "network.connectivity-service.enabled": "false",
		"app.normandy.enabled": "false", "services.settings.server": `"http://127.0.0.1:9"`, "network.captive-portal-service.enabled": "false",
		"mail.accountmanager.accounts": `"account1,account2"`, "mail.accountmanager.defaultaccount": `"account1"`, "mail.accountmanager.localfoldersserver": `"server2"`,
		"mail.account.account1.server": `"server1"`, "mail.account.account1.identities": `"id1"`, "mail.account.account2.server": `"server2"`,
		"mail.identity.id1.useremail": `"alice@example.org"`, "mail.identity.id1.fullName": `"Alice"`, "mail.identity.id1.valid": "true",
		"mail.server.server1.type": `"imap"`, "mail.server.server1.hostname": `"127.0.0.1"`, "mail.server.server1.port": port, "mail.server.server1.name": `"alice"`,
		"mail.server.server1.userName": `"alice@example.org"`, "mail.server.server1.authMethod": "3", "mail.server.server1.socketType": "0",
		"mail.server.server1.login_at_startup": "false", "mail.server.server1.check_new_mail": "false", "mail.server.server1.autosync_offline_stores": "false",
		"mail.server.server1.use_compress_deflate": "false", // what goes over the line is read
		"mail.server.server1.delete_model":         "1", "mail.server.server2.type": `"none"`, "mail.server.server2.hostname": `"Local Folders"`, "mail.server.server2.userName": `"nobody"`,
		"mail.server.server2.name": `"Local Folders"`,
	} {
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, value)
	}
	write(t, filepath.Join(tb.profile, "user.js"), prefs.String())
	return tb
}
