package integration

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// imapSession is one connection of alice's that stays open.
type imapSession struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (s *server) session(commands ...string) *imapSession {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr(1143))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	i := &imapSession{s.t, c, bufio.NewReader(c)}
	for _, command := range append([]string{`LOGIN alice@example.org "` + password + `"`}, commands...) {
		if got := i.command(command); !strings.Contains(got, "\r\na OK") && !strings.HasPrefix(got, "a OK") {
			s.t.Fatalf("%s is answered %q", command, got)
		}
	}
	return i
}

// command gives all that was answered.
func (i *imapSession) command(line string) (answer string) {
	i.t.Helper()
	if _, err := fmt.Fprintf(i.conn, "a %s\r\n", line); err != nil {
		i.t.Fatal(err)
	}
	return i.until("a ")
}

// until reads up to a line that begins with a prefix.
func (i *imapSession) until(prefix string) (answer string) {
	i.t.Helper()
	_ = i.conn.SetReadDeadline(time.Now().Add(3 * time.Minute))
	for {
		line, err := i.r.ReadString('\n')
		if err != nil {
			i.t.Fatalf("waiting for %q: %v after %q", prefix, err, answer)
		}
		if answer += line; strings.HasPrefix(line, prefix) {
			return answer
		}
	}
}

// idle waits in IDLE until the mailbox has as many messages.
func (i *imapSession) idle(messages int) {
	i.t.Helper()
	_ = i.conn.SetReadDeadline(time.Now().Add(3 * time.Minute))
	for told := ""; ; {
		line, err := i.r.ReadString('\n')
		if told += line; err != nil {
			i.t.Fatalf("waiting for %d messages: %v after %q", messages, err, told)
		}
		if n, found := strings.CutSuffix(strings.TrimPrefix(line, "* "), " EXISTS\r\n"); found {
			if seen, _ := strconv.Atoi(n); seen >= messages {
				return
			}
		}
	}
}

// waits lets a test run beside others of its kind, because it mostly waits for outages to end, and leaves it out of a short run.
func waits(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it waits for the bounds of an outage: this test did not run")
	}
	t.Parallel()
}

// bound is more than what docs/operator.md says that an answer takes while the log is away, for a slow machine.
const bound = 2 * time.Minute

// TestExternalNATSHangs stops the nats-server's process without ending it: its connections stay open and nothing is answered. Every door answers
// within a bound that it is so, and when the server goes on, all parts do: mail, open sessions, keys, tasks, projections.
func TestExternalNATSHangs(t *testing.T) {
	waits(t)
	nats := startNATS(t, "")
	s := external(t, nats.flags()...)
	s.start("")
	s.accepts("before")
	before := strings.Count(s.imap("SELECT INBOX", "FETCH 1:* (UID)"), "FETCH (")
	idle, open := s.session("SELECT INBOX"), s.session("SELECT INBOX")
	if _, err := fmt.Fprint(idle.conn, "i IDLE\r\n"); err != nil {
		t.Fatal(err)
	}
	idle.until("+ ")

	nats.signal(syscall.SIGSTOP)
	var wg sync.WaitGroup
	try := func(what string, f func() string, allowed ...string) {
		wg.Go(func() {
			began := time.Now()
			got := f()
			took := time.Since(began)
			t.Logf("%-16s %6.1fs  %.150q", what, took.Seconds(), got)
			if took > bound || !slices.ContainsFunc(allowed, func(a string) bool { return strings.Contains(got, a) }) {
				t.Errorf("while the log hangs, %s is answered after %v: %q", what, took, got)
			}
		})
	}
	fails := func(args ...string) func() string {
		return func() string {
			out, err := s.try(args...)
			if err == nil {
				return "it succeeded: " + out
			}
			return "refused: " + out
		}
	}
	try("mail", func() string { return s.deliver("while it hangs") }, "451 4.", "450 4.", "452 4.", "421 4.")
	try("an open session", func() string { return open.command(`STORE 1 +FLAGS (\Flagged)`) }, "a NO [UNAVAILABLE]")
	try("a new session", func() string { return s.imap("SELECT INBOX") }, "NO [UNAVAILABLE]", " OK ")
	try("a new account", fails("account", "add", "carol@example.org", "--password", "a long password"), "refused: ")
	try("a task", fails("task", "run", "log-verify"), "refused: ")
	try("doctor", fails("doctor"), "problem  durability")
	wg.Wait()
	nats.signal(syscall.SIGCONT)

	began := time.Now()
	s.eventually("after it hung")
	t.Logf("mail is accepted again after %v", time.Since(began).Round(time.Millisecond))
	idle.idle(before + 1)
	if got := open.command("NOOP"); !strings.Contains(got, "EXISTS") || !strings.Contains(got, "a OK") {
		t.Errorf("the open session is answered %q", got)
	}
	if got := open.command(`STORE 1 +FLAGS (\Flagged)`); !strings.Contains(got, "a OK") {
		t.Errorf("the open session is answered %q", got)
	}
	s.subjects("before", "after it hung")
	if out, err := s.try("account", "add", "carol@example.org", "--password", "a long password"); err != nil && !strings.Contains(out, "exists") {
		t.Errorf("a new account: %v %s", err, out)
	}
	s.run("keys", "rotate")
	s.run("task", "wait", strings.TrimSpace(s.run("task", "run", "log-verify")))
	s.clean()
}

