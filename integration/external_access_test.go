package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/integration/ports"
)

// letIn is an authorization section with one user.
const letIn = `authorization { timeout: 60, user: mail, password: "log of record" }`

// TestExternalNATSLetsIn delivers and reads through every way into a nats-server.
func TestExternalNATSLetsIn(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, t.TempDir(), "ca")
	ca.client("mail")
	mutual := strings.TrimSuffix(ca.server("mutual", time.Now().Add(time.Hour)), "}") + fmt.Sprintf(", ca_file: %q, verify: true }", filepath.Join(ca.dir, "ca.pem"))
	operator := newOperator(t)
	trust := "ca=" + filepath.Join(ca.dir, "ca.pem")
	for name, c := range map[string]struct {
		server string
		flags  []string
	}{
		"anybody":              {"", nil},
		"a user":               {letIn, []string{"user=mail", "password=log of record"}},
		"a token":              {`authorization { token: "s3cret" }`, []string{"token=s3cret"}},
		"credentials":          {operator.config, []string{"credentials=" + operator.user(filepath.Join(t.TempDir(), "mail.creds"), time.Now().Add(time.Hour))}},
		"TLS":                  {ca.server("plain", time.Now().Add(time.Hour)), []string{trust}},
		"mutual TLS":           {mutual, []string{trust, "certificate=" + ca.file("mail.pem"), "key=" + ca.file("mail.key")}},
		"TLS in operator mode": {operator.config + ca.server("both", time.Now().Add(time.Hour)), []string{trust, "credentials=" + operator.user(filepath.Join(t.TempDir(), "tls.creds"), time.Now().Add(time.Hour))}},
	} {
		t.Run(name, func(t *testing.T) {
			nats := startNATS(t, c.server)
			s := external(t, nats.flags(c.flags...)...)
			s.start("")
			s.accepts("let in")
			s.subjects("let in")
			if got := s.run("doctor"); !strings.Contains(got, "ok       durability") {
				t.Errorf("doctor says\n%s", got)
			}
			s.kill(syscall.SIGTERM)
		})
	}
	t.Run("several servers of which one runs", func(t *testing.T) {
		nats := startNATS(t, "")
		s := external(t, nats.flags(fmt.Sprintf("url=nats://127.0.0.1:%d, %s", ports.Free(t), nats.url()))...)
		s.start("")
		s.accepts("found")
	})
	t.Run("TLS for monitoring", func(t *testing.T) {
		nats := startNATS(t, ca.server("monitored", time.Now().Add(time.Hour)), func(n *natsProcess) { n.secure = true })
		s := external(t, nats.flags(trust)...)
		s.start("")
		if got := s.run("doctor"); !strings.Contains(got, "ok       durability") {
			t.Errorf("doctor says\n%s", got)
		}
	})
}

