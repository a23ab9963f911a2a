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
func client(t *testing.T, stdin string, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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

func TestSwaksSubmitsAndDelivers(t *testing.T) {
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
	need(t, "mbsync")
	s := demoServer(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "mbsyncrc")
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
`, 1143+s.offset, password, dir, dir))
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
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

	s.kill(syscall.SIGKILL)
	s.start("")
	nothing("after kill -9")

	s.kill(syscall.SIGTERM)
	if err := os.RemoveAll(filepath.Join(s.data, "views")); err != nil {
		t.Fatal(err)
	}
	s.start("")
	nothing("after every view was deleted and rebuilt")
	s.clean()
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
