package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/ops/cluster"
)

// formed makes the nodes of a cluster, of which none runs: the first from `cluster init`, the others with its secret.
func formed(t testing.TB, n int, flags ...string) []*server {
	t.Helper()
	var all []*server
	for i := range n {
		s := idleServer(t)
		s.data = filepath.Join(disk(t, i), "data")
		s.flags = append(s.flags, "--set", fmt.Sprintf("cluster.node=node%d", i+1), "--set", "cluster.listen=127.0.0.1:6222")
		for _, f := range flags {
			s.flags = append(s.flags, "--set", f)
		}
		all = append(all, s)
	}
	first := all[0]
	if out := first.run("cluster", "init"); !strings.Contains(out, cluster.File) {
		t.Errorf("cluster init says\n%s", out)
	}
	secret, err := os.ReadFile(filepath.Join(first.data, cluster.File))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all[1:] {
		s.flags = append(s.flags, "--join", first.addr(6222))
		if err := os.MkdirAll(s.data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.data, cluster.File), secret, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first.flags = append(first.flags, "--join", all[1].addr(6222))
	return all
}

// disk is a directory for a node's data. STREAMPOST_TEST_DISKS names directories, which may be file systems of their own, with commas between; without it all nodes
// share that of temporary files, and its journal.
func disk(t testing.TB, node int) string {
	t.Helper()
	all := os.Getenv("STREAMPOST_TEST_DISKS")
	if all == "" {
		return t.TempDir()
	}
	names := strings.Split(all, ",")
	dir, err := os.MkdirTemp(names[node%len(names)], "node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// join runs a node; the first one makes the demo accounts.
func (s *server) join() {
	s.t.Helper()
	args := []string{"serve", "--data", s.data}
	s.launchWith("", append(args, s.flags...)...)
}

// startNodes runs a cluster of three and waits until every node is ready.
func startNodes(t testing.TB, flags ...string) []*server {
	t.Helper()
	all := formed(t, 3, flags...)
	all[0].launch("")
	for _, s := range all[1:] {
		s.join()
	}
	for _, s := range all {
		s.ready("")
	}
	return all
}

// answers waits until the server does, healthy or not.
func (s *server) answers() {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if answer, err := http.Get("http://" + s.addr(8000) + "/readyz"); err == nil {
			answer.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the server does not answer for three minutes")
		}
	}
}

// standing asks one node about all.
func (s *server) standing() (c webadmin.Cluster) {
	s.t.Helper()
	out, _ := s.try("cluster", "status", "--json") // the exit code tells of findings, which are looked at
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		s.t.Fatalf("cluster status says %v\n%s", err, out)
	}
	return c
}

// whole waits until the cluster has nothing to find fault with.
func whole(t testing.TB, all []*server) {
	t.Helper()
	var c webadmin.Cluster
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if c = all[0].standing(); len(c.Findings) == 0 && len(c.Nodes) == len(all) {
			return
		}
	}
	t.Fatalf("after three minutes the cluster says %+v", c)
}

// leading is the node that leads a stream.
func leading(t testing.TB, all []*server, stream string) *server {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, s := range all[0].standing().Streams {
			var n int
			if _, err := fmt.Sscanf(s.Leader, "node%d", &n); s.Stream == stream && err == nil {
				return all[n-1]
			}
		}
	}
	t.Fatalf("nobody leads %s", stream)
	return nil
}