// TestExternalNATSRefused: whoever is not let in, or is let into a server that cannot keep a log, is told why and what to do.
func TestExternalNATSRefused(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, t.TempDir(), "ca"), newAuthority(t, t.TempDir(), "other")
	ca.client("mail")
	other.client("mail")
	operator := newOperator(t)
	trust := "ca=" + filepath.Join(ca.dir, "ca.pem")
	mutual := strings.TrimSuffix(ca.server("mutual", time.Now().Add(time.Hour)), "}") + fmt.Sprintf(", ca_file: %q, verify: true }", filepath.Join(ca.dir, "ca.pem"))
	lonely := func(n *natsProcess) { n.jetstream = "-" }
	lazy := func(n *natsProcess) { n.jetstream = "sync_interval: 10s" }
	small := func(n *natsProcess) { n.payload = "1MB" }
	keep := func(*natsProcess) {}
	for name, c := range map[string]struct {
		server string
		change func(*natsProcess)
		flags  []string
		want   []string
	}{
		"no password":                     {letIn, keep, nil, []string{"Authorization Violation", "check the URL, the credentials"}},
		"a wrong password":                {letIn, keep, []string{"user=mail", "password=guess"}, []string{"Authorization Violation"}},
		"no credentials":                  {operator.config, keep, nil, []string{"Authorization Violation"}},
		"another operator's credentials":  {operator.config, keep, []string{"credentials=" + newOperator(t).user(filepath.Join(t.TempDir(), "other.creds"), time.Now().Add(time.Hour))}, []string{"Authorization Violation"}},
		"expired credentials":             {operator.config, keep, []string{"credentials=" + operator.user(filepath.Join(t.TempDir(), "old.creds"), time.Now().Add(-time.Hour))}, []string{"Authorization Violation"}},
		"credentials that are not there":  {operator.config, keep, []string{"credentials=/nowhere/mail.creds"}, []string{"/nowhere/mail.creds"}},
		"an unknown authority":            {ca.server("fresh", time.Now().Add(time.Hour)), keep, []string{"ca=" + filepath.Join(other.dir, "other.pem")}, []string{"unknown authority", "certificates"}},
		"an expired certificate":          {ca.server("stale", time.Now().Add(-time.Hour)), keep, []string{trust}, []string{"expired"}},
		"no client certificate":           {mutual, keep, []string{trust}, []string{"tls", "certificates of both sides"}},
		"a stranger's certificate":        {mutual, keep, []string{trust, "certificate=" + other.file("mail.pem"), "key=" + other.file("mail.key")}, []string{"tls", "certificates of both sides"}},
		"a key that does not fit":         {mutual, keep, []string{trust, "certificate=" + ca.file("mail.pem"), "key=" + other.file("mail.key")}, []string{"streams.certificate and streams.key"}},
		"no JetStream":                    {"", lonely, nil, []string{"none of the servers has JetStream"}},
		"no JetStream, unsynced allowed":  {"", lonely, []string{"allow_unsynced=true"}, []string{"has no JetStream", "enable jetstream"}},
		"a server that syncs lazily":      {"", lazy, nil, []string{"sync_interval: 10s", "set sync_interval: always", "streams.allow_unsynced"}},
		"no monitoring address":           {"", keep, []string{"monitor="}, []string{"not known to sync", "name their monitoring addresses"}},
		"monitoring that does not answer": {"", keep, []string{fmt.Sprintf("monitor=http://127.0.0.1:%d", ports.Free(t))}, []string{"cannot be asked", "connection refused", "streams.monitor"}},
		"small messages":                  {"", small, nil, []string{"max_payload: 8MB"}},
		"replicas without a cluster":      {"", keep, []string{"replicas=3"}, []string{"replicas > 1 not supported in non-clustered mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			nats := startNATS(t, c.server, c.change)
			out := refuses(t, append(nats.flags(c.flags...), "--set", "blobs.one_node=true")...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("the server does not say %q:\n%s", want, out)
				}
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		if out := refuses(t, settings(fmt.Sprintf("url=nats://127.0.0.1:%d", ports.Free(t)))...); !strings.Contains(out, "no servers available") {
			t.Errorf("the server says\n%s", out)
		}
	})
}

// TestExternalNATSThatDoesNotSync is used when the operator insists, and the danger is told at the start and by doctor.
func TestExternalNATSThatDoesNotSync(t *testing.T) {
	t.Parallel()
	nats := startNATS(t, "", func(n *natsProcess) { n.jetstream = "max_mem: 64MB" })
	s := external(t, nats.flags("allow_unsynced=true")...)
	s.start("")
	if !strings.Contains(s.out.String(), "MAY BE LOST") || !strings.Contains(s.out.String(), "sync_interval: 2m0s") {
		t.Errorf("nothing is said of the danger: %s", s.out.String())
	}
	if out, err := s.try("doctor"); err == nil || !strings.Contains(out, "problem  durability   outside (2.15.2): sync_interval: 2m0s") {
		t.Errorf("doctor says %s", out)
	}
	// Its operator repairs it while we run: doctor looks anew.
	nats.kill()
	nats.jetstream = "sync_interval: always"
	nats.start()
	s.eventually("after the repair")
	if out := s.run("doctor"); !strings.Contains(out, "ok       durability") {
		t.Errorf("doctor says %s", out)
	}
	// And somebody spoils it.
	nats.kill()
	nats.jetstream = `sync_interval: "1m"`
	nats.start()
	s.eventually("after the mistake")
	if out, err := s.try("doctor"); err == nil || !strings.Contains(out, "problem  durability   outside (2.15.2): sync_interval: 1m0s") {
		t.Errorf("doctor says %s", out)
	}
}

