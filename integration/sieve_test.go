package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestSieveConnect stores a script by a ManageSieve client; mail that swaks brings by LMTP goes where the script says, and is seen there by IMAP, also after a kill
// and after every view has been made anew.
func TestSieveConnect(t *testing.T) {
	need(t, "sieve-connect", "swaks", "curl")
	s := demoServer(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "lists.sieve")
	if err := os.WriteFile(script, []byte(`require ["fileinto", "mailbox", "imap4flags", "reject"];
if header :contains "subject" "list" { fileinto :create :flags "\\Flagged" "Lists"; }
elsif header :contains "subject" "refuse" { reject "no thank you"; }
`), 0o600); err != nil {
		t.Fatal(err)
	}
	connect := func(args ...string) string {
		t.Helper()
		return client(t, password+"\n", "sieve-connect", append([]string{"--server", "127.0.0.1", "--port", strconv.Itoa(1419 + s.offset), "--user", "alice@example.org",
			"--passwordfd", "0", "--notlsverify", "--authmech", "PLAIN"}, args...)...)
	}
	connect("--upload", "--localsieve", script, "--remotesieve", "lists")
	connect("--activate", "--remotesieve", "lists")
	if got := connect("--list"); !strings.Contains(got, `"lists" ACTIVE`) {
		t.Fatalf("the list of scripts is %q", got)
	}
	lmtp := []string{"--server", s.addr(1124), "--protocol", "LMTP", "--from", "x@example.net", "--to", "alice@example.org", "--header"}
	client(t, "", "swaks", append(lmtp, "Subject: a list")...)
	if out := refusedBy(t, "swaks", append(lmtp, "Subject: refuse me")...); !strings.Contains(out, "550 5.7.1") || !strings.Contains(out, "no thank you") {
		t.Errorf("the refusal is\n%s", out)
	}
	look := func(when string) {
		t.Helper()
		if got := client(t, "", "curl", "-sSk", "imaps://"+s.addr(1993)+"/Lists", "-u", "alice@example.org:"+password, "-X", "UID FETCH 1:* FLAGS"); !strings.Contains(got, `* 1 FETCH (UID 1 FLAGS (\Flagged`) {
			t.Errorf("%s: the mailbox holds %q", when, got)
		}
		if got := connect("--list"); !strings.Contains(got, `"lists" ACTIVE`) {
			t.Errorf("%s: the list of scripts is %q", when, got)
		}
	}
	look("at first")
	s.stays(look)
	s.clean()
}

// refusedBy runs a client that is to fail, and gives what it said.
func refusedBy(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err == nil {
		t.Errorf("%s %q did not fail:\n%s", program, args, out)
	}
	return string(out)
}
