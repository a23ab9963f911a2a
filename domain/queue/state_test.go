package queue_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// log is a queue's records and what they fold to.
type log struct {
	t     testing.TB
	state *queue.State
	seq   domain.Seq
}

func newLog(t testing.TB) *log {
	s := queue.New()
	s.Self, s.Patience = "mail1", 60_000
	return &log{t: t, state: s}
}

func (l *log) add(records ...queue.Record) {
	l.seq++
	for n := range records {
		l.state.Apply(queue.Place{Seq: l.seq, Index: n}, &records[n])
	}
}

func entry(id queue.ID, to ...string) *queue.Entry {
	e := &queue.Entry{ID: id, Node: "mail1", Sender: "alice@example.org", Domain: "example.net", Arrived: 1000 + int64(id), Due: 1000 + int64(id), Blob: queue.Blob{BlobRef: domain.BlobRef{ID: domain.BlobID{byte(id)}, Size: 100}}}
	for _, a := range to {
		e.Recipients = append(e.Recipients, queue.Recipient{Address: a})
	}
	return e
}

func put(e *queue.Entry) queue.Record { return queue.Record{Put: e} }

func claim(node, boot string, at int64, ids ...queue.ID) queue.Record {
	return queue.Record{Claim: &queue.Claim{IDs: ids, Node: node, Boot: boot, At: at, Until: at + 1000}}
}

func (l *log) next(now int64) (ids []queue.ID, wait int64) {
	b, wait := l.state.Next(now, 10, func(string) bool { return false })
	for _, i := range b.Items {
		ids = append(ids, i.ID)
	}
	return ids, wait
}

func (l *log) expectNext(now int64, want ...queue.ID) {
	l.t.Helper()
	if got, _ := l.next(now); !slices.Equal(got, want) {
		l.t.Errorf("at %d: %v are due, not %v", now, got, want)
	}
}

