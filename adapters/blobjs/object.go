package blobjs

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// object reads a blob chunk by chunk.
type object struct {
	bucket *Bucket
	ctx    context.Context // of who opened it: an io.ReaderAt has none
	what   *described
	whole  []byte // all of it, if it is small

	mu   sync.Mutex
	last int // number of the chunk that was read last, plus one
	data []byte
}

// errGone says that a chunk is not there.
var errGone = errors.New("a chunk is not there")

// maxRaces bounds how often a blob may be replaced while it is opened.
const maxRaces = 5

// Open gives a blob. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (b *Bucket) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var seen uint64
	for range maxRaces {
		d, err := b.describe(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case d == nil || d.info.Deleted:
			return nil, domain.Errorf(domain.NotFound, "the stored message is missing")
		case d.seq == seen:
			return nil, domain.Wrap(domain.Corrupt, errGone, "a part of the stored message is missing")
		}
		seen = d.seq
		o := &object{bucket: b, ctx: ctx, what: d}
		if o.Size() > b.limits.Whole {
			return o, nil
		}
		whole := make([]byte, 0, o.Size())
		for n := range d.chunks {
			var chunk []byte
			if chunk, err = b.chunk(ctx, d, n); err != nil {
				break
			}
			whole = append(whole, chunk...)
		}
		if err == nil {
			o.whole = whole
			return o, nil
		}
		if !errors.Is(err, errGone) {
			return nil, err
		}
	}
	return nil, domain.Wrap(domain.Unavailable, blob.ErrReplaced, "open a stored message")
}

// Size implements blob.Sizer.
func (b *Bucket) Size(ctx context.Context, id domain.BlobID) (int64, error) {
	d, err := b.describe(ctx, id)
	if err == nil && (d == nil || d.info.Deleted) {
		err = domain.Errorf(domain.NotFound, "the stored message is missing")
	}
	if err != nil {
		return 0, err
	}
	return int64(d.info.Size), nil
}

// chunk reads a chunk. Error: errGone, domain.Corrupt, domain.Unavailable.
func (b *Bucket) chunk(ctx context.Context, d *described, n int) ([]byte, error) {
	m, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return b.stream.GetMsg(ctx, d.chunks[n]) })
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Subject != b.chunks(d.info.NUID) {
		return nil, errGone
	}
	if err != nil {
		return nil, failed(err, "read a stored message")
	}
	if want := min(d.chunkSize(), int64(d.info.Size)-int64(n)*d.chunkSize()); int64(len(m.Data)) != want {
		return nil, domain.Errorf(domain.Corrupt, "a part of the stored message has %d octets instead of %d", len(m.Data), want)
	}
	return m.Data, nil
}

// chunkSize is that of all chunks but the last.
func (d *described) chunkSize() int64 {
	if d.info.Opts == nil || d.info.Opts.ChunkSize == 0 {
		return int64(d.info.Size)
	}
	return int64(d.info.Opts.ChunkSize)
}

func (o *object) Size() int64 { return int64(o.what.info.Size) }

func (o *object) Close() error { return nil }

// ReadAt implements io.ReaderAt. Errors: blob.ErrReplaced, domain.Corrupt, domain.Unavailable.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= o.Size() {
			return n, io.EOF
		}
		if o.whole != nil {
			n += copy(p[n:], o.whole[at:])
			continue
		}
		chunk, err := o.chunk(int(at / o.what.chunkSize()))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], chunk[at%o.what.chunkSize():])
	}
	return n, nil
}

func (o *object) chunk(n int) ([]byte, error) {
	o.mu.Lock()
	last, data := o.last, o.data
	o.mu.Unlock()
	if last == n+1 {
		return data, nil
	}
	data, err := o.bucket.chunk(o.ctx, o.what, n)
	if errors.Is(err, errGone) {
		return nil, domain.Wrap(domain.Unavailable, blob.ErrReplaced, "read a stored message")
	}
	if err == nil {
		o.mu.Lock()
		o.last, o.data = n+1, data
		o.mu.Unlock()
	}
	return data, err
}

// List calls f for every blob.
func (b *Bucket) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	return b.descriptions(ctx, func(d *described, wrong error) error {
		if wrong != nil {
			b.cfg.Logger.Warn("a description in the object store cannot be read", "stream", b.Stream(), "sequence", d.seq, "error", wrong)
			return nil
		}
		id, err := domain.ParseBlobID(d.info.Name)
		if err != nil || d.info.Deleted {
			return nil
		}
		return f(id, int64(d.info.Size), d.stored)
	})
}

// walkers read descriptions at the same time, each in a part of the stream of at least walkAlone messages.
const (
	walkers   = 8
	walkAlone = 100
)

// descriptions calls f for all descriptions that there are now, one call at a time, and with what is wrong with one that cannot be read. What is written
// meanwhile is left out, so nothing comes twice.
func (b *Bucket) descriptions(ctx context.Context, f func(d *described, wrong error) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.StreamInfo, error) { return b.stream.Info(ctx) })
	if err != nil {
		return failed(err, "list stored messages")
	}
	first, end := info.State.FirstSeq, info.State.LastSeq+1
	step := max((end-first)/walkers+1, walkAlone)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var walking sync.WaitGroup
	var turn sync.Mutex
	for from := first; from < end; from += step {
		walking.Go(func() {
			err := b.walk(ctx, from, min(from+step, end), func(d *described, wrong error) error {
				turn.Lock()
				defer turn.Unlock()
				if err := context.Cause(ctx); err != nil {
					return err
				}
				err := f(d, wrong)
				if err != nil {
					cancel(err)
				}
				return err
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	walking.Wait()
	return context.Cause(ctx)
}

// walk calls f for the descriptions in a part of the stream.
func (b *Bucket) walk(ctx context.Context, from, end uint64, f func(d *described, wrong error) error) error {
	for from < end {
		m, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return b.stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(b.description("*")))
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Sequence >= end {
			return nil
		}
		if err != nil {
			return failed(err, "list stored messages")
		}
		from = m.Sequence + 1
		d := &described{seq: m.Sequence, stored: m.Time}
		if err := f(d, d.read(m.Data)); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes chunks that belong to no blob, as uploads that were cut off leave them, and what deletions that were cut off have left.
func (b *Bucket) Sweep(ctx context.Context) error {
	info, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		return b.stream.Info(ctx, jetstream.WithSubjectFilter(b.chunks("*")))
	})
	if err != nil {
		return failed(err, "look for octets that belong to no stored message")
	}
	chunks := info.State.Subjects // before the descriptions: what is described later is young
	err = b.descriptions(ctx, func(d *described, wrong error) error {
		if wrong != nil { // Nobody knows which chunks are its own.
			return domain.Wrap(domain.Corrupt, wrong, "look for octets that belong to no stored message")
		}
		if d.info.Deleted {
			id, err := domain.ParseBlobID(d.info.Name)
			if err == nil && time.Since(d.stored) > b.limits.Orphan {
				err = b.purge(ctx, b.subject(id), d.seq+1)
			}
			return err
		}
		delete(chunks, b.chunks(d.info.NUID))
		return nil
	})
	if err != nil {
		return err
	}
	for subject := range chunks {
		if !strings.HasPrefix(subject, b.chunks("")) {
			continue
		}
		m, err := ask(ctx, b.limits, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return b.stream.GetLastMsgForSubject(ctx, subject)
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && time.Since(m.Time) < b.limits.Orphan {
			continue
		}
		if err == nil {
			err = b.purge(ctx, subject, 0)
		}
		if err != nil {
			return failed(err, "remove octets that belong to no stored message")
		}
	}
	return nil
}
