// Package blobtest is the specification of blob.Bucket as tests, which every implementation passes, and a Bucket in memory for the tests of
// others.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Test checks an implementation of blob.Bucket. newBucket gives an empty bucket, closed by the test's Cleanup where it needs closing.
func Test(t *testing.T, newBucket func(t *testing.T) blob.Bucket) {
	cases := []struct {
		name string
		test func(t *testing.T, b blob.Bucket)
	}{
		{"what is committed can be read at any offset", testReadBack},
		{"a missing blob is not found", testMissing},
		{"what is aborted leaves nothing", testAbort},
		{"what is not committed is not listed", testUnfinished},
		{"a commit replaces what had the name", testReplace},
		{"an opened blob stays as it is while it is replaced", testReplaceWhileOpen},
		{"a deleted blob is gone and deleting again is no error", testDelete},
		{"the list names each blob once with its size", testList},
		{"the list ends with the error of its callback", testListError},
		{"uploads of one name at the same time leave one whole blob", testRace},
		{"many uploads at the same time all arrive", testConcurrent},
		{"a cancelled context is refused", testCancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, newBucket(t)) })
	}
}

func octets(n int) []byte {
	p := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = source.Read(p)
	return p
}

func name(p []byte) domain.BlobID { return sha256.Sum256(p) }

// put stores p in pieces under id.
func put(t *testing.T, b blob.Bucket, id domain.BlobID, p []byte) {
	t.Helper()
	if err := upload(b, id, p); err != nil {
		t.Fatal(err)
	}
}

func upload(b blob.Bucket, id domain.BlobID, p []byte) error {
	u, err := b.Create(context.Background())
	if err != nil {
		return err
	}
	defer u.Abort()
	for piece := 1; len(p) > 0; piece = piece*3 + 1 {
		n := min(piece, len(p))
		if wrote, err := u.Write(p[:n]); err != nil || wrote != n {
			return errors.Join(err, errors.New("short write"))
		}
		p = p[n:]
	}
	return u.Commit(context.Background(), id)
}

