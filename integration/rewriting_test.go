package integration

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// send sends a message to a server as others do, and gives the answer to the end of the data, or what came instead.
func send(t *testing.T, addr, from, to, id string) string {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(3 * time.Minute))
	r := bufio.NewReader(nc)
	answer := func() string {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line[3] == ' ' {
				return strings.TrimSpace(line)
			}
		}
	}
	answer()
	last := ""
	for _, line := range []string{
		"EHLO sink.example.net", "MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA",
		"From: " + from + "\r\nTo: " + to + "\r\nSubject: " + id + "\r\nMessage-ID: <" + id + "@sender>\r\n\r\nHello.\r\n.",
	} {
		if _, err := nc.Write([]byte(line + "\r\n")); err != nil {
			t.Fatal(err)
		}
		if last = answer(); last[0] > '3' {
			break
		}
	}
	return last
}

// TestForwardedThereAndBack sends mail over two servers, by an alias, a group and forwards that keep copies: everybody has one copy, the sender sees a report that
// came back over rewritten senders, and two servers that forward to each other send a message round once.
func TestForwardedThereAndBack(t *testing.T) {
	t.Parallel()
	sender := newSink(t) // of sender.example
	here, there := idleServer(t), idleServer(t)
	here.flags = []string{"--set", "hostname=mx.example.org", "--set", "outbound.routes=sender.example " + sender.Addr().String() + ", there.example " + there.addr(1025), "--set", "outbound.retry_first=1s"}
	here.start("")
	there.serve("serve", "--data", there.data, "--set", "hostname=mx.there.example", "--set", "imap.listen=127.0.0.1:1143", "--set", "smtp.listen=127.0.0.1:1025",
		"--set", "outbound.routes=example.org "+here.addr(1025), "--set", "outbound.retry_first=1s")
	there.run("domain", "add", "there.example")
	there.run("account", "add", "zoe@there.example", "--password", password)
	there.run("forward", "add", "zoe@there.example", "alice@example.org", "--keep")

	here.run("alias", "add", "sales@example.org", "alice@example.org")
	here.run("group", "add", "team@example.org", "sales@example.org", "alice@example.org", "bob@example.org")
	here.run("alias", "add", "gone@example.org", "nobody@there.example")

	if got := send(t, here.addr(1025), "x@sender.example", "team@example.org", "team"); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	if got := here.run("mapping", "test", "team@example.org"); strings.Count(got, "mailbox of") != 2 {
		t.Errorf("%s", got)
	}

	// Nobody is there: the other server refuses the recipient, and the report finds the sender. A report that comes from elsewhere does, too.
	if got := send(t, here.addr(1025), "x@sender.example", "gone@example.org", "gone"); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	sender.report(t, "gone@sender", "nobody@there.example")

	// Each forwards to the other: both have one copy, and the sender hears of the loop from the second server, by way of the first.
	here.run("forward", "add", "alice@example.org", "zoe@there.example", "--keep")
	if got := send(t, here.addr(1025), "x@sender.example", "alice@example.org", "round"); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	sender.report(t, "round@sender", "5.4.6")
	if got := messages(t, here, "alice@example.org", "team", "round"); got != "team 1, round 1" {
		t.Errorf("alice has %s", got)
	}
	got := messages(t, there, "zoe@there.example", "round")
	for deadline := time.Now().Add(3 * time.Minute); got == "round 0" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // Her copy is added beside the forwarding.
		got = messages(t, there, "zoe@there.example", "round")
	}
	if got != "round 1" {
		t.Errorf("zoe has %s", got)
	}

	// Only reports come in by the way back.
	back := sender.way(t)
	if got := send(t, here.addr(1025), "x@sender.example", back, "spam"); !strings.HasPrefix(got, "550 5.7.1") {
		t.Error(got)
	}
	if got := send(t, here.addr(1025), "", strings.Replace(back, "sender.example", "other.example", 1), "forged"); !strings.HasPrefix(got, "550 5.1.1") {
		t.Error(got)
	}
	here.clean()
	there.clean()
}

