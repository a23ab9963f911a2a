package projections_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/mailboxes"
)

func TestVerifyTellsEveryDifference(t *testing.T) {
	for name, c := range map[string]struct{ damage, want string }{
		"a flag":           {`update messages set flags = 1 where uid = 2 and account = '` + string(alice) + `'`, `messages[account="` + string(alice) + `", mailbox=1, uid=2].flags is 1 in the view and 0 by the log`},
		"a lost row":       {`delete from emails where email = 3 and account = '` + string(alice) + `'`, `emails[account="` + string(alice) + `", email=3] is missing in the view and a row by the log`},
		"a row too many":   {`insert into keywords values ('x', 0, 'y')`, `keywords[account="x", number=0] is a row in the view and missing by the log`},
		"a counter":        {`update counters set unseen = 7 where mailbox = 1 and account = '` + string(bob) + `'`, `counters[account="` + string(bob) + `", mailbox=1].unseen is 7 in the view and 3 by the log`},
		"a quota":          {`update quota set bytes = bytes + 1 where account = '` + string(bob) + `'`, `quota[account="` + string(bob) + `"].bytes is 301 in the view and 300 by the log`},
		"a secret":         {`update emails set blob_key = x'00' where email = 1 and account = '` + string(bob) + `'`, `emails[account="` + string(bob) + `", email=1].blob_key is (secret) in the view and (another secret) by the log`},
		"another's thread": {`insert into threads values ('` + string(bob) + `', 1, 2)`, `threads[account="` + string(bob) + `", thread_key=1] is a row in the view and missing by the log`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.open(alice, 3)
			b.open(bob, 3)
			b.start()
			b.clean()
			b.write(c.damage)
			report := b.verify(projections.Selection{})
			if report.Total != 1 || len(report.Differences) != 1 || !strings.HasSuffix(report.Differences[0].String(), c.want) {
				t.Fatalf("%d differences: %v", report.Total, report.Differences)
			}
			if err := b.runner.Rebuild(b.ctx, projections.Selection{Projection: report.Differences[0].Projection}, nil); err != nil {
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
	b.write(`update messages set size = 1`)
	report, err := b.runner.Verify(b.ctx, projections.Selection{Projection: mailboxes.Name, Account: alice}, 5, nil)
	if err != nil || report.Total != 50 || len(report.Differences) != 5 || report.Streams != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if _, err := b.runner.Verify(b.ctx, projections.Selection{Projection: "weather"}, 5, nil); !domain.Is(err, domain.NotFound) {
		t.Errorf("unknown projection: %v", err)
	}
}

// A rebuild of one account leaves the rows of others alone, and tells those who keep what they read.
func TestRebuildAccount(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.open(bob, 3)
	var mu sync.Mutex
	var told []domain.AccountID
	b.start(func(r *projections.Runner) {
		r.OnRebuilt(func(_ string, id domain.AccountID) { mu.Lock(); defer mu.Unlock(); told = append(told, id) })
	})
	b.wait()
	b.write(`update messages set flags = 1`)
	var last projections.Progress
	if err := b.runner.Rebuild(b.ctx, projections.Selection{Account: alice}, func(p projections.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if b.state(alice).Usage.Unseen != 3 || b.state(bob).Usage.Unseen != 0 {
		t.Errorf("alice %+v, bob %+v", b.state(alice).Usage, b.state(bob).Usage)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 1 || told[0] != alice {
		t.Errorf("told of %v", told)
	}
	if last != (projections.Progress{Stream: stream, Done: 8, Total: 8}) && last != (projections.Progress{}) {
		t.Errorf("progress %+v", last)
	}
}

// A rebuild whose asker goes away, or whose process ends, is finished by itself.
func TestRebuildResumes(t *testing.T) {
	b := newBench(t)
	b.open(alice, 500)
	b.cfg.Limits.BatchEntries = 10
	b.start()
	b.wait()
	b.write(`update messages set flags = 1`)
	ctx, cancel := context.WithCancel(b.ctx)
	err := b.runner.Rebuild(ctx, projections.Selection{}, func(p projections.Progress) {
		if p.Done > 50 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("rebuild: %v", err)
	}
	b.end()
	b.start()
	b.clean()
	b.end()
	if err := b.runner.Rebuild(b.ctx, projections.Selection{}, nil); !domain.Is(err, domain.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
	if err := b.runner.Wait(b.ctx, stream, 9999); !domain.Is(err, domain.Unavailable) {
		t.Errorf("after the end: %v", err)
	}
}
