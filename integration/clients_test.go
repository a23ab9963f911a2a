package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client runs a mail program and gives what it printed.
func client(t testing.TB, stdin string, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestCurlSendsAndReads(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	s := demoServer(t)
	const text = "From: carol@example.net\r\nTo: alice@example.org\r\nSubject: sent by curl\r\n\r\nHello from curl.\r\n"
	client(t, text, "curl", "-sS", "smtp://"+s.addr(1025), "--mail-from", "carol@example.net", "--mail-rcpt", "alice@example.org", "-T", "-")

	imap := "imap://" + s.addr(1143)
	found := client(t, "", "curl", "-sS", imap+"/INBOX", "-u", "alice@example.org:"+password, "-X", `UID SEARCH SUBJECT "sent by curl"`)
	uid := regexp.MustCompile(`\d+`).FindString(found)
	if uid == "" {
		t.Fatalf("SEARCH found nothing: %q", found)
	}
	got := client(t, "", "curl", "-sS", imap+"/INBOX;UID="+uid, "-u", "alice@example.org:"+password)
	if !strings.HasSuffix(got, text) || !strings.HasPrefix(got, "Return-Path: <carol@example.net>\r\n") {
		t.Errorf("curl sent\n%s\nand read\n%s", text, got)
	}
	secure := client(t, "", "curl", "-sSk", "imaps://"+s.addr(1993)+"/INBOX;UID="+uid, "-u", "alice@example.org:"+password)
	if secure != got {
		t.Errorf("over TLS curl read\n%s", secure)
	}
	relay, err := exec.Command("curl", "-sS", "smtp://"+s.addr(1025), "--mail-from", "carol@example.net", "--mail-rcpt", "dave@example.com", "-T", os.DevNull).CombinedOutput()
	if err == nil || !strings.Contains(string(relay), "550") {
		t.Errorf("a foreign recipient was not refused with 550: %s", relay)
	}
	s.clean()
}

// TestCurlWritesByIMAP: what curl uploads, marks and moves is there when it reads again, and the same whatever happens to the server.
func TestCurlWritesByIMAP(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	s := demoServer(t)
	const text = "From: alice@example.org\r\nTo: bob@example.org\r\nSubject: a draft of curl\r\n\r\nNot yet.\r\n"
	file := filepath.Join(t.TempDir(), "draft.eml")
	write(t, file, text)
	drafts := "imap://" + s.addr(1143) + "/Drafts"
	client(t, "", "curl", "-sS", drafts, "-u", "alice@example.org:"+password, "-T", file)
	client(t, "", "curl", "-sS", drafts, "-u", "alice@example.org:"+password, "-T", file)
	s.curl("Drafts", `STORE 1 FLAGS (\Seen \Draft \Flagged $later)`)
	s.curl("Drafts", "MOVE 2 Archive")
	first := ""
	s.stays(func(when string) {
		t.Helper()
		got := s.curl("Drafts", "FETCH 1:* (UID FLAGS RFC822.SIZE)") + s.curl("Drafts", "STATUS Drafts (UIDVALIDITY UIDNEXT MESSAGES)") + s.curl("Archive", `SEARCH SUBJECT "a draft of curl"`)
		got = strings.ReplaceAll(got, ` \Recent`, "") // which a server that has just begun tells once more
		if first == "" {
			first = got
		}
		if got != first || !strings.Contains(got, `FLAGS (\Seen \Flagged \Draft $later)`) || !strings.Contains(got, "MESSAGES 1") || !strings.Contains(got, "SEARCH 1") {
			t.Errorf("%s: curl reads\n%s\nand at first\n%s", when, got, first)
		}
		if read := client(t, "", "curl", "-sS", drafts+";MAILINDEX=1", "-u", "alice@example.org:"+password); read != text {
			t.Errorf("%s: curl uploaded\n%s\nand reads\n%s", when, text, read)
		}
	})
}

func TestSwaksSubmitsAndDelivers(t *testing.T) {
	t.Parallel()
	need(t, "swaks")
	s := demoServer(t)
	client(t, "", "swaks", "--server", s.addr(1587), "--tls", "--auth", "PLAIN", "--auth-user", "bob@example.org", "--auth-password", password,
		"--from", "bob@example.org", "--to", "alice@example.org", "--header", "Subject: submitted")
	client(t, "", "swaks", "--server", s.addr(1465), "--tlsc", "--auth", "PLAIN", "--auth-user", "bob@example.org", "--auth-password", password,
		"--from", "bob@example.org", "--to", "alice@example.org", "--header", "Subject: submitted with TLS")
	client(t, "", "swaks", "--server", s.addr(1124), "--protocol", "LMTP", "--from", "x@example.net", "--to", "alice+list@example.org,bob@example.org")
	for _, refused := range [][]string{
		{"--server", s.addr(1587), "--tls", "--from", "bob@example.org", "--to", "alice@example.org"},                                                                                   // no authentication
		{"--server", s.addr(1587), "--tls", "--auth", "PLAIN", "--auth-user", "bob@example.org", "--auth-password", "wrong", "--from", "bob@example.org", "--to", "alice@example.org"},  // wrong password
		{"--server", s.addr(1587), "--tls", "--auth", "PLAIN", "--auth-user", "bob@example.org", "--auth-password", password, "--from", "alice@example.org", "--to", "bob@example.org"}, // another's address
		{"--server", s.addr(1025), "--from", "x@example.net", "--to", "nobody@example.org"},                                                                                             // unknown user
	} {
		if out, err := exec.Command("swaks", refused...).CombinedOutput(); err == nil {
			t.Errorf("swaks %v was not refused:\n%s", refused, out)
		}
	}
	s.clean()
}

// TestMbsyncBothWays synchronises a maildir with an account in both directions. A second run transfers nothing, also after a kill and after
// every view has been deleted and rebuilt from the log.
func TestMbsyncBothWays(t *testing.T) {
	t.Parallel()
	need(t, "mbsync")
	s := demoServer(t)
	dir := t.TempDir()
	config := mbsyncrc(t, dir, 1143+s.offset)
	sync := func() string { return client(t, "", "mbsync", "-V", "-c", config, "-a") }
	nothing := func(when string) {
		t.Helper()
		out := sync()
		if moved := regexp.MustCompile(`(?m)[+*#]([1-9]\d*)/\d+`).FindString(out); moved != "" {
			t.Errorf("%s: mbsync transferred %s:\n%s", when, moved, out)
		}
	}
	sync()
	pulled, _ := filepath.Glob(filepath.Join(dir, "mail/INBOX/*/*"))
	if len(pulled) == 0 {
		t.Fatal("mbsync pulled nothing")
	}
	nothing("second run")

	// A new message and a new folder on the near side, a flag on the far side.
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "mail/Projects", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "mail/Projects/new/1.1.host"), "From: alice@example.org\nSubject: from the maildir\n\ntext\n")
	client(t, "", "curl", "-sS", "imap://"+s.addr(1143)+"/INBOX", "-u", "alice@example.org:"+password, "-X", `STORE 1 +FLAGS (\Flagged)`)
	sync()
	got := client(t, "", "curl", "-sS", "imap://"+s.addr(1143)+"/Projects;MAILINDEX=1", "-u", "alice@example.org:"+password)
	if !strings.Contains(got, "Subject: from the maildir") {
		t.Errorf("the pushed message reads\n%s", got)
	}
	if flagged, _ := filepath.Glob(filepath.Join(dir, "mail/INBOX/cur/*:2,F*")); len(flagged) != 1 {
		t.Errorf("%d messages are flagged in the maildir", len(flagged))
	}
	nothing("after both sides changed")
	s.stays(nothing)
}

