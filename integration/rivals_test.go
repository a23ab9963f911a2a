package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/streampost/streampost/integration/cyrus"
)

// session is an IMAP session with some server, as plain as can be: a command goes out and lines come back.
type session struct {
	t    *testing.T
	name string
	w    io.Writer
	r    *bufio.Reader
	tag  int
}

// ask sends a command and gives its untagged lines, and the tagged one without its tag.
func (s *session) ask(format string, args ...any) (untagged []string, tagged string) {
	s.t.Helper()
	s.tag++
	tag := "t" + strconv.Itoa(s.tag) + " "
	if _, err := fmt.Fprintf(s.w, tag+format+"\r\n", args...); err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v after %.1000q", s.name, err, untagged)
		}
		line = strings.TrimRight(line, "\r\n")
		if rest, is := strings.CutPrefix(line, tag); is {
			return untagged, rest
		}
		untagged = append(untagged, line)
	}
}

// answer gives the one untagged response of a name, without the name.
func (s *session) answer(name, format string, args ...any) string {
	s.t.Helper()
	untagged, tagged := s.ask(format, args...)
	for _, line := range untagged {
		if rest, is := strings.CutPrefix(line, "* "+name); is && strings.HasPrefix(tagged, "OK") {
			return strings.TrimSpace(rest)
		}
	}
	return tagged
}

// dial opens a session over TCP and logs in.
func dial(t *testing.T, name, address, login, password string) *session {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	s := &session{t: t, name: name, w: nc, r: bufio.NewReader(nc)}
	if _, err := s.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, tagged := s.ask("LOGIN \"%s\" \"%s\"", login, password); !strings.HasPrefix(tagged, "OK") {
		t.Fatalf("%s: %s", name, tagged)
	}
	return s
}

// dovecot runs Dovecot's IMAP server on a pipe, logged in as the user of a folder of its own.
func dovecot(t *testing.T) *session {
	t.Helper()
	const program = "/usr/lib/dovecot/imap"
	need(t, program)
	dir, err := os.MkdirTemp("", "dovecot-") // beside the folders of tests, which only their owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := fmt.Sprintf("mail_location = sdbox:%[1]s/mail\nlog_path = %[1]s/log\nbase_dir = %[1]s/run\nstate_dir = %[1]s\nfirst_valid_uid = 1\nssl = no\nstats_writer_socket_path =\n", dir)
	cmd := exec.Command(program, "-c", filepath.Join(dir, "dovecot.conf"))
	cmd.Env, cmd.Dir = []string{"USER=rival", "HOME=" + dir}, dir
	if os.Getuid() == 0 { // which Dovecot refuses to be
		mail, err := osuser.Lookup("mail")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(mail.Uid)
		gid, _ := strconv.Atoi(mail.Gid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		config += "mail_uid = mail\nmail_gid = mail\ndefault_internal_user = mail\n"
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "dovecot.conf"), config)
	if err := os.Chmod(filepath.Join(dir, "dovecot.conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	s := &session{t: t, name: "Dovecot", w: in, r: bufio.NewReader(out)}
	if greeting, err := s.r.ReadString('\n'); err != nil || !strings.HasPrefix(greeting, "* PREAUTH") {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("Dovecot greets with %q: %v\n%s", greeting, err, log)
	}
	return s
}

// cyrusSession runs Cyrus where it is unpacked, and logs in.
func cyrusSession(t *testing.T) *session {
	t.Helper()
	dir, err := os.MkdirTemp("", "cyrus-") // beside the folders of tests, which only their owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const user = "rival@example.org"
	server, err := cyrus.Start(t.Context(), dir, []string{user})
	if errors.Is(err, cyrus.ErrMissing) {
		t.Skipf("%v: nothing was compared with Cyrus", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return dial(t, "Cyrus", server.IMAP, user, cyrus.Password)
}