// TestExternalNATSRenewsCredentials: while the credentials have expired the server is not ready; with new ones in the file it goes on without a
// restart.
func TestExternalNATSRenewsCredentials(t *testing.T) {
	t.Parallel()
	operator, file := newOperator(t), filepath.Join(t.TempDir(), "mail.creds")
	nats := startNATS(t, operator.config)
	s := external(t, nats.flags("credentials="+operator.user(file, time.Now().Add(time.Hour)))...)
	s.start("")
	s.accepts("with good credentials")
	operator.user(file, time.Now().Add(-time.Hour))
	nats.kill()
	nats.start()
	if err := await(t.Context(), func() (bool, error) {
		answer, err := http.Get("http://" + s.addr(8000) + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusServiceUnavailable, err
	}); err != nil {
		t.Fatal(err)
	}
	operator.user(file, time.Now().Add(time.Hour))
	s.eventually("with new credentials")
	s.subjects("with good credentials", "with new credentials")
}

// TestExternalNATSNeedsItsMasterKey: an installation that lost its master key does not make another one over a log that has keys.
func TestExternalNATSNeedsItsMasterKey(t *testing.T) {
	t.Parallel()
	nats := startNATS(t, "")
	s := external(t, nats.flags("prefix=mail")...)
	s.start("")
	s.accepts("sealed")
	s.kill(syscall.SIGTERM)
	if out := refuses(t, nats.flags("prefix=mail")...); !strings.Contains(out, "there is no master key in") {
		t.Errorf("with another data directory the server says\n%s", out)
	}
	kept := filepath.Join(t.TempDir(), "keys")
	if err := os.Rename(filepath.Join(s.data, "keys"), kept); err != nil {
		t.Fatal(err)
	}
	if out, err := s.tryWith(nil, append([]string{"log", "verify"}, s.flags...)...); err == nil || !strings.Contains(out, "there is no master key in") {
		t.Errorf("without the master key log verify says %s", out)
	}
	if out, err := s.try("log", "verify"); err == nil || !strings.Contains(out, "no server has run") { // and without being told where the log is
		t.Errorf("without the URL log verify says %s", out)
	}
	if err := os.Rename(kept, filepath.Join(s.data, "keys")); err != nil {
		t.Fatal(err)
	}
	s.start("")
	s.subjects("sealed")
}

// TestExternalNATSThatWasEdited refuses streams that somebody edited in the server, names what is wrong, and starts when it is edited back.
func TestExternalNATSThatWasEdited(t *testing.T) {
	t.Parallel()
	server := startNATS(t, "")
	s := external(t, server.flags("prefix=mail")...)
	s.start("")
	s.accepts("whole")
	s.kill(syscall.SIGTERM)
	conn, err := nats.Connect(server.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(stream string, change func(*jetstream.StreamConfig)) (back func()) {
		t.Helper()
		found, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		cfg := found.CachedInfo().Config
		before := cfg
		change(&cfg)
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if _, err := js.UpdateStream(t.Context(), before); err != nil {
				t.Fatal(err)
			}
		}
	}
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"mail_DIRECTORY has allow_direct true":       func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"mail_ACCOUNTS_0 has max_msgs 100000":        func(c *jetstream.StreamConfig) { c.MaxMsgs = 100000 },
		"mail_KEYS has max_age 9000h0m0s":            func(c *jetstream.StreamConfig) { c.MaxAge = 9000 * time.Hour },
		"mail_TASKS has max_msgs_per_subject 100000": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 100000 },
	} {
		back := edit(strings.Fields(want)[0], change)
		out, err := s.tryWith(nil, append([]string{"serve", "--port-offset", fmt.Sprint(s.offset)}, s.flags...)...)
		if err == nil || !strings.Contains(out, want) || !strings.Contains(out, "edit it back") {
			t.Errorf("the server says %v, want %q\n%s", err, want, out)
		}
		back()
	}
	s.start("")
	s.subjects("whole")
	s.clean()
}
