package blobfs_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/domain"
	"pgregory.net/rapid"
)

// small makes everything happen often.
var small = blobfs.Limits{Packed: 2000, Segment: 8000, Ahead: 512, Round: 3000, Recent: 4, Files: 2}

// machine stores and deletes, dies and loses its index, and compares with what it was told.
type machine struct {
	t      *rapid.T
	dir    string
	bucket *blobfs.Bucket
	want   map[domain.BlobID][]byte
	turn   uint64
}

func TestWhatIsAcknowledgedIsThereAndNothingElse(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, want: map[domain.BlobID][]byte{}}
		m.dir = filepath.Join(root, strconv.Itoa(rand.Int()))
		m.open()
		defer func() { _ = m.bucket.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"": m.check, "list": m.list, "put": m.put, "delete": m.delete, "restart": m.restart, "crash": m.crash, "lose the index": m.loseIndex,
			"checkpoint": func(t *rapid.T) { must(t, m.bucket.Checkpoint()) }, "compact": func(t *rapid.T) { must(t, m.bucket.Compact()) },
		})
	})
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) open() {
	b, err := blobfs.Open(m.dir, blobfs.Options{Limits: small, Logger: slog.New(slog.DiscardHandler)})
	must(m.t, err)
	m.bucket = b
}

// content gives octets that nobody stored before: the same id gets others each time, which shows which one is served.
func (m *machine) content(t *rapid.T) []byte {
	m.turn++
	p := make([]byte, rapid.OneOf(rapid.IntRange(8, 300), rapid.IntRange(8, 3000)).Draw(t, "size"))
	for i := range p {
		p[i] = byte(m.turn*31+uint64(i)) | 1 // Never like the zeros behind the newest record.
	}
	binary.BigEndian.PutUint64(p, m.turn)
	return p
}

func id(t *rapid.T) domain.BlobID { return domain.BlobID{1 + rapid.Byte().Draw(t, "id")%12} }

func (m *machine) put(t *rapid.T) {
	n := rapid.IntRange(1, 6).Draw(t, "at once")
	errs := make(chan error, n)
	for range n {
		id, p := id(t), m.content(t)
		if _, taken := m.want[id]; n > 1 && taken {
			n--
			continue // Which of two would win?
		}
		m.want[id] = p
		go func() { errs <- store(m.bucket, id, p) }()
	}
	for range n {
		must(t, <-errs)
	}
}

func store(b *blobfs.Bucket, id domain.BlobID, p []byte) error {
	u, err := b.Create(ctx)
	if err != nil {
		return err
	}
	defer u.Abort()
	for len(p) > 0 {
		n := min(len(p), 700)
		if _, err := u.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return u.Commit(ctx, id)
}

func (m *machine) delete(t *rapid.T) {
	id := id(t)
	_, there := m.want[id]
	if rapid.Bool().Draw(t, "too late") {
		deleted, err := m.bucket.Delete(ctx, id, time.Unix(1, 0))
		if err != nil || deleted {
			t.Fatalf("what was stored since is deleted: %v, %v", deleted, err)
		}
		return
	}
	deleted, err := m.bucket.Delete(ctx, id, time.Time{})
	if err != nil || deleted != there {
		t.Fatalf("deleted %v, want %v; %v", deleted, there, err)
	}
	delete(m.want, id)
}

func (m *machine) restart(t *rapid.T) {
	must(t, m.bucket.Close())
	m.open()
}

func (m *machine) loseIndex(t *rapid.T) {
	must(t, m.bucket.Close())
	index := filepath.Join(m.dir, "packs", "index")
	if rapid.Bool().Draw(t, "damaged") {
		must(t, os.WriteFile(index, bytes.Repeat([]byte{7}, 5000), 0o600))
	} else {
		must(t, os.Remove(index))
	}
	m.open()
}

// crash goes on with the segments as they were while everything was open, the newest of which ends in part of an upload that nobody heard of again.
func (m *machine) crash(t *rapid.T) {
	must(t, m.bucket.Checkpoint()) // While the index is being written its file cannot be copied.
	packs := filepath.Join(m.dir, "packs")
	left := map[string][]byte{}
	for _, name := range glob(t, filepath.Join(packs, "*")) {
		p, err := os.ReadFile(name)
		must(t, err)
		left[name] = p
	}
	m.unacknowledged(t, left)
	must(t, m.bucket.Close())
	must(t, os.RemoveAll(packs))
	must(t, os.Mkdir(packs, 0o700))
	for name, p := range left {
		must(t, os.WriteFile(name, p, 0o600))
	}
	m.open()
}

// unacknowledged stores one more blob. Its record reached the disk as far as some octet, and from there on there is what was there before.
func (m *machine) unacknowledged(t *rapid.T, left map[string][]byte) {
	id, p := id(t), m.content(t)
	if len(p) > small.Packed {
		return
	}
	must(t, store(m.bucket, id, p))
	names := glob(t, filepath.Join(m.dir, "packs", "*.pack"))
	name := names[len(names)-1]
	now, err := os.ReadFile(name)
	must(t, err)
	before := left[name]
	begin := difference(before, now)
	end := min(begin+rapid.IntRange(0, len(p)+64-1).Draw(t, "octets of the torn record"), len(now))
	left[name] = slices.Concat(before[:min(begin, len(before))], now[min(begin, len(before)):end], before[min(end, len(before)):])
}

func glob(t *rapid.T, pattern string) []string {
	names, err := filepath.Glob(pattern)
	must(t, err)
	return names
}

// difference is the first octet in which two files differ, apart from the marks of dead records.
func difference(a, b []byte) int {
	for i := range b {
		if i >= len(a) || a[i] != b[i] && !(a[i] == 'L' && b[i] == 'D') {
			return i
		}
	}
	return len(b)
}

func (m *machine) check(t *rapid.T) {
	for i := range byte(12) {
		id := domain.BlobID{1 + i}
		o, err := m.bucket.Open(ctx, id)
		want, there := m.want[id]
		switch {
		case !there:
			if !domain.Is(err, domain.NotFound) {
				t.Fatalf("%v was never stored or is deleted: %v", id, err)
			}
		case err != nil:
			t.Fatalf("%v is lost: %v", id, err)
		default:
			got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
			must(t, err)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%v has other octets", id)
			}
		}
	}
}

func (m *machine) list(t *rapid.T) {
	listed := map[domain.BlobID]bool{}
	must(t, m.bucket.List(ctx, func(id domain.BlobID, size int64, _ time.Time) error {
		if listed[id] || size != int64(len(m.want[id])) {
			t.Fatalf("%v is listed with %d octets", id, size)
		}
		listed[id] = true
		return nil
	}))
	if len(listed) != len(m.want) {
		t.Fatalf("%d are listed of %d", len(listed), len(m.want))
	}
}
