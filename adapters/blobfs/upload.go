package blobfs

import (
	"context"
	"os"
	"sync"

	"github.com/streampost/streampost/domain"
)

// upload gathers octets in memory, and moves to a temporary file when they get too many for a segment.
type upload struct {
	bucket *Bucket
	record *record  // nil once it is over
	file   *os.File // nil while the octets are in record
}

var recordPool = sync.Pool{New: func() any { return &record{buf: make([]byte, headerSize, 16<<10)} }}

func newUpload(b *Bucket) *upload {
	r := recordPool.Get().(*record)
	*r = record{buf: r.buf[:headerSize]}
	return &upload{bucket: b, record: r}
}

func (u *upload) Write(p []byte) (int, error) {
	if u.record == nil {
		return 0, errOver
	}
	if u.file == nil {
		if len(u.record.buf)-headerSize+len(p) <= u.bucket.limits.Packed {
			u.record.buf = append(u.record.buf, p...)
			return len(p), nil
		}
		if err := u.spill(); err != nil {
			return 0, failed(err, "store a message")
		}
	}
	n, err := u.file.Write(p)
	if err != nil {
		err = failed(err, "store a message")
	}
	return n, err
}

var errOver = domain.Errorf(domain.Internal, "the upload is over")

func (u *upload) spill() (err error) {
	if u.file, err = u.bucket.files.create(); err != nil {
		return err
	}
	_, err = u.file.Write(u.record.buf[headerSize:])
	return err
}

// Commit implements blob.Upload.
func (u *upload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.record == nil {
		return errOver
	}
	b := u.bucket
	defer u.Abort()
	if u.file == nil {
		u.record.id = id
		u.record.finish()
		err := b.packs.room(ctx)
		if err == nil {
			err = b.packs.commit(&batch{records: []*record{u.record}})
		}
		if err != nil {
			return failed(err, "store a message")
		}
		b.failpoint("blob.committed")
		return nil
	}
	b.failpoint("blob.written")
	if err := b.files.commit(u.file, id); err != nil {
		return failed(err, "store a message")
	}
	// Packed blobs are found first, so one of the same name has to go.
	if err := b.unpack(id); err != nil {
		return failed(err, "store a message")
	}
	b.failpoint("blob.committed")
	return nil
}

// Abort implements blob.Upload.
func (u *upload) Abort() {
	if u.file != nil {
		_ = u.file.Close()
		_ = os.Remove(u.file.Name())
		u.file = nil
	}
	if u.record != nil {
		recordPool.Put(u.record)
		u.record = nil
	}
}
