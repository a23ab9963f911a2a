package archive_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/integration/leaks"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/archive"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

func TestMain(m *testing.M) { leaks.VerifyTestMain(m) }

// world is a log on an embedded server and its archive, which outlives it.
type world struct {
	*testing.T
	ctx    context.Context
	keys   string           // the directory of master keys
	bucket *blobtest.Memory // of segments
	vault  *blobtest.Memory // of keys
	far    *archive.Buckets // instead of both
	limits archive.Limits
	fail   func(name string)
	anew   func(ctx context.Context) error // what a rotation calls

	dir      string
	server   *natsd.Server
	log      *streams.Log
	store    *archive.Store
	archiver *archive.Archiver
}

func newWorld(t *testing.T, options ...func(*world)) *world {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	w := &world{T: t, ctx: ctx, keys: t.TempDir(), bucket: new(blobtest.Memory), vault: new(blobtest.Memory), dir: t.TempDir(), limits: archive.Limits{Every: time.Hour, Fan: 3}}
	for _, o := range options {
		o(w)
	}
	t.Cleanup(w.stop)
	w.start()
	return w
}

func (w *world) buckets() archive.Buckets {
	if w.far != nil {
		return *w.far
	}
	return archive.Buckets{Keys: w.vault, Segments: w.bucket}
}

func (w *world) master() *streams.MasterKeys {
	w.Helper()
	master, err := streams.LoadMaster(w.keys)
	if err != nil {
		w.Fatal(err)
	}
	return master
}

// listen starts the server alone.
func (w *world) listen() {
	w.Helper()
	var err error
	if w.server, err = natsd.Start(w.ctx, natsd.Config{Dir: filepath.Join(w.dir, "log")}); err != nil {
		w.Fatal(err)
	}
}

// start opens the log, or makes one.
func (w *world) start() {
	w.Helper()
	if w.server == nil {
		w.listen()
	}
	var err error
	if w.log, err = streams.Open(w.ctx, streams.Config{Conn: w.server.Conn(), Syncer: w.server, Master: w.master(), Topology: streams.Topology{Shards: 2}, Rewrapped: func(ctx context.Context) error {
		if w.anew == nil {
			return nil
		}
		return w.anew(ctx)
	}}); err != nil {
		w.Fatal(err)
	}
	if w.store, err = archive.Open(w.ctx, w.buckets(), w.log); err != nil {
		w.Fatal(err)
	}
	w.archiver = w.another(nil)
}

// another gives one more archiver of the same log.
func (w *world) another(turn *archive.Turn) *archive.Archiver {
	return archive.NewArchiver(archive.Config{Store: w.store, Log: w.log, Turn: turn, Limits: w.limits, Failpoint: func(name string) {
		if w.fail != nil {
			w.fail(name)
		}
	}})
}

func (w *world) stop() {
	if w.log != nil {
		if err := w.log.Close(context.Background()); err != nil {
			w.Error(err)
		}
		w.log = nil
	}
	if w.server != nil {
		if err := w.server.Close(context.Background()); err != nil {
			w.Error(err)
		}
		w.server = nil
	}
}

// lose takes the whole log away. What is left is the archive and the master keys.
func (w *world) lose() {
	w.stop()
	w.dir = w.TempDir()
}

// restore fills an empty log from the archive and opens it.
func (w *world) restore(change func(*archive.Part)) *streams.Restored {
	w.Helper()
	w.listen()
	sum, err := w.tryRestore(change)
	if err != nil {
		w.Fatal(err)
	}
	w.start()
	return sum
}

func (w *world) tryRestore(change func(*archive.Part)) (*streams.Restored, error) {
	store, root, err := archive.OpenLost(w.ctx, w.buckets(), w.master(), archive.Latest)
	if err != nil {
		return nil, err
	}
	part := &archive.Part{Store: store, Topology: streams.Topology{Shards: root.Shards}, Lost: func(f streams.Finding) { w.Errorf("lost: %v", &f) }}
	if change != nil {
		change(part)
	}
	return streams.Restore(w.ctx, streams.RestoreConfig{Conn: w.server.Conn(), Syncer: w.server, Topology: streams.Topology{Shards: root.Shards}}, part)
}

// round archives what there is.
func (w *world) round() {
	w.Helper()
	if err := w.archiver.Round(w.ctx); err != nil {
		w.Fatal(err)
	}
}

// verify wants the archive to be as it must, and gives the report.
func (w *world) verify() *archive.Report {
	w.Helper()
	report := w.look()
	for i := range report.Findings {
		w.Errorf("found: %v", &report.Findings[i])
	}
	return report
}

func (w *world) look() *archive.Report {
	w.Helper()
	report, err := archive.Verify(w.ctx, w.store, w.log, archive.VerifyOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return report
}

// writer appends to one account.
type writer struct {
	w  *world
	id domain.AccountID
	at streams.Position
}

func (w *world) writer() *writer {
	w.Helper()
	var random [10]byte
	_, _ = rand.Read(random[:])
	id := domain.NewAccountID(random)
	if err := w.log.Create(w.ctx, id); err != nil {
		w.Fatal(err)
	}
	return &writer{w: w, id: id}
}

func (a *writer) append(notes ...string) {
	a.w.Helper()
	for _, note := range notes {
		t := &event.Transaction{At: 1, Actor: note, Events: []event.Event{&event.DomainAdded{Name: "example.org"}}}
		_, _ = rand.Read(t.ID[:])
		at, err := a.w.log.Append(a.w.ctx, a.id, a.at, t)
		if err != nil {
			a.w.Fatal(err)
		}
		a.at = at
	}
}

// notes reads what an account wrote.
func (w *world) notes(id domain.AccountID) string {
	w.Helper()
	text := ""
	for e, err := range w.log.ReadAccount(w.ctx, id, 0) {
		if err != nil {
			w.Fatalf("after %q: %v", text, err)
		}
		text += e.Transaction.Actor + " "
	}
	return text
}

func (w *world) wantNotes(id domain.AccountID, want string) {
	w.Helper()
	if got := w.notes(id); got != want {
		w.Errorf("account %s has %q, want %q", id, got, want)
	}
}

// sound wants Verify of the log to find nothing.
func (w *world) sound() {
	w.Helper()
	report, err := w.log.Verify(w.ctx, streams.VerifyOptions{Keys: true}, nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := range report.Findings {
		w.Errorf("the log is damaged: %v", &report.Findings[i])
	}
}

func wantKind(t testing.TB, err error, kind domain.Kind) {
	t.Helper()
	if !domain.Is(err, kind) {
		t.Fatalf("error %v is of kind %v, want %v", err, domain.KindOf(err), kind)
	}
}

func numbers(from, to int) (all []string) {
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}