func TestAnEntryFromBeginningToEnd(t *testing.T) {
	l := newLog(t)
	l.add(put(entry(1, "x@example.net", "y@example.net")))
	l.expectNext(1000)
	if _, wait := l.next(1000); wait != 1 {
		t.Errorf("wait for %d ms", wait)
	}
	l.expectNext(1001, 1)
	l.add(claim("mail1", "a", 1001, 1))
	l.expectNext(1001)
	l.add(queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", Done: []string{"x@example.net"}, Due: 2000, Error: "451 later", Tried: true}})
	i := l.state.Find(1)
	if i == nil || i.Error != "451 later" || i.Attempts != 1 || !slices.Equal(i.Recipients(), []string{"y@example.net"}) || i.Sender() != "alice@example.org" {
		t.Fatalf("%+v", i)
	}
	e := *entry(1, "x@example.net", "y@example.net")
	if i.Overlay(&e); len(e.Recipients) != 1 || e.Due != 2000 || e.Error != "451 later" {
		t.Errorf("%+v", e)
	}
	l.expectNext(1999)
	l.expectNext(2000, 1)
	l.add(claim("mail1", "a", 2000, 1), queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", Done: []string{"y@example.net"}}})
	if l.state.Len() != 0 || l.state.Octets() != 0 || l.state.Destinations() != 0 || l.state.Oldest() != nil || l.state.Claimed() != 0 {
		t.Errorf("something is left: %+v", l.state)
	}
}

// TestTheFirstClaimCounts, on every node alike, until it runs out or its process is known to be gone.
func TestTheFirstClaimCounts(t *testing.T) {
	l := newLog(t)
	l.add(put(entry(1, "x@example.net")))
	l.add(claim("mail2", "b", 1100, 1))
	l.add(claim("mail1", "a", 1100, 1))
	if c, _ := l.state.Claim(1); c.Node != "mail2" {
		t.Fatalf("%+v", c)
	}
	l.add(queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", Done: []string{"x@example.net"}}})
	if l.state.Find(1) == nil {
		t.Fatal("a result without a claim took the entry away")
	}
	if left := l.state.Abandoned(2100, "a"); len(left) != 0 {
		t.Errorf("%v at the end of the claim", left)
	}
	lapse := func(at int64) {
		l.add(queue.Record{Lapse: &queue.Lapse{IDs: []queue.ID{1}, Node: "mail1", Boot: "a", At: at}})
	}
	lapse(2100)
	if _, claimed := l.state.Claim(1); !claimed {
		t.Error("the claim ended early")
	}
	if left := l.state.Abandoned(2101, "a"); !slices.Equal(left, []queue.ID{1}) {
		t.Errorf("%v", left)
	}
	lapse(2101)
	l.expectNext(2101, 1)
	if i := l.state.Find(1); i.Unclear != 1 {
		t.Errorf("%+v", i)
	}
	// A process that was taken for dead has delivered after all.
	l.add(queue.Record{Result: &queue.Result{ID: 1, Node: "mail2", Boot: "b", Done: []string{"x@example.net"}}})
	if l.state.Len() != 0 {
		t.Error("it is delivered, and would be sent again")
	}
}

// TestARestartedNodeKnowsWhatItHadInHand at once.
func TestARestartedNodeKnowsWhatItHadInHand(t *testing.T) {
	l := newLog(t)
	l.add(put(entry(1, "x@example.net")), claim("mail1", "a", 1100, 1))
	if left := l.state.Abandoned(1101, "a"); len(left) != 0 {
		t.Errorf("its own claim is abandoned: %v", left)
	}
	if left := l.state.Abandoned(1101, "a2"); !slices.Equal(left, []queue.ID{1}) {
		t.Errorf("%v", left)
	}
}

func TestWhatOthersTookInIsLeftToThem(t *testing.T) {
	l := newLog(t)
	e := entry(1, "x@example.net")
	e.Node = "mail2"
	l.add(put(e))
	l.expectNext(2000)
	if _, wait := l.next(2000); wait != 59_001 {
		t.Errorf("wait for %d ms", wait)
	}
	l.expectNext(61_001, 1)
}

func TestOperators(t *testing.T) {
	l := newLog(t)
	for id := range queue.ID(4) {
		l.add(put(entry(id+1, fmt.Sprintf("x%d@example.net", id+1))))
	}
	yes, no, now, via := true, false, int64(1), "relay.example.com"
	change := func(c queue.Change) { l.add(queue.Record{Change: &c}) }
	change(queue.Change{IDs: []queue.ID{2}, Held: &yes})
	l.expectNext(5000, 1, 3, 4)
	l.add(claim("mail1", "a", 5000, 2))
	if _, claimed := l.state.Claim(2); claimed || l.state.Held() != 1 {
		t.Error("what is held is claimed")
	}
	change(queue.Change{IDs: []queue.ID{2}, Held: &no})
	change(queue.Change{IDs: []queue.ID{4}, Due: &now})
	l.expectNext(5000, 4, 1, 2, 3)
	change(queue.Change{IDs: []queue.ID{4}, Via: &via})
	l.expectNext(5000, 4) // one route at a time
	change(queue.Change{IDs: []queue.ID{4, 1}, Remove: true})
	l.expectNext(5000, 2, 3)
	l.add(queue.Record{Clear: &queue.Clear{}})
	if l.state.Len() != 0 || l.state.Octets() != 0 || l.state.Destinations() != 0 {
		t.Error("something is left")
	}
	l.add(put(entry(9, "x@example.net")))
	l.expectNext(5000, 9)
}

func TestBusyDestinationsArePassedOver(t *testing.T) {
	l := newLog(t)
	a, b := entry(1, "x@example.net"), entry(2, "x@example.com")
	b.Domain = "example.com"
	l.add(put(a), put(b))
	got, _ := l.state.Next(5000, 10, func(name string) bool { return name == "example.net" })
	if got.Domain != "example.com" || len(got.Items) != 1 {
		t.Errorf("%+v", got)
	}
	l.expectNext(5000, 1) // and they are still there
}

func TestFilters(t *testing.T) {
	l := newLog(t)
	bounce := entry(3, "alice@example.org", "bob@example.org")
	bounce.Sender, bounce.Domain = "", "example.org"
	late := entry(2, "Y@example.com")
	late.Domain, late.Due, late.Error = "example.com", 9000, "mx.example.com: 451 4.7.1 Greylisted"
	held := entry(4, "x@example.net")
	held.Held = true
	l.add(put(entry(1, "x@example.net")), put(late), put(bounce), put(held))
	yes, no := true, false
	for _, c := range []struct {
		filter queue.Filter
		want   []queue.ID
	}{
		{queue.Filter{}, []queue.ID{1, 2, 3, 4}},
		{queue.Filter{Sender: "ALICE@example.org"}, []queue.ID{1, 2, 4}},
		{queue.Filter{Sender: "<>"}, []queue.ID{3}},
		{queue.Filter{Recipient: "y@EXAMPLE.com"}, []queue.ID{2}},
		{queue.Filter{Recipient: "bob@example.org"}, []queue.ID{3}},
		{queue.Filter{Recipient: "example.org"}, nil},
		{queue.Filter{Domain: "Example.NET"}, []queue.ID{1, 4}},
		{queue.Filter{Error: "greyLISTED"}, []queue.ID{2}},
		{queue.Filter{Name: queue.ID(3).String()}, []queue.ID{3}},
		{queue.Filter{IDs: []queue.ID{4, 7}}, []queue.ID{4}},
		{queue.Filter{Before: 1002}, []queue.ID{1}},
		{queue.Filter{After: 1003}, []queue.ID{3, 4}},
		{queue.Filter{Held: &yes}, []queue.ID{4}},
		{queue.Filter{Held: &no, Domain: "example.net"}, []queue.ID{1}},
		{queue.Filter{Delayed: &yes, Now: 5000}, []queue.ID{2}},
		{queue.Filter{Delayed: &no, Now: 5000}, []queue.ID{1, 3, 4}},
	} {
		if got := l.state.Select(&c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.filter, got, c.want)
		}
	}
	items, next := l.state.List(&queue.Filter{}, 0, 3)
	if len(items) != 3 || next != 4 {
		t.Errorf("%d entries, then %s", len(items), next)
	}
	if items, next = l.state.List(&queue.Filter{}, next, 3); len(items) != 1 || next != 0 {
		t.Errorf("%d entries, then %s", len(items), next)
	}
}

func TestBlobsAreClaimed(t *testing.T) {
	l := newLog(t)
	l.add(put(entry(1, "x@example.net")), put(entry(2, "x@example.net")))
	l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{2}, Remove: true}})
	if got := l.state.Blobs([]domain.BlobID{{2}, {1}, {3}}); !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("%v", got)
	}
}

