package snapshots_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/postgres"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/changes"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/quota"
	"github.com/streampost/streampost/projections/snapshots"
	"github.com/streampost/streampost/projections/threads"
	"github.com/streampost/streampost/projections/vault"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/blob/blobtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// database/sql's opener ends a moment after its DB is closed.
	leaks.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

var alice, bob = domain.NewAccountID([10]byte{1}), domain.NewAccountID([10]byte{2})

const stream = "ACCOUNTS_0"

// rules are all projections of accounts that the server has in lock-step.
func rules() []projections.Projection {
	return []projections.Projection{mailboxes.New(), threads.New(), counters.New(), quota.New(), changes.New(), vault.New(), blobs.New()}
}

// tb is what a test and a rapid property have in common.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Error(...any)
}

// node is a runner with views of its own.
type node struct {
	ctx    context.Context
	place  string
	runner *projections.Runner
	end    func()
}

// open opens the view store at a place: a directory, or the URL of a database.
func open(place string) (interface {
	projections.Views
	Close() error
}, error) {
	logger := slog.New(slog.DiscardHandler)
	if strings.HasPrefix(place, "postgres") {
		return postgres.Open(context.Background(), place, postgres.Options{Logger: logger})
	}
	return sqlview.Open(place, sqlview.Options{Logger: logger})
}

// start runs a node on a log.
func start(t tb, place string, log projections.Log, rules []projections.Projection, limits projections.Limits) *node {
	return startFrom(t, place, nil, log, rules, limits)
}

// startFrom runs a node that takes from snapshots what it lacks.
func startFrom(t tb, place string, from projections.Snapshots, log projections.Log, rules []projections.Projection, limits projections.Limits) *node {
	views, err := open(place)
	if err != nil {
		t.Fatal(err)
	}
	limits.VerifyEvery = -1
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	n := &node{ctx: ctx, place: place, runner: projections.NewRunner(projections.Config{Log: log, Views: views, Projections: rules, Snapshots: from, Logger: slog.New(slog.DiscardHandler), Limits: limits})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = n.runner.Run(ctx) }()
	n.end = func() { cancel(); <-ended; _ = views.Close() }
	return n
}

