package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCurlReadsByPOP3 reads by all three ways to connect, and finds the same unique ids after a kill and after every view has been made anew.
func TestCurlReadsByPOP3(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	s := demoServer(t)
	const text = "From: carol@example.net\r\nTo: alice@example.org\r\nSubject: dots\r\n\r\n.\r\n..two\r\nend\r\n"
	client(t, text, "curl", "-sS", "smtp://"+s.addr(1025), "--mail-from", "carol@example.net", "--mail-rcpt", "alice@example.org", "-T", "-")
	pop := func(url string, args ...string) string {
		t.Helper()
		return client(t, "", "curl", append([]string{"-sSk", url, "-u", "alice@example.org:" + password}, args...)...)
	}
	plain, secure := "pop3://"+s.addr(1110)+"/", "pop3s://"+s.addr(1995)+"/"
	ids := pop(plain, "-X", "UIDL")
	last := strconv.Itoa(strings.Count(ids, "\n"))
	for name, got := range map[string]string{
		"plain": pop(plain + last), "STLS": pop(plain+last, "--ssl-reqd"), "TLS": pop(secure + last),
	} {
		if !strings.HasSuffix(got, text) {
			t.Errorf("%s: sent\n%s\nand read\n%s", name, text, got)
		}
	}
	s.stays(func(when string) {
		t.Helper()
		if now := pop(secure, "-X", "UIDL"); now != ids {
			t.Errorf("%s: unique ids were\n%s\nand are\n%s", when, ids, now)
		}
	})
	pop(plain+"1", "-X", "DELE", "-l") // curl says QUIT
	if now := pop(plain, "-X", "UIDL"); strings.Count(now, "\n") != strings.Count(ids, "\n")-1 {
		t.Errorf("after DELE and QUIT there are\n%s", now)
	}
	s.clean()
}

// TestPoplib is a session of Python's poplib.
func TestPoplib(t *testing.T) {
	t.Parallel()
	need(t, "python3")
	s := demoServer(t)
	out := client(t, "", "python3", "testdata/poplib_session.py", strconv.Itoa(1110+s.offset), "alice@example.org", password)
	if want := "STAT True True\nSIZES True\nUIDL True\nTOP True\nDROPPED True\nDELETED True\n"; out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// TestFetchmailByPOP3 keeps mail on the server and takes nothing twice.
func TestFetchmailByPOP3(t *testing.T) {
	t.Parallel()
	need(t, "fetchmail", "curl")
	s := demoServer(t)
	dir := t.TempDir()
	config, taken := filepath.Join(dir, "fetchmailrc"), filepath.Join(dir, "taken")
	write(t, config, fmt.Sprintf(`set pidfile "%[1]s/pid"
poll 127.0.0.1 protocol POP3 port %[2]d uidl auth password user "alice@example.org" password "%[3]s" sslproto "" keep mda "cat >>%[4]s"
`, dir, 1110+s.offset, password, taken))
	fetch := func() (out string, status int) {
		cmd := exec.Command("fetchmail", "--fetchmailrc", config, "--nodetach", "--nosyslog", "--idfile", filepath.Join(dir, "ids"))
		text, _ := cmd.CombinedOutput()
		return string(text), cmd.ProcessState.ExitCode()
	}
	if out, status := fetch(); status != 0 {
		t.Fatalf("fetchmail ends with %d:\n%s", status, out)
	}
	if got, _ := os.ReadFile(taken); strings.Count("\n"+string(got), "\nSubject:") < 3 {
		t.Errorf("fetchmail took\n%s", got)
	}
	s.stays(func(when string) {
		t.Helper()
		if out, status := fetch(); status != 1 { // it has 1 for nothing new.
			t.Errorf("%s: fetchmail ends with %d:\n%s", when, status, out)
		}
	})
}
