package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/integration/ports"
)

// TestScanners has rspamd and ClamAV, set up as docs/transport.md says, look at mail: what each of their verdicts does to it, and what happens without one of them.
func TestScanners(t *testing.T) {
	need(t, "rspamd", "clamd", "clamav-milter", "swaks", "curl")
	rspamd, _ := startRspamd(t)
	clamav, stop := startClamAV(t)
	s := idleServer(t)
	s.env = []string{fmt.Sprintf("STREAMPOST_SMTP_MILTERS=clamav 127.0.0.1:%d fail=later time=2m,rspamd 127.0.0.1:%d time=1m", clamav, rspamd)}
	s.start("")
	send := func(subject, body string) []string {
		return []string{"--server", s.addr(1025), "--helo", "mail.example.net", "--from", "x@example.net", "--to", "alice@example.org", "--header", "Subject: " + subject, "--body", body}
	}
	read := func(mailbox string) string {
		t.Helper()
		return client(t, "", "curl", "-sSk", "imaps://"+s.addr(1993)+"/"+mailbox, "-u", "alice@example.org:"+password, "-X", "FETCH 1:* BODY.PEEK[HEADER]", "-v")
	}
	refuses := func(code, text string, args []string) {
		t.Helper()
		if out := refusedBy(t, "swaks", args...); !strings.Contains(out, code) || !strings.Contains(out, text) {
			t.Errorf("a refusal of %q by %s %q was to come:\n%s", args, code, text, out)
		}
	}
	client(t, "", "swaks", send("ham for alice", "A quiet message.")...)
	refuses("550 5.7.1", "Virus found", send("a virus", eicar))
	refuses("554 5.7.1", "Gtube", send("spam", gtube('X')))
	client(t, "", "swaks", send("perhaps spam", gtube('Y'))...)
	client(t, "", "swaks", send("another subject", gtube('Z'))...)
	got := read("INBOX")
	for _, want := range []string{"Subject: ham for alice", "X-Virus-Scanned: ", "X-Virus-Status: Clean", "X-Spam: Yes", "Subject: *** SPAM *** another subject"} {
		if !strings.Contains(got, want) {
			t.Errorf("the mailbox lacks %q:\n%s", want, tail([]byte(got), 8<<10))
		}
	}
	for _, never := range []string{"Subject: a virus", "Subject: spam\r\n", "Subject: another subject"} {
		if strings.Contains(got, never) {
			t.Errorf("the mailbox has %q", never)
		}
	}
	stop()
	refuses("451 4.7.1", "", send("without a scanner", "It waits."))
	s.clean()
}

const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

// gtube is the text on which rspamd does what its actions do: X rejects, Y adds a field, Z rewrites the subject.
func gtube(kind rune) string {
	return string(kind) + "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
}

// blockOfSettings is the first block of settings in docs/transport.md after some words, with other words in the place of some.
func blockOfSettings(t *testing.T, after string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/transport.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), after)
	_, rest, begins := strings.Cut(rest, "```\n")
	block, _, ends := strings.Cut(rest, "```\n")
	if !found || !begins || !ends {
		t.Fatalf("docs/transport.md has no settings after %q", after)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(block, replace[i]) {
			t.Fatalf("the settings after %q lack %q:\n%s", after, replace[i], block)
		}
	}
	return strings.NewReplacer(replace...).Replace(block)
}

// startRspamd runs one that asks no name server and nobody else on the network, and gives its port.
func startRspamd(t *testing.T) (port int, stop func()) {
	t.Helper()
	owner, err := user.Lookup("_rspamd")
	if err != nil {
		t.Fatal(err)
	}
	dir := openDir(t, "rspamd-")
	if out, err := exec.Command("cp", "-r", "/etc/rspamd", filepath.Join(dir, "conf")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port = ports.Free(t)
	conf := func(name, text string) {
		t.Helper()
		write(t, filepath.Join(dir, "conf", name), text)
	}
	conf("local.d/worker-proxy.inc", blockOfSettings(t, "**rspamd**", "11332", strconv.Itoa(port)))
	for _, worker := range []string{"normal", "fuzzy", "controller"} {
		conf("local.d/worker-"+worker+".inc", "enabled = false;\n")
	}
	conf("tld.dat", "org\nnet\n")
	conf("local.d/options.inc", fmt.Sprintf(`dns { nameserver = ["127.0.0.1:%d"]; timeout = 0.1s; retransmits = 1; }
enable_test_patterns = true;
gtube_patterns = "all"; # as later versions call it
disable_hyperscan = true;
url_tld = "%s";
`, ports.Free(t), filepath.Join(dir, "conf/tld.dat")))
	args := []string{"-f", "-u", "_rspamd", "-g", "_rspamd", "-c", filepath.Join(dir, "conf/rspamd.conf")}
	for name, sub := range map[string]string{"CONFDIR": "conf", "LOCAL_CONFDIR": "conf", "DBDIR": "db", "LOGDIR": "log", "RUNDIR": "run"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--var="+name+"="+filepath.Join(dir, sub))
	}
	if out, err := exec.Command("chown", "-R", owner.Uid+":"+owner.Gid, dir).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED against rspamd: its directory cannot be made its own: %v\n%s", err, out)
	}
	return port, background(t, port, "rspamd", args...)
}

// startClamAV runs a daemon that knows one virus, which is none, and its milter. It gives the milter's port.
func startClamAV(t *testing.T) (port int, stop func()) {
	t.Helper()
	dir := openDir(t, "clamav-")
	socket := filepath.Join(dir, "clamd.ctl")
	port = ports.Free(t)
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "db/test.ndb"), fmt.Sprintf("Eicar.Test:0:*:%x\n", eicar))
	write(t, filepath.Join(dir, "clamd.conf"), fmt.Sprintf("DatabaseDirectory %s/db\nLocalSocket %s\nForeground yes\n", dir, socket))
	write(t, filepath.Join(dir, "milter.conf"), blockOfSettings(t, "**ClamAV**", "7357", strconv.Itoa(port), "/run/clamav/clamd.ctl", socket)+"Foreground yes\n")
	daemon := background(t, 0, "clamd", "-c", filepath.Join(dir, "clamd.conf"))
	waitFor(t, "clamd's socket", func() bool { _, err := os.Stat(socket); return err == nil })
	milter := background(t, port, "clamav-milter", "-c", filepath.Join(dir, "milter.conf"))
	return port, func() { milter(); daemon() }
}

// openDir is a directory that other users can look into, and that is short enough for sockets.
func openDir(t *testing.T, prefix string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", prefix)
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// background runs a program until the test ends or stop is called, and waits until it listens on a port, if it is to.
func background(t *testing.T, port int, program string, args ...string) (stop func()) {
	t.Helper()
	said := filepath.Join(t.TempDir(), "said") // a file, which workers that a program leaves behind hold nobody up by
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}
	printed := func() string {
		text, _ := os.ReadFile(said)
		return string(tail(text, 4<<10))
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", program, printed())
		}
	})
	if port != 0 {
		waitFor(t, program, func() bool {
			select {
			case <-ended:
				t.Fatalf("%s has ended:\n%s", program, printed())
			default:
			}
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	return stop
}

// waitFor looks for something until it is there.
func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not there after 3 minutes", what)
		}
	}
}
