package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Upload stores p under its digest.
func Upload(b blob.Bucket, p []byte) (domain.BlobID, error) {
	id := domain.BlobID(sha256.Sum256(p))
	u, err := b.Create(context.Background())
	if err != nil {
		return id, err
	}
	defer u.Abort()
	if _, err := u.Write(p); err != nil {
		return id, err
	}
	return id, u.Commit(context.Background(), id)
}

// Text is n octets that differ with n.
func Text(n int) []byte { return bytes.Repeat([]byte{byte(n), 1, byte(n >> 8), 2}, n/4+1)[:n] }