// wait waits until the node has what its log has.
func (n *node) wait(t tb, log projections.Log) {
	t.Helper()
	head, err := log.Head(n.ctx, stream)
	if err == nil {
		err = n.runner.Wait(n.ctx, stream, head)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// spoil changes rows in a view file as a stranger does.
func (n *node) spoil(t tb, projection, statement string, args ...any) {
	t.Helper()
	path := filepath.Join(n.place, projections.Generation{Stream: stream, Projection: projection, Number: 1}.String()+".db")
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.Exec(statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := result.RowsAffected(); err != nil || changed != 1 {
		t.Fatalf("%d rows are changed, %v", changed, err)
	}
}

// clean fails unless alice's rows are what the log says.
func (n *node) clean(t tb) {
	t.Helper()
	n.verify(t, alice)
}

// verify fails unless the rows of some accounts, or of all, are what the log says.
func (n *node) verify(t tb, accounts ...domain.AccountID) {
	t.Helper()
	report, err := n.runner.Verify(n.ctx, projections.Selection{Stream: stream, Accounts: accounts}, projections.VerifyOptions{Limit: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Differences {
		t.Error(d)
	}
	if report.Rows == 0 {
		t.Error("nothing was compared")
	}
}

// without is a log whose projectors do not meet alice's entries, so that their views stand at its end without her rows. It must end with somebody else's.
type without struct{ *projectiontest.Log }

func (l without) Follow(ctx context.Context, stream string, after domain.Seq, f func([]streams.Entry) error) error {
	return l.Log.Follow(ctx, stream, after, func(entries []streams.Entry) error {
		var others []streams.Entry
		for _, e := range entries {
			if e.Account != alice {
				others = append(others, e)
			}
		}
		if len(others) == 0 {
			return nil
		}
		return f(others)
	})
}

// nothing has no snapshots.
type nothing struct{}

func (nothing) Open(context.Context, domain.AccountID) (projections.Snapshot, error) {
	return nil, domain.Errorf(domain.NotFound, "there is no snapshot")
}

func (nothing) Each(context.Context, func(projections.Taken) error) error { return nil }

// world is a log with alice's and bob's mail, a node that projects it, and a bucket of snapshots.
type world struct {
	*testing.T
	ctx    context.Context
	log    *projectiontest.Log
	bucket *blobtest.Memory
	store  *snapshots.Store
	maker  *snapshots.Maker
	node   *node
	cfg    snapshots.Config
}

func newWorld(t *testing.T, limits snapshots.Limits) *world {
	w := &world{T: t, ctx: t.Context(), log: projectiontest.New(1), bucket: new(blobtest.Memory)}
	w.store = newStore(t, w.bucket, w.log)
	w.node = start(t, t.TempDir(), w.log, rules(), projections.Limits{})
	t.Cleanup(func() { w.node.end() })
	w.cfg = snapshots.Config{Store: w.store, Views: w.node.runner, Streams: func() []string { return []string{stream} }, Limits: limits, Logger: slog.New(slog.DiscardHandler)}
	w.maker = snapshots.NewMaker(w.cfg)
	for _, id := range []domain.AccountID{alice, bob} {
		w.log.Add(id, 1, opened()...)
		w.deliver(id, 1, 3)
	}
	return w
}

func newStore(t tb, bucket *blobtest.Memory, log *projectiontest.Log) *snapshots.Store {
	store, err := snapshots.New(context.Background(), bucket, log)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// opened is what makes a new account.
func opened() []event.Event {
	events, _ := account.Decide(account.New(), account.Open{UIDValidity: 1})
	return events
}

// deliver adds messages, each by a transaction of its own.
func (w *world) deliver(id domain.AccountID, from, to int) {
	for uid := from; uid <= to; uid++ {
		w.log.Add(id, int64(uid), delivered(uid))
	}
}

// make makes alice's snapshot of all that is in the log.
func (w *world) make(id domain.AccountID) *snapshots.Header {
	w.Helper()
	w.node.wait(w, w.log)
	h, err := w.maker.Make(w.ctx, id)
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// hydrate has a node without alice's rows make them, which must come out right.
func (w *world) hydrate(rules []projections.Projection, from projections.Snapshots) projections.Hydrated {
	w.Helper()
	return w.hydrateIn(w.TempDir(), rules, from)
}

func (w *world) hydrateIn(place string, rules []projections.Projection, from projections.Snapshots) projections.Hydrated {
	w.Helper()
	w.log.Add(bob, 9, &event.SubscriptionChanged{Name: "INBOX", Subscribed: true})
	n := start(w, place, without{w.log}, rules, projections.Limits{})
	defer n.end()
	n.wait(w, w.log)
	done, err := n.runner.Hydrate(n.ctx, alice, from)
	if err != nil {
		w.Fatal(err)
	}
	n.clean(w)
	return done
}

// newer is a projection of another version.
type newer struct{ projections.Projection }

func (n newer) Version() int { return n.Projection.Version() + 1 }

var errCrash = errors.New("the process died")

// plain is a small message's summary.
func plain(subject string) message.Summary {
	return message.Summary{
		Envelope: message.Envelope{Subject: fmt.Sprint(subject), Has: message.HasSubject},
		Root:     message.Part{Type: "text", Subtype: "plain", Encoding: "7bit", Body: 10, End: 20},
	}
}

// liar gives one octet more than each account uses.
type liar struct{ *projections.Runner }

func (l liar) Freeze(ctx context.Context, id domain.AccountID, f func(domain.Seq, []projections.Frozen) error) error {
	return l.Runner.Freeze(ctx, id, func(at domain.Seq, frozen []projections.Frozen) error {
		for i := range frozen {
			if frozen[i].Projection.Name() == quota.Name {
				frozen[i].Rows = lies{frozen[i].Rows}
			}
		}
		return f(at, frozen)
	})
}

type lies struct{ projections.Reader }

func (l lies) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return l.Reader.Query(ctx, strings.Replace(query, "select bytes,", "select bytes + 1,", 1), args...)
}
