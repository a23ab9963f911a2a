package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/blobcache"
	"github.com/streampost/streampost/adapters/blobfs"
	"github.com/streampost/streampost/adapters/blobjs"
	"github.com/streampost/streampost/adapters/blobs3"
	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/ops/health"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/streams/blob"
)

// bucket is a place where blobs lie, of whatever kind.
type bucket interface {
	blob.Bucket
	// Check tells whether blobs can be stored. Error: domain.Unavailable.
	Check(ctx context.Context) error
	Close() error
}

// sweeper is a bucket in which uploads and deletions that were cut off leave something behind.
type sweeper interface {
	Sweep(ctx context.Context) error
}

// Kinds of blobs.kind.
const (
	whereUsual  = "auto"
	inDirectory = "directory"
	inS3        = "s3"
	inJetStream = "jetstream"
)

// Spaces are what is kept in buckets. Names of objects and object stores have them.
const (
	blobSpace     = "blobs"
	snapshotSpace = "snapshots"

	archiveSpace    = "archive"
	archiveKeySpace = "archive-keys"
)

// opened is how many octets of a space's blobs are read when they are opened, where that is not what adapters do. Of snapshots mostly the header is wanted.
var opened = map[string]int64{snapshotSpace: 64 << 10, archiveSpace: 64 << 10}

// openBlobs opens the bucket of messages, and the cache in front of one that is far away.
func (c *core) openBlobs(ctx context.Context) (err error) {
	c.space = health.NewRoom(c.data.path, uint64(c.cfg.Reserve))
	if c.blobs, err = c.openBucket(ctx, c.cfg.Blobs.Kind, blobSpace); err != nil {
		return err
	}
	c.group.Start(lifecycle.Part{Name: "blobs", Stop: func(context.Context) error { return c.blobs.Close() }})
	c.writable = &lately{look: c.blobs.Check}
	read := blob.Bucket(c.blobs)
	if c.cfg.Blobs.Kind != inDirectory && c.cfg.Blobs.Cache > 0 {
		c.cache, err = blobcache.New(c.blobs, c.data.join("cache"), blobcache.Options{
			Limits: blobcache.Limits{Octets: int64(c.cfg.Blobs.Cache)}, Room: c.space.Check, Logger: c.log,
		})
		if err != nil {
			return err
		}
		read = c.cache
	}
	secret, err := c.streams.Secret(ctx, "blobs")
	if err != nil {
		return err
	}
	c.store, c.stored = blob.New(read, secret), blob.New(c.blobs, secret)
	return nil
}

// refuseLocalBlobs refuses a directory of one node beside a log in a cluster, before anything is made there. What Check of the configuration cannot see is
// whether an external NATS is one, and whether the data directory has a cluster's secret.
func (c *core) refuseLocalBlobs() error {
	b := c.cfg.Blobs
	if b.Kind != inDirectory || b.DirectoryIsShared || b.OneNode {
		return nil
	}
	if c.external == nil {
		return domain.Wrap(domain.Invalid, config.ErrLocalBlobs, "this server is a node of a cluster")
	}
	if cluster := c.external.Conn().ConnectedClusterName(); cluster != "" {
		return domain.Wrap(domain.Invalid, config.ErrLocalBlobs, fmt.Sprintf("streams.url names the NATS cluster %q", cluster))
	}
	return nil
}

