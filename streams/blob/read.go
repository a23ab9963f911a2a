package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"
	"github.com/streampost/streampost/domain"
)

// Open reads n octets of plain text from off on; n < 0 reads to the end, and what lies beyond the end is left out. Only the packages that
// hold the range are read. Errors: domain.NotFound, domain.Corrupt (also met while reading), domain.Invalid for a negative offset.
func (s *Store) Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	if off < 0 {
		return nil, domain.Errorf(domain.Invalid, "a message has no octet %d", off)
	}
	off = min(off, ref.Size)
	if left := ref.Size - off; n < 0 || n > left {
		n = left
	}
	return s.open(ctx, ref, off, n, maxReplaced)
}

// maxReplaced bounds how often a blob may be replaced, or found damaged in a copy, while one reads it.
const maxReplaced = 5

// open reads a range, and opens the blob anew as often as left says when it is replaced meanwhile: what was stored anew is the same message, sealed
// with another key.
func (s *Store) open(ctx context.Context, ref domain.BlobRef, off, n int64, left int) (io.ReadCloser, error) {
	for ; ; left-- {
		object, err := s.bucket.Open(ctx, ref.ID)
		if err != nil {
			return nil, fmt.Errorf("open message: %w", err)
		}
		r, err := open(object, ref, off, n)
		if err == nil {
			if r, streams := r.(*reader); streams {
				r.damaged = func(err error) { s.forget(ref, err) }
				if left > 0 {
					r.again = func(off, n int64) (io.ReadCloser, error) { return s.open(ctx, ref, off, n, left-1) }
				}
			}
			return r, nil
		}
		_ = object.Close()
		if left == 0 || !errors.Is(err, ErrReplaced) && !s.forget(ref, err) {
			return nil, err
		}
	}
}

// forget makes a bucket drop its copy of a blob that turned out to be damaged. It tells whether reading again may help.
func (s *Store) forget(ref domain.BlobRef, err error) bool {
	f, keeps := s.bucket.(Forgetter)
	if !keeps || !domain.Is(err, domain.Corrupt) {
		return false
	}
	f.Forget(ref.ID)
	return true
}

func open(object Object, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	if object.Size() != storedSize(ref.Size) {
		return nil, damaged(ref, fmt.Errorf("it has %d octets instead of %d", object.Size(), storedSize(ref.Size)))
	}
	if ref.Size <= packageSize {
		return openSmall(object, ref, off, n)
	}
	var t [trailerSize]byte
	if err := readFull(object, ref, t[:], storedSize(ref.Size)-trailerSize); err != nil {
		return nil, err
	}
	key, err := unwrap(ref, t[:])
	if err != nil {
		return nil, err
	}
	first := off / packageSize
	c := config(key)
	c.SequenceNumber = uint32(first)
	begin := first * (packageSize + overhead)
	plain, err := sio.DecryptReader(io.NewSectionReader(object, begin, storedSize(ref.Size)-trailerSize-begin), c)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "open a message")
	}
	r := &reader{object: object, ref: ref, plain: plain, off: off, left: n}
	if n > 0 {
		if _, err := io.CopyN(io.Discard, plain, off%packageSize); err != nil {
			return nil, r.failed(err)
		}
	}
	return r, nil
}

// openSmall reads a message of one package at once.
func openSmall(object Object, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	sealed := make([]byte, storedSize(ref.Size))
	if err := readFull(object, ref, sealed, 0); err != nil {
		return nil, err
	}
	at := len(sealed) - trailerSize
	key, err := unwrap(ref, sealed[at:])
	if err != nil {
		return nil, err
	}
	var plain []byte
	if at > 0 {
		// The plain text takes the place of the sealed one: a package's header comes first.
		if plain, err = sio.DecryptBuffer(sealed[16:16], sealed[:at:at], config(key)); err != nil {
			return nil, damaged(ref, err)
		}
	}
	if int64(len(plain)) != ref.Size {
		return nil, damaged(ref, nil)
	}
	_ = object.Close()
	return io.NopCloser(bytes.NewReader(plain[off : off+n])), nil
}

// readFull reads len(p) octets at off.
func readFull(object Object, ref domain.BlobRef, p []byte, off int64) error {
	n, err := object.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return damaged(ref, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read message: %w", err)
}

// reader gives the plain text of a range.
type reader struct {
	object Object
	ref    domain.BlobRef
	plain  io.Reader
	off    int64 // of the next octet
	left   int64
	// again opens the blob anew for a range; nil when that was done often enough.
	again   func(off, n int64) (io.ReadCloser, error)
	damaged func(error)   // is told what went wrong
	next    io.ReadCloser // reads the rest after the object was replaced
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	from := r.plain
	if r.next != nil {
		from = r.next
	}
	n, err := from.Read(p[:min(int64(len(p)), r.left)])
	r.off, r.left = r.off+int64(n), r.left-int64(n)
	if err == io.EOF && r.left == 0 {
		err = nil
	}
	if errors.Is(err, ErrReplaced) && r.next == nil && r.again != nil {
		r.next, err = r.again(r.off, r.left)
		return n, err
	}
	if err != nil && r.next == nil {
		err = r.failed(err)
		r.damaged(err)
	}
	return n, err
}

// failed tells damage from a bucket that cannot be read.
func (r *reader) failed(err error) error {
	var broken sio.Error
	if errors.As(err, &broken) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(r.ref, err)
	}
	return fmt.Errorf("read message: %w", err)
}

func (r *reader) Close() error {
	err := r.object.Close()
	if r.next != nil {
		err = errors.Join(err, r.next.Close())
	}
	return err
}

// Verify reads a blob as a whole and tells whether it is what ref says: every package, its trailer, and its name. Errors as of Open.
func (s *Store) Verify(ctx context.Context, ref domain.BlobRef) error {
	r, err := s.Open(ctx, ref, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, r}); err != nil {
		return err
	}
	var sum [32]byte
	h.Sum(sum[:0])
	if s.ref(sum, ref.Size) != ref {
		return damaged(ref, errors.New("its name does not belong to its content"))
	}
	return nil
}

// contextReader ends with the context's error.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