// TestCarriedEntriesStayWhatTheyAre, for who knew them and for who reads the stream from there.
func TestCarriedEntriesStayWhatTheyAre(t *testing.T) {
	l := newLog(t)
	l.add(put(entry(1, "x@example.net", "y@example.net")))
	l.add(claim("mail1", "a", 1, 1), queue.Record{Result: &queue.Result{ID: 1, Node: "mail1", Boot: "a", Done: []string{"x@example.net"}, Due: 7000, Error: "no", Tried: true, Warned: true}})
	e := *entry(1, "x@example.net", "y@example.net")
	l.state.Find(1).Overlay(&e)
	if stale := l.state.Stale(3, 10); len(stale) != 1 {
		t.Fatalf("%d are stale", len(stale))
	}
	anew := newLog(t)
	for _, l := range []*log{l, anew} {
		l.seq = 10
		l.add(put(&e))
		i := l.state.Find(1)
		if l.state.Len() != 1 || i.Place.Seq != 11 || i.Due != 7000 || i.Attempts != 1 || !i.Warned || i.Error != "no" || !slices.Equal(i.Recipients(), []string{"y@example.net"}) {
			t.Errorf("%+v", i)
		}
		if stale := l.state.Stale(11, 10); len(stale) != 0 {
			t.Errorf("%d are stale", len(stale))
		}
	}
	l.add(claim("mail1", "a", 8000, 1))
	if end := l.state.Cuttable(100); end != 11 {
		t.Errorf("the stream may be cut at %d, though the entry is being attempted", end)
	}
}

// TestAnyRecordsInAnyOrder fold alike twice, and keep the books right.
func TestAnyRecordsInAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b := newLog(t), newLog(t)
		for range 300 {
			id := queue.ID(r.IntN(20) + 1)
			at := int64(r.IntN(5000))
			node := []string{"mail1", "mail2"}[r.IntN(2)]
			boot := []string{"a", "b"}[r.IntN(2)]
			flag, priority := r.IntN(2) == 0, int8(r.IntN(4)-1)
			e := entry(id, "x@example.net", "y@example.net")
			e.Domain = []string{"example.net", "example.com", "example.org"}[id%3]
			records := []queue.Record{
				put(e), claim(node, boot, at, id, id+1), {Result: &queue.Result{ID: id, Node: node, Boot: boot, Done: []string{[]string{"x@example.net", "y@example.net"}[r.IntN(2)]}, Due: at}},
				{Lapse: &queue.Lapse{IDs: []queue.ID{id}, Node: node, Boot: boot, At: at}}, {Change: &queue.Change{IDs: []queue.ID{id}, Held: &flag}},
				{Change: &queue.Change{IDs: []queue.ID{id}, Due: &at}}, {Change: &queue.Change{IDs: []queue.ID{id, id + 1}, Priority: &priority}}, {Change: &queue.Change{IDs: []queue.ID{id}, Remove: true}}, {},
			}
			record := records[r.IntN(len(records))]
			a.add(record)
			b.add(record)
		}
		var octets int64
		var held int
		ids := a.state.Select(&queue.Filter{})
		for _, id := range ids {
			octets += 100
			if a.state.Find(id).Held {
				held++
			}
		}
		if len(ids) != a.state.Len() || octets != a.state.Octets() || held != a.state.Held() || !slices.Equal(ids, b.state.Select(&queue.Filter{})) {
			t.Fatalf("seed %d: %d of %d entries, %d octets, %d held", seed, len(ids), a.state.Len(), a.state.Octets(), a.state.Held())
		}
		waiting := a.state.Len() - held
		for a.state.Claimed() > 0 && waiting > 0 { // whatever waits is found, once nobody claims it
			a.add(queue.Record{Lapse: &queue.Lapse{IDs: ids, Node: "mail1", Boot: "z", At: 1 << 40}})
			break
		}
		found, highest := 0, int8(3)
		for {
			got, _ := a.next(1 << 40)
			if len(got) == 0 {
				break
			}
			first := a.state.Find(got[0]).Priority
			if first > highest {
				t.Fatalf("seed %d: one of priority %d comes after one of %d", seed, first, highest)
			}
			highest = first
			found += len(got)
			a.add(queue.Record{Change: &queue.Change{IDs: got, Remove: true}})
		}
		if found != waiting || a.state.Destinations() > held {
			t.Fatalf("seed %d: %d of %d were found, %d destinations left", seed, found, waiting, a.state.Destinations())
		}
	}
}