// report waits for a report about a message that says something, and gives it.
func (s *sink) report(t *testing.T, about, says string) string {
	t.Helper()
	var all []string
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		all = all[:0]
		s.mu.Lock()
		for _, text := range s.all {
			all = append(all, text)
		}
		s.mu.Unlock()
		for _, text := range all {
			if strings.Contains(text, "In-Reply-To: <"+about+">") && strings.Contains(text, says) {
				return text
			}
		}
	}
	t.Fatalf("no report about %s that says %s; there are %q", about, says, all)
	return ""
}

var rewritten = regexp.MustCompile(`for <(SRS0=[^>]*@example\.org)>`)

// way finds the rewritten sender to whom a report came back.
func (s *sink) way(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.all {
		if found := rewritten.FindStringSubmatch(text); found != nil {
			return found[1]
		}
	}
	t.Fatalf("no report came back by a rewritten sender: %q", s.all)
	return ""
}

// messages counts those of an INBOX with each of some subjects.
func messages(t *testing.T, s *server, login string, subjects ...string) string {
	t.Helper()
	c, err := imapclient.DialInsecure(s.addr(1143), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(login, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := c.Fetch(imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var counts []string
	for _, subject := range subjects {
		n := 0
		for _, m := range all {
			if m.Envelope.Subject == subject {
				n++
			}
		}
		counts = append(counts, fmt.Sprintf("%s %d", subject, n))
	}
	return strings.Join(counts, ", ")
}

// TestKilledWhileMailIsSentOn: what was answered with 250 reaches every member of a group, here and elsewhere; what was not is sent again, and no mailbox has it more than twice.
func TestKilledWhileMailIsSentOn(t *testing.T) {
	t.Parallel()
	peer := newSink(t)
	s := idleServer(t)
	s.flags = []string{"--set", "outbound.routes=example.net " + peer.Addr().String(), "--set", "outbound.retry_first=1s", "--set", "outbound.retry_most=1s"}
	s.start("")
	s.run("group", "add", "team@example.org", "alice@example.org", "bob@example.org", "yes@example.net")
	s.kill(syscall.SIGKILL)
	try := func(id string) bool {
		nc, err := net.DialTimeout("tcp", s.addr(1025), 10*time.Second)
		if err != nil {
			return false
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(3 * time.Minute))
		c := &lmtpClient{nc, bufio.NewReader(nc)}
		return c.answer("220") && c.ask("250", "EHLO sender") && c.ask("250", "MAIL FROM:<x@sender.example>") && c.ask("250", "RCPT TO:<team@example.org>") && c.ask("354", "DATA") &&
			c.ask("250", "From: x@sender.example\r\nSubject: "+id+"\r\nMessage-ID: <"+id+"@laptop>\r\n\r\nHello.\r\n.")
	}
	ids := []string{"outgoing.accept", "queue.synced", "smtp.before-reply"}
	again := map[string]bool{}
	for _, point := range ids {
		if !s.start(point + ":1") {
			t.Fatalf("%s is reached by itself", point)
		}
		again[point] = !try(point)
		select {
		case <-s.exited:
		case <-time.After(3 * time.Minute):
			t.Fatalf("crash point %s was not reached", point)
		}
	}
	s.start("")
	for id, lost := range again {
		if lost && !try(id) {
			t.Errorf("%s is not taken", id)
		}
	}
	for deadline := time.Now().Add(3 * time.Minute); strings.Contains(s.run("queue", "list"), "@"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the queue is not empty: %s", s.run("queue", "list"))
		}
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	for _, id := range ids {
		for _, user := range []string{"alice", "bob"} {
			if got := messages(t, s, user+"@example.org", id); got != id+" 1" && !(again[id] && got == id+" 2") {
				t.Errorf("%s has %s; sent again: %v", user, got, again[id])
			}
		}
		// One more where the server was killed while it had sent the message, and had not written that down.
		if n := peer.took[id+"@laptop"]; n < 1 || n > 3 || n > 2 && !again[id] {
			t.Errorf("the peer took %s %d times; sent again: %v", id, n, again[id])
		}
		if text := peer.all[id+"@laptop"]; !strings.HasPrefix(text, "Delivered-To: team@example.org\r\nReceived: ") {
			t.Errorf("%s left as %s", id, text)
		}
	}
	s.clean()
}