// TestCluster: three nodes of one secret find each other, each serves every account, and each shows at once what another acknowledged. Mail comes in
// on all of them while one after the other is killed, stopped and restarted. In the end nothing that was acknowledged is missing or there
// twice, and all nodes have the same rows.
func TestCluster(t *testing.T) {
	waits(t)
	all := startNodes(t)
	whole(t, all)
	t.Run("what one acknowledged all show", func(t *testing.T) {
		for i := range 30 {
			here, there := all[i%3], all[(i+1+i/3%2)%3]
			keyword := fmt.Sprintf("k%d", i)
			if got := here.patiently("SELECT INBOX", "STORE 1 +FLAGS.SILENT ("+keyword+")"); !strings.Contains(got, "a2 OK ") {
				t.Fatalf("STORE is answered %s", got)
			}
			if got := there.patiently("SELECT INBOX", "FETCH 1 (FLAGS BODY.PEEK[])"); !strings.Contains(got, keyword) || !strings.Contains(got, "Welcome to Streampost") {
				t.Errorf("after node %d acknowledged %s, another shows %s", i%3+1, keyword, got)
			}
		}
	})
	t.Run("a sender has one answer from all nodes", func(t *testing.T) { answersOnce(t, all) })
	load := newLoad(all[0])
	for w := range 9 {
		load.on(all[w%3], w)
	}
	for round, how := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTERM} {
		load.wait(50)
		victim := leading(t, all, "ACCOUNTS_1")
		if round == 0 && victim == all[0] { // whom the test asks
			victim = all[1]
		}
		began := time.Now()
		if how == syscall.SIGSTOP {
			_ = victim.cmd.Process.Signal(how)
		} else {
			victim.kill(how)
		}
		load.wait(50)
		t.Logf("%v: 50 messages were accepted within %v", how, time.Since(began).Round(time.Millisecond))
		if how == syscall.SIGSTOP {
			_ = victim.cmd.Process.Signal(syscall.SIGCONT)
		} else {
			victim.join()
		}
		victim.ready("")
	}
	load.wait(50)
	load.end()
	whole(t, all)
	same(t, all)
	for _, s := range all[1:] {
		for _, account := range []string{"alice@example.org", "bob@example.org"} {
			remember(t, load.seen, s.addr(1143), account) // and finds each UID to be the same message on every node
		}
	}
	t.Run("a password holds everywhere", func(t *testing.T) {
		all[1].run("account", "add", "carol@example.org", "--password", "a new password")
		for _, s := range all {
			if got := s.logIn("carol@example.org", "a new password"); !strings.Contains(got, "a0 OK ") {
				t.Errorf("carol is told %s", got)
			}
		}
	})
	t.Run("an erased account is gone everywhere", func(t *testing.T) {
		var carol struct{ ID string }
		if err := json.Unmarshal([]byte(all[1].run("account", "show", "carol@example.org", "--json")), &carol); err != nil {
			t.Fatal(err)
		}
		all[1].run("account", "erase", "carol@example.org", "--yes")
		for _, s := range all { // as soon as it has heard of it
			for deadline := time.Now().Add(3 * time.Minute); !strings.Contains(s.logIn("carol@example.org", "a new password"), "a0 NO "); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("carol is let in three minutes after she was erased")
				}
			}
			for deadline := time.Now().Add(3 * time.Minute); !strings.Contains(s.run("log", "show", carol.ID), "erased"); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a node shows the log of an account three minutes after it was erased")
				}
			}
		}
	})
	t.Run("guesses are counted everywhere", func(t *testing.T) {
		for _, s := range all {
			if got := s.logIn("mallory@example.org", "a guess"); !strings.Contains(got, "a0 NO ") {
				t.Errorf("mallory is told %s", got)
			}
		}
		blocked := func(want bool) {
			t.Helper()
			for _, s := range all { // as soon as it has heard of all
				for deadline := time.Now().Add(3 * time.Minute); strings.Contains(s.run("account", "blocked"), `"mallory@example.org"`) != want; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("after three minutes a node does not say that mallory is blocked: %v", want)
					}
				}
			}
		}
		blocked(true)
		all[2].run("account", "unblock", "mallory@example.org")
		blocked(false)
	})
	t.Run("a master key is rotated everywhere", func(t *testing.T) {
		before := masters(t, all[0])
		all[2].run("keys", "rotate")
		for _, s := range all {
			for deadline := time.Now().Add(3 * time.Minute); masters(t, s) == before || masters(t, s) != masters(t, all[2]); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("a node has the master keys %q", masters(t, s))
				}
			}
			s.clean()
		}
	})
}

// patiently is imap, again and again while a busy cluster elects a leader and refuses for now.
func (s *server) patiently(commands ...string) (got string) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if got = s.imap(commands...); !strings.Contains(got, " NO [UNAVAILABLE]") || time.Now().After(deadline) {
			return got
		}
	}
}

