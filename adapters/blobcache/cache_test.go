package blobcache_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobcache"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// far is a bucket that counts how often it is asked, can be away, and can be slow.
type far struct {
	blobtest.Memory
	opened atomic.Int64
	away   atomic.Bool
	gate   chan struct{} // holds up Open as long as it is not nil and open
}

func (f *far) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	f.opened.Add(1)
	if f.gate != nil {
		<-f.gate
	}
	if f.away.Load() {
		return nil, domain.Errorf(domain.Unavailable, "the bucket is away")
	}
	return f.Memory.Open(ctx, id)
}

func newCache(t *testing.T, b blob.Bucket, dir string, limits blobcache.Limits) *blobcache.Cache {
	t.Helper()
	c, err := blobcache.New(b, dir, blobcache.Options{Limits: limits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConformance(t *testing.T) {
	for name, limits := range map[string]blobcache.Limits{"a large cache": {}, "a small one": {Octets: 100 << 10}, "one for nothing": {Octets: 1}} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && limits.Octets == 0 {
				t.Skip("the small one evicts as well")
			}
			blobtest.Test(t, func(t *testing.T) blob.Bucket { return newCache(t, new(blobtest.Memory), t.TempDir(), limits) })
		})
	}
}

func octets(n int) []byte { return bytes.Repeat([]byte{byte(n), 7, byte(n >> 8)}, n/3+1)[:n] }

func name(p []byte) domain.BlobID { return sha256.Sum256(p) }

func put(t *testing.T, b blob.Bucket, p []byte) domain.BlobID {
	t.Helper()
	u, err := b.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), name(p)); err != nil {
		t.Fatal(err)
	}
	return name(p)
}

func read(b blob.Bucket, id domain.BlobID) ([]byte, error) {
	o, err := b.Open(context.Background(), id)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

func wants(t *testing.T, b blob.Bucket, p []byte) {
	t.Helper()
	if got, err := read(b, name(p)); err != nil || !bytes.Equal(got, p) {
		t.Errorf("%d octets: %d came back, %v", len(p), len(got), err)
	}
}

func TestWhatWasReadOrStoredIsThereWhileTheBucketIsAway(t *testing.T) {
	b, dir := new(far), t.TempDir()
	stored, fetched, never := octets(100), octets(300<<10), octets(50)
	put(t, b, fetched)
	put(t, b, never)
	c := newCache(t, b, dir, blobcache.Limits{})
	put(t, c, stored)
	wants(t, c, fetched)
	b.away.Store(true)
	for range 2 { // before a restart and after
		wants(t, c, stored)
		wants(t, c, fetched)
		o, err := c.Open(t.Context(), name(fetched))
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1000)
		if n, err := o.ReadAt(p, 200<<10); n != 1000 || err != nil || !bytes.Equal(p, fetched[200<<10:200<<10+1000]) {
			t.Errorf("a range gave %d octets, %v", n, err)
		}
		_ = o.Close()
		if _, err := c.Open(t.Context(), name(never)); !domain.Is(err, domain.Unavailable) {
			t.Errorf("what was never read gave %v", err)
		}
		c = newCache(t, b, dir, blobcache.Limits{})
	}
	if n := b.opened.Load(); n != 3 {
		t.Errorf("the bucket was asked %d times", n)
	}
}

func TestManyReadersFetchOnce(t *testing.T) {
	b := &far{gate: make(chan struct{})}
	p := octets(10000)
	put(t, &b.Memory, p)
	c := newCache(t, b, t.TempDir(), blobcache.Limits{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { wants(t, c, p) })
	}
	cancelled, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() {
		_, err := c.Open(cancelled, name(p))
		impatient <- err
	}()
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("one who gave up was answered %v", err)
	}
	close(b.gate)
	wg.Wait()
	if n := b.opened.Load(); n != 1 {
		t.Errorf("it was fetched %d times", n)
	}
}

// TestTheLimitHolds: the copies that were read last stay.
func TestTheLimitHolds(t *testing.T) {
	b, dir := new(far), t.TempDir()
	limits := blobcache.Limits{Octets: 10 * 16 << 10, Entry: 20 << 10}
	c := newCache(t, b, dir, limits)
	var all [][]byte
	for i := range 40 {
		all = append(all, octets(12000-i))
		put(t, c, all[i])
		wants(t, c, all[0])
	}
	put(t, c, octets(30<<10)) // is too large to be kept
	if s := c.Stats(); s.Octets > limits.Octets || s.Entries != 10 || s.Evicted != 30 {
		t.Errorf("%+v", s)
	}
	b.away.Store(true)
	wants(t, c, all[0])
	wants(t, c, all[39])
	if _, err := c.Open(t.Context(), name(all[5])); err == nil {
		t.Error("an old copy is still there")
	}
	var disk int64
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if info, failed := d.Info(); failed == nil && !d.IsDir() {
			disk += info.Size()
		}
		return err
	})
	if disk > limits.Octets {
		t.Errorf("%d octets are on the disk", disk)
	}
	smaller := newCache(t, b, dir, blobcache.Limits{Octets: 4 * 16 << 10})
	if s := smaller.Stats(); s.Entries != 4 {
		t.Errorf("with a smaller limit %+v", s)
	}
	wants(t, smaller, all[39])
}

