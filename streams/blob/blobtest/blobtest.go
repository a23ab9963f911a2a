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
		{"a blob that was stored anew since is not deleted", testDeleteBefore},
		{"deleting and storing anew at the same time loses nothing", testDeleteRace},
		{"the list names each blob once with its size", testList},
		{"the list ends with the error of its callback", testListError},
		{"uploads of one name at the same time leave one whole blob", testRace},
		{"many uploads at the same time all arrive", testConcurrent},
		{"a cancelled context is refused", testCancelled},
		{"ranges end where the blob ends", testEdges},
		{"a large blob that is replaced while it is read is never a mixture", testReplaceLargeWhileOpen},
		{"an upload that fails leaves what had the name", testTorn},
		{"an upload is over after its commit", testOver},
		{"a list goes on while blobs come and go", testListWhileChanging},
		{"a list ends when its context does", testListCancelled},
		{"deleting what is not there is no error, whatever the time", testDeleteAbsent},
		{"readers of one blob do not disturb each other", testReaders},
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
		if s, cheap := b.(blob.Sizer); cheap {
			if n, err := s.Size(context.Background(), name(want)); n != int64(size) || err != nil {
				t.Fatalf("the size is %d, %v; want %d", n, err, size)
			}
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
	if s, cheap := b.(blob.Sizer); cheap {
		if _, err := s.Size(context.Background(), name([]byte("nothing"))); !domain.Is(err, domain.NotFound) {
			t.Fatalf("got %v, want not-found", err)
		}
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
	for _, want := range []bool{true, false} {
		if deleted, err := b.Delete(context.Background(), name(p), time.Time{}); deleted != want || err != nil {
			t.Fatalf("got %v, %v; want %v", deleted, err, want)
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

func testDeleteBefore(t *testing.T, b blob.Bucket) {
	p := octets(100)
	id := name(p)
	put(t, b, id, p)
	stored := modified(t, b, id)
	if deleted, err := b.Delete(context.Background(), id, stored); deleted || err != nil {
		t.Fatalf("a blob stored at that very time: got %v, %v", deleted, err)
	}
	later := time.Now()
	for !later.After(stored) { // a clock may stand still for a while
		later = time.Now()
	}
	put(t, b, id, p)
	if again := modified(t, b, id); again.Before(later) {
		t.Fatalf("stored anew after %v, it is listed with %v", later, again)
	}
	if deleted, err := b.Delete(context.Background(), id, later); deleted || err != nil {
		t.Fatalf("a blob stored anew: got %v, %v", deleted, err)
	}
	if got := get(t, b, id); !bytes.Equal(got, p) {
		t.Fatal("other octets came back")
	}
	if deleted, err := b.Delete(context.Background(), id, time.Now().Add(time.Hour)); !deleted || err != nil {
		t.Fatalf("an old blob: got %v, %v", deleted, err)
	}
	if n := count(t, b); n != 0 {
		t.Fatalf("%d blobs are listed", n)
	}
}

// modified is when the list says that a blob was committed.
func modified(t *testing.T, b blob.Bucket, id domain.BlobID) (at time.Time) {
	t.Helper()
	err := b.List(context.Background(), func(listed domain.BlobID, _ int64, modified time.Time) error {
		if listed == id {
			at = modified
		}
		return nil
	})
	if err != nil || at.IsZero() {
		t.Fatalf("the blob is not listed: %v", err)
	}
	return at
}

// testDeleteRace has one goroutine store a blob again and again, as deliveries of the same message do, while another deletes what is old by then.
// Whoever has stored it finds it.
func testDeleteRace(t *testing.T, b blob.Bucket) {
	p := octets(100)
	id := name(p)
	stop := make(chan struct{})
	var deleting sync.WaitGroup
	var deleted int
	var since sync.RWMutex // held while somebody relies on what was stored
	deleting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// All that was stored until now and that nobody relies on may go.
			since.Lock()
			before := time.Now()
			since.Unlock()
			gone, err := b.Delete(context.Background(), id, before)
			if err != nil {
				t.Error(err)
				return
			}
			if gone {
				deleted++
			}
		}
	})
	times := 300
	if testing.Short() {
		times = 60
	}
	for range times {
		since.RLock()
		if err := upload(b, id, p); err != nil {
			t.Error(err)
		} else if o, err := b.Open(context.Background(), id); err != nil {
			// A Delete that took its time before this upload began must not see the new blob as old.
			t.Errorf("what was just stored is gone: %v", err)
		} else {
			_ = o.Close()
		}
		since.RUnlock()
	}
	close(stop)
	deleting.Wait()
	t.Logf("%d deletions", deleted)
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
	if _, err := b.Delete(ctx, name(nil), time.Time{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete gave %v", err)
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

// edges are the offsets at which implementations cut: packages of the encryption, chunks, pieces of a download.
var edges = []int{1, 64 << 10, 128 << 10, 1 << 20}

func testEdges(t *testing.T, b blob.Bucket) {
	for _, edge := range edges {
		for _, size := range []int{edge - 1, edge, edge + 1, 2*edge + 1} {
			want := octets(size)
			put(t, b, name(want), want)
			o, err := b.Open(context.Background(), name(want))
			if err != nil {
				t.Fatal(err)
			}
			for _, off := range []int{0, edge - 1, edge, edge + 1, size - 1, size} {
				for _, n := range []int{0, 1, 2, edge, size} {
					if off < 0 || off > size {
						continue
					}
					p := make([]byte, n)
					got, err := o.ReadAt(p, int64(off))
					whole := min(n, size-off)
					if got != whole || !bytes.Equal(p[:got], want[off:off+got]) {
						t.Fatalf("reading %d octets at %d of %d gave %d, %v", n, off, size, got, err)
					}
					if got < n && err != io.EOF || got == n && err != nil && err != io.EOF {
						t.Fatalf("reading %d octets at %d of %d gave %d, %v", n, off, size, got, err)
					}
				}
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testReplaceLargeWhileOpen(t *testing.T, b blob.Bucket) {
	id, before, after := name([]byte("x")), octets(5<<20), octets(5<<20+1)
	put(t, b, id, before)
	o, err := b.Open(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	put(t, b, id, after)
	p := make([]byte, 100<<10)
	for off := 0; off+len(p) <= len(before); off += 1 << 20 {
		n, err := o.ReadAt(p, int64(off))
		if errors.Is(err, blob.ErrReplaced) {
			continue
		}
		if err != nil || !bytes.Equal(p[:n], before[off:off+len(p)]) {
			t.Fatalf("at %d the opened blob gave other octets, or %v", off, err)
		}
	}
	if got := get(t, b, id); !bytes.Equal(got, after) {
		t.Fatal("opened anew it is not what was stored last")
	}
}

// testTorn has uploads end before their commit, small and large ones, as those of clients do that hang up.
func testTorn(t *testing.T, b blob.Bucket) {
	want := octets(1000)
	put(t, b, name(want), want)
	for _, size := range []int{10, 300 << 10, 3 << 20} {
		u, err := b.Create(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = u.Write(octets(size))
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		if err := u.Commit(cancelled, name(want)); !errors.Is(err, context.Canceled) {
			t.Errorf("a commit under a cancelled context gave %v", err)
		}
		u.Abort()
	}
	if got := get(t, b, name(want)); !bytes.Equal(got, want) {
		t.Error("an upload that failed replaced the blob")
	}
	if n := count(t, b); n != 1 {
		t.Errorf("%d blobs are listed", n)
	}
}

func testOver(t *testing.T, b blob.Bucket) {
	p := octets(10)
	u, err := b.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = u.Write(p)
	if err := u.Commit(context.Background(), name(p)); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(context.Background(), name([]byte("again"))); err == nil {
		t.Error("an upload was committed twice")
	}
	u.Abort()
	if n := count(t, b); n != 1 {
		t.Errorf("%d blobs are listed", n)
	}
}

// testListWhileChanging: what is there all the time is listed, once.
func testListWhileChanging(t *testing.T, b blob.Bucket) {
	steady := map[domain.BlobID]int{}
	for i := range 40 {
		p := octets(1000 + i)
		put(t, b, name(p), p)
		steady[name(p)] = 0
	}
	calls := 0
	err := b.List(context.Background(), func(id domain.BlobID, _ int64, _ time.Time) error {
		if _, known := steady[id]; known {
			steady[id]++
		}
		if calls++; calls <= 20 {
			p := octets(5000 + calls)
			put(t, b, name(p), p)
			if _, err := b.Delete(context.Background(), name(octets(5000+calls-1)), time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, times := range steady {
		if times != 1 {
			t.Errorf("%v is listed %d times", id, times)
		}
	}
}

func testListCancelled(t *testing.T, b blob.Bucket) {
	for i := range 5 {
		put(t, b, name(octets(i+1)), octets(i+1))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := b.List(ctx, func(domain.BlobID, int64, time.Time) error {
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func testDeleteAbsent(t *testing.T, b blob.Bucket) {
	for _, before := range []time.Time{{}, time.Now(), time.Now().Add(time.Hour)} {
		if deleted, err := b.Delete(context.Background(), name([]byte("nothing")), before); deleted || err != nil {
			t.Errorf("got %v, %v", deleted, err)
		}
	}
}

func testReaders(t *testing.T, b blob.Bucket) {
	want := octets(2<<20 + 5)
	put(t, b, name(want), want)
	o, err := b.Open(context.Background(), name(want))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				off := rand.IntN(len(want))
				p := make([]byte, min(rand.IntN(100<<10), len(want)-off))
				if n, err := o.ReadAt(p, int64(off)); n != len(p) || err != nil && err != io.EOF || !bytes.Equal(p, want[off:off+n]) {
					t.Errorf("%d octets at %d: %d came, %v", len(p), off, n, err)
				}
			}
		})
	}
	wg.Wait()
}
