package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
)

// api asks the admin door of a server, without a process for each question.
func (s *server) api(method, path string, in, out any) error {
	var access struct{ URL, Token string }
	text, err := os.ReadFile(filepath.Join(s.data, "admin.json"))
	if err == nil {
		err = json.Unmarshal(text, &access)
	}
	if err != nil {
		return err
	}
	body := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = string(text)
	}
	q, err := http.NewRequest(method, access.URL+"/v1"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+access.Token)
	q.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Client{Timeout: time.Minute}).Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	return err
}

// primary is where clients of an account are sent to, as a server knows it.
func (s *server) primary(account string) string {
	var details webadmin.AccountDetails
	if err := s.api("GET", "/accounts/"+account, nil, &details); err != nil {
		return "?"
	}
	return details.Primary
}

// ready for a failover: one node is in charge, and all may get accounts.
func steady(t testing.TB, all []*server) (inCharge *server) {
	t.Helper()
	var c webadmin.Cluster
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		c = all[0].standing()
		if c.Failover == nil || len(c.Failover.Targets) != len(all) || len(c.Findings) > 0 {
			continue
		}
		for i, s := range all {
			if c.Failover.Node == fmt.Sprintf("node%d", i+1) {
				return s
			}
		}
	}
	t.Fatalf("after three minutes the cluster says %+v and %q", c.Failover, c.Findings)
	return nil
}

// name is the node's in its cluster.
func name(all []*server, s *server) string { return fmt.Sprintf("node%d", slices.Index(all, s)+1) }

// movedFrom waits until the accounts have another primary than a node, as another one knows it, and can be written to there. It gives how long each took.
func movedFrom(t testing.TB, all []*server, gone *server, accounts []string, began time.Time) (moved, writable time.Duration) {
	t.Helper()
	there := slices.DeleteFunc(slices.Clone(all), func(s *server) bool { return s == gone })
	until := func(f func(s *server, account string) error) (last time.Duration) {
		const atOnce = 64
		if err := each(len(accounts), atOnce, func(i int) (err error) {
			for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				if err = f(there[i%len(there)], accounts[i]); err == nil {
					return nil
				}
			}
			return fmt.Errorf("after three minutes: %s: %w", accounts[i], err)
		}); err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
	var other sync.WaitGroup
	other.Go(func() {
		moved = until(func(s *server, account string) error {
			if p := s.primary(account); p == "?" || p == name(all, gone) {
				return fmt.Errorf("its primary is %s", p)
			}
			return nil
		})
	})
	writable = until(func(s *server, account string) error {
		to := dialLMTPWithin(s.addr(1124), time.Minute)
		if to == nil {
			return fmt.Errorf("nobody answers")
		}
		defer to.Close()
		if !to.begin(account) || !to.ask("250", "From: probe@example.net\r\nSubject: can it be written to\r\n\r\ntext\r\n.") {
			return fmt.Errorf("it takes no mail")
		}
		return nil
	})
	other.Wait()
	return moved, writable
}

// TestFailover: the primary of accounts is killed, killed while it is the one in charge of failover, and frozen. Nobody does anything; all accounts get another
// primary and can be written to. Meanwhile clients on all nodes, who know exactly what they were told, find nothing lost, nothing twice, and no UID or MODSEQ that
// was given before, and mbsync and imapflow, who have a copy of a mailbox, need nothing again.
func TestFailover(t *testing.T) {
	waits(t)
	all := startNodes(t, "cluster.failover.steady=1s", "cluster.failover.most=100")
	whole(t, all)
	var k mirrors
	k.begin(t, all, 3)
	idle := []string{"bob@example.org"} // nobody uses it
	accounts := []string{"alice@example.org", "bob@example.org"}
	for _, m := range k.all {
		accounts = append(accounts, m.account)
	}
	rounds := []struct {
		what     string
		inCharge bool
		how      syscall.Signal
	}{{"kill -9", false, syscall.SIGKILL}, {"kill -9 of the one in charge", true, syscall.SIGKILL}, {"SIGSTOP", false, syscall.SIGSTOP}}
	if os.Getenv("STREAMPOST_TEST_CHAOS") == "" {
		rounds = rounds[1:2]
	}
	for _, round := range rounds {
		k.resume(t)
		inCharge := steady(t, all)
		victim := inCharge
		if !round.inCharge {
			victim = all[(slices.Index(all, inCharge)+1)%3]
		}
		survivor := all[(slices.Index(all, victim)+1)%3]
		survivor.run("replica", "promote", strings.Join(accounts, ","), "--to", name(all, victim))
		var copies *syncedCopy
		t.Run("clients copy a mailbox, before "+round.what, func(inner *testing.T) { copies = copyMailbox(t, inner, victim) })
		k.wait(t, 20)
		began := time.Now()
		if round.how == syscall.SIGKILL {
			victim.kill(round.how)
		} else if err := victim.cmd.Process.Signal(round.how); err != nil {
			t.Fatal(err)
		}
		moved, writable := movedFrom(t, all, victim, idle, began)
		for _, account := range accounts { // what is in those is for their own clients
			for deadline := time.Now().Add(3 * time.Minute); survivor.primary(account) == name(all, victim); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s still has the primary that is gone", account)
				}
			}
		}
		moved = max(moved, time.Since(began))
		if copies != nil {
			t.Run("their copy is good, after "+round.what, func(t *testing.T) { copies.unchanged(t, survivor) })
		}
		t.Logf("%s: all accounts were moved after %v, and took mail after %v", round.what, moved.Round(10*time.Millisecond), writable.Round(10*time.Millisecond))
		k.wait(t, 20)
		if round.how == syscall.SIGKILL {
			victim.join()
		} else if err := victim.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		victim.ready("")
		k.wait(t, 20)
		k.pause()
		sound(t, all)
		k.compare(round.what)
		alike(t, all)
	}
	for _, s := range all {
		s.clean()
	}
}

