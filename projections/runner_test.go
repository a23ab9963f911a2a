package projections_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/dirview"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/streams"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// database/sql's opener ends a moment after its DB is closed.
	leaks.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

var alice, bob = domain.NewAccountID([10]byte{1}), domain.NewAccountID([10]byte{2})

// bench is a log with a runner on it.
type bench struct {
	*testing.T
	ctx    context.Context
	dir    string
	log    *projectiontest.Log
	cfg    projections.Config
	runner *projections.Runner
	views  storetest.Store
	logged *lines
	end    func()
}

func newBench(t *testing.T) *bench {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bench{T: t, ctx: ctx, dir: t.TempDir(), log: projectiontest.New(1), logged: new(lines), end: func() {}}
	b.cfg = projections.Config{
		Log: b.log, Projections: []projections.Projection{mailboxes.New(), counters.New(), quota.New(), dirview.New()},
		Limits: projections.Limits{BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(b.logged, nil)),
	}
	t.Cleanup(func() { b.end() })
	return b
}

// start runs the projectors; what they are told of by set comes first.
func (b *bench) start(set ...func(*projections.Runner)) {
	b.Helper()
	b.prepare(set...)
	views, runner := b.views, b.runner
	ctx, cancel := context.WithCancel(b.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = runner.Run(ctx) })
	b.end = func() {
		cancel()
		wg.Wait()
		_ = views.Close()
	}
}

// prepare opens everything and runs nothing.
func (b *bench) prepare(set ...func(*projections.Runner)) {
	b.Helper()
	b.end()
	views, err := storetest.Open(b, b.dir, sqlview.Options{Logger: b.cfg.Logger})
	if err != nil {
		b.Fatal(err)
	}
	b.views, b.cfg.Views = views, views
	b.runner = projections.NewRunner(b.cfg)
	for _, f := range set {
		f(b.runner)
	}
	b.end = func() { _ = views.Close() }
}

