package promotion_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/failover"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/promotion"
)

// bucket is the leases of a cluster in memory.
type bucket struct {
	mu       sync.Mutex
	leases   map[string]failover.Lease
	words    []byte
	revision uint64
	down     bool // there is no quorum
}

// wired is a bucket as one node reaches it, or not.
type wired struct {
	*bucket
	cut *bool
}

var errCut = domain.Errorf(domain.Unavailable, "the bucket does not answer")

func (w wired) lock() (unlock func(), err error) {
	w.mu.Lock()
	if *w.cut || w.down {
		w.mu.Unlock()
		return nil, errCut
	}
	return w.mu.Unlock, nil
}

func (w wired) Renew(_ context.Context, l failover.Lease) error {
	unlock, err := w.lock()
	if err == nil {
		defer unlock()
		w.leases[l.Node] = l
	}
	return err
}

func (w wired) All(context.Context) (all []failover.Lease, err error) {
	unlock, err := w.lock()
	if err == nil {
		defer unlock()
		for _, l := range w.leases {
			all = append(all, l)
		}
	}
	return all, err
}

func (w wired) Control(context.Context) ([]byte, uint64, error) {
	unlock, err := w.lock()
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	return w.words, w.revision, nil
}

func (w wired) Take(_ context.Context, words []byte, revision uint64) (uint64, error) {
	unlock, err := w.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	if revision != w.revision {
		return 0, domain.Errorf(domain.Conflict, "another was first")
	}
	w.words, w.revision = words, revision+1
	return w.revision, nil
}

// member is one node of a cluster under test.
type member struct {
	*promotion.Controller
	name   string
	doors  *doortest.Node
	frozen bool // or killed: nothing of it runs
	cut    bool // from the others: by the network, or because its NATS is dead
	unfit  string
	hold   chan struct{} // keeps it from finding candidates
	deaf   bool          // no node answers when it asks for candidates
}