// TestExternalNATSIsFull: a server that has no room says so, mail and flags are refused at once and for now, and with room they are taken again.
func TestExternalNATSIsFull(t *testing.T) {
	nats := startNATS(t, "", func(n *natsProcess) { n.jetstream = "sync_interval: always, max_file_store: 64KB" })
	s := external(t, nats.flags()...)
	s.start("")
	refused := ""
	for i := 0; i < 500 && refused == ""; i++ {
		began := time.Now()
		if got := s.deliver(fmt.Sprintf("filling %d", i)); !strings.HasPrefix(got, "250 ") {
			refused = got
			t.Logf("message %d is answered %q after %v", i, got, time.Since(began).Round(time.Millisecond))
		}
	}
	if !strings.HasPrefix(refused, "452 4.3.1") {
		t.Fatalf("a full server is answered for with %q", refused)
	}
	open := s.session("SELECT INBOX")
	if got := open.command(`STORE 1 +FLAGS (\Flagged)`); !strings.Contains(got, "a NO [UNAVAILABLE]") {
		t.Errorf("STORE is answered %q", got)
	}
	if got := open.command("FETCH 1:* (FLAGS)"); !strings.Contains(got, "a OK") {
		t.Errorf("FETCH is answered %q", got)
	}
	nats.kill()
	nats.jetstream = "sync_interval: always"
	nats.start()
	s.eventually("with room")
	if got := open.command(`STORE 1 +FLAGS (\Flagged)`); !strings.Contains(got, "a OK") {
		t.Errorf("STORE is answered %q", got)
	}
	s.subjects("filling 0", "with room")
	s.clean()
}

// TestExternalNATSRestartsUnderLoad kills and stops the nats-server again and again while eight connections deliver and clients change flags:
// whatever was answered with 250 is there once, UIDs stand for one message, and log and views are whole.
func TestExternalNATSRestartsUnderLoad(t *testing.T) {
	waits(t)
	rounds := 6
	nats := startNATS(t, "")
	s := external(t, nats.flags()...)
	s.start("")
	load := s.load()
	for n := range rounds {
		load.wait(20)
		if n%2 == 0 {
			nats.kill()
			nats.start()
		} else {
			nats.signal(syscall.SIGSTOP)
			time.Sleep(5 * time.Second) // longer than a client's patience, so that it looks for the server anew
			nats.signal(syscall.SIGCONT)
		}
	}
	load.wait(20)
	load.end()
}

// load is deliveries over eight connections and what became of them.
type load struct {
	s       *server
	sent    *deliveries
	seen    map[string]string
	stop    chan struct{}
	workers sync.WaitGroup
}

func (s *server) load() *load {
	l := newLoad(s)
	for w := range 8 {
		l.on(s, w)
	}
	return l
}

