package projections_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
)

func TestVerifyTellsEveryDifference(t *testing.T) {
	for name, c := range map[string]struct{ projection, damage, want string }{
		"a flag":           {mailboxes.Name, `update messages set flags = 1 where uid = 2 and account = '` + string(alice) + `'`, `messages[account="` + string(alice) + `", mailbox=1, uid=2].flags is 1 in the view and 0 by transaction 3 of the log`},
		"a lost row":       {mailboxes.Name, `delete from emails where email = 3 and account = '` + string(alice) + `'`, `emails[account="` + string(alice) + `", email=3] is missing in the view and a row by transaction 4 of the log`},
		"a row too many":   {mailboxes.Name, `insert into keywords values ('x', 0, 'y')`, `keywords[account="x", number=0] is a row in the view and missing by the log`},
		"a counter":        {counters.Name, `update counters set unseen = 7 where mailbox = 1 and account = '` + string(bob) + `'`, `counters[account="` + string(bob) + `", mailbox=1].unseen is 7 in the view and 3 by transaction 4 of the log`},
		"a quota":          {quota.Name, `update quota set bytes = bytes + 1 where account = '` + string(bob) + `'`, `quota[account="` + string(bob) + `"].bytes is 301 in the view and 300 by transaction 4 of the log`},
		"a secret":         {mailboxes.Name, `update emails set blob_key = blob_id where email = 1 and account = '` + string(bob) + `'`, `emails[account="` + string(bob) + `", email=1].blob_key is (secret) in the view and (another secret) by transaction 2 of the log`},
		"another's thread": {threads.Name, `insert into threads values ('` + string(bob) + `', 1, 2)`, `threads[account="` + string(bob) + `", thread_key=1] is a row in the view and missing by the log`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.cfg.Projections = append(b.cfg.Projections, threads.New())
			b.open(alice, 3)
			b.open(bob, 3)
			b.start()
			b.clean()
			b.write(c.projection, c.damage)
			report := b.verify(projections.Selection{})
			if report.Total != 1 || len(report.Differences) != 1 || !strings.HasSuffix(report.Differences[0].String(), c.want) {
				t.Fatalf("%d differences: %v", report.Total, report.Differences)
			}
			if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Projection: report.Differences[0].Projection}, projections.RebuildOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			b.clean()
		})
	}
}

// Of many differences the first are listed and all are counted.
func TestVerifyBounds(t *testing.T) {
	b := newBench(t)
	b.open(alice, 50)
	b.start()
	b.wait()
	b.write(mailboxes.Name, `update messages set size = 1`)
	report, err := b.runner.Verify(b.ctx, projections.Selection{Projection: mailboxes.Name, Accounts: []domain.AccountID{alice}}, projections.VerifyOptions{Limit: 5}, nil)
	if err != nil || report.Total != 50 || len(report.Differences) != 5 || report.Streams != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if _, err := b.runner.Verify(b.ctx, projections.Selection{Projection: "weather"}, projections.VerifyOptions{}, nil); !domain.Is(err, domain.NotFound) {
		t.Errorf("unknown projection: %v", err)
	}
}