// syncedCopy is a mailbox of which mbsync and imapflow have a copy, through a name that leads to one node or another, as a load balancer does it.
type syncedCopy struct {
	balancer    *cable
	config, dir string
	pulled      []string // files of mbsync
}

func (c *syncedCopy) files(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(c.dir, "mail/INBOX/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (c *syncedCopy) sync(t *testing.T) string {
	t.Helper()
	return client(t, "", "mbsync", "-V", "-c", c.config, "-a")
}

func (c *syncedCopy) flow(t *testing.T) (f flowed) {
	t.Helper()
	port := strconv.Itoa(c.balancer.Addr().(*net.TCPAddr).Port)
	out := client(t, "", "node", "testdata/imapflow_copy.js", port, "alice@example.org", password, filepath.Join(c.dir, "imapflow.json"))
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return f
}

// copyMailbox fills alice's INBOX and has it copied, where the clients are there.
func copyMailbox(outer, t *testing.T, s *server) *syncedCopy {
	t.Helper()
	need(t, "mbsync", "node")
	if err := exec.Command("node", "-e", "require('imapflow')").Run(); err != nil {
		t.Skip("imapflow is not installed: npm install imapflow, and NODE_PATH")
	}
	for i := range 30 {
		if got := s.imap("SELECT INBOX", fmt.Sprintf(`STORE 1 +FLAGS.SILENT (k%d)`, i%5), "COPY 1 INBOX"); !strings.Contains(got, "a3 OK ") {
			t.Fatalf("COPY is answered %s", got)
		}
	}
	c := &syncedCopy{balancer: lay(outer, s.addr(1143)), dir: outer.TempDir()}
	c.config = mbsyncrc(t, c.dir, c.balancer.Addr().(*net.TCPAddr).Port)
	c.sync(t)
	if c.pulled = c.files(t); len(c.pulled) < 30 {
		t.Fatalf("mbsync pulled %d messages", len(c.pulled))
	}
	if f := c.flow(t); f.Fetched != len(c.pulled) {
		t.Fatalf("imapflow fetched %+v, and mbsync %d messages", f, len(c.pulled))
	}
	return c
}

// unchanged asserts that on another node clients find all as they left it: nothing is fetched again, and nothing is there twice.
func (c *syncedCopy) unchanged(t *testing.T, on *server) {
	t.Helper()
	c.balancer.set(func() { c.balancer.to = on.addr(1143) })
	out := c.sync(t)
	if moved := regexp.MustCompile(`(?m)[+*#]([1-9]\d*)/\d+`).FindString(out); moved != "" || strings.Contains(out, "UIDVALIDITY") {
		t.Errorf("after the failover mbsync transferred %s:\n%s", moved, out)
	}
	if again := c.files(t); !slices.Equal(again, c.pulled) {
		t.Errorf("mbsync had %d messages and has %d", len(c.pulled), len(again))
	}
	if f := c.flow(t); f.Fetched != 0 || !f.SameValidity || f.Exists != len(c.pulled) || !f.SameUIDs || f.Vanished != 0 || f.ModSeqBack {
		t.Errorf("after the failover imapflow finds %+v, and had %d messages", f, len(c.pulled))
	}
}

// flowed is what testdata/imapflow_copy.js says.
type flowed struct {
	Fetched, Exists, Vanished          int
	SameValidity, SameUIDs, ModSeqBack bool
}
