package integration

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/streampost/streampost/integration/ports"
)

// mount gives a small file system of its own, or skips the test where the machine does not let it.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		if required := os.Getenv("STREAMPOST_REQUIRE"); required == "all" && os.Getuid() == 0 {
			t.Fatalf("mount: %v: %s", err, out)
		}
		t.Skipf("this machine does not let the test mount a small file system (%s): this test did not run", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

// TestFullDisk fills the disk under a running server. Mail is refused with a temporary error while it is full, reading goes on, what was
// accepted is there, and once there is room again mail is accepted again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=220m")
	s := &server{t: t, data: filepath.Join(dir, "data"), offset: ports.FreeOffset(t)}
	s.binary, _ = built()
	s.start("")
	t.Cleanup(func() { s.kill(syscall.SIGKILL) })

	accepted := 0
	send := func() string {
		nc, err := net.Dial("tcp", s.addr(1124))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(3 * time.Minute))
		r := bufio.NewReader(nc)
		body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 4000)
		last := ""
		for i, line := range []string{"", "LHLO full.example\r\n", "MAIL FROM:<a@example.net>\r\n", "RCPT TO:<alice@example.org>\r\n", "DATA\r\n", "Subject: filling\r\n\r\n" + body + ".\r\n"} {
			if _, err := nc.Write([]byte(line)); err != nil {
				return err.Error()
			}
			for {
				if last, err = r.ReadString('\n'); err != nil {
					return err.Error()
				}
				if len(last) > 3 && last[3] == ' ' {
					break
				}
			}
			if last[0] > '3' {
				return last
			}
			if i == 5 {
				accepted++
			}
		}
		return last
	}
	ballast := filepath.Join(dir, "ballast")
	refused := ""
	for i := 0; i < 2000 && refused == ""; i++ {
		if i == 20 { // leave little room
			fill(t, dir, ballast, 8<<20)
		}
		if answer := send(); answer[0] != '2' {
			refused = answer
		}
	}
	if !strings.HasPrefix(refused, "452 4.3.1 ") { // RFC 3463 section 3.4
		t.Fatalf("on a full disk a delivery was answered %q after %d messages", refused, accepted)
	}
	count := func() int {
		c, err := imapclient.DialInsecure(s.addr(1143), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login("alice@example.org", password).Wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		found, err := c.Search(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "filling"}}}, nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return len(found.AllSeqNums())
	}
	if n := count(); n < accepted {
		t.Errorf("while the disk is full %d of %d accepted messages can be read", n, accepted)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; {
		answer := send()
		if answer[0] == '2' {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with room again a delivery is answered %q", answer)
		}
		time.Sleep(200 * time.Millisecond) // the server looks at the disk once a second
	}
	s.kill(syscall.SIGTERM)
	s.start("")
	if n := count(); n != accepted {
		t.Errorf("after a restart %d messages are there, %d were accepted", n, accepted)
	}
	s.clean()
}

// fill writes a file that leaves only so many octets free.
func fill(t *testing.T, dir, file string, leave uint64) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if free <= leave {
		return
	}
	if err := os.WriteFile(file, make([]byte, free-leave), 0o600); err != nil {
		t.Fatal(err)
	}
}

// brim writes a file that takes the last octet of its disk.
func brim(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err := f.Write(piece); err != nil {
			piece = piece[:len(piece)/2]
		}
	}
}

