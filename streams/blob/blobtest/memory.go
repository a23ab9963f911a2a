package blobtest

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// Memory is a Bucket for tests. It also damages and loses blobs on demand. The zero value is an empty one.
type Memory struct {
	Clock func() time.Time // of commits; time.Now if nil

	mu    sync.Mutex
	blobs map[domain.BlobID]stored
}

type stored struct {
	octets   []byte
	modified time.Time
}

var _ blob.Bucket = (*Memory)(nil)

// Create implements blob.Bucket.
func (m *Memory) Create(ctx context.Context) (blob.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &memoryUpload{bucket: m}, nil
}

// Open implements blob.Bucket.
func (m *Memory) Open(ctx context.Context, id domain.BlobID) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[id]
	if !ok {
		return nil, domain.Errorf(domain.NotFound, "the message is not stored")
	}
	return memoryObject{bytes.NewReader(b.octets)}, nil
}

// Delete implements blob.Bucket.
func (m *Memory) Delete(ctx context.Context, id domain.BlobID, before time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[id]
	if !ok || !before.IsZero() && !b.modified.Before(before) {
		return false, nil
	}
	delete(m.blobs, id)
	return true, nil
}

// List implements blob.Bucket.
func (m *Memory) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	m.mu.Lock()
	blobs := maps.Clone(m.blobs)
	m.mu.Unlock()
	for id, b := range blobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(id, int64(len(b.octets)), b.modified); err != nil {
			return err
		}
	}
	return nil
}

// Damage replaces a blob's stored octets by what change makes of a copy of them.
func (m *Memory) Damage(id domain.BlobID, change func([]byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.blobs[id]
	m.blobs[id] = stored{change(bytes.Clone(b.octets)), b.modified}
}

// Age makes a blob look as if it had been committed earlier.
func (m *Memory) Age(id domain.BlobID, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.blobs[id]
	m.blobs[id] = stored{b.octets, b.modified.Add(-by)}
}

// Len counts the blobs.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blobs)
}

type memoryUpload struct {
	bucket *Memory
	octets []byte
	done   bool
}

func (u *memoryUpload) Write(p []byte) (int, error) {
	u.octets = append(u.octets, p...)
	return len(p), nil
}

func (u *memoryUpload) Commit(ctx context.Context, id domain.BlobID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.done {
		return domain.Errorf(domain.Internal, "the upload is over")
	}
	u.done = true
	clock := u.bucket.Clock
	if clock == nil {
		clock = time.Now
	}
	u.bucket.mu.Lock()
	defer u.bucket.mu.Unlock()
	now := clock()
	if u.bucket.blobs == nil {
		u.bucket.blobs = make(map[domain.BlobID]stored)
	}
	u.bucket.blobs[id] = stored{u.octets, now}
	return nil
}

func (u *memoryUpload) Abort() { u.done = true }

type memoryObject struct{ *bytes.Reader }

func (memoryObject) Close() error { return nil }