func newLoad(s *server) *load {
	return &load{s: s, sent: &deliveries{sent: map[string]int{}, accepted: map[string]bool{}}, seen: map[string]string{}, stop: make(chan struct{})}
}

// on delivers to a server over one connection, as a worker of that number.
func (l *load) on(s *server, worker int) {
	l.workers.Go(func() {
		for round := 0; ; round++ { // a temporary failure ends a round
			select {
			case <-l.stop:
				return
			default:
				l.sent.deliver(s.addr(1124), round, worker, l.stop)
			}
		}
	})
}

func (l *load) accepted() int {
	l.sent.mu.Lock()
	defer l.sent.mu.Unlock()
	return len(l.sent.accepted)
}

// wait returns when more messages were accepted.
func (l *load) wait(more int) {
	l.s.t.Helper()
	want := l.accepted() + more
	for deadline := time.Now().Add(3 * time.Minute); l.accepted() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.s.t.Fatalf("in three minutes only %d of %d messages were accepted", l.accepted()+more-want, more)
		}
	}
}

// end stops delivering and looks for everything that was accepted.
func (l *load) end() {
	t := l.s.t
	t.Helper()
	close(l.stop)
	l.workers.Wait()
	found := map[string]int{}
	for _, account := range []string{"alice@example.org", "bob@example.org"} {
		for id := range remember(t.(*testing.T), l.seen, l.s.addr(1143), account) {
			found[id]++
		}
	}
	copies := map[string]int{}
	for _, id := range l.seen {
		copies[id]++
	}
	for id := range l.sent.accepted {
		if found[id] == 0 {
			t.Errorf("message %s was answered with 250 and is gone", id)
		}
		if copies[id] > l.sent.sent[id] {
			t.Errorf("message %s was sent %d times and is there %d times", id, l.sent.sent[id], copies[id])
		}
	}
	t.Logf("%d messages sent, %d accepted, %d found", len(l.sent.sent), len(l.sent.accepted), len(found))
	l.s.clean()
}

// TestListenersOutliveNATS runs a listener and a subscriber of Watermill on a nats-server that is killed, restarted and stopped: each entry
// is handled, every account's in order, every message is received, and nobody has to be started again.
func TestListenersOutliveNATS(t *testing.T) {
	waits(t)
	nats := startNATS(t, "")
	r := newReaders(t, nats.url(), 1)
	for range 20 {
		r.work("in peace")
	}
	r.caughtUp("in peace")
	for range 3 {
		r.work("before the death")
		nats.kill()
		nats.start()
		r.work("after the death")
	}
	r.caughtUp("after deaths")
	r.work("before the stop")
	nats.signal(syscall.SIGSTOP)
	time.AfterFunc(7*time.Second, func() { nats.signal(syscall.SIGCONT) })
	r.work("while it is stopped")
	r.caughtUp("after a stop")
	r.whole()
}

// readers are a log, a listener on it, and a publisher and a subscriber of Watermill beside it.
type readers struct {
	t         testing.TB
	ctx       context.Context
	log       *streams.Log
	listeners *listen.Listeners
	publisher *listen.Publisher

	ids       []domain.AccountID
	at        []streams.Position
	published int

	mu       sync.Mutex
	heard    map[domain.AccountID]domain.Tx
	received map[string]bool
}

