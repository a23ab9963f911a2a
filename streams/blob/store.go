package blob

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/minio/sio"
	"github.com/streampost/streampost/domain"
)

const (
	packageSize = 64 << 10 // plain octets of one package of the encryption
	overhead    = 32       // octets that sealing adds to each
)

// MaxSize is the largest message that Put takes, in octets.
const MaxSize = 4 << 30

// Store seals, names and deduplicates message bytes above a Bucket. It is safe for concurrent use.
type Store struct {
	bucket  Bucket
	nameKey [32]byte
	wrapKey [32]byte
}

// New makes a Store. The secret belongs to the installation: another one finds no blob again.
func New(bucket Bucket, secret [32]byte) *Store {
	return &Store{
		bucket:  bucket,
		nameKey: mac(secret, []byte("streampost blob name 1")),
		wrapKey: mac(secret, []byte("streampost blob key 1")),
	}
}

func mac(key [32]byte, text []byte) (sum [32]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

// ref names the message with the given hash and size.
func (s *Store) ref(hash [32]byte, size int64) domain.BlobRef {
	return domain.BlobRef{ID: mac(s.nameKey, hash[:]), Key: mac(s.wrapKey, hash[:]), Size: size}
}

// buffers is what one Put works with.
type buffers struct {
	hash hash.Hash
	in   [32 << 10]byte
	out  *bufio.Writer
}

// A package and the trailer of a small message leave in one write.
var pool = sync.Pool{New: func() any {
	return &buffers{hash: sha256.New(), out: bufio.NewWriterSize(nil, packageSize+overhead+trailerSize)}
}}

// Put streams a message in; it is durable when Put returns. Errors: those of r as they are, domain.TooLarge beyond MaxSize, and those of the
// bucket.
func (s *Store) Put(ctx context.Context, r io.Reader) (domain.BlobRef, error) {
	b := pool.Get().(*buffers)
	defer pool.Put(b)
	upload, err := s.bucket.Create(ctx)
	if err != nil {
		return domain.BlobRef{}, fmt.Errorf("store message: %w", err)
	}
	defer upload.Abort()
	b.hash.Reset()
	b.out.Reset(upload)
	defer b.out.Reset(nil)

	var streamKey [32]byte
	if _, err := rand.Read(streamKey[:]); err != nil {
		return domain.BlobRef{}, domain.Wrap(domain.Internal, err, "draw a random key")
	}
	size, err := seal(ctx, b, r, streamKey)
	if err != nil {
		return domain.BlobRef{}, err
	}
	var sum [32]byte
	b.hash.Sum(sum[:0])
	ref := s.ref(sum, size)
	t, err := wrap(ref, streamKey)
	if err != nil {
		return domain.BlobRef{}, err
	}
	if _, err := b.out.Write(t[:]); err != nil {
		return domain.BlobRef{}, fmt.Errorf("store message: %w", err)
	}
	if err := b.out.Flush(); err != nil {
		return domain.BlobRef{}, fmt.Errorf("store message: %w", err)
	}
	if err := upload.Commit(ctx, ref.ID); err != nil {
		return domain.BlobRef{}, fmt.Errorf("store message: %w", err)
	}
	return ref, nil
}

// seal encrypts and hashes all of r and gives its size.
func seal(ctx context.Context, b *buffers, r io.Reader, key [32]byte) (size int64, err error) {
	w, err := sio.EncryptWriter(b.out, config(key[:]))
	if err != nil {
		return 0, domain.Wrap(domain.Internal, err, "begin to seal a message")
	}
	closed := false
	defer func() {
		if !closed {
			_ = w.Close() // It gives its buffer back.
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, readErr := r.Read(b.in[:])
		if size += int64(n); size > MaxSize {
			return 0, domain.Errorf(domain.TooLarge, "the message is larger than %d octets", int64(MaxSize))
		}
		b.hash.Write(b.in[:n])
		if _, err := w.Write(b.in[:n]); err != nil {
			return 0, fmt.Errorf("store message: %w", err)
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return 0, readErr
		}
	}
	closed = true
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("store message: %w", err)
	}
	return size, nil
}

func config(key []byte) sio.Config {
	return sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: suites, Key: key}
}

var suites = []byte{sio.AES_256_GCM}

// Delete removes a blob that was last stored before a time, or at any time if it is zero, whoever refers to it. See Bucket.
func (s *Store) Delete(ctx context.Context, id domain.BlobID, before time.Time) (deleted bool, err error) {
	return s.bucket.Delete(ctx, id, before)
}

// List calls f for every stored blob. See Bucket; size counts the sealed octets.
func (s *Store) List(ctx context.Context, f func(id domain.BlobID, size int64, modified time.Time) error) error {
	return s.bucket.List(ctx, f)
}

// Has tells whether a blob is there as a whole, as far as its size tells. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (s *Store) Has(ctx context.Context, ref domain.BlobRef) error {
	size, err := s.size(ctx, ref.ID)
	if err == nil && size != storedSize(ref.Size) {
		err = damaged(ref, fmt.Errorf("it has %d octets instead of %d", size, storedSize(ref.Size)))
	}
	return err
}

func (s *Store) size(ctx context.Context, id domain.BlobID) (int64, error) {
	if b, cheap := s.bucket.(Sizer); cheap {
		return b.Size(ctx, id)
	}
	object, err := s.bucket.Open(ctx, id)
	if err != nil {
		return 0, err
	}
	return object.Size(), object.Close()
}