// open gives an account its mailboxes and n messages in INBOX.
func (b *bench) open(id domain.AccountID, n int) {
	events, err := account.Decide(account.New(), account.Open{UIDValidity: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.log.Add(id, 1000, events...)
	for i := range n {
		b.log.Add(id, int64(2000+i), &event.MessageAdded{
			Mailbox: 1, UID: domain.UID(i + 1), Email: domain.EmailID(i + 1), Thread: domain.ThreadID(i + 1), Blob: domain.BlobRef{Size: 100, Key: domain.BlobKey{9}},
		})
	}
}

const stream = "ACCOUNTS_0"

// wait waits until the view shows the whole log.
func (b *bench) wait() {
	b.Helper()
	for _, s := range b.log.Streams() {
		head, _ := b.log.Head(b.ctx, s)
		if err := b.runner.Wait(b.ctx, s, head); err != nil {
			b.Fatal(err)
		}
	}
}

// live names the generation that readers see.
func (b *bench) live(projection string) projections.Generation {
	b.Helper()
	for _, s := range b.runner.Status(b.ctx) {
		if s.Stream == stream && s.Name == projection && s.Serves() && s.Generation > 0 {
			return projections.Generation{Stream: stream, Projection: projection, Number: s.Generation}
		}
	}
	b.Fatalf("projection %s has no rows", projection)
	return projections.Generation{}
}

// needsFiles skips a test that does something to files.
func (b *bench) needsFiles() {
	b.Helper()
	if storetest.Postgres() {
		b.Skip("views have no files in PostgreSQL")
	}
}

// file is where the rows of a projection are.
func (b *bench) file(projection string) string {
	b.Helper()
	b.needsFiles()
	return b.dir + "/" + b.live(projection).String() + ".db"
}

// write changes a view behind the projector's back.
func (b *bench) write(projection, statement string, args ...any) {
	b.Helper()
	storetest.Spoil(b, b.dir, b.live(projection), statement, args...)
}

func (b *bench) verify(sel projections.Selection) projections.Report {
	b.Helper()
	report, err := b.runner.Verify(b.ctx, sel, projections.VerifyOptions{Limit: 100}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return report
}

// clean fails unless the views are what the log says.
func (b *bench) clean() {
	b.Helper()
	b.wait()
	for _, d := range b.verify(projections.Selection{}).Differences {
		b.Error(d)
	}
}

func (b *bench) state(id domain.AccountID) *account.State {
	b.Helper()
	s, _, err := mailboxes.Store{Runner: b.runner}.Load(b.ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// until waits for a state of the account stream's projector.
func (b *bench) until(want projections.State) projections.Status {
	b.Helper()
	for b.ctx.Err() == nil {
		for _, s := range b.runner.Status(b.ctx) {
			if s.Stream == stream && s.Name == mailboxes.Name && s.State == want {
				return s
			}
		}
		time.Sleep(time.Millisecond)
	}
	b.Fatalf("the projector never became %s", want)
	return projections.Status{}
}

// lines is a log handler's output.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// An entry that is changed, missing, repeated or reordered stops the projector of its stream exactly there. Nothing after it is applied,
// other streams go on, and those who wait hear of it.
func TestSpoiltLogStopsTheProjector(t *testing.T) {
	for name, spoil := range map[string]func(*streams.Entry){
		"tampered": func(e *streams.Entry) { e.Prev[0]++ },
		"missing":  func(e *streams.Entry) { e.Tx++ },
		"repeated": func(e *streams.Entry) { e.Tx-- },
		"foreign":  func(e *streams.Entry) { e.Account = bob },
		"unheard of": func(e *streams.Entry) {
			e.Transaction = &event.Transaction{Events: []event.Event{&event.DomainAdded{}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open(alice, 9)
			b.log.Spoil(stream, 6, spoil)
			b.log.Add(domain.DirectoryID, 0, &event.DomainAdded{Name: "example.org"})
			b.start()
			status := b.until(projections.Stopped)
			if status.Cursor != 5 || status.Head != 10 || status.LagEntries != 5 || status.Error == "" {
				t.Errorf("status %+v", status)
			}
			if err := b.runner.Wait(b.ctx, stream, 5); err != nil {
				t.Errorf("what was projected before cannot be read: %v", err)
			}
			if err := b.runner.Wait(b.ctx, stream, 6); !domain.Is(err, domain.Unavailable) {
				t.Errorf("waiting for the spoilt entry: %v", err)
			}
			if n := b.state(alice).Usage.Messages; n != 4 {
				t.Errorf("%d messages are there", n)
			}
			if err := b.runner.Wait(b.ctx, "DIRECTORY", 1); err != nil {
				t.Errorf("the directory: %v", err)
			}
			if _, err := b.runner.Verify(b.ctx, projections.Selection{}, projections.VerifyOptions{Limit: 9}, nil); err != nil {
				t.Errorf("up to its cursor the view can be compared: %v", err)
			}
		})
	}
}

// A log that is healed is gone on with after a rebuild, without a restart.
func TestStoppedProjectorGoesOnAfterRebuild(t *testing.T) {
	b := newBench(t)
	b.open(alice, 9)
	b.log.Spoil(stream, 6, func(e *streams.Entry) { e.Prev[0]++ })
	b.start()
	b.until(projections.Stopped)
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); !domain.Is(err, domain.Corrupt) {
		t.Fatalf("rebuild of a spoilt log: %v", err)
	}
	b.log.Spoil(stream, 6, func(e *streams.Entry) { e.Prev[0]-- })
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

func TestLogThatLostEntriesStopsTheProjector(t *testing.T) {
	b := newBench(t)
	b.open(alice, 9)
	b.start()
	b.wait()
	b.end()
	b.log = projectiontest.New(1)
	b.cfg.Log = b.log
	b.open(alice, 3)
	b.start()
	b.until(projections.Stopped)
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// behind is a log of which a copy answers at first that has not caught up.
type behind struct {
	*projectiontest.Log
	left atomic.Int32
}

func (l *behind) Head(ctx context.Context, stream string) (domain.Seq, error) {
	if l.left.Load() > 0 {
		return 0, nil
	}
	return l.Log.Head(ctx, stream)
}

func (l *behind) Reaches(ctx context.Context, stream string, after domain.Seq) error {
	if l.left.Add(-1) >= 0 {
		return domain.Errorf(domain.Unavailable, "this copy has less")
	}
	return l.Log.Reaches(ctx, stream, after)
}

// A copy of the log that is behind is no log that lost its entries.
func TestLogThatIsBehind(t *testing.T) {
	b := newBench(t)
	b.open(alice, 9)
	b.start()
	b.wait()
	b.end()
	late := &behind{Log: b.log}
	late.left.Store(2)
	b.cfg.Log = late
	b.start()
	b.wait()
	b.until(projections.Live)
	b.clean()
	if late.left.Load() > 0 {
		t.Error("nobody asked the copy that is behind")
	}
}

// A log that is away is asked again, and nobody who waits is failed for it.
func TestLogAway(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.log.Fail(domain.Errorf(domain.Unavailable, "nobody is there"))
	b.start()
	if s := b.until(projections.Retrying); !strings.Contains(s.Error, "nobody is there") {
		t.Errorf("status %+v", s)
	}
	short, cancel := context.WithTimeout(b.ctx, time.Millisecond)
	defer cancel()
	if err := b.runner.Wait(short, stream, 4); !domain.Is(err, domain.Unavailable) {
		t.Errorf("wait: %v", err)
	}
	b.log.Fail(nil)
	b.clean()
	b.until(projections.Live)
}

// Rows that were changed behind the projector's back are found by the next entry that needs them, and made anew.
func TestDamagedRowsAreHealed(t *testing.T) {
	for name, damage := range map[string]string{
		"message lost":     `delete from messages where uid = 2`,
		"message too many": `insert into messages select account, mailbox, 4, email, thread, flags, modseq, size, internal, saved from messages where uid = 1`,
		"mailbox lost":     `delete from mailboxes where mailbox = 1`,
		"account lost":     `delete from accounts`,
		"position":         `update accounts set seq = seq + 100`,
		"transaction":      `update accounts set tx = tx + 1`,
		"hash":             `update accounts set hash = substr(hash, 2)`,
		"erasure":          `update accounts set erased = 1`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open(alice, 3)
			b.open(bob, 3)
			b.start()
			b.wait()
			b.write(mailboxes.Name, damage)
			b.log.Add(alice, 0, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(2), Add: event.Seen, Delta: event.Delta{Unseen: -1}})
			b.log.Add(alice, 0, &event.MessageAdded{Mailbox: 1, UID: 4, Email: 4, Thread: 4})
			b.log.Add(bob, 0, &event.MessageAdded{Mailbox: 1, UID: 5, Email: 5, Thread: 5})
			b.wait()
			for _, d := range b.verify(projections.Selection{Accounts: []domain.AccountID{alice}}).Differences {
				t.Error(d)
			}
			if !b.logged.has("made anew") {
				t.Error("nothing was logged")
			}
		})
	}
}

// A log that contradicts itself is not healed for ever.
func TestContradictionStopsTheProjector(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.log.Add(alice, 0, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(77), Add: event.Seen})
	b.start()
	if s := b.until(projections.Stopped); s.Cursor > 4 {
		t.Errorf("status %+v", s)
	}
}

// A full disk stops nothing for good: with room again the projector goes on where it was.
func TestFullDisk(t *testing.T) {
	b := newBench(t)
	b.needsFiles()
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", 0, "size=400k"); err != nil {
		t.Skipf("mounting needs privileges: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(b.dir, syscall.MNT_DETACH) })
	b.cfg.Limits.BatchEntries = 10
	b.open(alice, 3000)
	b.start()
	if s := b.until(projections.Retrying); !strings.Contains(s.Error, "full") || s.LagEntries == 0 {
		t.Errorf("status %+v", s)
	}
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// Listeners hear of every entry once and in order, though views are rebuilt meanwhile.
func TestNotify(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var heard []domain.Seq
	b.open(alice, 3)
	b.start(func(r *projections.Runner) {
		r.Notify(func(s string, entries []streams.Entry) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range entries {
				if s == stream {
					heard = append(heard, e.Seq)
				}
			}
		})
	})
	b.wait()
	for _, sel := range []projections.Selection{{}, {Projection: mailboxes.Name}, {Accounts: []domain.AccountID{alice}}, {Projection: counters.Name, Accounts: []domain.AccountID{alice}}} {
		if _, err := b.runner.Rebuild(b.ctx, sel, projections.RebuildOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		b.open(domain.NewAccountID([10]byte{byte(len(heard) + 3)}), 2)
		b.wait()
	}
	b.end()
	for i, seq := range heard {
		if seq != domain.Seq(i+1) {
			t.Fatalf("heard %v", heard)
		}
	}
	if head, _ := b.log.Head(b.ctx, stream); int(head) != len(heard) {
		t.Errorf("heard %d of %d", len(heard), head)
	}
}

// An erased account leaves its position and nothing else, whether its rows are dropped or the log is replayed without its key.
func TestErase(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.open(bob, 3)
	b.start()
	b.wait()
	if err := b.log.Erase(b.ctx, alice); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.runner.Drop(b.ctx, alice); err != nil {
			t.Fatal(err)
		}
	}
	b.clean() // the fold of a log whose entries cannot be read gives the same rows
	if _, _, err := (mailboxes.Store{Runner: b.runner}).Load(b.ctx, alice); !domain.Is(err, domain.Erased) {
		t.Errorf("load: %v", err)
	}
	if b.state(bob).Usage.Messages != 3 {
		t.Error("bob lost mail")
	}
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	b.clean()
	if err := b.runner.Drop(b.ctx, domain.NewAccountID([10]byte{99})); err != nil {
		t.Errorf("an account that never was: %v", err)
	}
}

// The failpoints stand around the commit: a process that dies at the first has applied nothing, at the second everything.
func TestFailpoints(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	var mu sync.Mutex
	var passed []string
	b.cfg.Failpoint = func(name string) { mu.Lock(); defer mu.Unlock(); passed = append(passed, name) }
	b.start()
	b.wait()
	b.end()
	if got := strings.Join(passed[:4], " "); got != "project.before-commit project.between project.between project.committed" {
		t.Errorf("passed %s", got)
	}
}

// A projection of another version is made anew at start; the others stay where they were.
func TestVersion(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.start()
	b.wait()
	b.write(counters.Name, `update counters set unseen = 7 where mailbox = 1`)
	b.write(quota.Name, `update quota set bytes = 7`)
	b.cfg.Projections[1] = newer{counters.New()}
	b.start()
	b.wait()
	report := b.verify(projections.Selection{})
	if report.Total != 1 || report.Differences[0].Projection != quota.Name {
		t.Errorf("%v", report.Differences)
	}
}

type newer struct{ projections.Projection }

func (n newer) Version() int { return n.Projection.Version() + 1 }

// A view file that is damaged or deleted is made anew: whether that happened while the server was down or while it ran, and whichever it is.
func TestViewIsMadeAnew(t *testing.T) {
	for _, projection := range []string{mailboxes.Name, counters.Name} {
		for _, running := range []bool{false, true} {
			for name, harm := range harms {
				t.Run(fmt.Sprintf("%s, %s, running: %v", projection, name, running), func(t *testing.T) {
					b := newBench(t)
					b.cfg.Limits.FarBehind = 100
					b.open(alice, 300)
					b.start()
					b.wait()
					before := b.state(alice)
					if file := b.file(projection); running {
						harm(t, file)
					} else {
						b.end()
						harm(t, file)
						b.start()
					}
					b.log.Add(alice, 0, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(2, 299), Add: event.Answered})
					b.wait()
					if running {
						b.repaired(projection)
					}
					b.clean()
					after := b.state(alice)
					if after.Usage != before.Usage || after.Mailboxes[1].UIDValidity != before.Mailboxes[1].UIDValidity || after.Mailboxes[1].Len() != 300 {
						t.Errorf("%+v before, %+v after", before.Usage, after.Usage)
					}
				})
			}
		}
	}
}

// repaired has a view compared and made anew until nothing differs: damage in a page that nobody wrote is found by reading.
func (b *bench) repaired(projection string) {
	b.Helper()
	for b.ctx.Err() == nil {
		report, err := b.runner.Verify(b.ctx, projections.Selection{Projection: projection}, projections.VerifyOptions{Repair: true, Limit: 1}, nil)
		if err == nil && report.Total == 0 {
			return
		}
		b.runner.Wait(b.ctx, stream, 0)
	}
	b.Fatal("the view is never whole")
}