// mbsyncrc configures mbsync to keep alice's mailboxes below a directory.
func mbsyncrc(t *testing.T, dir string, port int) (config string) {
	t.Helper()
	config = filepath.Join(dir, "mbsyncrc")
	write(t, config, fmt.Sprintf(`IMAPAccount demo
Host 127.0.0.1
Port %d
User alice@example.org
Pass "%s"
SSLType None
AuthMechs LOGIN

IMAPStore far
Account demo

MaildirStore near
Path %s/mail/
Inbox %s/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, port, password, dir, dir))
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	return config
}

// stays asks again whether a client finds nothing new, after a restart, after a kill and after every view has been deleted and rebuilt from the log.
func (s *server) stays(nothing func(when string)) {
	s.t.Helper()
	nothing("as it is")
	s.kill(syscall.SIGTERM)
	s.start("")
	nothing("after a restart")
	s.kill(syscall.SIGKILL)
	s.start("")
	nothing("after kill -9")
	s.kill(syscall.SIGTERM)
	if err := os.RemoveAll(filepath.Join(s.data, "views")); err != nil {
		s.t.Fatal(err)
	}
	s.start("")
	nothing("after every view was deleted and rebuilt")
	s.clean()
}

// curl gives a command to a mailbox of alice.
func (s *server) curl(mailbox, command string) string {
	s.t.Helper()
	return client(s.t, "", "curl", "-sS", "imap://"+s.addr(1143)+"/"+mailbox, "-u", "alice@example.org:"+password, "-X", command)
}

// TestOfflineIMAPBothWays is TestMbsyncBothWays with OfflineIMAP.
func TestOfflineIMAPBothWays(t *testing.T) {
	t.Parallel()
	need(t, "offlineimap", "curl")
	s := demoServer(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "offlineimaprc")
	write(t, config, fmt.Sprintf(`[general]
accounts = demo
metadata = %[1]s/state
ui = basic

[Account demo]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = %[1]s/mail

[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = %[2]d
ssl = no
starttls = no
remoteuser = alice@example.org
remotepass = %[3]s
`, dir, 1143+s.offset, password))
	sync := func() string { return client(t, "", "offlineimap", "-o", "-c", config) }
	moved := regexp.MustCompile(`(?mi)^.*(copy message|adding|deleting|creating|removing|error).*$`)
	nothing := func(when string) {
		t.Helper()
		if out := sync(); moved.MatchString(out) {
			t.Errorf("%s: OfflineIMAP did something:\n%s", when, out)
		}
	}
	if out := sync(); !strings.Contains(strings.ToLower(out), "copy message") {
		t.Fatalf("OfflineIMAP pulled nothing:\n%s", out)
	}
	nothing("second run")

	write(t, filepath.Join(dir, "mail/Archive/new/1.1.host"), "From: alice@example.org\nSubject: from OfflineIMAP\n\ntext\n")
	s.curl("INBOX", `UID STORE 1 FLAGS (\Seen \Flagged)`)
	sync()
	if got := s.curl("Archive", `SEARCH SUBJECT "from OfflineIMAP"`); !strings.Contains(got, "SEARCH 1") {
		t.Errorf("the pushed message is not found: %q", got)
	}
	if flagged, _ := filepath.Glob(filepath.Join(dir, "mail/INBOX/cur/*:2,FS")); len(flagged) != 1 {
		t.Errorf("%d messages are flagged in the maildir", len(flagged))
	}
	s.stays(nothing)
}

// TestNeomuttReadsAndWrites drives NeoMutt, which keeps headers in a cache. Later it asks for what has changed only, and for nothing when nothing has, whatever
// happened to the server meanwhile.
func TestNeomuttReadsAndWrites(t *testing.T) {
	t.Parallel()
	need(t, "neomutt", "script", "curl")
	s := demoServer(t)
	line := newTap(t, s.addr(1143))
	dir := t.TempDir()
	config, cache := filepath.Join(dir, "neomuttrc"), filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, config, fmt.Sprintf(`set folder = "imap://%s/" spoolfile = "+INBOX" imap_user = "alice@example.org" imap_pass = "%s"
set ssl_starttls = no ssl_force_tls = no imap_condstore = yes imap_qresync = yes
set header_cache = "%s"
set quit = yes confirmappend = no confirmcreate = no delete = yes move = no wait_key = no sleep_time = 0
`, line.addr, password, cache))
	mutt := func(keys string) (asked, answered string) {
		t.Helper()
		client(t, "", "script", "-qec", fmt.Sprintf(`TERM=xterm neomutt -n -F %s -e 'push "%s<quit>"'`, config, keys), os.DevNull)
		return line.take()
	}
	asked, answered := mutt("<tag-pattern>~A<enter><tag-prefix><copy-message>+Copies<enter><untag-pattern>~A<enter><first-entry><set-flag>!<sync-mailbox>")
	if !bodies.MatchString(asked) || !literals.MatchString(answered) {
		t.Errorf("NeoMutt fetched nothing:\n%s", asked)
	}
	everything := strings.Fields(s.curl("INBOX", "UID SEARCH ALL"))
	if got := s.curl("Copies", "SEARCH ALL"); len(strings.Fields(got)) != len(everything) || len(everything) < 4 {
		t.Errorf("NeoMutt copied %q of %q", got, everything)
	}
	if got := s.curl("INBOX", "SEARCH FLAGGED"); len(strings.Fields(got)) != 3 {
		t.Errorf("flagged are %q", got)
	}
	// Of flags that change meanwhile it hears without the headers.
	s.curl("INBOX", `STORE 2 +FLAGS (\Answered)`)
	asked, answered = mutt("<delete-pattern>~F|~Q<enter><sync-mailbox>")
	if bodies.MatchString(asked) || literals.MatchString(answered) || !strings.Contains(asked, "CHANGEDSINCE") {
		t.Errorf("for a flag NeoMutt asked\n%s\nand was answered\n%s", asked, answered)
	}
	if got := strings.Fields(s.curl("INBOX", "UID SEARCH ALL")); len(got) != len(everything)-2 || got[2] != everything[4] {
		t.Errorf("NeoMutt left %q of %q", got, everything)
	}
	mutt("") // It hears of what it has deleted itself.
	s.stays(func(when string) {
		t.Helper()
		asked, answered := mutt("")
		if !strings.Contains(asked, "QRESYNC") || !strings.Contains(asked, `SELECT "INBOX"`) || strings.Contains(asked, "FETCH") ||
			strings.Contains(answered, "FETCH") || strings.Contains(answered, "VANISHED") {
			t.Errorf("%s: NeoMutt asked\n%s\nand was answered\n%s", when, asked, answered)
		}
	})
}

// TestFetchmailTakesMailOnce takes what is new, marks it on the server or removes it there, and takes nothing twice.
func TestFetchmailTakesMailOnce(t *testing.T) {
	t.Parallel()
	need(t, "fetchmail", "curl")
	s := demoServer(t)
	dir := t.TempDir()
	config, taken := filepath.Join(dir, "fetchmailrc"), filepath.Join(dir, "taken")
	write(t, config, fmt.Sprintf(`set pidfile "%[1]s/pid"
poll 127.0.0.1 protocol IMAP port %[2]d auth password user "alice@example.org" password "%[3]s" sslproto "" keep mda "cat >>%[4]s"
`, dir, 1143+s.offset, password, taken))
	fetch := func(args ...string) (out string, status int) {
		cmd := exec.Command("fetchmail", append(args, "--fetchmailrc", config, "--nodetach", "--nosyslog", "--idfile", filepath.Join(dir, "ids"))...)
		text, _ := cmd.CombinedOutput()
		return string(text), cmd.ProcessState.ExitCode()
	}
	deliver := func(subject string) {
		client(t, "Subject: "+subject+"\r\n\r\ntext\r\n", "curl", "-sS", "smtp://"+s.addr(1025), "--mail-from", "carol@example.net", "--mail-rcpt", "alice@example.org", "-T", "-")
	}
	deliver("for fetchmail")
	if out, status := fetch(); status != 0 {
		t.Fatalf("fetchmail ends with %d:\n%s", status, out)
	}
	if got, _ := os.ReadFile(taken); !strings.Contains(string(got), "Subject: for fetchmail") {
		t.Errorf("fetchmail took\n%s", got)
	}
	if got := s.curl("INBOX", "SEARCH UNSEEN"); len(strings.Fields(got)) != 2 {
		t.Errorf("what fetchmail took is not marked as seen: %q", got)
	}
	s.stays(func(when string) {
		t.Helper()
		if out, status := fetch(); status != 1 { // it has 1 for nothing new.
			t.Errorf("%s: fetchmail ends with %d:\n%s", when, status, out)
		}
	})
	deliver("to be removed")
	if out, status := fetch("--nokeep"); status != 0 {
		t.Errorf("fetchmail ends with %d:\n%s", status, out)
	}
	if got := s.curl("INBOX", `SEARCH SUBJECT "to be removed"`); len(strings.Fields(got)) != 2 {
		t.Errorf("what fetchmail took is still there: %q", got)
	}
	if got, _ := os.ReadFile(taken); strings.Count(string(got), "Subject: to be removed") != 1 || strings.Count(string(got), "Subject: for fetchmail") != 1 {
		t.Errorf("fetchmail took\n%s", got)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
