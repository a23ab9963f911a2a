package blob

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/streampost/streampost/domain"
)

// Bucket is where sealed blobs lie: a directory, an S3 bucket, a JetStream object store. Package blobtest is its specification in full;
// every implementation passes it. A Bucket is safe for concurrent use and knows nothing of what it holds.
//
// Its errors are domain errors: NotFound for a missing blob, Unavailable when the bucket is full or down for now, and Corrupt when it knows
// by itself that it lost octets.
type Bucket interface {
	// Create begins an upload.
	Create(ctx context.Context) (Upload, error)
	// Open gives a blob's sealed octets. What was opened stays readable as it is while the name is replaced; where a bucket cannot keep that up for a
	// blob of more than a mebibyte, or its copy is damaged, reading fails with ErrReplaced, and never gives octets of two versions. Error: domain.NotFound.
	Open(ctx context.Context, id domain.BlobID) (Object, error)
	// Delete removes a blob that was last committed before a time, or at any time if it is zero, and tells whether it did. Looking at the time and
	// removing are one step as seen from Commit: what is committed at that time or later, even while Delete runs, is there afterwards. Nothing to
	// remove is no error.
	Delete(ctx context.Context, id domain.BlobID, before time.Time) (deleted bool, err error)
	// List calls f for every blob, in no order, and ends with f's error if it gives one. Uploads in progress are not listed. Modified is when the
	// blob was last committed.
	List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error
}

// Upload is a blob on its way in. It belongs to one goroutine.
type Upload interface {
	io.Writer
	// Commit makes the octets durable under their name: when it returns nil they survive a crash of the machine. What had the name before is
	// replaced in one step and stays whole until then, so a crash leaves the old blob or the new one.
	Commit(ctx context.Context, id domain.BlobID) error
	// Abort drops the octets. It may be called after Commit and then does nothing.
	Abort()
}

// Object is a stored blob, opened for reading at any offset from any goroutine.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// ErrReplaced says that a blob was stored anew or deleted while it was read, or that the copy from which it was read is damaged: whoever opens it again
// reads it as it is now.
var ErrReplaced = errors.New("the blob was replaced while it was read")

// Forgetter is a Bucket that keeps copies of what it read. Forget drops its copy, because somebody found that it is not what was stored.
type Forgetter interface {
	Forget(id domain.BlobID)
}

// Sizer is a Bucket that tells the size of a blob for less than opening it costs. Errors as of Open.
type Sizer interface {
	Size(ctx context.Context, id domain.BlobID) (int64, error)
}