func (r *readers) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func newReaders(t testing.TB, url string, replicas int) *readers {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	r := &readers{t: t, ctx: ctx, heard: map[domain.AccountID]domain.Tx{}, received: map[string]bool{}}
	t.Cleanup(cancel)
	closes := func(c func(context.Context) error) { t.Cleanup(func() { _ = c(context.Background()) }) }
	outside, err := natsd.Dial(ctx, natsd.ExternalConfig{URL: url, Prefix: "mail"})
	r.must(err)
	closes(outside.Close)
	master, err := streams.LoadMaster(filepath.Join(t.TempDir(), "keys"))
	r.must(err)
	topology := streams.Topology{Prefix: "mail", Shards: 2, Replicas: replicas}
	r.log, err = streams.Open(ctx, streams.Config{Conn: outside.Conn(), Master: master, Topology: topology})
	r.must(err)
	closes(r.log.Close)
	r.listeners, err = listen.Open(ctx, listen.Config{Log: r.log})
	r.must(err)
	closes(r.listeners.Close)
	r.must(r.listeners.Add(ctx, listen.Listener{Name: "hears", Version: 1, Batch: 8, Handle: r.hear}))
	cfg := listen.PubSubConfig{Conn: outside.Conn(), Topology: topology, Group: "all"}
	r.publisher, err = listen.NewPublisher(cfg)
	r.must(err)
	closes(func(context.Context) error { return r.publisher.Close() })
	subscriber, err := listen.NewSubscriber(cfg)
	r.must(err)
	closes(func(context.Context) error { return subscriber.Close() })
	messages, err := subscriber.Subscribe(ctx, "notices")
	r.must(err)
	go func() {
		for m := range messages {
			r.mu.Lock()
			r.received[m.UUID] = true
			r.mu.Unlock()
			m.Ack()
		}
	}()
	for i := range 8 {
		id := domain.NewAccountID([10]byte{byte(i + 1)})
		r.must(r.log.Create(ctx, id))
		r.ids, r.at = append(r.ids, id), append(r.at, streams.Position{})
	}
	return r
}

// hear is the listener. An entry whose acknowledgement was lost comes again.
func (r *readers) hear(_ context.Context, entries []streams.Entry) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range entries {
		if e.Tx > r.heard[e.Account]+1 {
			r.t.Errorf("account %s: transaction %d follows %d", e.Account, e.Tx, r.heard[e.Account])
		}
		r.heard[e.Account] = max(r.heard[e.Account], e.Tx)
	}
	return len(entries), nil
}

// work appends to every account and publishes a message, as often as it takes.
func (r *readers) work(what string) {
	r.t.Helper()
	began := time.Now()
	for i, id := range r.ids {
		tx := &event.Transaction{ID: [16]byte{byte(i + 1), byte(r.published), byte(r.published >> 8)}, At: 1, Events: []event.Event{&event.DomainAdded{Name: "example.org"}}}
		r.must(await(r.ctx, func() (bool, error) {
			p, err := r.log.Append(r.ctx, id, r.at[i], tx)
			switch {
			case err == nil:
				r.at[i] = p
			case !domain.Is(err, domain.Unavailable):
				return false, fmt.Errorf("%s: %w", what, err)
			}
			return err == nil, nil
		}))
	}
	uuid := strconv.Itoa(r.published)
	r.must(await(r.ctx, func() (bool, error) {
		return r.publisher.Publish("notices", message.NewMessage(uuid, []byte(what))) == nil, nil
	}))
	r.published++
	if took := time.Since(began); took > time.Second {
		r.t.Logf("%s a round took %.1f s", what, took.Seconds())
	}
}

// caughtUp waits until all that was written is heard and received.
func (r *readers) caughtUp(what string) {
	r.t.Helper()
	began := time.Now()
	err := await(r.ctx, func() (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, id := range r.ids {
			if r.heard[id] < r.at[i].Tx {
				return false, nil
			}
		}
		return len(r.received) == r.published, nil
	})
	if err != nil {
		r.t.Fatalf("%s the listener stands at %v of %v, and the subscriber has %d of %d messages: %v", what, r.heard, r.at, len(r.received), r.published, err)
	}
	r.t.Logf("%s the readers caught up in %.1f s", what, time.Since(began).Seconds())
}

// whole asserts that nothing was given up.
func (r *readers) whole() {
	r.t.Helper()
	if got := r.listeners.Status(r.ctx)[0]; got.Outage || got.DeadLetters > 0 || len(got.Streams) != 2 {
		r.t.Errorf("the listener is %+v", got)
	}
	report, err := r.log.Verify(r.ctx, streams.VerifyOptions{Keys: true}, nil)
	if err != nil || len(report.Findings) > 0 {
		r.t.Errorf("verify gives %+v, %v", report, err)
	}
}
