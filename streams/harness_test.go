package streams_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
)

// node is a log on an embedded server in a temporary directory. It can be stopped and started again.
type node struct {
	t      testing.TB
	dir    string
	server *natsd.Server
	log    *streams.Log
	natsd  natsd.Config
	config streams.Config
	wrap   func(*natsd.Server) streams.Syncer // replaces the server's own
}

// startNode runs a log with two shards, changed by the options.
func startNode(t testing.TB, options ...func(*node)) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	n.config.Topology = streams.Topology{Shards: 2}
	for _, o := range options {
		o(n)
	}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func always(n *node) { n.natsd.Sync = natsd.SyncAlways }

func shards(count int) func(*node) { return func(n *node) { n.config.Topology.Shards = count } }

func (n *node) start() error {
	ctx := deadline(n.t)
	n.natsd.Dir = filepath.Join(n.dir, "log")
	server, err := natsd.Start(ctx, n.natsd)
	if err != nil {
		return err
	}
	n.server = server
	cfg := n.config
	if cfg.Conn = server.Conn(); n.natsd.Sync == natsd.SyncGroup {
		cfg.Syncer = server
	}
	if n.wrap != nil {
		cfg.Syncer = n.wrap(server)
	}
	if cfg.Master == nil {
		if cfg.Master, err = streams.LoadMaster(filepath.Join(n.dir, "keys")); err != nil {
			return err
		}
	}
	n.log, err = streams.Open(ctx, cfg)
	return err
}

func (n *node) stop() {
	ctx := context.Background()
	if n.log != nil {
		if err := n.log.Close(ctx); err != nil {
			n.t.Error(err)
		}
		n.log = nil
	}
	if n.server != nil {
		if err := n.server.Close(ctx); err != nil {
			n.t.Error(err)
		}
		n.server = nil
	}
}

func (n *node) restart() {
	n.t.Helper()
	n.stop()
	if err := n.start(); err != nil {
		n.t.Fatal(err)
	}
}

// deadline is a context that ends a test which hangs.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// account makes an account with a key.
func (n *node) account() domain.AccountID {
	n.t.Helper()
	var random [10]byte
	_, _ = rand.Read(random[:])
	id := domain.NewAccountID(random)
	if err := n.log.Create(deadline(n.t), id); err != nil {
		n.t.Fatal(err)
	}
	return id
}

// note is a small transaction that a reader can tell from others.
func note(format string, args ...any) *event.Transaction {
	t := &event.Transaction{At: 1, Actor: fmt.Sprintf(format, args...), Events: []event.Event{&event.DomainAdded{Name: "example.org"}}}
	_, _ = rand.Read(t.ID[:])
	return t
}

// writer appends to one account.
type writer struct {
	n  *node
	id domain.AccountID
	at streams.Position
}

func (n *node) writer() *writer { return &writer{n: n, id: n.account()} }

func (w *writer) append(format string, args ...any) {
	w.n.t.Helper()
	at, err := w.n.log.Append(deadline(w.n.t), w.id, w.at, note(format, args...))
	if err != nil {
		w.n.t.Fatalf("append: %v", err)
	}
	w.at = at
}

// notes reads back what an account wrote.
func (n *node) notes(id domain.AccountID) (notes []string, err error) {
	for e, err := range n.log.ReadAccount(deadline(n.t), id, 0) {
		if err != nil {
			return notes, err
		}
		notes = append(notes, e.Transaction.Actor)
	}
	return notes, nil
}

// stored reads every file of the log's directory.
func (n *node) stored() map[string][]byte {
	n.t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(filepath.Join(n.dir, "log"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return files
}

func wantKind(t testing.TB, err error, kind domain.Kind) {
	t.Helper()
	if !domain.Is(err, kind) {
		t.Fatalf("error %v is of kind %v, want %v", err, domain.KindOf(err), kind)
	}
}
