package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/streams"
)

// numbers reads one row of integers.
func numbers(ctx context.Context, r projections.Reader, query string, n int) ([]int64, error) {
	rows, err := r.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make([]int64, n)
	dest := make([]any, n)
	for i := range all {
		dest[i] = &all[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
	}
	return all, rows.Err()
}

// Whoever reads while generations are switched sees one state at each look, never an older one than before, and no error.
func TestReadersSeeNoSwitch(t *testing.T) {
	b := newBench(t)
	b.open(alice, 200)
	b.start()
	b.wait()
	reader, err := b.runner.ReaderOf(mailboxes.Name, alice)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := reader.Snapshot(b.ctx, func(r projections.Reader) error {
					head, err := numbers(b.ctx, r, `select seq from head`, 1)
					if err != nil {
						return err
					}
					rows, err := numbers(b.ctx, r, `select (select tx from accounts), (select count(*) from messages)`, 2)
					if err == nil && (rows[0] != head[0] || rows[1] != head[0]-1 || head[0] < last) {
						t.Errorf("at position %d, after %d, the account stands at %d with %d messages", head[0], last, rows[0], rows[1])
					}
					last = head[0]
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				if _, err := numbers(b.ctx, reader, `select count(*) from messages`, 1); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	uid := 200
	for range 5 {
		rebuilt := make(chan error, 1)
		go func() {
			result, err := b.runner.Rebuild(b.ctx, projections.Selection{Stream: stream}, projections.RebuildOptions{}, nil)
			t.Logf("projecting stood still for %v", result.Pause)
			if err == nil && result.Pause <= 0 {
				err = errors.New("the pause was not measured")
			}
			rebuilt <- err
		}()
		for done := false; !done; {
			select {
			case err := <-rebuilt:
				if err != nil {
					t.Error(err)
				}
				done = true
			default:
				uid++
				b.log.Add(alice, 0, &event.MessageAdded{Mailbox: 1, UID: domain.UID(uid), Email: domain.EmailID(uid), Thread: domain.ThreadID(uid)})
				b.wait()
			}
		}
	}
	close(stop)
	wg.Wait()
	if n := b.live(mailboxes.Name).Number; n != 6 {
		t.Errorf("generation %d is live", n)
	}
	if stats := b.runner.Stats(); stats.Switches != 5 {
		t.Errorf("%+v", stats)
	}
	b.clean()
	if got := b.generations(); len(got) != 4 {
		t.Errorf("the store has %v", got)
	}
}

// Two rebuilds of the same rows are one.
func TestRebuildsJoin(t *testing.T) {
	b := newBench(t)
	b.open(alice, 500)
	b.cfg.Limits.BatchEntries = 20
	b.start()
	b.wait()
	begun := make(chan struct{})
	var once sync.Once
	heard := make([]bool, 2)
	var wg sync.WaitGroup
	rebuild := func(i int) {
		if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Stream: stream, Projection: mailboxes.Name}, projections.RebuildOptions{EntriesPerSecond: 1000}, func(p projections.Progress) {
			heard[i] = true
			once.Do(func() { close(begun) })
		}); err != nil {
			t.Error(err)
		}
	}
	wg.Go(func() { rebuild(0) })
	<-begun
	wg.Go(func() { rebuild(1) })
	wg.Wait()
	if n := b.live(mailboxes.Name).Number; n != 2 || !heard[1] {
		t.Errorf("generation %d is live, heard %v", n, heard)
	}
}

// poisoned cannot apply some entry.
type poisoned struct {
	projections.Projection
	at   func() domain.Seq // 0: all can be applied
	what error
}

func (p poisoned) Begin(ctx context.Context, tx projections.Tx) (projections.Batch, error) {
	batch, err := p.Projection.Begin(ctx, tx)
	return poisonedBatch{batch, p}, err
}

type poisonedBatch struct {
	projections.Batch
	p poisoned
}

func (b poisonedBatch) Apply(ctx context.Context, e *streams.Entry) error {
	if e.Seq == b.p.at() {
		return b.p.what
	}
	return b.Batch.Apply(ctx, e)
}

// What one projection cannot apply stops that one, where it shows; the others go on, and a rebuild that can apply it brings it back.
func TestPoison(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	at := domain.Seq(3)
	poison := func() domain.Seq { mu.Lock(); defer mu.Unlock(); return at }
	b.cfg.Projections[1] = poisoned{counters.New(), poison, domain.Errorf(domain.Corrupt, "this makes no sense")}
	b.open(alice, 5)
	b.start()
	for b.ctx.Err() == nil && b.status(counters.Name).State != projections.Stopped {
		_ = b.runner.WaitFor(b.ctx, counters.Name, stream, 6)
	}
	if s := b.status(counters.Name); s.Cursor != 2 || !strings.Contains(s.Error, "no sense") {
		t.Errorf("%+v", s)
	}
	if err := b.runner.WaitFor(b.ctx, mailboxes.Name, stream, 6); err != nil {
		t.Errorf("the others: %v", err)
	}
	if err := b.runner.Wait(b.ctx, stream, 6); !domain.Is(err, domain.Unavailable) {
		t.Errorf("all of them: %v", err)
	}
	r, err := b.runner.ReaderOf(counters.Name, alice)
	if err != nil {
		t.Fatal(err)
	}
	if sums, err := counters.Load(b.ctx, r, alice); err != nil || sums[1].Messages != 1 {
		t.Errorf("what was counted before: %v, %v", sums, err)
	}
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Projection: counters.Name}, projections.RebuildOptions{}, nil); !domain.Is(err, domain.Corrupt) {
		t.Errorf("rebuild: %v", err)
	}
	mu.Lock()
	at = 0
	mu.Unlock()
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Projection: counters.Name}, projections.RebuildOptions{Verify: true}, nil); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// status is that of the generation which serves.
func (b *bench) status(projection string) projections.Status {
	b.Helper()
	for _, s := range b.runner.Status(b.ctx) {
		if s.Stream == stream && s.Name == projection && s.Serves() {
			return s
		}
	}
	b.Fatalf("there is no projection %s", projection)
	return projections.Status{}
}