// site is three nodes on one log, and a clock for all.
type site struct {
	t       *testing.T
	now     time.Time
	mu      sync.Mutex // guards now
	bucket  *bucket
	members map[string]*member
	ids     []domain.AccountID
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func newSite(t *testing.T, options ...func(*promotion.ControllerConfig)) *site {
	s := &site{t: t, now: time.Unix(1_700_000_000, 0), bucket: &bucket{leases: map[string]failover.Lease{}}, members: map[string]*member{}}
	shared := func(c *door.Config) { c.Shared = true }
	first := doortest.Start(t, shared)
	for _, name := range []string{"mail1", "mail2", "mail3"} {
		m := &member{name: name, doors: first}
		if name != "mail1" {
			m.doors = doortest.Join(t, first.Log, first.Blobs, shared)
		}
		cfg := promotion.ControllerConfig{
			Node: name, Boot: name, Mail: true, Leases: wired{s.bucket, &m.cut}, Rate: 100_000, Clock: s.clock, Logger: slog.New(slog.DiscardHandler),
			Unfit: func(context.Context) string { return m.unfit }, Accounts: m.doors.Accounts, Candidates: m,
			Of: func(ctx context.Context, node string) (of []domain.AccountID, err error) {
				for _, id := range s.ids {
					if s.primary(m, id).Node == node {
						of = append(of, id)
					}
				}
				return of, nil
			},
		}
		for _, option := range options {
			option(&cfg)
		}
		m.Controller = promotion.NewController(cfg)
		s.members[name] = m
	}
	for n := range 6 {
		id := first.AddAccount(t, fmt.Sprintf("user%d@example.org", n), "")
		s.ids = append(s.ids, id)
		if _, err := first.Accounts.Do(t.Context(), id, "test", account.Promote{Node: fmt.Sprintf("mail%d", n%3+1)}); err != nil {
			t.Fatal(err)
		}
	}
	s.run(time.Minute)
	return s
}

// Candidates names all nodes, the dead ones too: who is in charge knows better.
func (m *member) Candidates(context.Context, domain.AccountID) (all []promotion.Candidate, err error) {
	if m.hold != nil {
		<-m.hold
	}
	for _, name := range []string{"mail1", "mail2", "mail3"} {
		if !m.deaf {
			all = append(all, promotion.Candidate{Node: name})
		}
	}
	return all, nil
}

func (s *site) primary(m *member, id domain.AccountID) (p account.Primary) {
	if err := m.doors.Accounts.View(s.t.Context(), id, func(a *account.State) error { p = a.Primary; return nil }); err != nil {
		s.t.Error(err)
	}
	return p
}

// run lets time pass, a second at a time.
func (s *site) run(time_ time.Duration) {
	s.t.Helper()
	for range int(time_ / time.Second) {
		s.mu.Lock()
		s.now = s.now.Add(time.Second)
		s.mu.Unlock()
		for _, name := range []string{"mail1", "mail2", "mail3"} {
			if m := s.members[name]; !m.frozen {
				m.Beat(s.t.Context())
				m.Check(s.t.Context())
			}
		}
		for _, name := range []string{"mail1", "mail2", "mail3"} {
			if m := s.members[name]; !m.frozen {
				m.Tick(s.t.Context(), s.t.Context())
				if m.hold == nil {
					m.Settle()
				}
			}
		}
		inCharge := 0
		for _, m := range s.members {
			if m.InCharge() {
				inCharge++
			}
		}
		if inCharge > 1 {
			s.t.Fatalf("%d nodes are in charge", inCharge)
		}
	}
}

// inCharge is the node that is.
func (s *site) inCharge() *member {
	s.t.Helper()
	for _, m := range s.members {
		if m.InCharge() {
			return m
		}
	}
	s.t.Fatal("nobody is in charge")
	return nil
}

// others are those that are not m.
func (s *site) others(m *member) (all []*member) {
	for _, name := range []string{"mail1", "mail2", "mail3"} {
		if s.members[name] != m {
			all = append(all, s.members[name])
		}
	}
	return all
}

// moved asserts whose accounts have another primary, and that each has moved once.
func (s *site) moved(gone ...*member) {
	s.t.Helper()
	for n, id := range s.ids {
		home, want := fmt.Sprintf("mail%d", n%3+1), uint64(1)
		for _, m := range gone {
			if m.name == home {
				want = 2
			}
		}
		for _, m := range s.members {
			if got := s.primary(m, id); got.Epoch != want || (got.Node == home) != (want == 1) {
				s.t.Errorf("on %s, account %d of %s has the primary %+v", m.name, n, home, got)
			}
		}
	}
}

// TestANodeIsKilled that is not in charge, and then one that is.
func TestANodeIsKilled(t *testing.T) {
	ended := make(chan string, 100)
	s := newSite(t, func(cfg *promotion.ControllerConfig) {
		cfg.Ended = func(node string, sum promotion.Sum, err error) { ended <- fmt.Sprintf("%s %+v %v", node, sum, err) }
	})
	s.moved()
	victim := s.others(s.inCharge())[0]
	victim.frozen = true
	s.run(10 * time.Second)
	s.moved(victim)
	if got := <-ended; got != victim.name+" {Promoted:2 Unchanged:0 Failed:0} <nil>" || len(ended) > 0 {
		t.Errorf("it ended with %s, and %d times more", got, len(ended))
	}
	s = newSite(t)
	victim = s.inCharge()
	victim.frozen = true
	s.run(10 * time.Second)
	s.moved(victim)
	if s.inCharge() == victim {
		t.Error("the dead one is in charge")
	}
}

// TestNobodyAnswersInTime when candidates are asked, as while streams have no leader: leases say who lives. They are asked ahead, when a node becomes suspicious.
func TestNobodyAnswersInTime(t *testing.T) {
	var suspected atomic.Int32
	s := newSite(t, func(cfg *promotion.ControllerConfig) { cfg.Suspect = func() { suspected.Add(1) } })
	if n := suspected.Load(); n > 0 {
		t.Errorf("while all is well, candidates are asked for %d times", n)
	}
	for _, m := range s.members {
		m.deaf = true
	}
	victim := s.others(s.inCharge())[0]
	victim.frozen = true
	s.run(4 * time.Second)
	s.moved()
	if suspected.Load() == 0 {
		t.Error("a node is silent, and nobody is asked ahead")
	}
	s.run(6 * time.Second)
	s.moved(victim)
}

// TestAFrozenProcess is thawed in the midst of moving accounts, long after another node took charge: it moves nothing any more.
func TestAFrozenProcess(t *testing.T) {
	s := newSite(t)
	frozen := s.inCharge()
	victim, heir := s.others(frozen)[0], s.others(frozen)[1]
	frozen.hold = make(chan struct{})
	victim.frozen = true
	s.run(10 * time.Second) // it has begun, and hangs
	s.moved()
	frozen.frozen = true
	s.run(30 * time.Second)
	if s.inCharge() != heir {
		t.Fatalf("%s is in charge", s.inCharge().name)
	}
	s.moved() // two of three are silent, so nothing is done
	victim.frozen = false
	s.run(2 * time.Minute)
	s.moved(frozen) // to the one that came back, or the other
	close(frozen.hold)
	frozen.Settle() // it goes on with what it was at
	s.moved(frozen)
	frozen.frozen = false
	s.run(2 * time.Minute)
	if s.inCharge() == frozen {
		t.Error("it believes to be in charge")
	}
	s.moved(frozen)
}

// TestADeadNATS beside a live server, or a partition: the node goes on and reaches nobody.
func TestADeadNATS(t *testing.T) {
	s := newSite(t)
	cut := s.inCharge()
	cut.cut = true
	s.run(30 * time.Second)
	if cut.InCharge() || s.inCharge() == cut {
		t.Error("who is cut off believes to be in charge")
	}
	if _, renewed := cut.Charge(); renewed < 25*time.Second {
		t.Errorf("it believes that its lease was renewed %v ago", renewed)
	}
	s.moved(cut)
	cut.cut = false
	s.run(5 * time.Minute)
	s.moved(cut) // nothing comes back by itself
}

// TestNobodyHasAQuorum for a while, and nobody is moved then or after.
func TestNobodyHasAQuorum(t *testing.T) {
	s := newSite(t)
	for range 3 {
		s.bucket.down = true
		s.run(time.Minute)
		for _, m := range s.members {
			if m.InCharge() {
				t.Errorf("%s believes to be in charge", m.name)
			}
		}
		s.bucket.down = false
		s.run(time.Minute)
	}
	s.moved()
}

// TestAFullDisk is told by the node itself.
func TestAFullDisk(t *testing.T) {
	s := newSite(t)
	full := s.inCharge()
	full.unfit = "disk: only 3 MiB are free"
	s.run(20 * time.Second)
	s.moved()
	s.run(20 * time.Second)
	s.moved(full)
}

// TestADiskThatHangs: checks that do not come to an end are no good sign either.
func TestADiskThatHangs(t *testing.T) {
	s := newSite(t)
	hung := s.members["mail3"]
	checks := hung.Controller
	for range 70 {
		s.mu.Lock()
		s.now = s.now.Add(time.Second)
		s.mu.Unlock()
		for _, m := range s.members {
			m.Beat(t.Context())
			if m.Controller != checks {
				m.Check(t.Context())
			}
		}
		for _, m := range s.members {
			m.Tick(t.Context(), t.Context())
			m.Settle()
		}
	}
	s.moved(hung)
}

// TestAdviceOnly moves nothing, and says for all to read what should be.
func TestAdviceOnly(t *testing.T) {
	s := newSite(t, func(c *promotion.ControllerConfig) { c.Advise = true })
	victim := s.others(s.inCharge())[0]
	victim.frozen = true
	s.run(time.Minute)
	s.moved()
	charge, _ := s.others(s.inCharge())[1].Charge()
	if len(charge.Advice) != 1 || charge.Advice[0].Node != victim.name || !strings.Contains(charge.Withheld, "advise") {
		t.Errorf("%+v", charge)
	}
}

// TestAPlannedStop hands the charge over at once, and moves nothing.
func TestAPlannedStop(t *testing.T) {
	s := newSite(t)
	leaving := s.inCharge()
	if err := leaving.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	leaving.frozen = true
	s.run(2 * time.Second)
	if s.inCharge() == leaving {
		t.Error("it is still in charge")
	}
	s.run(time.Minute)
	s.moved()
	s.run(2 * time.Minute)
	s.moved(leaving)
}
