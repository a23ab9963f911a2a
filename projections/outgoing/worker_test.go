package outgoing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections/outgoing"
	streamqueue "github.com/streampost/streampost/streams/queue"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// store keeps blobs in memory.
type store struct {
	mu    sync.Mutex
	blobs map[domain.BlobID]string
	full  bool
}

func (s *store) Put(ctx context.Context, r io.Reader) (ref domain.BlobRef, err error) {
	if ctx.Err() != nil {
		return ref, ctx.Err()
	}
	b, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return ref, domain.Errorf(domain.Unavailable, "the disk is full")
	}
	ref.ID[0], ref.ID[1], ref.Size = byte(len(s.blobs)+1), 7, int64(len(b))
	s.blobs[ref.ID] = string(b)
	return ref, err
}

func (s *store) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, there := s.blobs[ref.ID]
	if !there {
		return nil, domain.Errorf(domain.NotFound, "there is no such blob")
	}
	return io.NopCloser(strings.NewReader(text[off:min(off+n, int64(len(text)))])), nil
}

// carrier answers as it is told, by address; an address that it is told nothing of is taken.
type carrier struct {
	mu      sync.Mutex
	answers map[string]queue.Outcome
	away    bool
	sent    []string // "from -> to: text"
	demands []string // of the senders of those, on the way
	asked   int
	at      int // attempts at the moment
	most    int
	gate    chan struct{} // if not nil, each attempt waits for it
}

func (c *carrier) Deliver(ctx context.Context, e *queue.Entry, open queue.Open) (outcomes []queue.Outcome, reached bool) {
	c.mu.Lock()
	c.asked++
	c.at++
	c.most = max(c.most, c.at)
	gate, away := c.gate, c.away
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.at--
		c.mu.Unlock()
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			away = true
		}
	}
	r, err := open(ctx)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(r)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, to := range e.Recipients {
		o := queue.Outcome{Recipient: to, Fate: queue.Gone, Status: "2.0.0", Text: "250 2.0.0 OK", Peer: "mx.example.net"}
		if told, is := c.answers[to.Address]; is {
			o.Fate, o.Status, o.Text = told.Fate, told.Status, told.Text
		}
		if away || err != nil {
			o.Fate, o.Status, o.Text, o.Peer = queue.Deferred, "4.4.1", fmt.Sprint("no host could be reached", err), ""
		}
		if o.Fate == queue.Gone {
			c.demands = append(c.demands, e.TLS)
			c.sent = append(c.sent, fmt.Sprintf("%s -> %s: %s", e.Sender, to.Address, text))
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, !away
}

func (c *carrier) answer(address string, fate queue.Fate, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers = map[string]queue.Outcome{}
	}
	c.answers[address] = queue.Outcome{Fate: fate, Status: status, Text: status + " words"}
}

// asks is how many attempts there were.
func (c *carrier) asks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// set changes how the carrier is.
func (c *carrier) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *carrier) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

// site is a worker on a queue.
type site struct {
	t      *testing.T
	server *natsd.Server
	queue  *streamqueue.Queue
	store  *store
	remote *carrier
	local  *carrier
	clock  *clock
	worker *outgoing.Worker
	end    func()
}

func newSite(t *testing.T, change ...func(*outgoing.Config)) *site {
	t.Helper()
	s := &site{t: t, store: &store{blobs: map[domain.BlobID]string{}}, remote: &carrier{}, local: &carrier{}, clock: &clock{t: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}}
	var err error
	if s.server, err = natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.server.Close(context.Background()) })
	if s.queue, err = streamqueue.Open(t.Context(), streamqueue.Config{Conn: s.server.Conn(), Syncer: s.server, Name: "outgoing", Node: "mail1"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.queue.Close(context.Background()) })
	s.run("a", change...)
	t.Cleanup(func() { s.end() })
	return s
}

// run starts a worker, as one process.
func (s *site) run(boot string, change ...func(*outgoing.Config)) {
	s.t.Helper()
	cfg := outgoing.Config{
		Queue: s.queue, Blobs: s.store, Remote: s.remote, Local: s.local, IsLocal: func(d string) bool { return d == "example.org" }, Hostname: "mail.example.org", Node: "mail1", Boot: boot,
		Policy: queue.Policy{First: time.Minute, Most: time.Hour, Warn: 4 * time.Hour, Expire: 5 * 24 * time.Hour}, Clock: s.clock.now,
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if s.worker, err = outgoing.New(cfg); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	worker := s.worker
	go func() { defer close(done); _ = worker.Run(context.Background()) }()
	s.end = sync.OnceFunc(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = worker.Drain(ctx)
		<-done
	})
}

const header = "From: alice@example.org\r\nSubject: hi\r\n"

