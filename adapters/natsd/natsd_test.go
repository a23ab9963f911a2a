package natsd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/integration/ports"
)

func start(t *testing.T, cfg natsd.Config) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func publish(t *testing.T, s *natsd.Server, stream string, count int) {
	t.Helper()
	js, err := jetstream.New(s.Conn())
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{stream + ".>"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if _, err := js.Publish(t.Context(), stream+".a", fmt.Appendf(nil, "message %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantError(t *testing.T, err error, kind domain.Kind, text string) {
	t.Helper()
	if !domain.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v (%v), want %v with %q", err, domain.KindOf(err), kind, text)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, natsd.Config{Dir: dir})
	_, err := natsd.Start(t.Context(), natsd.Config{Dir: dir})
	wantError(t, err, domain.Unavailable, "another process uses the log")
}

func TestUnusableDirectories(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := natsd.Start(t.Context(), natsd.Config{Dir: file})
	wantError(t, err, domain.Unavailable, "a file is in the way")
	_, err = natsd.Start(t.Context(), natsd.Config{})
	wantError(t, err, domain.Invalid, "directory")

	t.Run("read-only", func(t *testing.T) {
		dir := mount(t, 1<<20)
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("cannot make a read-only file system here: %v", err)
		}
		_, err := natsd.Start(t.Context(), natsd.Config{Dir: filepath.Join(dir, "log")})
		wantError(t, err, domain.Unavailable, "read-only")
	})
}

// TestDiskFull fills a small file system, and wants a clear error, and everything there after there is room again.
func TestDiskFull(t *testing.T) {
	dir := mount(t, 2<<20)
	s := start(t, natsd.Config{Dir: filepath.Join(dir, "log")})
	publish(t, s, "A", 1)
	if err := s.Sync(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(s.Conn())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	acked := uint64(1)
	for full := false; !full; {
		future, err := js.PublishAsync("A.a", make([]byte, 50_000))
		if err != nil {
			t.Fatal(err)
		}
		select {
		case ack := <-future.Ok():
			acked = ack.Sequence
		case <-s.Faults():
			full = true
		case err := <-future.Err():
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal("the disk never filled")
		}
	}
	wantError(t, s.Fault("A"), domain.Unavailable, "the disk is full")
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if s, err := natsd.Start(t.Context(), natsd.Config{Dir: filepath.Join(dir, "log")}); err != nil {
		wantError(t, err, domain.Unavailable, "the disk is full")
	} else if err := s.Close(ctx); err != nil { // there was room for the little that a start needs
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	s = start(t, natsd.Config{Dir: filepath.Join(dir, "log")})
	js, _ = jetstream.New(s.Conn())
	stream, err := js.Stream(ctx, "A")
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo(); info.State.LastSeq < acked || info.State.NumDeleted != 0 {
		t.Errorf("after the disk was full the stream has %+v, acknowledged were %d", info.State, acked)
	}
}

// mount gives a small file system of its own.
func mount(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		if strings.Contains(os.Getenv("STREAMPOST_REQUIRE"), "mount") {
			t.Fatal(err)
		}
		t.Skipf("cannot mount a file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDamagedStreamStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, natsd.Config{Dir: dir})
	publish(t, s, "A", 3)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	meta := filepath.Join(dir, "jetstream", "$G", "streams", "A", "meta.inf")
	content, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	content[10] ^= 1
	if err := os.WriteFile(meta, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = natsd.Start(t.Context(), natsd.Config{Dir: dir})
	wantError(t, err, domain.Corrupt, "stream A is on disk but cannot be loaded")

	content[10] ^= 1
	if err := os.WriteFile(meta, content, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, natsd.Config{Dir: dir})
}

// TestSyncAcrossBlocks follows a stream through its first block, more in the same, and new blocks.
func TestSyncAcrossBlocks(t *testing.T) {
	dir := t.TempDir()
	s := start(t, natsd.Config{Dir: dir})
	js, err := jetstream.New(s.Conn())
	if err != nil {
		t.Fatal(err)
	}
	// A bound on the stream's size makes the server use small blocks.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}, MaxBytes: 120_000}); err != nil {
		t.Fatal(err)
	}
	for i := range 35 {
		if _, err := js.Publish(t.Context(), "a", make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(t.Context(), "A"); err != nil {
			t.Fatalf("sync %d: %v", i, err)
		}
	}
	blocks, _ := filepath.Glob(filepath.Join(dir, "jetstream", "$G", "streams", "A", "msgs", "*.blk"))
	if len(blocks) < 3 {
		t.Errorf("the stream has %d blocks: this test needs more", len(blocks))
	}
	err = s.Sync(t.Context(), "NOBODY")
	wantError(t, err, domain.Unavailable, "make NOBODY durable")
}

func TestMarks(t *testing.T) {
	dir := t.TempDir()
	s := start(t, natsd.Config{Dir: dir})
	if got := s.Marked("A"); got != 0 {
		t.Errorf("no mark reads as %d", got)
	}
	s.Mark("A", 5)
	s.Mark("A", 1<<40)
	if got := s.Marked("A"); got != 1<<40 {
		t.Errorf("the mark is %d", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "marks", "A"), []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.Marked("A"); got != 0 {
		t.Errorf("a damaged mark reads as %d", got)
	}
}

func TestListen(t *testing.T) {
	_, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir(), Listen: "0.0.0.0:0"})
	wantError(t, err, domain.Invalid, "password")
	s := start(t, natsd.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", User: "u", Password: "p"})
	publish(t, s, "A", 1) // the connection inside has its own way in
	if _, err := nats.Connect("nats://" + s.Address()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a password: %v", err)
	}
	e, err := natsd.Dial(t.Context(), natsd.ExternalConfig{URL: "nats://" + s.Address(), User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close(t.Context()) }()
	if d := e.Durability(t.Context()); d.Safe || !strings.Contains(d.Unknown, "cannot be known") {
		t.Errorf("durability is %+v", d)
	}

	_, err = natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir(), Listen: s.Address()})
	wantError(t, err, domain.Unavailable, "address already in use")
	_, err = natsd.Dial(t.Context(), natsd.ExternalConfig{URL: "nats://127.0.0.1:1"})
	wantError(t, err, domain.Unavailable, "cannot connect")
}

// TestHandshakesOfBusyMachines may take longer than the server's own two seconds.
func TestHandshakesOfBusyMachines(t *testing.T) {
	if got := (natsd.Config{Listen: "127.0.0.1:0", TLS: &tls.Config{}}).HandshakeTime(); got < 10 {
		t.Errorf("a handshake may take %v s", got)
	}
}

// TestDurability asks a server that has a monitoring address, with both settings.
func TestDurability(t *testing.T) {
	for _, always := range []bool{true, false} {
		port := ports.Free(t)
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: -1, HTTPHost: "127.0.0.1", HTTPPort: port, JetStream: true, StoreDir: t.TempDir(), SyncAlways: always, NoSigs: true, NoLog: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		defer s.Shutdown()
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the server does not start")
		}
		monitor := fmt.Sprintf("http://127.0.0.1:%d", port)
		e, err := natsd.Dial(t.Context(), natsd.ExternalConfig{URL: s.ClientURL(), Monitor: []string{monitor}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Close(t.Context()) }()
		d := e.Durability(t.Context())
		if d.Safe != always || d.Unknown != "" || len(d.Servers) != 1 || d.Servers[0].Always != always || !always && d.Servers[0].Interval != 2*time.Minute {
			t.Errorf("with always=%v: %+v, %s", always, d, d.String())
		}
	}
}