// masters is the files of a node's master keys.
func masters(t *testing.T, s *server) (all string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.data, "keys", "*.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all += filepath.Base(f) + " " + string(text)
	}
	return all
}

// same asserts that all nodes have the same rows.
func same(t *testing.T, all []*server) {
	t.Helper()
	digests := filepath.Join(t.TempDir(), "digests")
	if err := os.WriteFile(digests, []byte(all[0].run("projection", "digest", "--json")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range all[1:] {
		if out := s.run("projection", "digest", "--compare", digests); !strings.Contains(out, " 0 differ") {
			t.Errorf("the rows of two nodes differ: %s", out)
		}
	}
}

// TestClusterRefuses what would lose mail or leave it unread.
func TestClusterRefuses(t *testing.T) {
	all := formed(t, 2)
	first, second := all[0], all[1]
	if out, err := first.try("cluster", "init"); err == nil || !strings.Contains(out, "is there already") {
		t.Errorf("a second secret: %v, %s", err, out)
	}
	stranger := idleServer(t)
	if out, err := stranger.try("serve", "--join", first.addr(6222)); err == nil || !strings.Contains(out, "cluster.secret") {
		t.Errorf("a node without the secret: %v, %s", err, out)
	}
	alone := demoServer(t)
	alone.kill(syscall.SIGTERM)
	secret, err := os.ReadFile(filepath.Join(first.data, cluster.File))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(alone.data, cluster.File), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := alone.try("serve", "--join", first.addr(6222)); err == nil || !strings.Contains(out, "stands alone") {
		t.Errorf("the log of a server that stood alone: %v, %s", err, out)
	}
	if out, err := alone.try("log", "verify"); err == nil || !strings.Contains(out, "node of a cluster, which does not run") {
		t.Errorf("a command on a node that does not run: %v, %s", err, out)
	}
	_ = second
}

// answersOnce brings a user who is away mail of one sender to all nodes at once, and then asks one of them what became of it.
func answersOnce(t *testing.T, all []*server) {
	t.Helper()
	text := filepath.Join(t.TempDir(), "away")
	if err := os.WriteFile(text, []byte("away\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all[1].run("sieve", "vacation", "bob@example.org", "--text", text)
	var deliveries sync.WaitGroup
	for i, s := range all {
		deliveries.Go(func() {
			c := dialLMTP(s.addr(1124))
			if c == nil {
				t.Error("a node takes no mail")
				return
			}
			defer c.Close()
			if !c.ask("250", "MAIL FROM:<alice@example.org>") || !c.ask("250", "RCPT TO:<bob@example.org>") || !c.ask("354", "DATA") ||
				!c.ask("250", fmt.Sprintf("From: alice@example.org\r\nTo: bob@example.org\r\nSubject: from %d\r\nMessage-ID: <same@laptop>\r\n\r\nHello.\r\n.", i)) {
				t.Errorf("node %d refuses a message", i+1)
			}
		})
	}
	deliveries.Wait()
	all[1].run("sieve", "vacation", "bob@example.org", "--off")
	answers := ""
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		answers = all[0].imap("SELECT INBOX", `SEARCH SUBJECT "Auto: from"`)
		if !strings.Contains(answers, "* SEARCH\r\n") && strings.Contains(answers, "* SEARCH ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no answer after three minutes: %s", answers)
		}
	}
	// Whoever lost the race has dropped what he had in the queue, and nothing of it is left.
	for deadline := time.Now().Add(3 * time.Minute); strings.Contains(all[2].run("queue", "list"), "alice@example.org"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the queue holds %s", all[2].run("queue", "list"))
		}
	}
	if answers = all[0].imap("SELECT INBOX", `SEARCH SUBJECT "Auto: from"`); !regexp.MustCompile(`\* SEARCH \d+\r\n`).MatchString(answers) {
		t.Errorf("there is more than one answer: %s", answers)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		steps := all[2].run("trace", "same@laptop")
		if strings.Count(steps, " accepted ") == 3 && strings.Count(steps, " delivered ") == 3 && strings.Contains(steps, "node1") && strings.Contains(steps, "node2") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the trace is\n%s", steps)
		}
	}
}