// TestMemory: a million entries may take 400 MB, whatever else the server keeps.
func TestMemory(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := newLog(t)
	for id := range queue.ID(n) {
		e := entry(id+1, fmt.Sprintf("somebody.with.a.name%d@subsidiary.example.net", id))
		e.Domain = fmt.Sprintf("example%d.net", id%1000)
		e.Error = fmt.Sprintf("mx.example.net: 451 4.7.1 Greylisted, try again in 300 seconds (%d)", id)
		l.add(put(e))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := int64(after.HeapAlloc-before.HeapAlloc) / n; each > 390 {
		t.Errorf("an entry takes %d octets", each)
	} else {
		t.Logf("%d octets", each)
	}
	began := time.Now()
	items, _ := l.state.List(&queue.Filter{Error: "no such text"}, 0, 50)
	t.Logf("a look at all %d took %v", n, time.Since(began))
	if len(items) != 0 {
		t.Error("found")
	}
	runtime.KeepAlive(l)
}

// TestDomainsAreForgotten when nothing waits for them any more.
func TestDomainsAreForgotten(t *testing.T) {
	const n = 50_000
	var before, after runtime.MemStats
	l := newLog(t)
	via := ""
	pass := func(id queue.ID) {
		e := entry(id, "x@example.net")
		e.Domain, e.Via = fmt.Sprintf("a-domain-to-which-mail-went-once-%d.example.net", id), fmt.Sprintf("relay%d.example.net", id)
		via = fmt.Sprintf("another-relay%d.example.net", id)
		l.add(put(e), queue.Record{Change: &queue.Change{IDs: []queue.ID{id}, Via: &via}}, queue.Record{Change: &queue.Change{IDs: []queue.ID{id}, Remove: true}})
	}
	for id := range queue.ID(5000) { // what grows once and stays
		pass(id + 1)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	for id := range queue.ID(n) {
		pass(id + 10_000)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > n*20 {
		t.Errorf("%d domains that are gone take %d octets", n, grown)
	}
	runtime.KeepAlive(l)
}

// TestAFlushLeavesPledges until they count.
func TestAFlushLeavesPledges(t *testing.T) {
	l := newLog(t)
	e := entry(1, "bob@example.net")
	e.Pledge, e.Due = &queue.Pledge{Account: "alice", Mark: "m"}, 9000
	now := int64(2000)
	l.add(put(e), queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, Due: &now}})
	l.expectNext(2000)
	l.expectNext(9000, 1)
	l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{1}, Due: &now, Keep: true}})
	l.expectNext(2000, 1)
}

// TestPriorities: of what is due, the higher priority comes first, whatever its age; what is not due yet waits.
func TestPriorities(t *testing.T) {
	l := newLog(t)
	other := func(id queue.ID, name string, priority int8) *queue.Entry {
		e := entry(id, "bob@"+name)
		e.Domain, e.Priority = name, priority
		return e
	}
	l.add(put(other(1, "a.example", 0)), put(other(2, "a.example", 3)), put(other(3, "b.example", 5)), put(other(4, "c.example", -1)))
	l.expectNext(2000, 3)
	l.add(claim("mail1", "x", 2000, 3))
	l.expectNext(2000, 2, 1)
	l.add(claim("mail1", "x", 2000, 1, 2))
	l.expectNext(2000, 4)
	high := int8(9)
	l.add(put(other(5, "d.example", 0)), queue.Record{Change: &queue.Change{IDs: []queue.ID{4}, Priority: &high}})
	l.expectNext(2000, 4)
	low := int8(0)
	l.add(queue.Record{Change: &queue.Change{IDs: []queue.ID{4}, Priority: &low}}, put(&queue.Entry{ID: 6, Node: "mail1", Domain: "e.example", Due: 9000, Priority: 9}))
	l.expectNext(2000, 4)
	e := &queue.Entry{}
	if l.state.Find(5).Overlay(e); e.Priority != 0 {
		t.Errorf("%+v", e)
	}
}
