package integration

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// crashPoints are all named points of the path of a delivery at which the server can be made to kill itself.
var crashPoints = []string{
	"blob.written", "blob.committed", "log.before-publish", "log.published", "log.synced",
	"project.before-commit", "project.committed", "smtp.before-reply",
}

// TestKilledWhileDelivering delivers from eight connections while the process dies again and again, at random moments and at every crash
// point. Whatever was answered with 250 must be there exactly once, whatever was not answered at most as often as it was sent, no UID may
// ever stand for two messages, and log and views must verify.
func TestKilledWhileDelivering(t *testing.T) {
	t.Parallel()
	kills := 56
	if testing.Short() {
		kills = 10
	}
	if n, err := strconv.Atoi(os.Getenv("STREAMPOST_KILLS")); err == nil {
		kills = n
	}
	killedWhileDelivering(t, demoServer(t), kills, crashPoints)
}

// killedWhileDelivering is the test for a server that runs, wherever its log and its blobs lie.
func killedWhileDelivering(t *testing.T, s *server, kills int, crashPoints []string) {
	s.kill(syscall.SIGKILL)
	sent := &deliveries{sent: map[string]int{}, accepted: map[string]bool{}}
	seen := map[string]string{} // account, UIDVALIDITY and UID -> message
	for n := range kills {
		crash := ""
		if n%2 == 1 {
			crash = fmt.Sprintf("%s:%d", crashPoints[n/2%len(crashPoints)], 1+rand.IntN(40))
		}
		if !s.start(crash) {
			continue // it died while it recovered, which is as good a place as any
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() { sent.deliver(s.addr(1124), n, w, stop) })
		}
		if crash == "" {
			time.Sleep(time.Duration(50+rand.IntN(400)) * time.Millisecond) // the random moment of death
			s.kill(syscall.SIGKILL)
		} else {
			s.dies(crash, 2*time.Minute)
		}
		close(stop)
		wg.Wait()
		if n%8 == 7 { // a client looks now and then, and remembers what each UID stood for
			s.start("")
			for _, account := range []string{"alice@example.org", "bob@example.org"} {
				remember(t, seen, s.addr(1143), account)
			}
			s.kill(syscall.SIGKILL)
		}
	}
	s.start("")
	found := map[string]int{}
	for _, account := range []string{"alice@example.org", "bob@example.org"} {
		for id := range remember(t, seen, s.addr(1143), account) {
			found[id]++
		}
	}
	t.Logf("%d kills; %d messages sent, %d accepted, %d found", kills, len(sent.sent), len(sent.accepted), len(found))
	if len(sent.accepted) < kills {
		t.Errorf("only %d messages were accepted: the test did not test much", len(sent.accepted))
	}
	counts := map[string]int{}
	for _, message := range seen {
		counts[message]++
	}
	for id := range sent.accepted {
		if found[id] == 0 {
			t.Errorf("message %s was answered with 250 and is gone", id)
		}
		if counts[id] > sent.sent[id] {
			t.Errorf("message %s was sent %d times and is there %d times", id, sent.sent[id], counts[id])
		}
	}
	s.clean()
	s.run("blob", "verify", "--deep")
}

// deliveries remembers what was sent and what was answered.
type deliveries struct {
	mu       sync.Mutex
	sent     map[string]int
	accepted map[string]bool
}

// deliver sends one message after another until the server is gone.
func (d *deliveries) deliver(addr string, round, worker int, stop chan struct{}) {
	c := dialLMTP(addr)
	if c == nil {
		return
	}
	defer c.Close()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%d-%d-%d", round, worker, i)
		to := []string{"alice@example.org", "bob@example.org"}[i%2]
		if !c.begin(to) {
			return
		}
		d.mu.Lock()
		d.sent[id]++
		d.mu.Unlock()
		if !c.ask("250", "From: crash@example.net\r\nSubject: "+id+"\r\nMessage-ID: <"+id+"@crash.example>\r\n\r\n"+strings.Repeat("text of the message\r\n", worker*40)+".") {
			return
		}
		d.mu.Lock()
		d.accepted[id] = true
		d.mu.Unlock()
	}
}

// lmtpClient is a connection whose answers are either expected or the end of it.
type lmtpClient struct {
	net.Conn
	r *bufio.Reader
}

// dialLMTP gives nil when the server does not answer.
func dialLMTP(addr string) *lmtpClient { return dialLMTPWithin(addr, 3*time.Minute) }

// dialLMTPWithin bounds how long the whole dialogue takes.
func dialLMTPWithin(addr string, patience time.Duration) *lmtpClient {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return nil
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := &lmtpClient{nc, bufio.NewReader(nc)}
	if !c.answer("220") || !c.ask("250", "LHLO crash.example") {
		nc.Close()
		return nil
	}
	return c
}

func (c *lmtpClient) answer(code string) bool {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			return false
		}
		if len(line) > 3 && line[3] == ' ' {
			return true
		}
	}
}

func (c *lmtpClient) ask(code, line string) bool {
	_, err := io.WriteString(c, line+"\r\n")
	return err == nil && c.answer(code)
}

// begin comes as far as the message's text.
func (c *lmtpClient) begin(to string) bool {
	return c.ask("250", "MAIL FROM:<crash@example.net>") && c.ask("250", "RCPT TO:<"+to+">") && c.ask("354", "DATA")
}

// remember reads every UID of INBOX with its subject, checks that no UID has come to stand for another message than before, and gives the
// subjects that the test itself sent.
func remember(t *testing.T, seen map[string]string, addr, account string) map[string]bool {
	t.Helper()
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(account, password).Wait(); err != nil {
		t.Fatal(err)
	}
	selected, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	messages, err := c.Fetch(imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range messages {
		key := fmt.Sprintf("%s/%d/%d", account, selected.UIDValidity, m.UID)
		if before, known := seen[key]; known && before != m.Envelope.Subject {
			t.Errorf("%s stood for %q and stands for %q now", key, before, m.Envelope.Subject)
		}
		seen[key] = m.Envelope.Subject
		if strings.HasSuffix(m.Envelope.MessageID, "@crash.example") {
			if found[m.Envelope.Subject] {
				t.Logf("%s is there twice in %s", m.Envelope.Subject, account)
			}
			found[m.Envelope.Subject] = true
		}
		if m.UID >= selected.UIDNext {
			t.Errorf("UID %d of %s is not below UIDNEXT %d", m.UID, account, selected.UIDNext)
		}
	}
	return found
}
