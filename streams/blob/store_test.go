package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
	"github.com/streampost/streampost/streams/blob/blobtest"
)

var (
	ctx    = context.Background()
	secret = [32]byte{1, 2, 3}
	sizes  = []int{0, 1, 100, 8192, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 300<<10 + 5}
)

func newStore() (*blob.Store, *blobtest.Memory) {
	bucket := new(blobtest.Memory)
	return blob.New(bucket, secret), bucket
}

func text(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(p)
	return p
}

func put(tb testing.TB, s *blob.Store, p []byte) domain.BlobRef {
	tb.Helper()
	ref, err := s.Put(ctx, bytes.NewReader(p))
	if err != nil {
		tb.Fatal(err)
	}
	return ref
}

func read(s *blob.Store, ref domain.BlobRef, off, n int64) ([]byte, error) {
	r, err := s.Open(ctx, ref, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestPutThenOpen(t *testing.T) {
	s, bucket := newStore()
	for _, size := range sizes {
		want := text(size)
		ref, err := s.Put(ctx, iotest.OneByteReader(bytes.NewReader(want)))
		if err != nil {
			t.Fatal(err)
		}
		if ref.Size != int64(size) {
			t.Errorf("the reference says %d octets of %d", ref.Size, size)
		}
		if got, err := read(s, ref, 0, -1); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets: got %d others, %v", size, len(got), err)
		}
		if err := s.Verify(ctx, ref); err != nil {
			t.Errorf("%d octets: %v", size, err)
		}
		bucket.Damage(ref.ID, func(sealed []byte) []byte {
			if size >= 100 && bytes.Contains(sealed, want[:16]) {
				t.Error("plain text is stored")
			}
			return sealed
		})
	}
}

func TestRanges(t *testing.T) {
	s, _ := newStore()
	for _, size := range sizes {
		want := text(size)
		ref := put(t, s, want)
		for range 60 {
			off, n := rand.IntN(size+2), rand.IntN(size+2)-1
			if rand.IntN(3) == 0 { // Where packages meet.
				off = min(size, max(0, (1+rand.IntN(3))*64<<10+rand.IntN(3)-1))
			}
			end := size
			if n >= 0 {
				end = min(size, off+n)
			}
			got, err := read(s, ref, int64(off), int64(n))
			if err != nil || !bytes.Equal(got, want[min(off, end):end]) {
				t.Fatalf("%d octets from %d of %d: got %d octets, %v", n, off, size, len(got), err)
			}
		}
		if _, err := s.Open(ctx, ref, -1, 5); !domain.Is(err, domain.Invalid) {
			t.Errorf("a negative offset gave %v", err)
		}
	}
}

// countingBucket counts the octets that are read.
type countingBucket struct {
	*blobtest.Memory
	read int
}

func (b *countingBucket) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	o, err := b.Memory.Open(ctx, id)
	return countingObject{o, b}, err
}

type countingObject struct {
	blob.Object
	b *countingBucket
}

func (o countingObject) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Object.ReadAt(p, off)
	o.b.read += n
	return n, err
}

func TestRangeReadsOnlyItsPackages(t *testing.T) {
	b := &countingBucket{Memory: new(blobtest.Memory)}
	s := blob.New(b, secret)
	want := text(2 << 20)
	ref := put(t, s, want)
	got, err := read(s, ref, 1<<20+100, 500)
	if err != nil || !bytes.Equal(got, want[1<<20+100:1<<20+600]) {
		t.Fatal("other octets came back", err)
	}
	if b.read > 66<<10 {
		t.Errorf("%d octets were read for 500", b.read)
	}
}

func TestSameMessageIsStoredOnceUnderOneReference(t *testing.T) {
	s, bucket := newStore()
	a, b := put(t, s, text(100000)), put(t, s, text(100000))
	if a != b {
		t.Error("two references")
	}
	if bucket.Len() != 1 {
		t.Errorf("%d blobs", bucket.Len())
	}
	other := blob.New(bucket, [32]byte{9})
	c := put(t, other, text(100000))
	if c.ID == a.ID || c.Key == a.Key {
		t.Error("another installation's secret gives the same reference")
	}
}

