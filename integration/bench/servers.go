package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/integration/cyrus"
)

// users is how many accounts each server has.
const users = 50

func userName(i int) string { return fmt.Sprintf("user%04d@example.org", i%users+1) }

// freePort finds a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func waitFor(ctx context.Context, address string) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		nc, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("nobody listens on %s after 20 s", address)
}

// waitReady waits until the server answers its own command line.
func waitReady(ctx context.Context, binary, data string) (err error) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if err = exec.CommandContext(ctx, binary, "status", "--data", data).Run(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the server is not ready after 20 s: %w", err)
}

func startStreampost(ctx context.Context, dir, binary string) (*target, error) {
	const offset = 21000
	data := filepath.Join(dir, "streampost-data")
	return startOurs(ctx, dir, binary, offset, data, "serve", "--demo", "--demo-password", "secret", "--data", data, "--port-offset", fmt.Sprint(offset))
}

// startThree runs a cluster of which the first node is spoken to.
func startThree(ctx context.Context, dir, binary string) (*target, error) {
	const offset = 12000 // all ports are below those that the kernel gives to connections
	data := filepath.Join(dir, "streampost-three")
	t, err := startOurs(ctx, dir, binary, offset, filepath.Join(data, "node1"), "cluster", "local", "--demo-password", "secret", "--data", data, "--port-offset", fmt.Sprint(offset))
	if t != nil {
		t.name, t.idle = "streampost, R3", 25
	}
	return t, err
}

// startOurs runs Streampost. Its data directory is that of the server, or of the node, that is spoken to.
func startOurs(ctx context.Context, dir, binary string, offset int, data string, args ...string) (*target, error) {
	if binary == "" {
		binary = filepath.Join(dir, "streampost")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/streampost/streampost/cmd/streampost")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	_, fresh := os.Stat(data) // else its accounts are there
	log, err := os.Create(filepath.Join(dir, "streampost.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &target{name: "streampost", imap: fmt.Sprintf("127.0.0.1:%d", 1143+offset), lmtp: fmt.Sprintf("127.0.0.1:%d", 1124+offset), smtp: fmt.Sprintf("127.0.0.1:%d", 1025+offset), pid: cmd.Process.Pid, user: userName, pass: "secret", binary: binary, data: data}
	t.rebuild = func(ctx context.Context, name string) error {
		for _, view := range []string{"mailboxes", "counters", "quota"} {
			if err := command(ctx, binary, "projection", "rebuild", "--data", data, "--account", name, "--projection", view); err != nil {
				return err
			}
		}
		return nil
	}
	t.stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	if err := waitReady(ctx, binary, data); err != nil {
		t.stop()
		out, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("streampost: %w\n%s", err, out)
	}
	if fresh == nil {
		return t, nil
	}
	for i := range users {
		add := exec.CommandContext(ctx, binary, "account", "add", "--data", data, userName(i), "--short", "--password-file", "/dev/stdin")
		add.Stdin = strings.NewReader("secret\n")
		if out, err := add.CombinedOutput(); err != nil {
			t.stop()
			return nil, fmt.Errorf("account add: %w: %s", err, out)
		}
	}
	return t, nil
}

// startDovecot runs a throw-away Dovecot with sdbox storage and no other feature that costs time. Its default mail_fsync syncs deliveries but
// not flag changes; "dovecot-fsync" syncs both, which is the promise that Streampost makes. "dovecot-mdbox" is the default with mdbox storage. more is added to
// its configuration.
func startDovecot(ctx context.Context, dir, name, more string) (*target, error) {
	path, err := exec.LookPath("dovecot")
	if err != nil {
		return nil, err
	}
	fsync, format := "optimized", "sdbox"
	if name == "dovecot-fsync" {
		fsync = "always"
	}
	if name == "dovecot-mdbox" {
		format = "mdbox"
	}
	base := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Join(base, "run"), 0o755); err != nil {
		return nil, err
	}
	owner, err := user.Lookup("mail")
	if err != nil {
		return nil, err
	}
	mail := filepath.Join(base, "mail")
	if err := os.MkdirAll(mail, 0o777); err != nil {
		return nil, err
	}
	if err := os.Chmod(mail, 0o777); err != nil {
		return nil, err
	}
	imap, err := freePort()
	if err != nil {
		return nil, err
	}
	lmtp, err := freePort()
	if err != nil {
		return nil, err
	}
	var passwd strings.Builder
	for i := range users {
		fmt.Fprintf(&passwd, "%s:{PLAIN}secret:%s:%s::%s/%d::\n", userName(i), owner.Uid, owner.Gid, mail, i)
	}
	if err := os.WriteFile(filepath.Join(base, "users"), []byte(passwd.String()), 0o644); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`protocols = imap lmtp
listen = 127.0.0.1
base_dir = %[1]s/run
state_dir = %[1]s
log_path = %[1]s/log
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = %[5]s:~/%[5]s
mail_fsync = %[2]s
mail_max_userip_connections = 2000
default_process_limit = 300
default_client_limit = 6000
default_vsz_limit = 1G
passdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/users
}
service imap-login {
  service_count = 0
  process_min_avail = 1
  inet_listener imap {
    port = %[3]d
  }
  inet_listener imaps {
    port = 0
  }
}
service imap {
  process_limit = 2000
}
service lmtp {
  process_min_avail = 2
  inet_listener lmtp {
    port = %[4]d
  }
}
%[6]s`, base, fsync, imap, lmtp, format, more)
	file := filepath.Join(base, "dovecot.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-F", "-c", file)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &target{name: name, imap: fmt.Sprintf("127.0.0.1:%d", imap), lmtp: fmt.Sprintf("127.0.0.1:%d", lmtp), pid: cmd.Process.Pid, user: userName, pass: "secret"}
	t.rebuild = func(ctx context.Context, name string) error {
		caches, err := filepath.Glob(filepath.Join(mail, strconv.Itoa(rebuildUser), "sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.cache"))
		if err != nil || len(caches) != 1 {
			return fmt.Errorf("the cache is not where it should be: %v, %w", caches, err)
		}
		if err := os.Remove(caches[0]); err != nil {
			return err
		}
		return command(ctx, "doveadm", "-c", file, "force-resync", "-u", name, "INBOX")
	}
	t.stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	if err := waitFor(ctx, t.imap); err != nil {
		t.stop()
		out, _ := os.ReadFile(filepath.Join(base, "log"))
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return t, nil
}

// startCyrus runs a throw-away Cyrus, which syncs deliveries and flag changes.
func startCyrus(ctx context.Context, dir string) (*target, error) {
	names := make([]string, users)
	for i := range names {
		names[i] = userName(i)
	}
	s, err := cyrus.Start(ctx, filepath.Join(dir, "cyrus"), names)
	if err != nil {
		return nil, err
	}
	return &target{name: "cyrus", imap: s.IMAP, lmtp: s.LMTP, pid: s.PID, user: userName, pass: cyrus.Password, stop: s.Stop, rebuild: s.Reconstruct}, nil
}
