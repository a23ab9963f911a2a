package listen_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// post is a log with listeners on an embedded server.
type post struct {
	t         testing.TB
	dir       string
	server    *natsd.Server
	syncer    streams.Syncer
	log       *streams.Log
	listeners *listen.Listeners
	at        map[domain.AccountID]streams.Position
	quick     listen.Limits
}

func newPost(t testing.TB) *post {
	t.Helper()
	p := &post{t: t, dir: t.TempDir(), at: map[domain.AccountID]streams.Position{}, quick: listen.Limits{AckWait: 3 * time.Second}}
	p.start(nil)
	t.Cleanup(p.stop)
	return p
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (p *post) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// start opens everything; wrap may replace the syncer.
func (p *post) start(wrap func(streams.Syncer) streams.Syncer) {
	p.t.Helper()
	ctx := deadline(p.t)
	var err error
	p.server, err = natsd.Start(ctx, natsd.Config{Dir: filepath.Join(p.dir, "log")})
	p.must(err)
	p.syncer = p.server
	if wrap != nil {
		p.syncer = wrap(p.server)
	}
	master, err := streams.LoadMaster(filepath.Join(p.dir, "keys"))
	p.must(err)
	p.log, err = streams.Open(ctx, streams.Config{Conn: p.server.Conn(), Syncer: p.syncer, Master: master, Topology: streams.Topology{Shards: 2}})
	p.must(err)
	p.listeners, err = listen.Open(ctx, listen.Config{Log: p.log, Syncer: p.syncer, Limits: p.quick})
	p.must(err)
}

func (p *post) stop() {
	ctx := context.Background()
	if p.listeners != nil {
		p.must(p.listeners.Close(ctx))
		p.must(p.log.Close(ctx))
		p.must(p.server.Close(ctx))
	}
	p.listeners = nil
}

func (p *post) account() domain.AccountID {
	p.t.Helper()
	var random [10]byte
	_, _ = rand.Read(random[:])
	id := domain.NewAccountID(random)
	p.must(p.log.Create(deadline(p.t), id))
	return id
}

// say appends transactions whose actor tells them apart.
func (p *post) say(id domain.AccountID, words ...string) {
	p.t.Helper()
	for _, w := range words {
		t := &event.Transaction{At: 1, Actor: w, Events: []event.Event{&event.DomainAdded{Name: "example.org"}}}
		_, _ = rand.Read(t.ID[:])
		at, err := p.log.Append(deadline(p.t), id, p.at[id], t)
		p.must(err)
		p.at[id] = at
	}
}

func numbered(n int) (words []string) {
	for i := range n {
		words = append(words, fmt.Sprintf("%03d", i))
	}
	return words
}

// ear is a listener that notes what it handled and fails as it is told.
type ear struct {
	mu    sync.Mutex
	heard map[domain.AccountID][]string
	fail  func(account domain.AccountID, word string) error
	more  chan struct{} // a token after each Handle
}

func newEar() *ear {
	return &ear{heard: map[domain.AccountID][]string{}, more: make(chan struct{}, 1), fail: func(domain.AccountID, string) error { return nil }}
}

func (e *ear) listener() listen.Listener {
	return listen.Listener{Name: "ear", Version: 1, Batch: 8, Handle: e.handle, Retry: listen.Retry{Attempts: 3, First: time.Millisecond, Max: 4 * time.Millisecond}}
}

func (e *ear) handle(_ context.Context, entries []streams.Entry) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() {
		select {
		case e.more <- struct{}{}:
		default:
		}
	}()
	for i := range entries {
		word := entries[i].Transaction.Actor
		if err := e.fail(entries[i].Account, word); err != nil {
			return i, err
		}
		e.heard[entries[i].Account] = append(e.heard[entries[i].Account], word)
	}
	return len(entries), nil
}

func (e *ear) setFail(f func(domain.AccountID, string) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail = f
}

func (e *ear) of(id domain.AccountID) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard[id])
}

// until waits for a condition that some Handle, or a moment, brings about.
func (p *post) until(what string, e *ear, ok func() bool) {
	p.t.Helper()
	ctx := deadline(p.t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-e.more:
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("%s did not come", what)
		}
	}
}

func (p *post) hears(e *ear, id domain.AccountID, want ...string) {
	p.t.Helper()
	p.until(fmt.Sprintf("account %s: %q", id, want), e, func() bool { return len(e.of(id)) >= len(want) })
	if got := e.of(id); !slices.Equal(got, want) {
		p.t.Errorf("account %s was heard as %q, want %q", id, got, want)
	}
}