// accept queues a message.
func (s *site) accept(m outgoing.Mail, to ...string) {
	s.t.Helper()
	blob, err := s.store.Put(s.t.Context(), strings.NewReader("Return-Path: <>\r\n"+header+"\r\nHello.\r\n"))
	if err != nil {
		s.t.Fatal(err)
	}
	m.Blob, m.Skip, m.MessageID = blob, int64(len("Return-Path: <>\r\n")), "<1@laptop>"
	if m.Sender.IsNull() && m.Login == "" {
		m.Sender = delivery.Address{Local: "alice", Domain: "example.org"}
	}
	for _, a := range to {
		address, err := delivery.ParseAddress(a)
		if err != nil {
			s.t.Fatal(err)
		}
		m.Recipients = append(m.Recipients, outgoing.Recipient{Address: address})
	}
	if err := s.worker.Accept(s.t.Context(), &m); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for something to be true of the queue.
func (s *site) until(what string, is func(*queue.State) bool) {
	s.t.Helper()
	deadline := time.After(time.Minute)
	for {
		changed := s.queue.Changed()
		ok := false
		s.queue.View(func(st *queue.State) { ok = is(st) })
		if ok {
			return
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond): // what is counted elsewhere
		case <-deadline:
			s.t.Fatalf("never: %s", what)
		}
	}
}

func empty(s *queue.State) bool { return s.Len() == 0 }

// idle says that nothing is being attempted, and so many are left.
func idle(n int) func(*queue.State) bool {
	return func(s *queue.State) bool { return s.Len() == n && s.Claimed() == 0 }
}

func TestMailLeaves(t *testing.T) {
	s := newSite(t)
	s.accept(outgoing.Mail{}, "bob@example.net", "carol@example.com", "dave@EXAMPLE.net", "eve@bücher.example")
	s.until("all is sent", empty)
	got := s.remote.got()
	slices.Sort(got)
	for n, to := range []string{"bob@example.net", "carol@example.com", "dave@EXAMPLE.net", "eve@bücher.example"} {
		if want := "alice@example.org -> " + to + ": " + header + "\r\nHello.\r\n"; len(got) != 4 || got[n] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if s.remote.asks() != 3 {
		t.Errorf("%d attempts for three domains", s.remote.asks())
	}
}

// bounce gives the one report that came to a mailbox here.
func (s *site) bounce() string {
	s.t.Helper()
	got := s.local.got()
	if len(got) != 1 {
		s.t.Fatalf("%d reports: %q", len(got), got)
	}
	return got[0]
}

func TestAPermanentAnswerIsReported(t *testing.T) {
	s := newSite(t)
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{Return: "FULL"}, "bob@example.net", "carol@example.net")
	s.until("all is done", empty)
	report := s.bounce()
	for _, want := range []string{" -> alice@example.org: ", "From: Mail Delivery System <MAILER-DAEMON@mail.example.org>", "To: <alice@example.org>", "Final-Recipient: rfc822; bob@example.net", "Status: 5.1.1", "In-Reply-To: <1@laptop>", header + "\r\nHello."} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is missing in %s", want, report)
		}
	}
	if strings.Contains(report, "carol") {
		t.Errorf("%s", report)
	}
}

// TestLaterIsTriedAgain, with pauses, a warning, and an end.
func TestLaterIsTriedAgain(t *testing.T) {
	s := newSite(t)
	s.remote.answer("bob@example.net", queue.Deferred, "4.2.1")
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("the first attempt", func(st *queue.State) bool {
		i := st.Oldest()
		return idle(1)(st) && i.Attempts == 1 && i.Error == "mx.example.net: 4.2.1 words"
	})
	s.clock.pass(40 * time.Second)
	s.worker.Wake()
	if s.clock.pass(2 * time.Minute); s.remote.asks() != 1 {
		t.Error("it was tried again too early")
	}
	s.worker.Wake()
	s.until("the second attempt", func(st *queue.State) bool { return idle(1)(st) && st.Oldest().Attempts == 2 })
	s.clock.pass(4 * time.Hour)
	s.worker.Wake()
	s.until("a warning", func(st *queue.State) bool { return idle(1)(st) && st.Oldest().Warned && len(s.local.got()) == 1 })
	if w := s.local.got()[0]; !strings.Contains(w, "Action: delayed") || !strings.Contains(w, "Will-Retry-Until: Sat, 05 Dec 2026 12:00:00 +0000") {
		t.Errorf("%s", w)
	}
	s.clock.pass(5 * 24 * time.Hour)
	s.worker.Wake()
	s.until("the end", func(st *queue.State) bool { return empty(st) && len(s.local.got()) == 2 })
	if w := s.local.got()[1]; !strings.Contains(w, "Status: 4.4.7") || !strings.Contains(w, "not delivered within 5 days") {
		t.Errorf("%s", w)
	}
}