// Rows of another version are kept until they are pruned: the build that reads them goes on from there.
func TestRollback(t *testing.T) {
	b := newBench(t)
	b.cfg.Limits.FarBehind = 5
	b.open(alice, 10)
	b.start()
	b.wait()
	old := b.cfg.Projections[1]
	b.cfg.Projections[1] = newer{old}
	b.start()
	b.clean()
	b.open(bob, 10)
	b.clean()
	kept := func() (numbers []int) {
		for _, s := range b.runner.Status(b.ctx) {
			if s.State == projections.Kept {
				numbers = append(numbers, s.Generation)
			}
		}
		return numbers
	}
	if b.live(counters.Name).Number != 2 || !slices.Equal(kept(), []int{1}) {
		t.Errorf("%+v", b.runner.Status(b.ctx))
	}
	b.cfg.Projections[1] = old
	b.start()
	b.clean()
	if b.live(counters.Name).Number != 1 || !slices.Equal(kept(), []int{2}) {
		t.Errorf("after the way back: %+v", b.runner.Status(b.ctx))
	}
	if n, err := b.runner.Prune(b.ctx, projections.Selection{}); n != 1 || err != nil || len(kept()) > 0 {
		t.Errorf("pruned %d, %v", n, err)
	}
	if got := b.generations(); len(got) != 4 {
		t.Errorf("the store has %v", got)
	}
}

