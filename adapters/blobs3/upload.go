package blobs3

import (
	"bytes"
	"context"
	"crypto/md5" // #nosec: what the protocol wants, beside SHA-256
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/streampost/streampost/domain"
)

// upload gathers a blob until its name is known, which is when all of it is. What does not fit into memory lies in a file without a name, so that a crash
// leaves none.
type upload struct {
	bucket *Bucket
	memory []byte
	spool  *os.File // nil while the octets are in memory
	size   int64
	over   bool
}

var errOver = domain.Errorf(domain.Internal, "the upload is over")

// prepareSpool makes the directory of large uploads.
func (b *Bucket) prepareSpool() error {
	if b.cfg.Spool == "" {
		b.cfg.Spool = os.TempDir()
	}
	if err := os.MkdirAll(b.cfg.Spool, 0o700); err != nil {
		return domain.Wrap(domain.Unavailable, err, "make the directory of uploads")
	}
	left, _ := filepath.Glob(filepath.Join(b.cfg.Spool, spooled+"*")) // of a process that died before its file had no name any more
	for _, name := range left {
		_ = os.Remove(name)
	}
	return nil
}

// spooled begins the names of uploads for the moment in which they have one.
const spooled = "streampost-upload-"

func (u *upload) Write(p []byte) (n int, err error) {
	switch {
	case u.over:
		return 0, errOver
	case u.spool == nil && len(u.memory)+len(p) <= u.bucket.limits.Memory:
		u.memory, n = append(u.memory, p...), len(p)
	default:
		if n, err = u.spill(p); err != nil {
			err = domain.Wrap(domain.Unavailable, err, "keep a message on its way to the S3 bucket in "+u.bucket.cfg.Spool)
		}
	}
	u.size += int64(n)
	return n, err
}

func (u *upload) spill(p []byte) (int, error) {
	if u.spool == nil {
		f, err := os.CreateTemp(u.bucket.cfg.Spool, spooled)
		if err != nil {
			return 0, err
		}
		u.spool = f
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if _, err := f.Write(u.memory); err != nil {
			return 0, err
		}
		u.memory = nil
	}
	return u.spool.Write(p)
}

// Commit implements blob.Upload. When it fails the blob may be stored all the same; nobody refers to it then, and it is collected.
func (u *upload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.over {
		return errOver
	}
	defer u.Abort()
	b := u.bucket
	b.cfg.Failpoint("blob.written")
	send := func() error { return u.send(ctx, b.key(id)) }
	if err := send(); err != nil {
		return err
	}
	if err := b.settle(ctx, id, send); err != nil {
		return err
	}
	b.cfg.Failpoint("blob.committed")
	return nil
}

func (u *upload) send(ctx context.Context, key string) error {
	switch {
	case u.spool == nil:
		return u.bucket.put(ctx, key, u.memory)
	case u.size <= int64(u.bucket.limits.Part):
		return u.bucket.putFrom(ctx, key, io.NewSectionReader(u.spool, 0, u.size))
	}
	return u.bucket.putParts(ctx, key, io.NewSectionReader(u.spool, 0, u.size))
}

// Abort implements blob.Upload.
func (u *upload) Abort() {
	u.over, u.memory = true, nil
	if u.spool != nil {
		_ = u.spool.Close()
		u.spool = nil
	}
}

// put stores an object.
func (b *Bucket) put(ctx context.Context, key string, octets []byte) error {
	return b.putFrom(ctx, key, bytes.NewReader(octets))
}

// source is what can be read again for another attempt.
type source interface {
	io.ReadSeeker
	io.ReaderAt
	Size() int64
}

// putFrom stores an object with one request. The server refuses it when other octets arrive than were sent.
func (b *Bucket) putFrom(ctx context.Context, key string, s source) error {
	short, long := md5.New(), sha256.New()
	if _, err := io.Copy(io.MultiWriter(short, long), s); err != nil {
		return domain.Wrap(domain.Unavailable, err, "read a message on its way to the S3 bucket")
	}
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		return domain.Wrap(domain.Unavailable, err, "read a message on its way to the S3 bucket")
	}
	ctx, cancel := b.bounded(ctx, s.Size())
	defer cancel()
	_, err := b.core.PutObject(ctx, b.cfg.Bucket, key, s, s.Size(), base64.StdEncoding.EncodeToString(short.Sum(nil)), hex.EncodeToString(long.Sum(nil)),
		minio.PutObjectOptions{DisableContentSha256: true}) // otherwise each chunk of a body without TLS would be signed, and the SHA-256 of all of it not be sent
	return b.failed(slow(ctx, err), "store a message in the S3 bucket")
}

// putParts stores a large object in parts, which become the object in one step. Parts of an upload that failed are given up.
func (b *Bucket) putParts(ctx context.Context, key string, s source) error {
	ctx, cancel := b.bounded(ctx, s.Size())
	defer cancel()
	_, err := b.core.Client.PutObject(ctx, b.cfg.Bucket, key, s, s.Size(), minio.PutObjectOptions{
		PartSize: b.limits.Part, NumThreads: 2, SendContentMd5: true, DisableContentSha256: true,
	})
	return b.failed(slow(ctx, err), "store a message in the S3 bucket")
}