func TestNoReportAboutAReport(t *testing.T) {
	s := newSite(t)
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.local.answer("alice@example.org", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{}, "bob@example.net")               // whose report cannot be delivered
	s.accept(outgoing.Mail{Login: "alice"}, "bob@example.net") // from the null sender
	s.until("all is done", func(st *queue.State) bool { return empty(st) && s.local.asks() == 1 })
	if got := s.local.got(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestAnUnreachableDestinationRests: one finds out for all that is due, and nothing is tried until it is over.
func TestAnUnreachableDestinationRests(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Limits.PerDestination = 1 })
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.away, s.remote.gate = true, gate })
	for n := range 5 {
		s.accept(outgoing.Mail{}, fmt.Sprintf("bob%d@example.net", n))
	}
	close(gate)
	s.until("all were tried", func(st *queue.State) bool {
		tried := 0
		items, _ := st.List(&queue.Filter{}, 0, 10)
		for _, i := range items {
			tried += int(i.Attempts)
		}
		return idle(5)(st) && (tried == 5 || tried == 1 && s.remote.asks() == 1)
	})
	if s.remote.asks() > 2 || len(s.worker.Resting()) != 1 {
		t.Errorf("%d attempts, %v", s.remote.asks(), s.worker.Resting())
	}
	s.remote.set(func() { s.remote.away = false })
	s.clock.pass(10 * time.Minute)
	if _, err := s.worker.Change(t.Context(), &queue.Filter{}, queue.Change{Due: new(int64)}, nil); err != nil {
		t.Fatal(err)
	}
	s.until("all is sent", empty)
	if len(s.worker.Resting()) != 0 {
		t.Errorf("%v", s.worker.Resting())
	}
}

func TestSeats(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) {
		c.Limits.PerDestination, c.Limits.Connections, c.Limits.Unproven, c.Limits.Batch = 2, 3, 3, 1
	})
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.gate = gate })
	for n := range 6 {
		s.accept(outgoing.Mail{}, fmt.Sprintf("bob%d@example.net", n), fmt.Sprintf("bob%d@example%d.com", n, n))
	}
	s.until("all seats are taken", func(st *queue.State) bool { return st.Claimed() == 3 })
	close(gate)
	s.until("all is sent", empty)
	s.remote.set(func() {
		if s.remote.most > 3 {
			t.Errorf("%d at a time", s.remote.most)
		}
	})
}

// TestLocalDeliveriesHaveSeatsOfTheirOwn, so that slow mailboxes here do not hold up what leaves.
func TestLocalDeliveriesHaveSeatsOfTheirOwn(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Limits.Connections = 1 })
	gate := make(chan struct{})
	s.local.set(func() { s.local.gate = gate })
	s.accept(outgoing.Mail{}, "carol@example.org")
	s.until("the mailbox is busy", func(*queue.State) bool { return s.local.asks() == 1 })
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("the other has left", func(st *queue.State) bool { return st.Len() == 1 && len(s.remote.got()) == 1 })
	close(gate)
	s.until("all is done", empty)
}

// TestAProcessThatDied: what it had in hand is tried again by the next, which knows that the peer may have it.
func TestAProcessThatDied(t *testing.T) {
	s := newSite(t)
	s.end()
	s.accept(outgoing.Mail{}, "bob@example.net")
	var ids []queue.ID
	s.queue.View(func(st *queue.State) { ids = st.Select(&queue.Filter{}) })
	now := queue.Millis(s.clock.now())
	if err := s.queue.Append(t.Context(), queue.Record{Claim: &queue.Claim{IDs: ids, Node: "mail1", Boot: "a", At: now, Until: now + 1e9}}); err != nil {
		t.Fatal(err)
	}
	s.remote.answer("bob@example.net", queue.Deferred, "4.2.1")
	s.run("b")
	s.until("it is tried again", func(st *queue.State) bool { i := st.Oldest(); return idle(1)(st) && i.Attempts == 1 && i.Unclear == 1 })
}

// TestAReportThatCannotBeStored keeps its recipients in the queue, and the others are done with.
func TestAReportThatCannotBeStored(t *testing.T) {
	s := newSite(t)
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.gate = gate })
	s.accept(outgoing.Mail{}, "bob@example.net", "carol@example.net")
	s.store.mu.Lock()
	s.store.full = true
	s.store.mu.Unlock()
	close(gate)
	s.until("carol is done with", func(st *queue.State) bool {
		return idle(1)(st) && slices.Equal(st.Oldest().Recipients(), []string{"bob@example.net"})
	})
	s.store.mu.Lock()
	s.store.full = false
	s.store.mu.Unlock()
	s.clock.pass(2 * time.Minute)
	s.worker.Wake()
	s.until("all is done", empty)
	if s.bounce(); len(s.remote.got()) != 1 {
		t.Errorf("%q", s.remote.got())
	}
}