// The plan says what a build has to do, before it does anything.
func TestPlan(t *testing.T) {
	b := newBench(t)
	b.open(alice, 10)
	b.start()
	b.wait()
	b.end()
	b.log.Add(alice, 0, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(1), Add: event.Seen, Delta: event.Delta{Unseen: -1}})
	b.cfg.Projections[1] = newer{counters.New()}
	b.prepare()
	files := b.generations()
	plan, err := b.runner.Plan(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plan {
		want := map[string]projections.Planned{
			"directory":    {Work: "nothing"},
			mailboxes.Name: {Work: "catch up", Entries: 1}, quota.Name: {Work: "catch up", Entries: 1}, counters.Name: {Work: "build", Entries: 12},
		}[p.Projection]
		if p.Work != want.Work || p.Entries != want.Entries || len(p.Has) != 1 || p.Octets == 0 || (p.Entries > 0) != (p.Seconds > 0) {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(files, b.generations()) {
		t.Error("the plan changed something")
	}
	b.start()
	b.clean()
	result, err := b.runner.Rebuild(b.ctx, projections.Selection{Accounts: []domain.AccountID{alice}}, projections.RebuildOptions{DryRun: true}, nil)
	if err != nil || len(result.Plan) != 3 || result.Plan[0].Work != "refresh accounts" || result.Plan[0].Entries != 12 {
		t.Errorf("dry run: %+v, %v", result, err)
	}
	for name, sel := range map[string]projections.Selection{
		"projection": {Projection: "weather"}, "stream": {Stream: "WEATHER"}, "pair": {Projection: "directory", Stream: stream},
	} {
		if _, err := b.runner.Rebuild(b.ctx, sel, projections.RebuildOptions{}, nil); !domain.Is(err, domain.NotFound) {
			t.Errorf("no such %s: %v", name, err)
		}
	}
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{CPUShare: 2}, nil); !domain.Is(err, domain.Invalid) {
		t.Errorf("two CPUs: %v", err)
	}
}

// Rows of an account with a long log are made anew in a copy.
func TestRebuildLongAccount(t *testing.T) {
	b := newBench(t)
	b.cfg.Limits.InPlace = 10
	b.open(alice, 100)
	b.open(bob, 3)
	b.start()
	b.wait()
	b.write(mailboxes.Name, `update messages set flags = 1`)
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Projection: mailboxes.Name, Accounts: []domain.AccountID{alice}}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	r, err := b.runner.ReaderOf(mailboxes.Name, alice)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[domain.AccountID]int64{alice: 0, bob: 3} {
		if n, err := numbers(b.ctx, r, `select count(*) from messages where flags = 1 and account = '`+string(id)+`'`, 1); err != nil || n[0] != want {
			t.Errorf("account %s has %d rows that are wrong, %v", id, n, err)
		}
	}
	if n := b.live(mailboxes.Name).Number; n != 2 {
		t.Errorf("generation %d is live", n)
	}
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Accounts: []domain.AccountID{alice, bob, bob}}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// A disk that has no room for a second generation fails the rebuild, and leaves the first as it was.
func TestRebuildOnFullDisk(t *testing.T) {
	b := newBench(t)
	b.needsFiles()
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", 0, "size=100m"); err != nil {
		t.Skipf("mounting needs privileges: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(b.dir, syscall.MNT_DETACH) })
	b.cfg.Limits.BatchEntries = 50
	b.open(alice, 2000)
	b.start()
	b.wait()
	before := b.generations()
	used := int64(300_000)
	for _, s := range b.runner.Status(b.ctx) {
		used += s.Octets
	}
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", used)); err != nil {
		t.Fatal(err)
	}
	_, err := b.runner.Rebuild(b.ctx, projections.Selection{Stream: stream}, projections.RebuildOptions{}, nil)
	if !domain.Is(err, domain.Unavailable) || strings.Count(err.Error(), "full:") > 1 || !strings.Contains(err.Error(), "full") {
		t.Fatalf("rebuild: %v", err)
	}
	if !slices.Equal(before, b.generations()) {
		t.Errorf("the store has %v", b.generations())
	}
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// aside is a projection that is slow and that nobody needs.
type aside struct{ projections.Projection }

func (aside) Apart() bool    { return true }
func (aside) Optional() bool { return true }

// A projection apart holds nobody up; it can be dropped, and a rebuild brings it back.
func TestApart(t *testing.T) {
	b := newBench(t)
	var gate sync.Mutex
	gate.Lock()
	slow := poisoned{quota.New(), func() domain.Seq {
		gate.Lock() // it waits
		defer gate.Unlock()
		return 0
	}, nil}
	b.cfg.Projections[2] = aside{slow}
	b.open(alice, 5)
	var heard sync.Map
	b.start(func(r *projections.Runner) {
		r.Notify(func(s string, entries []streams.Entry) {
			for _, e := range entries {
				if _, twice := heard.LoadOrStore(s+string(rune(e.Seq)), true); twice {
					t.Errorf("heard of %d twice", e.Seq)
				}
			}
		})
	})
	b.wait()
	if _, err := b.runner.ReaderOf(quota.Name, alice); !domain.Is(err, domain.Unavailable) {
		t.Errorf("the slow one: %v", err)
	}
	gate.Unlock()
	if err := b.runner.WaitFor(b.ctx, quota.Name, stream, 6); err != nil {
		t.Fatal(err)
	}
	b.clean()
	if _, err := b.runner.Discard(b.ctx, projections.Selection{Projection: mailboxes.Name}); !domain.Is(err, domain.Invalid) {
		t.Errorf("mail itself: %v", err)
	}
	if n, err := b.runner.Discard(b.ctx, projections.Selection{Projection: quota.Name}); n != 1 || err != nil {
		t.Errorf("discarded %d, %v", n, err)
	}
	if err := b.runner.WaitFor(b.ctx, quota.Name, stream, 0); !domain.Is(err, domain.Unavailable) {
		t.Errorf("what was dropped: %v", err)
	}
	b.clean()
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Projection: quota.Name}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.runner.WaitFor(b.ctx, quota.Name, stream, 6); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// The patrol compares every account in its time, and tells what it finds.
func TestPatrol(t *testing.T) {
	b := newBench(t)
	b.cfg.Limits.VerifyEvery, b.cfg.Limits.VerifyShare = 1, 1
	b.open(alice, 5)
	b.open(bob, 5)
	b.start()
	b.wait()
	b.write(counters.Name, `update counters set unseen = 7 where mailbox = 1 and account = '`+string(bob)+`'`)
	for b.ctx.Err() == nil && b.runner.Stats().Differences == 0 {
		_ = b.runner.Wait(b.ctx, stream, 0)
	}
	if s := b.runner.Stats(); s.Verified == 0 || s.LastVerified.IsZero() || !strings.Contains(s.Found, "unseen is 7") {
		t.Errorf("%+v", s)
	}
}

// A verification repairs what differs, and nothing else; a sample looks at some accounts only.
func TestVerifyRepairs(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.open(bob, 3)
	b.start()
	b.wait()
	b.write(counters.Name, `update counters set unseen = 7 where mailbox = 1 and account = '`+string(bob)+`'`)
	found := int64(0)
	for salt := range uint64(20) {
		report, err := b.runner.Verify(b.ctx, projections.Selection{}, projections.VerifyOptions{Sample: 0.5, Salt: salt}, nil)
		if err != nil || report.Total > 1 || report.Accounts > 2 {
			t.Fatalf("%+v, %v", report, err)
		}
		found += report.Total
	}
	if found == 0 || found == 20 {
		t.Errorf("found in %d samples of 20", found)
	}
	report, err := b.runner.Verify(b.ctx, projections.Selection{}, projections.VerifyOptions{Repair: true, Limit: 5}, nil)
	if err != nil || report.Total != 1 || report.Repaired != 1 || len(report.Compared) != 4 {
		t.Errorf("%+v, %v", report, err)
	}
	if d := report.Differences[0]; d.Account != bob || d.Tx != 4 {
		t.Errorf("%+v", d)
	}
	b.clean()
	if b.live(counters.Name).Number != 1 {
		t.Error("everything was made anew for one account")
	}
}

// Rows of accounts that cannot be in the stream are of nobody: a verification finds them, and its repair makes the whole generation anew.
func TestVerifyRepairsRowsOfNobody(t *testing.T) {
	for _, nobody := range []string{"x", string(alice) + "z", "", string(domain.DirectoryID)} {
		b := newBench(t)
		b.open(alice, 3)
		b.start()
		b.clean()
		b.write(counters.Name, `update counters set account = '`+nobody+`' where mailbox = 1`)
		report, err := b.runner.Verify(b.ctx, projections.Selection{}, projections.VerifyOptions{Repair: true, Limit: 5}, nil)
		if err != nil || report.Total != 2 || report.Repaired != 1 {
			t.Errorf("%q: %+v, %v", nobody, report, err)
		}
		b.clean()
		b.end()
	}
}

// A rebuild that is asked for before the views are open waits for that, and takes nothing that is there for its own.
func TestRebuildAtOnce(t *testing.T) {
	b := newBench(t)
	b.open(alice, 30)
	for n := range 5 {
		b.start()
		if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		b.clean()
		if got := b.generations(); len(got) != 4 {
			t.Errorf("round %d: the store has %v", n, got)
		}
	}
}
