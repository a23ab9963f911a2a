package blobfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

var ctx = context.Background()

func open(tb testing.TB, dir string) *blobfs.Bucket {
	tb.Helper()
	b, err := blobfs.Open(dir, blobfs.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { shut(tb, b) })
	return b
}

// shut closes a bucket, which may be closed already.
func shut(tb testing.TB, b *blobfs.Bucket) {
	tb.Helper()
	if err := b.Close(); err != nil {
		tb.Error(err)
	}
}

func TestBucket(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Bucket { return open(t, filepath.Join(t.TempDir(), "data", "blobs")) })
}

func TestReopenKeepsBlobsAndRemovesLeftovers(t *testing.T) {
	dir := t.TempDir()
	bucket := open(t, dir)
	store := blob.New(bucket, [32]byte{1})
	var refs []domain.BlobRef
	for _, text := range []string{"Subject: kept\r\n\r\n", strings.Repeat("large", 100_000)} {
		ref, err := store.Put(ctx, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	for _, size := range []int{100, 300 << 10} {
		u, err := bucket.Create(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = u.Write(make([]byte, size)) // A crash comes here.
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) != 1 {
		t.Errorf("%d uploads are in files, want the large one", len(left))
	}
	shut(t, bucket)

	store = blob.New(open(t, dir), [32]byte{1})
	for _, ref := range refs {
		if err := store.Verify(ctx, ref); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) > 0 {
		t.Errorf("%d uploads are left", len(left))
	}
}

func TestUploadsLeaveNoTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	store := blob.New(open(t, dir), [32]byte{1})
	large := strings.Repeat("large", 100_000)
	for _, text := range []string{"a", "b", "a", large, large} { // The second "a" replaces the first.
		if _, err := store.Put(ctx, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"c", "C" + large} {
		if _, err := store.Put(ctx, io.MultiReader(strings.NewReader(text), badReader{})); err == nil {
			t.Fatal("a broken reader was stored")
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "uploads")); len(left) > 0 {
		t.Errorf("%d uploads are left", len(left))
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestFailpoints(t *testing.T) {
	var passed []string
	b, err := blobfs.Open(t.TempDir(), blobfs.Options{Failpoint: func(name string) { passed = append(passed, name) }})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, b)
	for _, text := range []string{"x", strings.Repeat("large", 100_000)} {
		passed = nil
		if _, err := blob.New(b, [32]byte{1}).Put(ctx, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if want := []string{"blob.written", "blob.committed"}; !slices.Equal(passed, want) {
			t.Errorf("passed %v, want %v", passed, want)
		}
	}
}

func TestShortenedFileIsDamage(t *testing.T) {
	dir := t.TempDir()
	store := blob.New(open(t, dir), [32]byte{1})
	for _, size := range []int{300 << 10, 2 << 20} {
		message := bytes.Repeat([]byte{'x'}, size)
		ref, err := store.Put(ctx, bytes.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, ref.ID.String()[:2], ref.ID.String())
		if err := os.Truncate(name, 50); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(ctx, ref, 0, -1); !domain.Is(err, domain.Corrupt) {
			t.Errorf("got %v, want corrupt", err)
		}
		if _, err := store.Put(ctx, bytes.NewReader(message)); err != nil {
			t.Fatal(err)
		}
		if err := store.Verify(ctx, ref); err != nil {
			t.Errorf("storing it again does not heal: %v", err)
		}
	}
}

func TestFileInTheWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := blobfs.Open(dir, blobfs.Options{})
	wantHint(t, err, "a file stands where")
}

// wantHint fails unless err is domain.Unavailable and tells the operator what is wrong.
func wantHint(t *testing.T, err error, hint string) {
	t.Helper()
	var e *domain.Error
	if !errors.As(err, &e) || e.Kind != domain.Unavailable || !strings.Contains(e.Hint, hint) {
		t.Errorf("got %#v, want an error with the hint %q", err, hint)
	}
}

func BenchmarkPut8K(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			store := blob.New(open(b, b.TempDir()), [32]byte{1})
			var next atomic.Int64
			var wg sync.WaitGroup
			b.SetBytes(8 << 10)
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					message := make([]byte, 8<<10)
					_, _ = rand.NewChaCha8([32]byte{}).Read(message)
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						copy(message, fmt.Sprint(n))
						if _, err := store.Put(ctx, bytes.NewReader(message)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}
