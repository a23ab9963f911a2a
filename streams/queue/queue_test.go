package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/integration/leaks"
	store "github.com/streampost/streampost/streams/queue"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// site is a NATS server and queues on it.
type site struct {
	t      *testing.T
	dir    string
	server *natsd.Server
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir()}
	s.start()
	t.Cleanup(func() { _ = s.server.Close(context.Background()) })
	return s
}

func (s *site) start() {
	s.t.Helper()
	var err error
	if s.server, err = natsd.Start(s.t.Context(), natsd.Config{Dir: s.dir}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) open(node string, change ...func(*store.Config)) *store.Queue {
	s.t.Helper()
	q, err := s.try(node, change...)
	if err != nil {
		s.t.Fatal(err)
	}
	return q
}

func (s *site) try(node string, change ...func(*store.Config)) (*store.Queue, error) {
	cfg := store.Config{Conn: s.server.Conn(), Syncer: s.server, Secret: [32]byte{1}, Name: "outgoing", Node: node}
	for _, f := range change {
		f(&cfg)
	}
	q, err := store.Open(s.t.Context(), cfg)
	if err == nil {
		s.t.Cleanup(func() { _ = q.Close(context.Background()) })
	}
	return q, err
}

// restart ends everything in order and begins anew.
func (s *site) restart(q *store.Queue) *store.Queue {
	s.t.Helper()
	if err := q.Close(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.server.Close(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.start()
	return s.open("mail1")
}

func put(id queue.ID, to string) queue.Record {
	return queue.Record{Put: &queue.Entry{
		ID: id, Node: "mail1", Sender: "alice@example.org", Recipients: []queue.Recipient{{Address: to}}, Domain: "example.net", Arrived: int64(id), Due: int64(id), MessageID: fmt.Sprintf("<%d@x>", id),
	}}
}

func appendTo(t *testing.T, q *store.Queue, records ...queue.Record) {
	t.Helper()
	if err := q.Append(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}

func ids(q *store.Queue) (all []queue.ID) {
	q.View(func(s *queue.State) { all = s.Select(&queue.Filter{}) })
	return all
}

func TestWhatIsAppendedIsThereAfterARestart(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	appendTo(t, q, put(1, "secret-address@example.net"), put(2, "y@example.net"))
	appendTo(t, q, queue.Record{Claim: &queue.Claim{IDs: []queue.ID{1}, Node: "mail1", Boot: "a", At: 1, Until: 2}})
	appendTo(t, q, queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", Due: 77, Error: "451 later", Tried: true}})
	appendTo(t, q, queue.Record{Change: &queue.Change{IDs: []queue.ID{2}, Remove: true}})
	for range 2 {
		entries, err := q.Entries(t.Context(), []queue.ID{1, 2})
		if err != nil || len(entries) != 1 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		if e := entries[0]; e.MessageID != "<1@x>" || e.Due != 77 || e.Attempts != 1 || e.Error != "451 later" {
			t.Errorf("%+v", e)
		}
		q = s.restart(q)
	}
	found := 0
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found += bytes.Count(b, []byte("example.net"))
		return err
	})
	if err != nil || found > 0 {
		t.Errorf("addresses lie on disk in clear text: %d, %v", found, err)
	}
}

// TestNothingIsAnsweredBeforeItIsDurable: the answer comes after the sync.
func TestNothingIsAnsweredBeforeItIsDurable(t *testing.T) {
	s := newSite(t)
	var mu sync.Mutex
	var points []string
	q := s.open("mail1", func(c *store.Config) {
		c.Failpoint = func(p string) {
			mu.Lock()
			defer mu.Unlock()
			points = append(points, p)
		}
		c.Syncer = syncer{c.Syncer.(*natsd.Server), func() {
			mu.Lock()
			defer mu.Unlock()
			points = append(points, "sync")
		}}
	})
	mu.Lock()
	points = nil
	mu.Unlock()
	appendTo(t, q, put(1, "x@example.net"))
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"queue.before-publish", "queue.published", "sync", "queue.synced"}; !slices.Equal(points, want) {
		t.Errorf("%v", points)
	}
}

type syncer struct {
	*natsd.Server
	called func()
}

func (s syncer) Sync(ctx context.Context, stream string) error {
	s.called()
	return s.Server.Sync(ctx, stream)
}

func TestManyAtOnceShareSyncs(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	var wg sync.WaitGroup
	for n := range 200 {
		wg.Go(func() {
			if err := q.Append(t.Context(), put(queue.ID(n+1), "x@example.net")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(ids(q)); n != 200 {
		t.Errorf("%d entries", n)
	}
	stats, err := q.Stats(t.Context())
	if err != nil || stats.Last >= 200 {
		t.Errorf("%+v, %v: each append became a message of its own", stats, err)
	}
}

// TestNodesSeeTheSame: what one appends the other folds, and of two claims the first counts for both.
func TestNodesSeeTheSame(t *testing.T) {
	s := newSite(t)
	replicated := func(c *store.Config) { c.Syncer = nil }
	a, b := s.open("mail1", replicated), s.open("mail2", replicated)
	appendTo(t, a, put(1, "x@example.net"))
	if err := b.Shown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n, q := range []*store.Queue{a, b} {
		wg.Go(func() {
			node := fmt.Sprintf("mail%d", n+1)
			if err := q.Append(t.Context(), queue.Record{Claim: &queue.Claim{IDs: []queue.ID{1}, Node: node, Boot: "x", At: 1, Until: 1 << 50}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var holders []string
	for _, q := range []*store.Queue{a, b} {
		if err := q.Shown(t.Context()); err != nil {
			t.Fatal(err)
		}
		q.View(func(s *queue.State) {
			c, _ := s.Claim(1)
			holders = append(holders, c.Node)
		})
	}
	if holders[0] == "" || holders[0] != holders[1] {
		t.Errorf("%q", holders)
	}
}

// TestTheStreamIsCut: what left the queue leaves the disk, and what stays is carried, also for a node that reads the stream from its new beginning.
func TestTheStreamIsCut(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1", func(c *store.Config) { c.Limits.Cut = 1 })
	appendTo(t, q, put(1, "old@example.net"))
	appendTo(t, q, queue.Record{Claim: &queue.Claim{IDs: []queue.ID{1}, Node: "mail1", Boot: "a", At: 1, Until: 2}})
	appendTo(t, q, queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", Due: 77, Error: "451 later", Tried: true}})
	for n := range 30 {
		id := queue.ID(n + 2)
		appendTo(t, q, put(id, "x@example.net"))
		appendTo(t, q, queue.Record{Change: &queue.Change{IDs: []queue.ID{id}, Remove: true}})
	}
	before, err := q.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Cut(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	after, err := q.Stats(t.Context())
	if err != nil || after.First <= before.Last || after.Octets*4 > before.Octets {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	appendTo(t, q, put(100, "new@example.net"))
	q = s.restart(q)
	entries, err := q.Entries(t.Context(), []queue.ID{1, 100})
	if err != nil || len(entries) != 2 || entries[0].Due != 77 || entries[0].Attempts != 1 || entries[0].Recipients[0].Address != "old@example.net" {
		t.Errorf("%+v, %v", entries, err)
	}
	if d := q.Damage(); d != "" {
		t.Error(d)
	}
}

// TestAClearedQueueOpensAgain, although its stream has nothing left to read.
func TestAClearedQueueOpensAgain(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	appendTo(t, q, put(1, "x@example.net"))
	appendTo(t, q, queue.Record{Clear: &queue.Clear{}})
	if err := q.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	q = s.restart(q)
	appendTo(t, q, put(2, "y@example.net"))
	if got := ids(s.restart(q)); !slices.Equal(got, []queue.ID{2}) {
		t.Errorf("%v", got)
	}
}

// TestANodeThatFellBehindACut reads the stream anew, and shows nothing that has left meanwhile.
func TestANodeThatFellBehindACut(t *testing.T) {
	s := newSite(t)
	replicated := func(c *store.Config) { c.Syncer, c.Limits.Cut = nil, 1 }
	a := s.open("mail1", replicated)
	for n := range 8 {
		appendTo(t, a, put(queue.ID(n+1), "x@example.net"))
	}
	late := s.open("mail2", replicated)
	if err := late.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	appendTo(t, a, queue.Record{Change: &queue.Change{IDs: []queue.ID{1, 2, 3}, Remove: true}})
	if err := a.Cut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() { late.Resume(ctx) })
	for changed := late.Changed(); len(ids(late)) != 5; changed = late.Changed() {
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("%v", ids(late))
		}
	}
	cancel()
	reading.Wait()
	if got, want := ids(late), ids(a); len(want) != 5 || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("%v, want %v", got, want)
	}
	if d := late.Damage(); d != "" {
		t.Error(d)
	}
}

// TestDamageIsTold: a hole is not taken for a queue with less in it.
func TestDamageIsTold(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1")
	appendTo(t, q, put(1, "x@example.net"))
	appendTo(t, q, put(2, "y@example.net"))
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.try("mail1", func(c *store.Config) { c.Secret = [32]byte{2} })
	if err != nil {
		t.Fatal(err)
	}
	other := s.open("mail1", func(c *store.Config) { c.Secret = [32]byte{2} })
	if d := other.Damage(); !strings.Contains(d, "message 2 cannot be read") {
		t.Errorf("%q", d)
	}
	s.server.Mark("QUEUE_outgoing", 7)
	if d := s.open("mail1").Damage(); d != "the stream ends at 2, but 7 was acknowledged" {
		t.Errorf("%q", d)
	}
}

// TestAForeignStreamIsRefused: one that forgets would lose mail.
func TestAForeignStreamIsRefused(t *testing.T) {
	s := newSite(t)
	js, err := jetstream.New(s.server.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "QUEUE_outgoing", Subjects: []string{"queue.outgoing"}, MaxMsgs: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.try("mail1"); !domain.Is(err, domain.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestTooLarge(t *testing.T) {
	s := newSite(t)
	q := s.open("mail1", func(c *store.Config) { c.Limits.Entry = 1000 })
	if err := q.Append(t.Context(), put(1, strings.Repeat("x", 1000)+"@example.net")); !domain.Is(err, domain.TooLarge) {
		t.Errorf("%v", err)
	}
	appendTo(t, q, put(2, "x@example.net"))
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.Append(t.Context(), put(3, "x@example.net")); !domain.Is(err, domain.Unavailable) {
		t.Errorf("%v", err)
	}
}

// TestAMillion is for the hands: STREAMPOST_MILLION=1000000 go test -run Million -v ./streams/queue.
func TestAMillion(t *testing.T) {
	n := 2000
	if v := os.Getenv("STREAMPOST_MILLION"); v != "" {
		if _, err := fmt.Sscan(v, &n); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t)
	q := s.open("mail1")
	for at := 0; at < n; at += 1000 {
		var records []queue.Record
		for i := at; i < at+1000; i++ {
			r := put(queue.ID(i+1), fmt.Sprintf("somebody%d@example%d.net", i, i%5000))
			r.Put.Domain = fmt.Sprintf("example%d.net", i%5000)
			records = append(records, r)
		}
		appendTo(t, q, records...)
	}
	began := time.Now()
	q = s.restart(q)
	t.Logf("read again in %v", time.Since(began))
	began = time.Now()
	q.View(func(s *queue.State) {
		if s.Len() != n || s.Oldest().ID != 1 {
			t.Errorf("%d entries", s.Len())
		}
	})
	t.Logf("size and age in %v", time.Since(began))
	began = time.Now()
	var items []*queue.Item
	q.View(func(s *queue.State) {
		items, _ = s.List(&queue.Filter{Recipient: fmt.Sprintf("somebody%d@example%d.net", n-1, (n-1)%5000)}, 0, 50)
	})
	if t.Logf("a list by recipient in %v", time.Since(began)); len(items) != 1 {
		t.Errorf("%d found", len(items))
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			t.Log(strings.TrimSpace(line))
		}
	}
	began = time.Now()
	appendTo(t, q, queue.Record{Clear: &queue.Clear{}})
	if t.Logf("cleared in %v", time.Since(began)); len(ids(q)) != 0 {
		t.Error("something is left")
	}
}

// TestGrows: a node opens the queue of a server that stood alone, whose stream has one copy until the cluster has made more. In a cluster that did not grow, one
// copy is too few.
func TestGrows(t *testing.T) {
	s := newSite(t)
	s.open("mail1")
	three := func(exists bool) func(*store.Config) {
		return func(cfg *store.Config) { cfg.Topology.Replicas, cfg.Topology.Exists = 3, exists }
	}
	if _, err := s.try("mail1", three(false)); !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), "has replicas 1, but must have 3") {
		t.Errorf("one copy of three: %v", err)
	}
	if _, err := s.try("mail1", three(true)); err != nil {
		t.Errorf("one copy, of what has just grown: %v", err)
	}
}
