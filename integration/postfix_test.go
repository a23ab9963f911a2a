package integration

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postfix is a Postfix of Debian's packages with a configuration, a spool and a log of its own. Its domain is example.net, with bob in it; example.org is the server under test.
type postfix struct {
	t    *testing.T
	dir  string
	port int
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = DIR/log/mail.log
maillog_file_prefixes = DIR
myhostname = postfix.example.net
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = example.net
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ { bob@example.net = bob/ } }
virtual_minimum_uid = 1
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
relay_domains = example.org
transport_maps = inline:{ { example.org = smtp:[127.0.0.1]:MX } }
smtpd_recipient_restrictions = check_recipient_access inline:{ { later@example.net = 450 4.7.1 Come back later } }, reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = CERT
smtpd_tls_key_file = KEY
smtp_tls_security_level = may
`

const postfixMaster = `127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 5 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

func startPostfix(t *testing.T, cert, key string, port, mx int) *postfix {
	t.Helper()
	dir, err := os.MkdirTemp("", "postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Skip("NOT TESTED against Postfix: it is not installed (apt-get install postfix)")
	}
	p := &postfix{t, dir, port}
	fill := strings.NewReplacer("DIR", dir, "UID", owner.Uid, "GID", owner.Gid, "CERT", cert, "KEY", key, "PORT", fmt.Sprint(port), "MX", fmt.Sprint(mx))
	for _, name := range []string{"", "conf", "spool", "data", "log", "mail"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"main.cf": postfixMain, "master.cf": postfixMaster} {
		if err := os.WriteFile(filepath.Join(dir, "conf", name), []byte(fill.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.command("chown", "postfix", filepath.Join(dir, "data"), filepath.Join(dir, "mail"))
	p.command("postfix", "-c", filepath.Join(dir, "conf"), "start")
	t.Cleanup(func() {
		_ = exec.Command("postfix", "-c", filepath.Join(dir, "conf"), "stop").Run()
		if log, err := os.ReadFile(filepath.Join(dir, "log", "mail.log")); err == nil && t.Failed() {
			t.Logf("Postfix wrote:\n%s", tail(log, 8<<10))
		}
	})
	return p
}

func (p *postfix) command(name string, args ...string) {
	p.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// mailbox gives the messages that bob has.
func (p *postfix) mailbox() (texts []string) {
	files, _ := filepath.Glob(filepath.Join(p.dir, "mail", "bob", "new", "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			p.t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

// TestPostfix exchanges mail with a real Postfix in both directions: a message with TLS and a success notification, which Postfix sends back to us; one that it refuses; and one
// that it puts off.
func TestPostfix(t *testing.T) {
	if os.Getenv("STREAMPOST_TEST_POSTFIX") == "" {
		t.Skip("NOT TESTED against Postfix: set STREAMPOST_TEST_POSTFIX=1, as task chaos does")
	}
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		t.Skip("NOT TESTED against Postfix: it wants Debian's package postfix, and root to start it")
	}
	s := idleServer(t)
	port := 2525 + s.offset
	s.flags = []string{"--set", fmt.Sprintf("outbound.routes=example.net 127.0.0.1:%d", port), "--set", "outbound.retry_first=1s", "--set", "outbound.retry_most=1s", "--set", "hostname=mail.example.org"}
	s.start("")
	p := startPostfix(t, filepath.Join(s.data, "tls", "cert.pem"), filepath.Join(s.data, "tls", "key.pem"), port, 1025+s.offset)
	for id, to := range []string{"bob@example.net NOTIFY=SUCCESS,FAILURE", "nobody@example.net", "later@example.net"} {
		if !submit(s.addr(1587), fmt.Sprint(id), to) {
			t.Fatalf("the message to %s was not accepted", to)
		}
	}
	inbox := func() (subjects string) {
		for _, e := range envelopes(t, s.addr(1143)) {
			subjects += e.Subject + "\n"
		}
		return subjects
	}
	var got string
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = inbox(); len(p.mailbox()) == 1 && strings.Contains(got, "Undelivered mail: returned to its sender") && strings.Contains(got, "Successful Mail Delivery Report") &&
			strings.Contains(s.run("queue", "list"), "Come back later") {
			break
		}
	}
	if mails := p.mailbox(); len(mails) != 1 || !strings.Contains(mails[0], "with ESMTPS id") || !strings.Contains(mails[0], "\n.dot\nHello.\n") || strings.Count(mails[0], "Return-Path:") != 1 {
		t.Errorf("%q", mails)
	}
	if !strings.Contains(got, "Successful Mail Delivery Report") {
		t.Errorf("Postfix's report did not arrive: %s", got)
	}
	if !strings.Contains(got, "Undelivered mail: returned to its sender") {
		t.Errorf("nobody was reported: %s", got)
	}
	if list := s.run("queue", "list"); !strings.Contains(list, "later@example.net") || !strings.Contains(list, "450 4.7.1") {
		t.Errorf("%s", list)
	}
	s.kill(syscall.SIGTERM)
}
