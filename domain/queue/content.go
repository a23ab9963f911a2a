package queue

import (
	"context"
	"io"
	"strings"

	"github.com/streampost/streampost/domain"
)

// Blobs is the store of message bytes; see blob.Store.
type Blobs interface {
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Content is the message as it travels, Head and what is stored, from an octet on and at most n octets of it; -1 is all. Errors: those of Blobs.Open.
func (e *Entry) Content(ctx context.Context, blobs Blobs, off, n int64) (io.ReadCloser, error) {
	off = min(off, e.Size())
	if left := e.Size() - off; n < 0 || n > left {
		n = left
	}
	front := int64(len(e.Head))
	head := e.Head[min(off, front):min(off+n, front)]
	r, err := blobs.Open(ctx, e.Blob.BlobRef, e.Skip+max(off-front, 0), n-int64(len(head)))
	if err != nil || head == "" {
		return r, err
	}
	return headed{io.MultiReader(strings.NewReader(head), r), r}, nil
}

// headed is a message with fields in front.
type headed struct {
	io.Reader
	io.Closer
}
