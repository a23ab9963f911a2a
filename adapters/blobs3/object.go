package blobs3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// object reads a blob piece by piece. What fits into one piece is here when Open returns.
type object struct {
	bucket *Bucket
	ctx    context.Context // of who opened it: an io.ReaderAt has none
	key    string
	whole  piece // the first
	mu     sync.Mutex
	last   piece // the one that was read last, for who reads on
}

// piece is a range of one version of an object.
type piece struct {
	octets []byte
	off    int64
	size   int64 // of the object
	etag   string
}

// Open gives a blob. Errors: domain.NotFound, domain.Unavailable.
func (b *Bucket) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	first, err := b.first(ctx, b.key(id))
	if missing(err) {
		return nil, domain.Wrap(domain.NotFound, err, "the stored message is missing")
	}
	if err != nil {
		return nil, err
	}
	return &object{bucket: b, ctx: ctx, key: b.key(id), whole: first}, nil
}

// Size implements blob.Sizer.
func (b *Bucket) Size(ctx context.Context, id domain.BlobID) (int64, error) {
	info, err := b.stat(ctx, b.key(id))
	if missing(err) {
		return 0, domain.Wrap(domain.NotFound, err, "the stored message is missing")
	}
	return info.Size, err
}

func (o *object) Size() int64 { return o.whole.size }

func (o *object) Close() error { return nil }

// ReadAt implements io.ReaderAt. Errors: blob.ErrReplaced, domain.Unavailable.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= o.whole.size {
			return n, io.EOF
		}
		from, err := o.piece(at)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], from.octets[at-from.off:])
	}
	return n, nil
}

// piece gives one that holds an offset.
func (o *object) piece(at int64) (piece, error) {
	if o.whole.holds(at) {
		return o.whole, nil
	}
	o.mu.Lock()
	last := o.last
	o.mu.Unlock()
	if last.holds(at) {
		return last, nil
	}
	step := o.bucket.limits.Piece
	p, err := o.bucket.read(o.ctx, o.key, o.whole.etag, at/step*step, min(step, o.whole.size-at/step*step))
	if missing(err) || replaced(err) || err == nil && (p.size != o.whole.size || p.etag != o.whole.etag) {
		return p, domain.Wrap(domain.Unavailable, blob.ErrReplaced, "read a stored message")
	}
	if err != nil {
		return p, err
	}
	o.mu.Lock()
	o.last = p
	o.mu.Unlock()
	return p, nil
}

func (p piece) holds(at int64) bool { return at >= p.off && at < p.off+int64(len(p.octets)) }

// first reads the beginning of an object, or all of it.
func (b *Bucket) first(ctx context.Context, key string) (piece, error) {
	p, err := b.read(ctx, key, "", 0, b.limits.First)
	if codeOf(err) == minio.InvalidRange { // an empty object has no octet 0 (RFC 9110 section 14.1.2)
		p, err = b.read(ctx, key, "", 0, 0)
	}
	return p, err
}

// read reads a range of an object, with an ETag of that version only; n is 0 for all of it. An answer that is cut off is asked for again.
func (b *Bucket) read(ctx context.Context, key, etag string, off, n int64) (p piece, err error) {
	ctx, cancel := b.bounded(ctx, n)
	defer cancel()
	for try := range b.limits.Tries {
		if p, err = b.readOnce(ctx, key, etag, off, n); !errors.Is(err, errCut) {
			break
		}
		select {
		case <-time.After(time.Duration(try+1) * 50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if missing(err) || replaced(err) || codeOf(err) == minio.InvalidRange {
		return p, err
	}
	return p, b.failed(slow(ctx, err), "read a stored message from the S3 bucket")
}

// errCut says that an answer ended before its end.
var errCut = errors.New("the S3 server's answer was cut off")

func (b *Bucket) readOnce(ctx context.Context, key, etag string, off, n int64) (p piece, err error) {
	var options minio.GetObjectOptions
	if n > 0 {
		err = options.SetRange(off, off+n-1)
	}
	if err == nil && etag != "" {
		err = options.SetMatchETag(etag)
	}
	if err != nil {
		return p, err
	}
	body, info, header, err := b.core.GetObject(ctx, b.cfg.Bucket, key, options)
	if err != nil {
		return p, err
	}
	defer body.Close()
	p = piece{off: off, size: info.Size, etag: info.ETag}
	if _, total, partial := strings.Cut(header.Get("Content-Range"), "/"); partial {
		if p.size, err = strconv.ParseInt(total, 10, 64); err != nil {
			return p, fmt.Errorf("the S3 server gives the range %q: %w", header.Get("Content-Range"), err)
		}
	} else if off > 0 {
		return p, fmt.Errorf("the S3 server gives no ranges")
	}
	length := max(p.size-off, 0)
	if n > 0 {
		length = min(n, length)
	}
	p.octets = make([]byte, length)
	if _, err := io.ReadFull(body, p.octets); err != nil {
		return p, errors.Join(errCut, err)
	}
	return p, nil
}