func TestDamageIsAnError(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"shortened":           func(p []byte) []byte { return p[:len(p)-1] },
		"emptied":             func([]byte) []byte { return nil },
		"lengthened":          func(p []byte) []byte { return append(p, 0) },
		"first octet changed": func(p []byte) []byte { p[0] ^= 1; return p },
		"middle changed":      func(p []byte) []byte { p[len(p)/2] ^= 0x80; return p },
		"trailer changed":     func(p []byte) []byte { p[len(p)-20] ^= 1; return p },
		"last octet changed":  func(p []byte) []byte { p[len(p)-1] ^= 1; return p },
		"size changed":        func(p []byte) []byte { p[len(p)-65] ^= 1; return p },
		"zeroed":              func(p []byte) []byte { return make([]byte, len(p)) },
	}
	for what, damage := range damages {
		for _, size := range sizes[1:] {
			s, bucket := newStore()
			ref := put(t, s, text(size))
			bucket.Damage(ref.ID, damage)
			if got, err := read(s, ref, 0, -1); !domain.Is(err, domain.Corrupt) {
				t.Errorf("%s, %d octets: got %d octets, %v", what, size, len(got), err)
			}
			if err := s.Verify(ctx, ref); !domain.Is(err, domain.Corrupt) {
				t.Errorf("%s, %d octets: Verify gave %v", what, size, err)
			}
			if healed := put(t, s, text(size)); healed != ref {
				t.Errorf("%s, %d octets: storing it again gives another reference", what, size)
			}
			if got, err := read(s, ref, 0, -1); err != nil || !bytes.Equal(got, text(size)) {
				t.Errorf("%s, %d octets: not healed: %v", what, size, err)
			}
		}
	}
}

func TestPackagesInAnotherOrderAreAnError(t *testing.T) {
	s, bucket := newStore()
	ref := put(t, s, text(200<<10))
	const sealed = 64<<10 + 32
	bucket.Damage(ref.ID, func(p []byte) []byte {
		first := bytes.Clone(p[:sealed])
		copy(p, p[sealed:2*sealed])
		copy(p[sealed:], first)
		return p
	})
	if _, err := read(s, ref, 0, -1); !domain.Is(err, domain.Corrupt) {
		t.Errorf("got %v", err)
	}
	if _, err := read(s, ref, 70<<10, 10); !domain.Is(err, domain.Corrupt) {
		t.Errorf("a range gave %v", err)
	}
}

func TestExchangedBlobIsAnError(t *testing.T) {
	s, bucket := newStore()
	a, b := put(t, s, text(1000)), put(t, s, append(text(999), 1))
	var other []byte
	bucket.Damage(b.ID, func(p []byte) []byte { other = p; return p })
	bucket.Damage(a.ID, func([]byte) []byte { return other })
	if _, err := read(s, a, 0, -1); !domain.Is(err, domain.Corrupt) {
		t.Errorf("got %v", err)
	}
	stolen := domain.BlobRef{ID: a.ID, Key: b.Key, Size: a.Size}
	if _, err := read(s, stolen, 0, -1); !domain.Is(err, domain.Corrupt) {
		t.Errorf("another blob's key opens it: %v", err)
	}
}

func TestMissing(t *testing.T) {
	s, _ := newStore()
	ref := put(t, s, text(10))
	if _, err := s.Delete(ctx, ref.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(ctx, ref, 0, -1); !domain.Is(err, domain.NotFound) {
		t.Errorf("got %v", err)
	}
}

func TestPutGivesTheReadersError(t *testing.T) {
	s, bucket := newStore()
	broken := errors.New("the line is cut")
	for _, size := range sizes {
		_, err := s.Put(ctx, io.MultiReader(bytes.NewReader(text(size)), iotest.ErrReader(broken)))
		if err != broken {
			t.Errorf("got %v", err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Put(cancelled, bytes.NewReader(text(10))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if bucket.Len() != 0 {
		t.Errorf("%d blobs are left", bucket.Len())
	}
}

func BenchmarkPut8K(b *testing.B) {
	s, bucket := newStore()
	message := text(8 << 10)
	r := bytes.NewReader(message)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(message)
		ref, err := s.Put(ctx, r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = bucket.Delete(ctx, ref.ID, time.Time{})
	}
}

func BenchmarkOpen8K(b *testing.B) {
	s, _ := newStore()
	ref := put(b, s, text(8<<10))
	b.SetBytes(ref.Size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Open(ctx, ref, 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
	}
}