// A rebuild of one account leaves the rows of others alone, and tells those who keep what they read.
func TestRebuildAccount(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.open(bob, 3)
	var mu sync.Mutex
	told := map[string][]domain.AccountID{}
	b.start(func(r *projections.Runner) {
		r.OnRebuilt(func(_, projection string, id domain.AccountID) {
			mu.Lock()
			defer mu.Unlock()
			told[projection] = append(told[projection], id)
		})
	})
	b.wait()
	b.write(mailboxes.Name, `update messages set flags = 1`)
	var last projections.Progress
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{Accounts: []domain.AccountID{alice}}, projections.RebuildOptions{}, func(p projections.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if wrong := b.verify(projections.Selection{Accounts: []domain.AccountID{bob}}).Total; b.state(alice).Usage.Unseen != 3 || wrong != 3 {
		t.Errorf("alice %+v, bob has %d rows that are wrong", b.state(alice).Usage, wrong)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 3 || !slices.Equal(told[mailboxes.Name], []domain.AccountID{alice}) {
		t.Errorf("told of %v", told)
	}
	if last.Stream != stream || last.Phase != projections.Refreshing || last.Done != 1 || last.Total != 1 {
		t.Errorf("progress %+v", last)
	}
}

// A rebuild whose asker goes away changes nothing and leaves nothing behind.
func TestRebuildCancelled(t *testing.T) {
	b := newBench(t)
	b.open(alice, 500)
	b.cfg.Limits.BatchEntries = 10
	b.start()
	b.wait()
	b.write(mailboxes.Name, `update messages set flags = 1`)
	files := b.generations()
	ctx, cancel := context.WithCancel(b.ctx)
	_, err := b.runner.Rebuild(ctx, projections.Selection{Stream: stream}, projections.RebuildOptions{}, func(p projections.Progress) {
		if p.Done > 50 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("rebuild: %v", err)
	}
	if wrong := b.verify(projections.Selection{}).Total; wrong != 500 || !slices.Equal(b.generations(), files) {
		t.Errorf("the rows changed, or %v are left of %v", b.generations(), files)
	}
	b.end()
	if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); !domain.Is(err, domain.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
	if err := b.runner.Wait(b.ctx, stream, 9999); !domain.Is(err, domain.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// A rebuild whose process ends is gone on with by the next, from where it was.
func TestRebuildResumes(t *testing.T) {
	b := newBench(t)
	b.open(alice, 500)
	b.cfg.Limits.BatchEntries = 10
	b.start()
	b.wait()
	b.write(mailboxes.Name, `update messages set flags = 1`)
	var once sync.Once
	half, rebuilt := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := b.runner.Rebuild(b.ctx, projections.Selection{Stream: stream, Projection: mailboxes.Name}, projections.RebuildOptions{EntriesPerSecond: 1000}, func(p projections.Progress) {
			if p.Done >= 100 {
				once.Do(func() { close(half) })
			}
		})
		rebuilt <- err
	}()
	<-half
	b.end()
	if err := <-rebuilt; err == nil {
		t.Error("the rebuild says that it is done")
	}
	b.start()
	b.wait()
	for b.ctx.Err() == nil && b.live(mailboxes.Name).Number == 1 {
		time.Sleep(time.Millisecond)
	}
	b.clean()
	if !b.logged.has("goes on") {
		t.Error("it began anew")
	}
}

// Rows that mail waits for are made at once, also while a rebuild that somebody ordered has the only turn, and takes its time.
func TestMissedRowsGoFirst(t *testing.T) {
	b := newBench(t)
	b.needsFiles()
	b.open(alice, 500)
	b.cfg.Limits.BatchEntries, b.cfg.Limits.Replays = 10, 1
	b.prepare()
	for _, s := range b.runner.Status(b.ctx) {
		if s.Readable {
			t.Errorf("%s %s can be read before it is open", s.Stream, s.Name)
		}
	}
	b.start()
	b.wait()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	begun, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		_, err := b.runner.Rebuild(ctx, projections.Selection{Stream: stream, Projection: counters.Name}, projections.RebuildOptions{EntriesPerSecond: 1}, func(p projections.Progress) {
			if p.Done > 0 {
				once.Do(func() { close(begun) })
			}
		})
		ended <- err
	}()
	<-begun
	harms["deleted"](t, b.file(mailboxes.Name))
	b.log.Add(alice, 0, &event.FlagsChanged{Mailbox: 1, UIDs: domain.UIDs(2, 499), Add: event.Answered})
	b.wait()
	select {
	case err := <-ended:
		t.Fatalf("the rebuild ended before: %v", err)
	default:
	}
	for _, s := range b.runner.Status(b.ctx) {
		if s.Stream == stream && s.Name == mailboxes.Name && (!s.Readable || s.Generation == 1) {
			t.Errorf("mailboxes stands thus: %+v", s)
		}
	}
	cancel()
	<-ended
	b.clean()
}

// generations lists what is in the store.
func (b *bench) generations() []string {
	b.Helper()
	all, err := b.views.Generations(b.ctx)
	if err != nil {
		b.Fatal(err)
	}
	var names []string
	for _, g := range all {
		names = append(names, g.String())
	}
	slices.Sort(names)
	return names
}

// An account that is erased while rows are made anew leaves nothing in them, although entries of it were read before.
func TestEraseWhileRebuilding(t *testing.T) {
	for name, accounts := range map[string][]domain.AccountID{"everything": nil, "in a copy": {bob}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.cfg.Limits.InPlace = 10
			b.open(alice, 300)
			b.open(bob, 300)
			b.cfg.Limits.BatchEntries = 20
			b.start()
			b.wait()
			var once sync.Once
			erased := make(chan error, 1)
			sel := projections.Selection{Stream: stream, Projection: mailboxes.Name, Accounts: accounts}
			_, err := b.runner.Rebuild(b.ctx, sel, projections.RebuildOptions{EntriesPerSecond: 5000}, func(p projections.Progress) {
				if p.Phase != projections.Filling && p.Phase != projections.Refreshing || p.Done < 20 {
					return
				}
				once.Do(func() {
					go func() {
						err := b.log.Erase(b.ctx, alice)
						if err == nil {
							err = b.runner.Drop(b.ctx, alice)
						}
						for _, g := range b.generations() { // also in what is being filled, which a crash would leave
							view, opened := b.views.Open(b.ctx, generationOf(b.T, g))
							if domain.Is(opened, domain.Unavailable) {
								continue
							}
							n, read := numbers(b.ctx, view, `select count(*) from mailboxes where account = '`+string(alice)+`'`, 1)
							if strings.Contains(g, "."+mailboxes.Name+".") && (read == nil && n[0] != 0) {
								err = errors.Join(err, fmt.Errorf("generation %s has %d mailboxes of the erased account", g, n[0]))
							}
						}
						erased <- err
					}()
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := <-erased; err != nil {
				t.Error(err)
			}
			r, err := b.runner.ReaderOf(mailboxes.Name, alice)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := numbers(b.ctx, r, `select count(*) from messages where account = '`+string(alice)+`'`, 1); err != nil || n[0] != 0 {
				t.Errorf("%d messages of the erased account are left, %v", n, err)
			}
			b.clean()
		})
	}
}

func generationOf(t *testing.T, name string) (g projections.Generation) {
	parts := strings.Split(name, ".")
	n, err := strconv.Atoi(parts[2])
	if err != nil {
		t.Error(err)
	}
	return projections.Generation{Stream: parts[0], Projection: parts[1], Number: n}
}

// A copy that a process left behind is not gone on with: nobody knows which accounts' rows were to be made anew in it.
func TestRebuildLongAccountInterrupted(t *testing.T) {
	b := newBench(t)
	b.open(alice, 30)
	b.start()
	b.wait()
	b.write(mailboxes.Name, `update messages set flags = 1`)
	from := b.live(mailboxes.Name)
	to := from
	to.Number++
	if err := b.views.Copy(b.ctx, from, to); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.wait()
	if b.logged.has("goes on") || b.live(mailboxes.Name) != from || slices.Contains(b.generations(), to.String()) {
		t.Errorf("the copy was gone on with: %v", b.generations())
	}
}

// Plans may be asked for while generations come and go: nobody opens one that is being dropped.
func TestPlanDuringRebuilds(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.start()
	b.wait()
	done := make(chan error, 1)
	go func() {
		for range 30 {
			if _, err := b.runner.Rebuild(b.ctx, projections.Selection{}, projections.RebuildOptions{}, nil); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			listed, err := b.cfg.Views.Generations(b.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if plan, err := b.runner.Plan(b.ctx); err != nil || len(listed) != len(plan) {
				t.Fatalf("%d generations for %d projections, %v: one was made by looking at it", len(listed), len(plan), err)
			}
			return
		default:
		}
		plan, err := b.runner.Plan(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range plan {
			if len(p.Has) == 0 {
				t.Fatalf("%s of %s has no rows", p.Projection, p.Stream)
			}
		}
	}
}
