package integration

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/integration/ports"
)

// deliver sends a message over LMTP and gives the last line of the answer.
func (s *server) deliver(subject string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr(1124))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(4 * time.Minute))
	r, last := bufio.NewReader(c), ""
	for _, line := range []string{"", "LHLO x.example\r\n", "MAIL FROM:<a@example.net>\r\n", "RCPT TO:<alice@example.org>\r\n", "DATA\r\n", "Subject: " + subject + "\r\n\r\nx\r\n.\r\n"} {
		if _, err := c.Write([]byte(line)); err != nil {
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
	}
	return last
}

// imap runs commands on a fresh connection as alice and gives all that was answered to the last of them.
func (s *server) imap(commands ...string) string {
	s.t.Helper()
	return s.imapAs("alice@example.org", commands...)
}

func (s *server) imapAs(user string, commands ...string) string {
	s.t.Helper()
	return s.dialogue(append([]string{`LOGIN ` + user + ` "` + password + `"`}, commands...)...)
}

// logIn gives the answer to a login.
func (s *server) logIn(user, password string) string {
	s.t.Helper()
	return s.dialogue(`LOGIN ` + user + ` "` + password + `"`)
}

func (s *server) dialogue(commands ...string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr(1143))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(4 * time.Minute))
	r, answer := bufio.NewReader(c), ""
	for i, command := range commands {
		tag := fmt.Sprintf("a%d ", i)
		if _, err := fmt.Fprintf(c, "%s%s\r\n", tag, command); err != nil {
			s.t.Fatal(err)
		}
		for answer = ""; ; {
			line, err := r.ReadString('\n')
			if answer += line; strings.HasPrefix(line, tag) {
				break
			}
			if err != nil {
				return answer + err.Error()
			}
		}
	}
	return answer
}

// external prepares a server whose log is in a nats-server. Its flags say where.
func external(t testing.TB, flags ...string) *server {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, binary: binary, data: filepath.Join(t.TempDir(), "data"), offset: ports.FreeOffset(t), flags: flags}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("the server printed:\n%s", tail(s.out.Bytes(), 8<<10))
		}
	})
	return s
}

// subjects asserts that alice's INBOX has a message of each subject, once.
func (s *server) subjects(want ...string) {
	s.t.Helper()
	got := s.imap("SELECT INBOX", "FETCH 1:* (ENVELOPE)")
	for _, subject := range want {
		if strings.Count(got, `"`+subject+`"`) != 1 {
			s.t.Errorf("%q is not there once: %s", subject, got)
		}
	}
}

// accepts asserts that a message is delivered.
func (s *server) accepts(subject string) {
	s.t.Helper()
	if got := s.deliver(subject); !strings.HasPrefix(got, "250 ") {
		s.t.Fatalf("%q is answered %q", subject, got)
	}
}

// eventually delivers until it is accepted; all answers before are temporary failures.
func (s *server) eventually(subject string) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := s.deliver(subject)
		if strings.HasPrefix(got, "250 ") {
			return
		}
		if !strings.HasPrefix(got, "4") || time.Now().After(deadline) {
			s.t.Fatalf("with its log back the server answers %q", got)
		}
	}
}

// TestExternalNATS keeps the log in a nats-server of its own process: mail is delivered, read, and there after restarts of either side; while
// the server is gone there are temporary failures, and afterwards everything goes on.
func TestExternalNATS(t *testing.T) {
	waits(t)
	nats := startNATS(t, "")
	s := external(t, nats.flags()...)
	s.start("")
	s.accepts("first")
	s.subjects("first")
	if got := s.run("doctor"); !strings.Contains(got, "ok       durability   outside (2.15.2): sync_interval: always") {
		t.Errorf("doctor says nothing of the external server:\n%s", got)
	}
	s.clean()

	s.kill(syscall.SIGTERM)
	s.start("")
	s.subjects("first")
	s.kill(syscall.SIGKILL)
	s.start("")
	s.accepts("second")

	nats.kill()
	if got := s.deliver("while it is gone"); !strings.HasPrefix(got, "4") {
		t.Errorf("without its log the server answers %q", got)
	}
	if got := s.imap("SELECT INBOX"); !strings.Contains(got, "NO [UNAVAILABLE]") {
		t.Errorf("without its log the server answers %q", got)
	}
	nats.start()
	s.eventually("third")
	s.subjects("first", "second", "third")
	if got := s.imap("SELECT INBOX", `STORE 1 +FLAGS (\Flagged)`); !strings.Contains(got, " OK ") {
		t.Errorf("with its log back the server answers %q", got)
	}
	s.clean()
}

// refuses runs a server that must end by itself, with exit code 1, and gives what it said.
func refuses(t *testing.T, flags ...string) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--port-offset", fmt.Sprint(ports.FreeOffset(t))}, flags...)...)
	timer := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d (%v): %s", code, err, out)
	}
	return string(out)
}
