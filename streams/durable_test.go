package streams_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// recorder notes, at each sync, what is durable from then on: the sizes of the stream's files before it began.
type recorder struct {
	*natsd.Server
	dir string // of the log

	mu    sync.Mutex
	sizes map[string]int64 // path below dir -> octets that are durable
}

func (r *recorder) Sync(ctx context.Context, stream string) error {
	return r.record(stream, true, func() error { return r.Server.Sync(ctx, stream) })
}

func (r *recorder) SyncAll(ctx context.Context, stream string) error {
	return r.record(stream, false, func() error { return r.Server.SyncAll(ctx, stream) })
}

func (r *recorder) record(stream string, blocksOnly bool, sync func() error) error {
	sizes := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(r.dir, "jetstream", "$G", "streams", stream), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || blocksOnly && !strings.HasSuffix(path, ".blk") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			name, _ := filepath.Rel(r.dir, path)
			sizes[name] = info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := sync(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, size := range sizes {
		r.sizes[name] = max(size, r.sizes[name])
	}
	return nil
}

// survivors copies what a power failure now would leave at worst: synced files, up to their synced sizes.
func (r *recorder) survivors(t *testing.T, to string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, size := range r.sizes {
		content, err := os.ReadFile(filepath.Join(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || int64(len(content)) < size {
			t.Fatalf("%s: %v, %d of %d octets", name, err, len(content), size)
		}
		if strings.HasSuffix(name, ".blk") {
			content = content[:size]
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "running"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUnsyncedBytesDropped takes the worst that a power failure may leave, at moments in the middle of appends, and wants every append
// there that was acknowledged before. Entries are large, so that blocks roll over.
func TestUnsyncedBytesDropped(t *testing.T) {
	var r *recorder
	n := startNode(t, shards(2), func(n *node) {
		n.wrap = func(s *natsd.Server) streams.Syncer {
			r = &recorder{Server: s, dir: filepath.Join(n.dir, "log"), sizes: map[string]int64{}}
			return r
		}
	})
	const writers = 8
	crashes := 6
	if testing.Short() {
		crashes = 2
	}
	ctx, stop := context.WithCancel(deadline(t))
	acked := make([]atomic.Pointer[streams.Position], writers)
	ids := make([]domain.AccountID, writers)
	filler := strings.Repeat("x", 150_000)
	var wg sync.WaitGroup
	for i := range writers {
		w := n.writer()
		ids[i] = w.id
		wg.Go(func() {
			at := streams.Position{}
			for ctx.Err() == nil {
				next, err := n.log.Append(ctx, w.id, at, note("%s", filler))
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("append: %v", err)
					}
					return
				}
				at = next
				acked[i].Store(&next)
			}
		})
	}
	for crash := range crashes {
		wantBlocks := crash/2 + 1
		for blocks := 0; blocks < wantBlocks; time.Sleep(time.Millisecond) { // wait for the log to grow
			found, _ := filepath.Glob(filepath.Join(n.dir, "log", "jetstream", "$G", "streams", "ACCOUNTS_*", "msgs", "*.blk"))
			blocks = len(found)
		}
		// What was acknowledged before the copy begins must be in it.
		want := make([]streams.Position, writers)
		for i := range acked {
			if p := acked[i].Load(); p != nil {
				want[i] = *p
			}
		}
		left := t.TempDir()
		r.survivors(t, filepath.Join(left, "log"))
		after := &node{t: t, dir: left, config: n.config}
		after.config.Topology.Shards = 2
		var err error
		if after.config.Master, err = streams.LoadMaster(filepath.Join(n.dir, "keys")); err != nil {
			t.Fatal(err)
		}
		if err := after.start(); err != nil {
			t.Fatalf("crash %d: %v", crash, err)
		}
		for i, p := range want {
			last, err := after.log.Last(ctx, ids[i])
			if err != nil || last.Seq < p.Seq || last.Tx < p.Tx {
				t.Errorf("crash %d: account %d stands at %+v, %v; acknowledged was %+v", crash, i, last, err, p)
			}
		}
		report, err := after.log.Verify(ctx, streams.VerifyOptions{Keys: true}, nil)
		if err != nil {
			t.Fatalf("crash %d: %v", crash, err)
		}
		if len(report.Findings) != 0 {
			t.Errorf("crash %d: verify finds %+v", crash, report.Findings)
		}
		after.stop()
	}
	stop()
	wg.Wait()
}

// failing is a disk that stops working.
type failing struct {
	*natsd.Server
	broken atomic.Bool
}

func (f *failing) Sync(ctx context.Context, stream string) error {
	if f.broken.Load() {
		return errors.New("input/output error")
	}
	return f.Server.Sync(ctx, stream)
}

// TestFailedSyncIsFinal: a sync that failed is not tried again, because a second one would report success for pages that are gone.
func TestFailedSyncIsFinal(t *testing.T) {
	disk := new(failing)
	n := startNode(t, shards(1), func(n *node) {
		n.wrap = func(s *natsd.Server) streams.Syncer { disk.Server = s; return disk }
	})
	ctx := deadline(t)
	alice := n.writer()
	alice.append("durable")
	disk.broken.Store(true)
	_, err := n.log.Append(ctx, alice.id, alice.at, note("lost"))
	wantKind(t, err, domain.Unavailable)
	disk.broken.Store(false)
	_, err = n.log.Append(ctx, alice.id, alice.at, note("after"))
	if wantKind(t, err, domain.Unavailable); !strings.Contains(err.Error(), "restarted") {
		t.Errorf("the error says %q", err)
	}
	// Readers see what is durable, and then the error rather than what is not.
	seen := 0
	err = n.log.Follow(ctx, "ACCOUNTS_0", 0, func(batch []streams.Entry) error {
		seen += len(batch)
		return nil
	})
	if wantKind(t, err, domain.Unavailable); seen != 1 {
		t.Errorf("a reader saw %d entries, want the durable one", seen)
	}
	wantKind(t, n.log.Fault(), domain.Unavailable)
	if head, err := n.log.Head(ctx, "ACCOUNTS_0"); err != nil || head != 1 {
		t.Errorf("the head is %d, %v", head, err)
	}
	n.restart()
	if at, err := n.log.Last(ctx, alice.id); err != nil || at.Tx < 1 {
		t.Errorf("after the restart the account stands at %+v, %v", at, err)
	}
}

// TestReadersWaitForTheSync holds a sync back and wants no reader to see the entry before.
func TestReadersWaitForTheSync(t *testing.T) {
	held := &holding{entered: make(chan struct{}), release: make(chan struct{})}
	n := startNode(t, shards(1), func(n *node) {
		n.wrap = func(s *natsd.Server) streams.Syncer { held.Server = s; return held }
	})
	ctx := deadline(t)
	alice := n.writer()
	held.armed.Store(true)
	appended := make(chan error, 1)
	go func() {
		_, err := n.log.Append(ctx, alice.id, streams.Position{}, note("held"))
		appended <- err
	}()
	<-held.entered // published, not synced
	followed := make(chan bool, 1)
	done := errors.New("seen")
	go func() {
		_ = n.log.Follow(ctx, "ACCOUNTS_0", 0, func([]streams.Entry) error {
			followed <- held.synced.Load()
			return done
		})
	}()
	if head, err := n.log.Head(ctx, "ACCOUNTS_0"); err != nil || head != 0 {
		t.Errorf("the head is %d, %v before the sync", head, err)
	}
	select {
	case err := <-appended:
		t.Fatalf("the append returned %v before its sync", err)
	case <-followed:
		t.Fatal("a reader saw the entry before its sync")
	case <-time.After(50 * time.Millisecond): // can only make the test miss a fault, never fail
	}
	close(held.release)
	if err := <-appended; err != nil {
		t.Error(err)
	}
	if !<-followed {
		t.Error("the reader saw the entry before its sync")
	}
}

// holding blocks a sync until it is released.
type holding struct {
	*natsd.Server
	armed, synced    atomic.Bool
	entered, release chan struct{}
}

func (h *holding) Sync(ctx context.Context, stream string) error {
	if h.armed.CompareAndSwap(true, false) {
		close(h.entered)
		<-h.release
		h.synced.Store(true)
	}
	return h.Server.Sync(ctx, stream)
}

// TestDiskFull fills a small file system: appends fail clearly, and after there is room again and a new start everything is there.
func TestDiskFull(t *testing.T) {
	n := &node{t: t, dir: t.TempDir()}
	if err := syscall.Mount("tmpfs", n.dir, "tmpfs", 0, "size=3m"); err != nil {
		if strings.Contains(os.Getenv("STREAMPOST_REQUIRE"), "mount") {
			t.Fatal(err)
		}
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	defer func() {
		n.stop()
		_ = syscall.Unmount(n.dir, syscall.MNT_DETACH)
	}()
	n.config.Topology.Shards = 1
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	alice := n.writer()
	filler := strings.Repeat("x", 40_000)
	var full error
	for full == nil {
		at, err := n.log.Append(ctx, alice.id, alice.at, note("%s", filler))
		if full = err; err == nil {
			alice.at = at
		}
	}
	if wantKind(t, full, domain.Unavailable); !strings.Contains(full.Error(), "disk is full") {
		t.Errorf("the error reads %q", full)
	}
	n.stop()
	if err := syscall.Mount("", n.dir, "", syscall.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	at, err := n.log.Last(ctx, alice.id)
	if err != nil || at.Tx < alice.at.Tx {
		t.Errorf("acknowledged was %+v, there is %+v, %v", alice.at, at, err)
	}
	alice.at = at
	alice.append("goes on")
	report, err := n.log.Verify(ctx, streams.VerifyOptions{Keys: true}, nil)
	if err != nil || len(report.Findings) != 0 {
		t.Errorf("verify finds %+v, %v", report.Findings, err)
	}
}
