// Package blobcache keeps copies of blobs in a directory, in front of a bucket that is far away.
//
// Invariants:
//   - The bucket is the truth. A copy is there only for reading; losing all of them, or any, loses nothing, so nothing is synced.
//   - A copy is whole, of one version, and checked block by block whenever it is read. What a crash or a disk made of it is noticed, dropped and fetched anew.
//   - The directory never holds more than Limits.Octets, but for what is being fetched; what was not read for longest goes first. Memory is some 200 octets
//     for each copy, and a copy counts as at least 8 KiB.
//   - However many readers want a blob that is not here, it is fetched once.
//   - When the directory cannot be written, everything goes on without it.
package blobcache

import (
	"container/list"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Options of a Cache.
type Options struct {
	Limits Limits
	// Room gives an error while the disk has none: then nothing new is kept. It may be nil.
	Room   func() error
	Logger *slog.Logger // nil for slog.Default
}

// Limits of a Cache; zero fields get the default.
type Limits struct {
	Octets int64         // of the directory: 1 GiB
	Entry  int64         // octets of the largest blob that is kept: an eighth of that, at most 64 MiB. Of larger ones the bucket is asked for each range
	Fetch  time.Duration // for fetching one blob: 5 min
}

// Cache is a Bucket. Close the one below it; the cache needs no closing.
type Cache struct {
	bucket blob.Bucket
	dir    string
	limits Limits
	room   func() error
	log    *slog.Logger

	mu      sync.Mutex
	entries map[domain.BlobID]*list.Element // of *entry
	order   *list.List                      // the one that was read last is in front
	flights map[domain.BlobID]*flight
	stats   Stats
}

// entry is a copy that is there.
type entry struct {
	id      domain.BlobID
	cost    int64
	touched time.Time // when its file's time was last set, which is what the order is after a restart
}

// flight is a fetch under way, for all who wait for it.
type flight struct {
	done  chan struct{}
	stale bool // the blob was stored anew or deleted since: what arrives is not kept
	err   error
}

// Stats tells what a cache did and has.
type Stats struct {
	Hits, Misses int64 // blobs that were opened
	Entries      int
	Octets       int64 // of the directory
	Evicted      int64
	Damaged      int64 // copies that were found to be
}

var (
	_ blob.Bucket    = (*Cache)(nil)
	_ blob.Forgetter = (*Cache)(nil)
)

// touchEvery is how exactly the order of reading survives a restart.
const touchEvery = 10 * time.Minute

// New makes a cache of a directory, which nobody else may use, and takes over the copies that are there.
func New(bucket blob.Bucket, dir string, o Options) (*Cache, error) {
	c := &Cache{
		bucket: bucket, dir: dir, limits: o.Limits, room: o.Room, log: o.Logger,
		entries: map[domain.BlobID]*list.Element{}, order: list.New(), flights: map[domain.BlobID]*flight{},
	}
	if c.limits.Octets == 0 {
		c.limits.Octets = 1 << 30
	}
	if c.limits.Entry == 0 {
		c.limits.Entry = min(c.limits.Octets/8, 64<<20)
	}
	if c.limits.Fetch == 0 {
		c.limits.Fetch = 5 * time.Minute
	}
	if c.room == nil {
		c.room = func() error { return nil }
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	if err := c.load(); err != nil {
		return nil, domain.Wrap(domain.Unavailable, err, "open the directory of blobs that were read")
	}
	return c, nil
}

// Stats tells what the cache did and has.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = len(c.entries)
	return s
}

// Create begins an upload to the bucket, of which a copy is kept: mail that has just come is read soon.
func (c *Cache) Create(ctx context.Context) (blob.Upload, error) {
	u, err := c.bucket.Create(ctx)
	if err != nil {
		return nil, err
	}
	return &upload{Upload: u, cache: c, copy: c.newCopy()}, nil
}

// upload writes to the bucket and into a copy.
type upload struct {
	blob.Upload
	cache *Cache
	copy  *copying // nil when it failed
}

func (u *upload) Write(p []byte) (int, error) {
	n, err := u.Upload.Write(p)
	u.copy = u.copy.write(p[:n])
	return n, err
}

// Commit implements blob.Upload.
func (u *upload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := u.Upload.Commit(ctx, id); err != nil {
		return err
	}
	u.cache.Forget(id)
	u.cache.keep(id, u.copy)
	u.copy = nil
	return nil
}

// Abort implements blob.Upload.
func (u *upload) Abort() {
	u.Upload.Abort()
	u.copy = u.copy.drop()
}

// Delete deletes from the bucket, and the copy.
func (c *Cache) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	deleted, err := c.bucket.Delete(ctx, id, before)
	if deleted || err != nil {
		c.Forget(id)
	}
	return deleted, err
}

// List lists the bucket.
func (c *Cache) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	return c.bucket.List(ctx, f)
}

// Open gives a blob from its copy, or fetches it. Errors are those of the bucket.
func (c *Cache) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o := c.hit(ctx, id); o != nil {
		return o, nil
	}
	if err := c.fetched(ctx, id); err != nil {
		return nil, err
	}
	if o := c.open(ctx, id); o != nil {
		return o, nil
	}
	return c.bucket.Open(ctx, id) // too large to keep, or not kept for another reason
}