// damage changes every copy on the disk.
func damage(t *testing.T, dir string, change func([]byte) []byte) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(p), 0o600)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedCopiesAreFetchedAnew(t *testing.T) {
	for what, change := range map[string]func([]byte) []byte{
		"a changed octet":   func(p []byte) []byte { p[len(p)/3] ^= 1; return p },
		"a changed end":     func(p []byte) []byte { p[len(p)-20] ^= 1; return p },
		"a changed size":    func(p []byte) []byte { p[len(p)-1] ^= 1; return p },
		"cut off":           func(p []byte) []byte { return p[:len(p)-30] },
		"nothing":           func([]byte) []byte { return nil },
		"zeros":             func(p []byte) []byte { return make([]byte, len(p)) },
		"an octet too many": func(p []byte) []byte { return append(p, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			for _, size := range []int{100, 60 << 10, 500 << 10} {
				b, dir := new(far), t.TempDir()
				s := blob.New(newCache(t, b, dir, blobcache.Limits{}), [32]byte{1})
				want := octets(size)
				ref, err := s.Put(t.Context(), bytes.NewReader(want))
				if err != nil {
					t.Fatal(err)
				}
				damage(t, dir, change)
				r, err := s.Open(t.Context(), ref, 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d octets: %d came, %v", size, len(got), err)
				}
				_ = r.Close()
				if b.opened.Load() == 0 {
					t.Errorf("%d octets: the bucket was not asked", size)
				}
			}
		})
	}
}

// TestADamagedBlobIsNotKept: what the bucket gave and does not open is forgotten, so that a blob which is mended there is read.
func TestADamagedBlobIsNotKept(t *testing.T) {
	for _, size := range []int{1000, 500 << 10} {
		b := new(far)
		s := blob.New(newCache(t, b, t.TempDir(), blobcache.Limits{}), [32]byte{1})
		there := blob.New(&b.Memory, [32]byte{1}) // another node's
		want := octets(size)
		ref, err := there.Put(t.Context(), bytes.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		b.Damage(ref.ID, func(p []byte) []byte { p[10] ^= 1; return p })
		if err := s.Verify(t.Context(), ref); !domain.Is(err, domain.Corrupt) {
			t.Fatalf("%d octets: %v", size, err)
		}
		if _, err := there.Put(t.Context(), bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(t.Context(), ref); err != nil {
			t.Errorf("%d octets: after it was mended: %v", size, err)
		}
	}
}

// TestWhatIsDeletedWhileItIsFetchedIsNotKept deletes a blob between the bucket's answer and its end.
func TestWhatIsDeletedWhileItIsFetchedIsNotKept(t *testing.T) {
	b := &far{gate: make(chan struct{})}
	p := octets(1000)
	put(t, &b.Memory, p)
	c := newCache(t, b, t.TempDir(), blobcache.Limits{})
	done := make(chan error)
	go func() {
		_, err := read(c, name(p))
		done <- err
	}()
	for b.opened.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Delete(t.Context(), name(p), time.Time{}); err != nil {
		t.Fatal(err)
	}
	put(t, &b.Memory, p) // the fetch finds something all the same
	close(b.gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Entries != 0 {
		t.Errorf("it was kept: %+v", s)
	}
}

func TestAFullDiskKeepsNothingAndServes(t *testing.T) {
	b := new(far)
	full := syscall.ENOSPC
	c, err := blobcache.New(b, t.TempDir(), blobcache.Options{Room: func() error { return full }})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{100, 300 << 10} {
		put(t, c, octets(size))
		wants(t, c, octets(size))
	}
	if s := c.Stats(); s.Entries != 0 {
		t.Errorf("%+v", s)
	}
}

func TestACrashLeavesNothingHalf(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t, new(far), dir, blobcache.Limits{})
	u, err := c.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(octets(300 << 10)); err != nil { // and here the process dies
		t.Fatal(err)
	}
	left := func() []string {
		all, _ := filepath.Glob(filepath.Join(dir, "copy-*"))
		return slices.Clip(all)
	}
	if len(left()) == 0 {
		t.Fatal("nothing was begun: this test shows nothing")
	}
	newCache(t, new(far), dir, blobcache.Limits{})
	if l := left(); len(l) > 0 {
		t.Errorf("%v are left", l)
	}
}