// get reads a blob as a whole.
func get(t *testing.T, b blob.Bucket, id domain.BlobID) []byte {
	t.Helper()
	o, err := b.Open(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	return readAll(t, o)
}

func readAll(t *testing.T, o blob.Object) []byte {
	t.Helper()
	p, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func testReadBack(t *testing.T, b blob.Bucket) {
	for _, size := range []int{0, 1, 80, 4096, 65<<10 + 7, 1<<20 + 13} {
		want := octets(size)
		put(t, b, name(want), want)
		o, err := b.Open(context.Background(), name(want))
		if err != nil {
			t.Fatal(err)
		}
		if o.Size() != int64(size) {
			t.Fatalf("the size is %d, want %d", o.Size(), size)
		}
		if got := readAll(t, o); !bytes.Equal(got, want) {
			t.Fatalf("other octets came back of %d", size)
		}
		for range 20 {
			off := rand.IntN(size + 1)
			p := make([]byte, rand.IntN(size-off+1))
			if n, err := o.ReadAt(p, int64(off)); n != len(p) || err != nil && err != io.EOF {
				t.Fatalf("reading %d octets at %d of %d gave %d, %v", len(p), off, size, n, err)
			}
			if !bytes.Equal(p, want[off:off+len(p)]) {
				t.Fatalf("other octets came back from offset %d", off)
			}
		}
		if n, err := o.ReadAt(make([]byte, 10), int64(size)); n != 0 || err != io.EOF {
			t.Fatalf("reading behind the end gave %d, %v", n, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func testMissing(t *testing.T, b blob.Bucket) {
	if _, err := b.Open(context.Background(), name([]byte("nothing"))); !domain.Is(err, domain.NotFound) {
		t.Fatalf("got %v, want not-found", err)
	}
}

func testAbort(t *testing.T, b blob.Bucket) {
	u, err := b.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = u.Write(octets(100))
	u.Abort()
	u.Abort()
	if n := count(t, b); n != 0 {
		t.Fatalf("%d blobs are listed", n)
	}
	want := octets(50)
	u, err = b.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = u.Write(want)
	if err := u.Commit(context.Background(), name(want)); err != nil {
		t.Fatal(err)
	}
	u.Abort()
	if got := get(t, b, name(want)); !bytes.Equal(got, want) {
		t.Fatal("Abort after Commit changed the blob")
	}
}

func testUnfinished(t *testing.T, b blob.Bucket) {
	u, err := b.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	_, _ = u.Write(octets(100))
	if n := count(t, b); n != 0 {
		t.Fatalf("%d blobs are listed", n)
	}
}

func testReplace(t *testing.T, b blob.Bucket) {
	id := name([]byte("x"))
	for _, size := range []int{5000, 10, 0, 70000} {
		put(t, b, id, octets(size))
		if got := get(t, b, id); !bytes.Equal(got, octets(size)) {
			t.Fatalf("after a replacement by %d octets, %d others came back", size, len(got))
		}
	}
	if n := count(t, b); n != 1 {
		t.Fatalf("%d blobs are listed", n)
	}
}

func testReplaceWhileOpen(t *testing.T, b blob.Bucket) {
	id := name([]byte("x"))
	put(t, b, id, octets(200<<10))
	o, err := b.Open(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	p := make([]byte, 10)
	if _, err := o.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	put(t, b, id, octets(300<<10))
	if got := readAll(t, o); !bytes.Equal(got, octets(200<<10)) {
		t.Fatal("the opened blob changed")
	}
}

func testDelete(t *testing.T, b blob.Bucket) {
	p := octets(100)
	put(t, b, name(p), p)
	for range 2 {
		if err := b.Delete(context.Background(), name(p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Open(context.Background(), name(p)); !domain.Is(err, domain.NotFound) {
		t.Fatalf("got %v, want not-found", err)
	}
	put(t, b, name(p), p)
	if got := get(t, b, name(p)); !bytes.Equal(got, p) {
		t.Fatal("other octets came back")
	}
}

func testList(t *testing.T, b blob.Bucket) {
	before := time.Now()
	want := map[domain.BlobID]int64{}
	for i := range 300 {
		p := octets(i)
		put(t, b, name(p), p)
		want[name(p)] = int64(i)
	}
	err := b.List(context.Background(), func(id domain.BlobID, size int64, modified time.Time) error {
		if at, ok := want[id]; !ok || at != size {
			t.Errorf("%v with %d octets is listed, or listed twice", id, size)
		}
		if off := modified.Sub(before); off < -time.Hour || off > time.Hour {
			t.Errorf("%v was modified at %v", id, modified)
		}
		delete(want, id)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Fatalf("%v, %d blobs are not listed", err, len(want))
	}
}

func testListError(t *testing.T, b blob.Bucket) {
	put(t, b, name([]byte("1")), octets(1))
	put(t, b, name([]byte("2")), octets(2))
	stop := errors.New("stop")
	calls := 0
	err := b.List(context.Background(), func(domain.BlobID, int64, time.Time) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Fatalf("got %v after %d calls", err, calls)
	}
}

func testRace(t *testing.T, b blob.Bucket) {
	id := name([]byte("x"))
	errs := make(chan error)
	const writers = 16
	for i := range writers {
		go func() { errs <- upload(b, id, octets(10000+i)) }()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := get(t, b, id); len(got) < 10000 || !bytes.Equal(got, octets(len(got))) {
		t.Fatalf("no writer wrote these %d octets", len(got))
	}
	if n := count(t, b); n != 1 {
		t.Fatalf("%d blobs are listed", n)
	}
}

func testConcurrent(t *testing.T, b blob.Bucket) {
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				p := octets(100*w + i)
				if err := upload(b, name(p), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for w := range 16 {
		for i := range 20 {
			p := octets(100*w + i)
			if got := get(t, b, name(p)); !bytes.Equal(got, p) {
				t.Fatal("other octets came back")
			}
		}
	}
}

func testCancelled(t *testing.T, b blob.Bucket) {
	ctx, cancel := context.WithCancel(context.Background())
	u, err := b.Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	cancel()
	if err := u.Commit(ctx, name(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit gave %v", err)
	}
	if _, err := b.Create(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Create gave %v", err)
	}
	if _, err := b.Open(ctx, name(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open gave %v", err)
	}
	if n := count(t, b); n != 0 {
		t.Fatalf("%d blobs are listed", n)
	}
}

func count(t *testing.T, b blob.Bucket) (n int) {
	t.Helper()
	if err := b.List(context.Background(), func(domain.BlobID, int64, time.Time) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}
