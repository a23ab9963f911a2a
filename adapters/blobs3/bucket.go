// Package blobs3 keeps blobs in a bucket that speaks S3: Amazon's, MinIO, Ceph, versitygw and others.
//
// Each blob is one object, <prefix><space>/<first two digits>/<id>. An S3 object cannot grow, so small messages do not share objects; what that costs is
// in docs/operator.md, "Where blobs lie".
//
// Invariants:
//   - Commit returns when the server has said that it stored all octets, whose MD5 and SHA-256 it was sent. A PUT is one step: nobody ever sees a part of
//     a blob, and an upload that was cut off leaves nothing under its name.
//   - Nothing is asked of the server but what every S3 has: strongly consistent GET, PUT, DELETE and LIST, and multipart uploads. So that a blob which is
//     stored anew while it is deleted stays there, whoever does either, see collect.go.
//   - What is read at once is of one version, by its ETag; see blob.ErrReplaced.
//   - Each request is tried again while the server says that it may help, up to Limits.Timeout. Then the error is domain.Unavailable, and says who is to
//     blame.
package blobs3

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Config says where the bucket is and how to get in.
type Config struct {
	URL        string // of the server, such as https://s3.eu-central-1.amazonaws.com
	Bucket     string
	Prefix     string // that all names begin with, so that installations can share a bucket; may be empty
	Space      string // what is kept: "blobs" or "snapshots"
	Region     string // that requests are signed for
	Addressing string // "path" or "host", where the bucket's name goes; anything else decides by the URL
	// AccessKey and SecretKey, or a Credentials file in Amazon's format; with neither, what the environment or the machine's role gives.
	AccessKey, SecretKey, Credentials string
	Transport                         *http.Transport // nil for one with the system's authorities
	Spool                             string          // a directory for large uploads on their way
	Limits                            Limits
	Logger                            *slog.Logger      // nil for slog.Default
	Failpoint                         func(name string) // as of blobfs.Options
}

// Limits of a Bucket; zero fields get the default.
type Limits struct {
	Timeout time.Duration // of one operation with all its attempts, beside the time for its octets: 30 s
	Rate    int64         // octets a second that an upload or a download is given time for: 128 KiB
	Memory  int           // octets of an upload that are kept in memory; larger ones go to the spool: 1 MiB
	Piece   int64         // octets that are read with one request: 1 MiB
	First   int64         // octets that are read when a blob is opened: Piece
	Part    uint64        // octets of a part of a multipart upload; what is larger is uploaded in parts: 16 MiB
	Page    int           // objects that one request lists: 1,000
	Tries   int           // attempts of one request, as far as Timeout allows: 40
	// Lull is how long marks of deletions stay. It has to exceed any Commit.
	Lull      time.Duration // 1 h
	Abandoned time.Duration // age after which Sweep gives up a multipart upload that did not end: 24 h
}

func (l *Limits) setDefaults() {
	l.Timeout = cmp.Or(l.Timeout, 30*time.Second)
	l.Rate = cmp.Or(l.Rate, 128<<10)
	l.Memory = cmp.Or(l.Memory, 1<<20)
	l.Piece = cmp.Or(l.Piece, 1<<20)
	l.First = cmp.Or(l.First, l.Piece)
	l.Part = cmp.Or(l.Part, 16<<20)
	l.Page = cmp.Or(l.Page, 1000)
	l.Tries = cmp.Or(l.Tries, 40)
	l.Lull = cmp.Or(l.Lull, time.Hour)
	l.Abandoned = cmp.Or(l.Abandoned, 24*time.Hour)
}

// Bucket is a space of an S3 bucket.
type Bucket struct {
	cfg    Config
	limits Limits
	core   minio.Core
	clock  *clock
	rung   atomic.Int64 // when this process last wrote the bell, in Unix nanoseconds
}

var (
	_ blob.Bucket = (*Bucket)(nil)
	_ blob.Sizer  = (*Bucket)(nil)
)