// TestChangesOnADiskWithoutRoom fills the disk to its last octet behind the server's back: every change is refused soon and clearly, flags as
// well as mail, reading goes on, and a restart with room has all that was acknowledged.
func TestChangesOnADiskWithoutRoom(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=220m")
	s := &server{t: t, data: filepath.Join(dir, "data"), offset: ports.FreeOffset(t)}
	s.binary, _ = built()
	s.start("")
	t.Cleanup(func() { s.kill(syscall.SIGKILL) })
	c, err := net.Dial("tcp", s.addr(1143))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	command := func(line string) (tagged string) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(3 * time.Minute))
		began := time.Now()
		if _, err := fmt.Fprintf(c, "a %s\r\n", line); err != nil {
			t.Fatal(err)
		}
		for !strings.HasPrefix(tagged, "a ") {
			if tagged, err = r.ReadString('\n'); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		t.Logf("%-40s %8v  %s", line, time.Since(began).Round(time.Millisecond), strings.TrimSpace(tagged))
		return tagged
	}
	command(`LOGIN alice@example.org "` + password + `"`)
	command("SELECT INBOX")
	if got := command(`STORE 1 +FLAGS (\Flagged)`); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	ballast := filepath.Join(dir, "ballast")
	brim(t, ballast)
	refused := ""
	for i := 0; i < 3000 && refused == ""; i++ { // what is in blocks already has room
		if got := command(fmt.Sprintf(`STORE 1:5 %cFLAGS (keyword%d)`, "+-"[i%2], i/2%40)); !strings.HasPrefix(got, "a OK") {
			refused = got
		}
	}
	for range 3 {
		if got := command(`STORE 2 +FLAGS (\Flagged)`); !strings.HasPrefix(got, "a NO [UNAVAILABLE]") || !strings.Contains(got, "disk") {
			t.Errorf("on a disk without room STORE is answered %q", got)
		}
	}
	for _, line := range []string{"FETCH 1:* (FLAGS RFC822.SIZE)", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "FETCH 1 BODY.PEEK[]", `SEARCH SUBJECT "welcome"`} {
		if got := command(line); !strings.HasPrefix(got, "a OK") { // within the time that command waits
			t.Errorf("on a disk without room %s is answered %q", line, got)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.kill(syscall.SIGTERM)
	s.start("")
	s.clean()
}

// refusesToStart runs serve and expects it to end soon with an error that contains the words.
func refusesToStart(t *testing.T, data string, offset int, words ...string) {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--demo", "--data", data, "--port-offset", fmt.Sprint(offset))
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("serve did not fail; it printed\n%s", out)
	}
	for _, w := range words {
		if !strings.Contains(string(out), w) {
			t.Errorf("serve's error does not mention %q:\n%s", w, out)
		}
	}
}

func TestReadOnlyDataDirectory(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=16m")
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
	refusesToStart(t, filepath.Join(dir, "data"), ports.FreeOffset(t), "read-only", dir)
}

func TestPortInUseAndSecondProcess(t *testing.T) {
	t.Parallel()
	s := demoServer(t)
	refusesToStart(t, t.TempDir(), s.offset, "in use", fmt.Sprint(1143+s.offset))
	refusesToStart(t, s.data, ports.FreeOffset(t), s.data, "another process")
	s.clean() // the first one is unharmed
}

// TestUnknownCertificate shows that a client that does not know the demo's certificate refuses it, and that one that was given it does not.
func TestUnknownCertificate(t *testing.T) {
	t.Parallel()
	s := demoServer(t)
	if c, err := tls.Dial("tcp", s.addr(1993), &tls.Config{ServerName: "localhost"}); err == nil {
		c.Close()
		t.Error("an unknown certificate was trusted")
	}
	pems, _ := filepath.Glob(filepath.Join(s.data, "*", "*.crt"))
	more, _ := filepath.Glob(filepath.Join(s.data, "*", "*cert*.pem"))
	pool := x509.NewCertPool()
	for _, f := range append(pems, more...) {
		pem, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(pem)
	}
	c, err := tls.Dial("tcp", s.addr(1993), &tls.Config{ServerName: "localhost", RootCAs: pool})
	if err != nil {
		t.Fatalf("with the certificate at hand: %v", err)
	}
	defer c.Close()
	greeting, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.HasPrefix(greeting, "* OK") {
		t.Errorf("greeting %q, %v", greeting, err)
	}
	if _, err := tls.Dial("tcp", s.addr(1993), &tls.Config{ServerName: "localhost", RootCAs: pool, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted") // RFC 8996.
	}
}