// openBucket opens the bucket of a kind.
func (c *core) openBucket(ctx context.Context, kind, space string) (bucket, error) {
	switch cfg := c.cfg.Blobs; kind {
	case inS3:
		s := cfg.S3
		open := blobs3.Config{
			URL: s.URL, Bucket: s.Bucket, Prefix: s.Prefix, Space: space, Region: s.Region, Addressing: s.Addressing,
			AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(), Credentials: s.Credentials,
			Spool: c.data.join("cache"), Limits: blobs3.Limits{Timeout: s.Timeout, First: opened[space]}, Logger: c.log, Failpoint: c.failpoint,
		}
		if s.CA != "" {
			roots, err := authorities("blobs.s3.ca", s.CA)
			if err != nil {
				return nil, err
			}
			open.Transport = blobs3.Transport(roots)
		}
		return blobs3.Open(ctx, open)
	case inJetStream:
		b, err := blobjs.Open(ctx, blobjs.Config{
			Conn: c.conn, Prefix: c.cfg.Streams.Prefix, Space: space, Replicas: c.cfg.Streams.Replicas, Grows: c.nodes != nil,
			Limits: blobjs.Limits{Chunk: int(cfg.JetStream.Chunk), Whole: opened[space]}, Logger: c.log, Failpoint: c.failpoint,
		})
		if err == nil && c.nats != nil && c.nodes == nil {
			err = c.nats.SyncAll(ctx, b.Stream()) // that it exists
		}
		return b, err
	}
	o := blobfs.Options{Logger: c.log, Failpoint: c.failpoint}
	if space == blobSpace && c.cfg.Blobs.DirectoryIsShared {
		return blobfs.OpenShared(ctx, c.blobDirectory(), o)
	}
	if space == blobSpace {
		return blobfs.Open(c.blobDirectory(), o)
	}
	return blobfs.Open(c.data.join(space), blobfs.Options{Logger: c.log})
}

// blobDirectory is where blobs of the kind directory lie.
func (c *core) blobDirectory() string {
	if c.cfg.Blobs.Directory != "" {
		return c.cfg.Blobs.Directory
	}
	return filepath.Join(c.data.path, blobSpace)
}

// syncMode is how the embedded server makes durable what it keeps. Blobs are deleted, so their stream does not only grow, as a log does whose syncs are shared.
func (c *core) syncMode() natsd.SyncMode {
	if c.cfg.Blobs.Kind == inJetStream { // and a cluster does so anyway
		return natsd.SyncAlways
	}
	return natsd.SyncGroup
}

// parallelBlobs is how many blobs are deleted or copied at the same time: each costs some turns with a bucket that is far away.
func (c *core) parallelBlobs() int {
	if c.cfg.Blobs.Kind == inDirectory {
		return 1
	}
	return 16
}

// sweepBlobs removes what uploads and deletions that were cut off have left in buckets. Nothing depends on it.
func (c *core) sweepBlobs(ctx context.Context) {
	for _, b := range []any{c.blobs, c.kept, c.archived.Keys, c.archived.Segments} {
		if s, leaves := b.(sweeper); leaves {
			if err := s.Sweep(ctx); err != nil {
				c.log.Warn("what was cut off in the bucket of blobs is still there: the next collection tries again", "error", err)
			}
		}
	}
}

// blobSamples are the metrics of blobs.
func (c *core) blobSamples() (all []metrics.Sample) {
	switch b := c.blobs.(type) {
	case *blobfs.Bucket:
		s := b.Stats()
		all = metrics.Blobs(s.Records, s.Syncs, s.Compactions, s.Segments, s.Dead)
	case *blobs3.Bucket:
		s := b.Stats()
		all = metrics.S3(s.Answered, s.Refused, s.Failed)
	}
	if c.cache != nil {
		s := c.cache.Stats()
		all = append(all, metrics.BlobCache(s.Hits, s.Misses, s.Evicted, s.Damaged, int64(s.Entries), s.Octets)...)
	}
	return all
}

// forgetting deletes from the bucket, and the copy that the cache may have.
type forgetting struct {
	*blob.Store
	cache *blobcache.Cache
}

// Delete is that of blob.Store.
func (f forgetting) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	deleted, err := f.Store.Delete(ctx, id, before)
	if f.cache != nil && (deleted || err != nil) {
		f.cache.Forget(id)
	}
	return deleted, err
}

// lately remembers for a while what a look found that costs something, because supervisors look every second or so.
type lately struct {
	look func(context.Context) error

	mu  sync.Mutex
	at  time.Time
	err error
}

// How long what was found is believed. What is wrong is looked at again sooner, so that it does not stay so for long.
const (
	goodFor = 5 * time.Second
	badFor  = time.Second
)

// check gives what was found lately, or looks.
func (l *lately) check(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if past := time.Since(l.at); past < badFor || past < goodFor && l.err == nil {
		return l.err
	}
	err := l.look(ctx)
	if ctx.Err() != nil {
		err = ctx.Err() // the next one looks
	} else {
		l.at, l.err = time.Now(), err
	}
	return err
}
