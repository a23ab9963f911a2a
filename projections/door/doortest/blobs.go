package doortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"sync"

	"github.com/streampost/streampost/domain"
)

// Blobs keeps message bytes in memory, by their hash.
type Blobs struct {
	mu     sync.Mutex
	stored map[domain.BlobID][]byte
}

// NewBlobs makes an empty store.
func NewBlobs() *Blobs { return &Blobs{stored: map[domain.BlobID][]byte{}} }

// Put keeps the bytes of r.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (domain.BlobRef, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return domain.BlobRef{}, err
	}
	id := domain.BlobID(sha256.Sum256(raw))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored[id] = raw
	return domain.BlobRef{ID: id, Key: domain.BlobKey(sha256.Sum256(id[:])), Size: int64(len(raw))}, nil
}

// Open reads a part of what Put kept.
func (b *Blobs) Open(_ context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	raw, ok := b.stored[ref.ID]
	switch {
	case !ok:
		return nil, domain.Errorf(domain.NotFound, "the message's bytes are missing")
	case int64(len(raw)) != ref.Size || ref.Key != domain.BlobKey(sha256.Sum256(ref.ID[:])):
		return nil, domain.Errorf(domain.Corrupt, "the message's bytes are damaged")
	}
	return io.NopCloser(bytes.NewReader(raw[off : off+n])), nil
}

// Remove loses a message's bytes.
func (b *Blobs) Remove(id domain.BlobID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.stored, id)
}

// Damage cuts a message's bytes short, so that opening it finds them corrupt.
func (b *Blobs) Damage(id domain.BlobID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	raw := b.stored[id]
	b.stored[id] = raw[:len(raw)/2]
}
