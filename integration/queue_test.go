package integration

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// sink is a server that takes all mail but that for addresses which begin with "no", and remembers what it took by Message-ID.
type sink struct {
	net.Listener
	mu   sync.Mutex
	took map[string]int
	all  map[string]string

	forgiving bool // it takes the others, too
}

func newSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{Listener: l, took: map[string]int{}, all: map[string]string{}}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

var messageID = regexp.MustCompile(`(?im)^message-id: <([^>]*)>`)

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 sink.example.net")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); {
		case verb == "EHLO":
			say("250-sink.example.net\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES")
		case verb == "RCPT" && strings.Contains(line, "<no") && !s.forgives():
			say("550 5.1.1 who?")
		case verb == "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			if found := messageID.FindStringSubmatch(text.String()); found != nil {
				s.mu.Lock()
				s.took[found[1]]++
				s.all[found[1]] = text.String()
				s.mu.Unlock()
			}
			say("250 2.0.0 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.0.0 OK")
		}
	}
}

func (s *sink) forgives() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forgiving
}

// submit sends a message as alice to addresses, behind which parameters may stand. accepted says that the answer to it was 250.
func submit(addr, id string, to ...string) (accepted bool) {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(3 * time.Minute))
	c := &lmtpClient{nc, bufio.NewReader(nc)}
	if !c.answer("220") || !c.ask("250", "EHLO laptop") || !c.ask("235", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice@example.org\x00"+password))) ||
		!c.ask("250", "MAIL FROM:<alice@example.org>") {
		return false
	}
	for _, a := range to {
		address, parameters, _ := strings.Cut(a, " ")
		if !c.ask("250", strings.TrimSpace("RCPT TO:<"+address+"> "+parameters)) {
			return false
		}
	}
	return c.ask("354", "DATA") && c.ask("250", "From: alice@example.org\r\nBcc: secret@example.net\r\nSubject: "+id+"\r\nMessage-ID: <"+id+"@laptop>\r\n\r\n..dot\r\nHello.\r\n.")
}

// queueCrashPoints are those on the way of a message that leaves. twice says that the peer may have it already by then.
var queueCrashPoints = []struct {
	name  string
	twice bool
}{
	{"outgoing.accept", false}, {"queue.before-publish", true}, {"queue.published", true}, {"queue.synced", true}, {"outgoing.claimed", false},
	{"outbound.before-end", false}, {"outbound.accepted", true}, {"outgoing.reported", true}, {"outgoing.result", true},
}

var noEnd = regexp.MustCompile(`attempts had no end.* messages=(\d+)`)

// inDoubt counts the messages which a server that had died said at its starts that peers may get twice.
func (s *server) inDoubt() (sum int) {
	for _, found := range noEnd.FindAllStringSubmatch(s.out.String(), -1) {
		n, _ := strconv.Atoi(found[1])
		sum += n
	}
	return sum
}

// TestKilledWhileMailLeaves: whatever was answered with 250 leaves or is reported on, once, unless the process died between a peer's 250 and its own note of it.
func TestKilledWhileMailLeaves(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("STREAMPOST_KILLS")); err == nil {
		rounds = max(n/20, 1)
	}
	peer := newSink(t)
	s := idleServer(t)
	s.flags = []string{"--set", "outbound.routes=example.net " + peer.Addr().String(), "--set", "outbound.connections=1", "--set", "outbound.retry_first=1s", "--set", "outbound.retry_most=1s"}
	s.start("")
	s.kill(syscall.SIGKILL)
	accepted := map[string]bool{}
	mayBeTwice := map[string]bool{}
	for round := range rounds {
		for n, point := range queueCrashPoints {
			var sent []string
			peer.mu.Lock()
			for id := range accepted { // what earlier rounds left in the queue
				if peer.took[id+"@laptop"] == 0 {
					sent = append(sent, id)
				}
			}
			peer.mu.Unlock()
			alive := s.start(fmt.Sprintf("%s:%d", point.name, 1+(round+n)%3))
		sending:
			for i := 0; alive; i++ {
				if i == 300 {
					t.Errorf("crash point %s was not reached", point.name)
					s.kill(syscall.SIGKILL)
					break
				}
				id := fmt.Sprintf("%d-%d-%d", round, n, i)
				sent = append(sent, id)
				if submit(s.addr(1587), id, "yes@example.net", "no@example.net", "bob@example.org") {
					accepted[id] = true
					continue
				}
				s.dies(point.name, 2*time.Minute)
				break sending
			}
			if point.twice {
				for _, id := range sent {
					mayBeTwice[id] = true
				}
			}
		}
	}
	s.start("")
	deadline := time.Now().Add(3 * time.Minute)
	for strings.Contains(s.run("queue", "list"), "@") {
		if time.Now().After(deadline) {
			t.Fatalf("the queue is not empty: %s", s.run("queue", "list"))
		}
		time.Sleep(50 * time.Millisecond)
	}
	peer.mu.Lock()
	defer peer.mu.Unlock()
	twice, more := 0, 0
	for id := range accepted {
		switch n := peer.took[id+"@laptop"]; {
		case n == 0:
			t.Errorf("message %s was answered with 250 and never left", id)
		case n > 1 && !mayBeTwice[id]:
			more += n - 1
		case n > 1:
			twice++
		}
	}
	if doubt := s.inDoubt(); more > doubt { // Others may leave while the process dies for one of them.
		t.Errorf("%d messages left more than once, and of %d attempts the server did not know the end", more, doubt)
	}
	for id, text := range peer.all {
		if !strings.HasPrefix(text, "Received: ") || !strings.Contains(text, "\r\n\r\n..dot\r\nHello.\r\n") || strings.Contains(text, "Bcc:") {
			t.Errorf("%s left as %s", id, text)
		}
	}
	t.Logf("%d messages accepted, %d left twice", len(accepted), twice)
	reports := reported(t, s.addr(1143))
	for id := range accepted {
		if n := reports["<"+id+"@laptop>"]; n != 1 {
			t.Errorf("there are %d reports about message %s", n, id)
		}
	}
	s.run("blob", "gc", "--dry-run")
	s.clean()
}

// envelopes are those of alice's INBOX.
func envelopes(t *testing.T, addr string) []*imap.Envelope {
	t.Helper()
	return envelopesOf(t, addr, "alice@example.org")
}

// envelopesOf are those of a user's INBOX.
func envelopesOf(t *testing.T, addr, user string) (all []*imap.Envelope) {
	t.Helper()
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(user, password).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	messages, err := c.Fetch(imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		all = append(all, m.Envelope)
	}
	return all
}

// reported counts the reports in alice's INBOX by the message that they are about.
func reported(t *testing.T, addr string) map[string]int {
	t.Helper()
	reports := map[string]int{}
	for _, e := range envelopes(t, addr) {
		if strings.HasPrefix(e.Subject, "Undelivered mail") && len(e.InReplyTo) == 1 {
			reports["<"+strings.Trim(e.InReplyTo[0], "<>")+">"]++
		}
	}
	return reports
}
