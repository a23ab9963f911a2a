// Package cyrus runs a throw-away Cyrus IMAP server on loopback, beside which tests and benchmarks put Streampost.
//
// Debian's package of Cyrus conflicts with that of Dovecot. So it is not installed but unpacked: download cyrus-imapd, cyrus-common, cyrus-clients,
// cyrus-admin and libcyrus-imap-perl with "apt-get download", unpack them with "dpkg -x" into one directory, install what they depend on and
// sasl2-bin, make a user cyrus in the group mail, and name the directory in CYRUS_ROOT (default /opt/cyrus36). It takes root to run it.
package cyrus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says that there is no Cyrus on this machine.
var ErrMissing = errors.New("no Cyrus is unpacked, see integration/cyrus")

// Password is that of every user.
const Password = "secret"

// startup bounds the waiting for ports, and for the first login of a user.
const startup = 20 * time.Second

// Server is a running Cyrus. It syncs deliveries and flag changes.
type Server struct {
	IMAP, LMTP string // host:port
	PID        int    // of the process that starts the others

	cmd      *exec.Cmd
	programs string
	config   string
}

func root() string {
	if dir := os.Getenv("CYRUS_ROOT"); dir != "" {
		return dir
	}
	return "/opt/cyrus36"
}

func libraries() string {
	return "LD_LIBRARY_PATH=" + filepath.Join(root(), "usr/lib/x86_64-linux-gnu")
}

// Start runs Cyrus on a directory that everybody may enter, with mailboxes for some users, which are addresses at example.org. Errors: ErrMissing.
func Start(ctx context.Context, dir string, users []string) (*Server, error) {
	s := &Server{programs: filepath.Join(root(), "usr/lib/cyrus/bin"), config: filepath.Join(dir, "imapd.conf")}
	if _, err := os.Stat(filepath.Join(s.programs, "master")); err != nil || os.Getuid() != 0 {
		return nil, ErrMissing
	}
	owner, err := user.Lookup("cyrus")
	if err != nil {
		return nil, ErrMissing
	}
	for _, address := range []*string{&s.IMAP, &s.LMTP} {
		if *address, err = free(); err != nil {
			return nil, err
		}
	}
	if err := s.configure(ctx, dir, users); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "chown", "-R", owner.Username+":mail", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chown: %w: %s", err, out)
	}
	s.cmd = exec.Command(filepath.Join(s.programs, "master"), "-C", s.config, "-M", filepath.Join(dir, "cyrus.conf"), "-p", filepath.Join(dir, "run/master.pid"))
	s.cmd.Env = append(os.Environ(), libraries())
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.PID = s.cmd.Process.Pid
	for _, name := range users {
		if err := s.enter(ctx, name); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// Stop ends it.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait()
}

// Reconstruct makes anew what can be made anew of a user's mailboxes; it reads all messages again.
func (s *Server) Reconstruct(ctx context.Context, name string) error {
	command := fmt.Sprintf("%s %s/reconstruct -C %s -G -u %s", libraries(), s.programs, s.config, name)
	if out, err := exec.CommandContext(ctx, "su", "-s", "/bin/sh", "cyrus", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("reconstruct: %w: %s", err, out)
	}
	return nil
}

// configure writes the files and makes the passwords.
func (s *Server) configure(ctx context.Context, dir string, users []string) error {
	for _, sub := range []string{"mail", "run/proc", "run/lock", "conf/db", "conf/socket", "conf/log", "conf/msg", "conf/proc", "conf/quota", "conf/user", "conf/backup", "conf/sieve"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for _, name := range users {
		add := exec.CommandContext(ctx, "saslpasswd2", "-p", "-c", "-f", filepath.Join(dir, "sasldb2"), "-u", "example.org", strings.TrimSuffix(name, "@example.org"))
		add.Stdin = strings.NewReader(Password)
		if out, err := add.CombinedOutput(); err != nil {
			return fmt.Errorf("saslpasswd2: %w: %s", err, out)
		}
	}
	if err := os.WriteFile(s.config, fmt.Appendf(nil, `configdirectory: %[1]s/conf
proc_path: %[1]s/run/proc
mboxname_lockpath: %[1]s/run/lock
defaultpartition: default
partition-default: %[1]s/mail
virtdomains: userid
defaultdomain: internal
altnamespace: yes
unixhierarchysep: yes
autocreate_quota: 0
autocreate_inbox_folders: Drafts
lmtp_downcase_rcpt: yes
allowplaintext: yes
munge8bit: no
search_skipdiacrit: no
sendmail: /bin/true
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: %[1]s/sasldb2
sasl_mech_list: PLAIN LOGIN
lmtpsocket: %[1]s/run/lmtp.sock
idlesocket: %[1]s/run/idle.sock
notifysocket: %[1]s/run/notify.sock
`, dir), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cyrus.conf"), fmt.Appendf(nil, `START {
  recover cmd="%[1]s/ctl_cyrusdb -C %[2]s -r"
}
DAEMON {
  idled cmd="%[1]s/idled -C %[2]s"
}
SERVICES {
  imap cmd="%[1]s/imapd -C %[2]s" listen="%[3]s" prefork=4 maxchild=1500
  lmtp cmd="%[1]s/lmtpd -C %[2]s -a" listen="%[4]s" prefork=2 maxchild=200
}
`, s.programs, s.config, s.IMAP, s.LMTP), 0o644)
}

// enter logs in as a user for the first time, which makes the mailboxes.
func (s *Server) enter(ctx context.Context, name string) (err error) {
	for deadline := time.Now().Add(startup); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if err = s.login(name); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the login of %s at Cyrus: %w", name, err)
}

func (s *Server) login(name string) error {
	nc, err := net.DialTimeout("tcp", s.IMAP, startup)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(startup))
	if _, err := fmt.Fprintf(nc, "a LOGIN %s %s\r\nb SELECT INBOX\r\nc LOGOUT\r\n", name, Password); err != nil {
		return err
	}
	var said strings.Builder
	buf := make([]byte, 4<<10)
	for err == nil {
		var n int
		n, err = nc.Read(buf)
		said.Write(buf[:n])
	}
	if !strings.Contains(said.String(), "\r\nb OK ") {
		return fmt.Errorf("it says %q", said.String())
	}
	return nil
}

// free finds a port that nobody listens on.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)), nil
}