// hit opens a copy and counts.
func (c *Cache) hit(ctx context.Context, id domain.BlobID) blob.Object {
	o := c.open(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if o == nil {
		c.stats.Misses++
		return nil
	}
	c.stats.Hits++
	return o
}

// open opens a copy; nil when there is none that can be read.
func (c *Cache) open(ctx context.Context, id domain.BlobID) blob.Object {
	c.mu.Lock()
	at, there := c.entries[id]
	if there {
		c.order.MoveToFront(at)
		if e, now := at.Value.(*entry), time.Now(); now.Sub(e.touched) > touchEvery {
			e.touched = now
			_ = os.Chtimes(c.path(id), now, now) // it only helps the order after a restart
		}
	}
	c.mu.Unlock()
	if !there {
		return nil
	}
	o, err := openCopy(c.path(id))
	if err != nil {
		c.damaged(id, err)
		return nil
	}
	o.damaged = func(err error) { c.damaged(id, err) }
	return o
}

// damaged drops a copy that cannot be read.
func (c *Cache) damaged(id domain.BlobID, err error) {
	c.log.Warn("the copy of a blob cannot be read: it is fetched anew", "blob", id, "directory", c.dir, "error", err)
	c.mu.Lock()
	c.stats.Damaged++
	c.mu.Unlock()
	c.Forget(id)
}

// Forget drops a copy, and what is being fetched of the blob.
func (c *Cache) Forget(id domain.BlobID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[id]; f != nil {
		f.stale = true
		delete(c.flights, id) // who comes now fetches anew
	}
	if at, there := c.entries[id]; there {
		c.remove(at)
	}
}

// remove drops a copy. The caller holds the lock.
func (c *Cache) remove(at *list.Element) {
	e := c.order.Remove(at).(*entry)
	delete(c.entries, e.id)
	c.stats.Octets -= e.cost
	_ = os.Remove(c.path(e.id)) // whoever reads it has it open; what stays is found at the next start
}

// fetched waits until a blob was fetched, by us or by somebody else.
func (c *Cache) fetched(ctx context.Context, id domain.BlobID) error {
	c.mu.Lock()
	f, flying := c.flights[id]
	if _, there := c.entries[id]; there && !flying {
		c.mu.Unlock()
		return nil // since we looked
	}
	if !flying {
		f = &flight{done: make(chan struct{})}
		c.flights[id] = f
		go c.fetch(context.WithoutCancel(ctx), id, f)
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fetch brings a copy here.
func (c *Cache) fetch(ctx context.Context, id domain.BlobID, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Fetch)
	defer cancel()
	var got *copying
	for range 3 {
		if got, f.err = c.copyOf(ctx, id); !errors.Is(f.err, blob.ErrReplaced) {
			break
		}
	}
	c.keepUnless(id, got, f)
	c.mu.Lock()
	if c.flights[id] == f {
		delete(c.flights, id)
	}
	c.mu.Unlock()
	close(f.done)
}

// copyOf reads a blob of the bucket into a copy; nil when it cannot be kept.
func (c *Cache) copyOf(ctx context.Context, id domain.BlobID) (*copying, error) {
	o, err := c.bucket.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	if o.Size() > c.limits.Entry {
		return nil, nil
	}
	w := c.newCopy()
	if _, err := io.Copy(writing{&w}, io.NewSectionReader(o, 0, o.Size())); err != nil {
		w.drop()
		return nil, err
	}
	return w, nil
}

// writing feeds a copy, and goes on when that fails.
type writing struct{ to **copying }

func (w writing) Write(p []byte) (int, error) {
	*w.to = (*w.to).write(p)
	return len(p), nil
}

// keep makes a copy one that is there.
func (c *Cache) keep(id domain.BlobID, w *copying) { c.keepUnless(id, w, nil) }

// keepUnless is keep, unless the flight that brought the copy is stale.
func (c *Cache) keepUnless(id domain.BlobID, w *copying, f *flight) {
	if w == nil {
		return
	}
	size, err := w.finish()
	if err == nil && size <= c.limits.Entry {
		err = os.MkdirAll(filepath.Dir(c.path(id)), 0o700)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || size > c.limits.Entry || f != nil && f.stale {
		w.drop()
		c.complain(err)
		return
	}
	if at, there := c.entries[id]; there {
		c.remove(at)
	}
	if err := os.Rename(w.file.Name(), c.path(id)); err != nil {
		w.drop()
		c.complain(err)
		return
	}
	_ = w.file.Close()
	c.insert(&entry{id: id, cost: cost(size), touched: time.Now()})
}

// insert puts a copy in front and makes room for it. The caller holds the lock.
func (c *Cache) insert(e *entry) {
	c.entries[e.id] = c.order.PushFront(e)
	c.stats.Octets += e.cost
	for c.stats.Octets > c.limits.Octets && c.order.Len() > 0 {
		c.remove(c.order.Back())
		c.stats.Evicted++
	}
}

func (c *Cache) complain(err error) {
	if err != nil {
		c.log.Warn("the copy of a blob cannot be kept", "directory", c.dir, "error", err)
	}
}

// cost is what a copy takes on the disk, more or less: whole pages, and one for its name.
func cost(size int64) int64 { return (size+footerSize+4095)/4096*4096 + 4096 }

func (c *Cache) path(id domain.BlobID) string {
	name := id.String()
	return filepath.Join(c.dir, name[:2], name)
}
