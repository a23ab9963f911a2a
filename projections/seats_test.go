package projections_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview/postgres"
	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/projections/vault"
)

// Streams that commit at the same time need more connections than there are: each gets all that it needs, one after the other. So do comparisons,
// which hold a snapshot of every view.
func TestFewConnections(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	views, err := postgres.Open(ctx, pgtest.Shared(t).Database(t), postgres.Options{Connections: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = views.Close() })
	log := projectiontest.New(4)
	open, err := account.Decide(account.New(), account.Open{UIDValidity: 1})
	if err != nil {
		t.Fatal(err)
	}
	var ids []domain.AccountID
	for i := range 32 {
		ids = append(ids, domain.NewAccountID([10]byte{byte(i + 1)}))
		log.Add(ids[i], 1000, open...)
	}
	runner := projectiontest.Run(t, log, views,
		mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New(), vault.New(), blobs.New())
	var comparing sync.WaitGroup
	for range 4 {
		comparing.Go(func() {
			if _, err := runner.Verify(ctx, projections.Selection{}, projections.VerifyOptions{}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for uid := range 20 {
		for _, id := range ids {
			n := uint32(uid + 1)
			log.Add(id, 2000, &event.MessageAdded{Mailbox: 1, UID: domain.UID(n), Email: domain.EmailID(n), Thread: domain.ThreadID(n)})
		}
		for _, stream := range log.Streams() {
			head, err := log.Head(ctx, stream)
			if err == nil {
				err = runner.Wait(ctx, stream, head)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	comparing.Wait()
}

// A store with too few connections says so.
func TestTooFewConnections(t *testing.T) {
	b := newBench(t)
	b.open(alice, 1)
	b.prepare()
	b.cfg.Views = bounded{b.views}
	runner := projectiontest.Run(t, b.log, b.cfg.Views, b.cfg.Projections...)
	defer b.end()
	for b.ctx.Err() == nil {
		for _, s := range runner.Status(b.ctx) {
			if s.Stream == stream && s.State == projections.Retrying && strings.Contains(s.Error, "needs more connections") {
				return
			}
		}
		runtime.Gosched()
	}
	t.Error("nothing is said about connections")
}

type bounded struct{ projections.Views }

func (bounded) Bounds() (writes, compared int) { return 2, 2 }
