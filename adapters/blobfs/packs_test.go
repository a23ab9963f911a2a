package blobfs_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

// smallSegments opens a bucket whose segments hold about ten blobs of 1,000 octets.
func smallSegments(t *testing.T, dir string) *blobfs.Bucket {
	t.Helper()
	b, err := blobfs.Open(dir, blobfs.Options{
		Limits: blobfs.Limits{Packed: 5000, Segment: 11_000, Ahead: 4096, Recent: 16, Files: 4}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func TestBucketOfManySegments(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Bucket { return smallSegments(t, t.TempDir()) })
}

func numbered(n int) (domain.BlobID, []byte) {
	return domain.BlobID{byte(n), byte(n >> 8), 1}, bytes.Repeat([]byte{byte(n) | 1}, 1000)
}

func fill(t *testing.T, b *blobfs.Bucket, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		id, p := numbered(n)
		if err := store(b, id, p); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyStoreFasterThanTheIndexIsWritten has writers wait for the index's file where it is far behind.
func TestManyStoreFasterThanTheIndexIsWritten(t *testing.T) {
	b, err := blobfs.Open(t.TempDir(), blobfs.Options{Limits: blobfs.Limits{Recent: 1}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer shut(t, b)
	var writers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() { fill(t, b, 40*w, 40*w+40) })
	}
	writers.Wait()
	for n := range 32 * 40 {
		wantBlob(t, b, n)
	}
}

func wantBlob(t *testing.T, b *blobfs.Bucket, n int) {
	t.Helper()
	id, want := numbered(n)
	o, err := b.Open(ctx, id)
	if err != nil {
		t.Errorf("blob %d: %v", n, err)
		return
	}
	defer o.Close()
	if got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size())); err != nil || !bytes.Equal(got, want) {
		t.Errorf("blob %d has other octets, %v", n, err)
	}
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestCompactionGivesRoomBackAndKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	b := smallSegments(t, dir)
	fill(t, b, 0, 200)
	id, want := numbered(199)
	before := time.Now()
	full := len(segmentFiles(t, dir))
	opened := map[int]blob.Object{}
	for n := range 200 {
		id, _ := numbered(n)
		if n%20 == 0 {
			o, err := b.Open(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			opened[n] = o
		} else if n != 199 {
			if deleted, err := b.Delete(ctx, id, time.Time{}); !deleted || err != nil {
				t.Fatal(deleted, err)
			}
		}
	}
	if err := b.Compact(); err != nil {
		t.Fatal(err)
	}
	if left := len(segmentFiles(t, dir)); left > full/4 {
		t.Errorf("%d of %d segments are left of a twentieth of the blobs", left, full)
	}
	for n, o := range opened {
		wantBlob(t, b, n)
		_, want := numbered(n)
		if got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size())); err != nil || !bytes.Equal(got, want) {
			t.Errorf("blob %d, opened before, has other octets: %v", n, err)
		}
		_ = o.Close()
	}
	// A copy was not stored anew: it is as old as it was.
	if deleted, err := b.Delete(ctx, id, before); !deleted || err != nil {
		t.Errorf("blob 199 with %d octets: deleted %v, %v", len(want), deleted, err)
	}
}

func TestStoringAndDeletingWhileSegmentsAreCompacted(t *testing.T) {
	dir := t.TempDir()
	b := smallSegments(t, dir)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w * 100; n < w*100+100; n++ {
				id, p := numbered(n)
				for range 3 {
					if err := store(b, id, p); err != nil {
						t.Error(err)
					}
				}
				wantBlob(t, b, n)
				if n%2 == 0 {
					if deleted, err := b.Delete(ctx, id, time.Time{}); !deleted || err != nil {
						t.Error(deleted, err)
					}
				}
			}
		})
	}
	wg.Wait()
	for range 2 {
		for n := range 400 {
			if n%2 == 1 {
				wantBlob(t, b, n)
			} else if id, _ := numbered(n); found(b, id) {
				t.Errorf("blob %d was deleted", n)
			}
		}
		shut(t, b)
		if err := os.Remove(filepath.Join(dir, "packs", "index")); err != nil {
			t.Fatal(err)
		}
		b = smallSegments(t, dir)
	}
}

func found(b *blobfs.Bucket, id domain.BlobID) bool {
	o, err := b.Open(ctx, id)
	if err == nil {
		_ = o.Close()
	}
	return !domain.Is(err, domain.NotFound)
}

func TestDamagedSegment(t *testing.T) {
	dir := t.TempDir()
	store := blob.New(open(t, dir), [32]byte{1})
	var refs []domain.BlobRef
	message := func(n int) []byte { return fmt.Appendf(nil, "Subject: %d\r\n\r\n%1000d", n, n) }
	for n := range 3 {
		ref, err := store.Put(ctx, bytes.NewReader(message(n)))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	f, err := os.OpenFile(segmentFiles(t, dir)[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{30, 1300 + 500} { // In the first header and within the second blob.
		if _, err := f.WriteAt([]byte("damage"), at); err != nil {
			t.Fatal(err)
		}
	}
	for n, ref := range refs[:2] {
		if _, err := store.Open(ctx, ref, 0, -1); !domain.Is(err, domain.Corrupt) {
			t.Errorf("blob %d: got %v, want corrupt", n, err)
		}
		if again, err := store.Put(ctx, bytes.NewReader(message(n))); err != nil || again != ref {
			t.Fatal(err)
		}
	}
	for _, ref := range refs {
		if err := store.Verify(ctx, ref); err != nil {
			t.Errorf("storing them again does not heal: %v", err)
		}
	}
}

// Blobs that lie in a file each, as all did once and large ones do, are found beside those in segments.
func TestBlobsInFilesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	id, p := numbered(7)
	if err := os.Mkdir(filepath.Join(dir, id.String()[:2]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, id.String()[:2], id.String()), p, 0o600); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, b, 7)
	fill(t, b, 7, 9)
	wantBlob(t, b, 7)
	listed := 0
	if err := b.List(ctx, func(domain.BlobID, int64, time.Time) error { listed++; return nil }); err != nil || listed != 2 {
		t.Errorf("%d are listed, %v", listed, err)
	}
	if deleted, err := b.Delete(ctx, id, time.Time{}); !deleted || err != nil || found(b, id) {
		t.Errorf("deleted %v, %v", deleted, err)
	}
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := blobfs.Open(dir, blobfs.Options{})
	wantHint(t, err, "another process")
}

// A failed write of the kernel is told once to each descriptor: syncs of zeros and marks must not take it from the sync of a record.
func TestSyncsOfRecordsAreTheirOwn(t *testing.T) {
	b := smallSegments(t, t.TempDir())
	fill(t, b, 0, 1)
	if aside, record := b.Syncs(); aside != nil || record == nil {
		t.Errorf("syncs with a broken descriptor: of marks %v, of a record %v", aside, record)
	}
}