// TestAReceiptThatCannotBeStored is lost: another attempt would be a second copy.
func TestAReceiptThatCannotBeStored(t *testing.T) {
	s := newSite(t)
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.gate = gate })
	address := delivery.Address{Local: "bob", Domain: "example.net"}
	s.accept(outgoing.Mail{Recipients: []outgoing.Recipient{{Address: address, Notify: queue.OnSuccess}}})
	s.store.mu.Lock()
	s.store.full = true
	s.store.mu.Unlock()
	close(gate)
	s.until("it is done with", empty)
}

// slow fails for good when it is cut off.
type slow struct{ begun chan struct{} }

func (c slow) Deliver(ctx context.Context, e *queue.Entry, _ queue.Open) ([]queue.Outcome, bool) {
	close(c.begun)
	<-ctx.Done()
	return []queue.Outcome{{Recipient: e.Recipients[0], Fate: queue.Failed, Status: "5.1.1"}}, true
}

// TestAReportWhileStopping is stored all the same.
func TestAReportWhileStopping(t *testing.T) {
	remote := slow{make(chan struct{})}
	s := newSite(t, func(c *outgoing.Config) { c.Remote = remote })
	s.accept(outgoing.Mail{}, "bob@example.net")
	<-remote.begun
	s.end()
	s.until("the report waits", func(st *queue.State) bool {
		return idle(1)(st) && slices.Equal(st.Oldest().Recipients(), []string{"alice@example.org"})
	})
}

// TestStopping gives back what was not begun, and cuts off what takes too long.
func TestStopping(t *testing.T) {
	s := newSite(t)
	s.remote.set(func() { s.remote.gate = make(chan struct{}) })
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.accept(outgoing.Mail{}, "carol@example.com")
	s.until("both are attempted", func(st *queue.State) bool { return st.Claimed() == 2 && s.remote.asks() == 2 })
	s.end()
	s.until("both are given back", func(st *queue.State) bool {
		return idle(2)(st) && st.Oldest().Attempts == 0 && st.Oldest().Unclear == 0
	})
	s.remote.set(func() { s.remote.gate = nil })
	s.run("b")
	s.until("both are sent", empty)
}

// TestDraining lets what is in work come to its end, and begins nothing new.
func TestDraining(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Limits.PerDestination, c.Limits.Batch = 1, 1 })
	gate := make(chan struct{})
	s.remote.set(func() { s.remote.gate = gate })
	s.accept(outgoing.Mail{}, "bob@example.net")
	s.until("it is attempted", func(*queue.State) bool { return s.remote.asks() == 1 })
	s.accept(outgoing.Mail{}, "carol@example.net")
	drained := make(chan error)
	go func() { drained <- s.worker.Drain(context.Background()) }()
	<-s.worker.Ended()
	close(gate)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if got := s.remote.got(); len(got) != 1 || !strings.Contains(got[0], "bob@") {
		t.Errorf("%q", got)
	}
	s.until("one is left", idle(1))
}

// TestOperatorsChanges of what waits.
func TestOperatorsChanges(t *testing.T) {
	s := newSite(t)
	s.remote.answer("bob@example.net", queue.Deferred, "4.2.1")
	s.remote.answer("carol@example.com", queue.Deferred, "4.2.1")
	s.accept(outgoing.Mail{}, "bob@example.net", "carol@example.com")
	s.until("both wait", func(st *queue.State) bool { return idle(2)(st) && len(st.Select(&queue.Filter{Error: "4.2.1"})) == 2 })
	if n, err := s.worker.Change(t.Context(), &queue.Filter{Domain: "example.com"}, queue.Change{Remove: true}, nil); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	via := "relay.example.com"
	if n, err := s.worker.Change(t.Context(), &queue.Filter{}, queue.Change{Via: &via}, nil); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	var ids []queue.ID
	s.queue.View(func(st *queue.State) { ids = st.Select(&queue.Filter{}) })
	if entries, err := s.worker.Entries(t.Context(), ids); err != nil || len(entries) != 1 || entries[0].Via != via {
		t.Errorf("%+v, %v", entries, err)
	}
	if n, err := s.worker.Clear(t.Context(), queue.Outgoing, "test"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	s.until("nothing is left", empty)
}

func TestReportsOfLargeMessages(t *testing.T) {
	s := newSite(t, func(c *outgoing.Config) { c.Limits.Returned, c.Limits.Header = 10, 30 })
	s.remote.answer("bob@example.net", queue.Failed, "5.1.1")
	s.accept(outgoing.Mail{Return: "FULL"}, "bob@example.net")
	s.until("all is done", empty)
	if r := s.bounce(); !strings.Contains(r, "text/rfc822-headers\r\n\r\nFrom: alice@example.org\r\n\r\n--") || bytes.Contains([]byte(r), []byte("Hello")) {
		t.Errorf("%s", r)
	}
}