// Open makes a bucket ready. A server that refuses the configuration is domain.Invalid; one that cannot be reached is no error, since it may come back.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	cfg.Limits.setDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	b := &Bucket{cfg: cfg, limits: cfg.Limits, clock: new(clock)}
	client, err := b.client()
	if err != nil {
		return nil, err
	}
	b.core = minio.Core{Client: client}
	if err := b.prepareSpool(); err != nil {
		return nil, err
	}
	switch err := b.reach(ctx); {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case refused(err):
		return nil, &domain.Error{Kind: domain.Invalid, Msg: "open the S3 bucket " + cfg.Bucket, Err: err, Hint: refusals[codeOf(err)]}
	default:
		cfg.Logger.Error("the S3 bucket cannot be reached: it is tried again whenever it is needed", "bucket", cfg.Bucket, "url", cfg.URL, "error", err)
	}
	return b, nil
}

// Close ends the use of the bucket. It may be called again.
func (b *Bucket) Close() error {
	b.cfg.Transport.CloseIdleConnections()
	return nil
}

// reach looks whether the bucket is there and may be listed, which is also what tells a missing object from one that may not be seen.
func (b *Bucket) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(b.limits.Timeout, reachTimeout))
	defer cancel()
	for o := range b.objects(ctx, b.name("none"), 1) {
		if o.Err != nil {
			return b.failed(o.Err, "list the bucket")
		}
	}
	return b.failed(ctx.Err(), "list the bucket")
}

// reachTimeout is how long a start waits for the server.
const reachTimeout = 5 * time.Second

// name gives the name of something in the space.
func (b *Bucket) name(parts ...string) string {
	return b.cfg.Prefix + path.Join(append([]string{b.cfg.Space}, parts...)...)
}

// key gives the name of a blob's object.
func (b *Bucket) key(id domain.BlobID) string {
	text := id.String()
	return b.name(text[:2], text)
}

// objects lists what begins with a prefix.
func (b *Bucket) objects(ctx context.Context, prefix string, page int) iter.Seq[minio.ObjectInfo] {
	return b.core.ListObjectsIter(ctx, b.cfg.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, MaxKeys: page})
}

// Create begins an upload.
func (b *Bucket) Create(ctx context.Context) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &upload{bucket: b}, nil
}

// Delete removes a blob; see collect.go.
func (b *Bucket) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return b.collect(ctx, id, before)
}

// List calls f for every blob, a page of the server's at a time.
func (b *Bucket) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	// The time of a list is that of its consumer, so only the silence of the server is bounded, by the transport.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range b.objects(ctx, b.name()+"/", b.limits.Page) {
		if o.Err != nil {
			return b.failed(o.Err, "list stored messages")
		}
		id, err := domain.ParseBlobID(o.Key[strings.LastIndexByte(o.Key, '/')+1:])
		if err != nil {
			continue // not ours
		}
		if err := f(id, o.Size, b.stored(o.LastModified)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// stored gives the latest time, by this machine's clock, at which an object can have been stored. Servers tell times in seconds and cut off the rest.
func (b *Bucket) stored(modified time.Time) time.Time {
	return modified.Truncate(time.Second).Add(time.Second - 1).Add(-b.clock.ahead())
}

// Check tells whether blobs can be stored and read. Error: domain.Unavailable.
func (b *Bucket) Check(ctx context.Context) error {
	probe := []byte("Streampost looks whether it can write here.\n")
	if err := b.put(ctx, b.name()+".probe", probe); err != nil {
		return err
	}
	got, err := b.first(ctx, b.name()+".probe")
	if err == nil && string(got.octets) != string(probe) {
		err = domain.Errorf(domain.Unavailable, "the bucket gives other octets than were stored")
	}
	if missing(err) {
		err = domain.Wrap(domain.Unavailable, err, "what was stored in the bucket is not there")
	}
	return err
}
