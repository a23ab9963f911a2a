package blobjs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/blobjs"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// behind is the stream as NATS sees it.
func behind(t *testing.T, conn *nats.Conn) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "OBJ_blobs")
	if err != nil {
		t.Fatal(err)
	}
	return js, s
}

// chunks counts the subjects under which chunks lie.
func chunks(t *testing.T, conn *nats.Conn) int {
	t.Helper()
	_, s := behind(t, conn)
	info, err := s.Info(t.Context(), jetstream.WithSubjectFilter("$O.blobs.C.*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(info.State.Subjects)
}

// TestNothingIsLeftBehind: of versions that were replaced, of deleted blobs, and of writers that race for one name no chunk stays.
func TestNothingIsLeftBehind(t *testing.T) {
	conn := connect(t)
	a, b := open(t, blobjs.Config{Conn: conn}), open(t, blobjs.Config{Conn: conn}) // two nodes
	p := blobtest.Text(300 << 10)
	var wg sync.WaitGroup
	for _, node := range []blob.Bucket{a, b, a, b} {
		wg.Go(func() {
			for range 10 {
				if _, err := blobtest.Upload(node, p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	id := domain.BlobID(sha256.Sum256(p))
	if got, err := read(b, id); err != nil || !bytes.Equal(got, p) {
		t.Errorf("%d octets, %v", len(got), err)
	}
	if n := chunks(t, conn); n != 1 {
		t.Errorf("chunks of %d versions are there", n)
	}
	if deleted, err := a.Delete(t.Context(), id, time.Time{}); !deleted || err != nil {
		t.Error(deleted, err)
	}
	u, err := a.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = u.Write(p)
	u.Abort()
	_, s := behind(t, conn)
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != 0 {
		t.Errorf("%d messages are there, %v", info.State.Msgs, err)
	}
}

// TestSweep: what a process that died has left goes when it is old, and nothing else does.
func TestSweep(t *testing.T) {
	conn := connect(t)
	b := open(t, blobjs.Config{Conn: conn})
	id, err := blobtest.Upload(b, blobtest.Text(300<<10))
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(blobtest.Text(2 << 20)); err != nil { // and here the process dies
		t.Fatal(err)
	}
	if err := b.Sweep(t.Context()); err != nil || chunks(t, conn) != 2 {
		t.Errorf("what is young: %d, %v", chunks(t, conn), err)
	}
	later := open(t, blobjs.Config{Conn: conn, Limits: blobjs.Limits{Orphan: 1}})
	if err := later.Sweep(t.Context()); err != nil || chunks(t, conn) != 1 {
		t.Errorf("what is old: %d, %v", chunks(t, conn), err)
	}
	if got, err := read(b, id); err != nil || len(got) != 300<<10 {
		t.Errorf("a blob went as well: %v", err)
	}
	// While a description cannot be read, nobody knows which chunks are its own.
	js, _ := behind(t, conn)
	if _, err := js.Publish(t.Context(), "$O.blobs.M.bm9uc2Vuc2U=", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if err := later.Sweep(t.Context()); !domain.Is(err, domain.Corrupt) {
		t.Errorf("with a damaged description: %v", err)
	}
}

// TestAStoreThatIsFull refuses, says so, and shows nothing of what it refused.
func TestAStoreThatIsFull(t *testing.T) {
	conn := connect(t)
	b := open(t, blobjs.Config{Conn: conn})
	before, err := blobtest.Upload(b, blobtest.Text(1000))
	if err != nil {
		t.Fatal(err)
	}
	js, s := behind(t, conn)
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = 500 << 10
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	id, err := blobtest.Upload(b, blobtest.Text(1<<20))
	var told *domain.Error
	if !domain.Is(err, domain.Unavailable) || !errors.As(err, &told) || !strings.Contains(told.Hint, "no room for blobs") {
		t.Errorf("got %v", err)
	}
	if _, err := b.Open(t.Context(), id); !domain.Is(err, domain.NotFound) {
		t.Errorf("a part of it is to be seen: %v", err)
	}
	if got, err := read(b, before); err != nil || len(got) != 1000 {
		t.Errorf("what was there: %v", err)
	}
}

// TestAStoreThatWasEdited is refused, with what is wrong.
func TestAStoreThatWasEdited(t *testing.T) {
	for want, change := range map[string]func(*jetstream.StreamConfig){
		"allow_direct true": func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"max_age 1h0m0s":    func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
	} {
		conn := connect(t)
		open(t, blobjs.Config{Conn: conn})
		js, s := behind(t, conn)
		cfg := s.CachedInfo().Config
		change(&cfg)
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := blobjs.Open(t.Context(), blobjs.Config{Conn: conn, Space: "blobs"}); !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestChunksThatDoNotFit(t *testing.T) {
	_, err := blobjs.Open(t.Context(), blobjs.Config{Conn: connect(t), Space: "blobs", Limits: blobjs.Limits{Chunk: 8 << 20}})
	if !domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("got %v", err)
	}
}

// TestRestartsOfTheServer: what was committed is there, and what comes while the server is away waits for it.
func TestRestartsOfTheServer(t *testing.T) {
	dir := t.TempDir()
	var running *server.Server
	launch := func(port int) {
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, SyncAlways: true, MaxPayload: 8 << 20, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the NATS server does not start")
		}
		running = s
	}
	launch(-1)
	t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	port := running.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	conn, err := nats.Connect(running.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	b := open(t, blobjs.Config{Conn: conn, Limits: blobjs.Limits{Request: time.Second, Timeout: 3 * time.Minute}})
	stop := make(chan struct{})
	var mu sync.Mutex
	var stored [][]byte
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p := append(blobtest.Text(200<<10*(i%2)), fmt.Sprintf("writer %d, blob %d", w, i)...)
				if _, err := blobtest.Upload(b, p); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				stored = append(stored, p)
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(stored)
	}
	for round := range 3 {
		for want := count() + 20; count() < want && !t.Failed(); time.Sleep(time.Millisecond) {
		}
		running.Shutdown()
		running.WaitForShutdown()
		launch(int(port))
		t.Logf("round %d: %d blobs", round, count())
	}
	close(stop)
	writers.Wait()
	for _, p := range stored {
		if got, err := read(b, sha256.Sum256(p)); err != nil || !bytes.Equal(got, p) {
			t.Errorf("%d octets: %d came, %v", len(p), len(got), err)
		}
	}
}
