package archive

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/blob"
)

// Buckets are where an archive lies. Keys has the root and the keys, Segments the rest; they may be the same. They must hold nothing else, and what is
// replaced or deleted in Keys should leave no trace there, since that is how an account's key is destroyed.
type Buckets struct{ Keys, Segments blob.Bucket }

// Store reads and writes the objects of an archive. It is safe for concurrent use.
type Store struct {
	buckets    Buckets
	nameKey    [32]byte
	sealKey    [32]byte
	generation string // that is written, and read unless another is asked for

	recalled recalled
}

// purpose is what the archive's secret in the log is for.
const purpose = "archive"

func newStore(buckets Buckets, secret [32]byte, generation string) *Store {
	return &Store{buckets: buckets, nameKey: mac(secret, []byte("streampost archive name 1")), sealKey: mac(secret, []byte("streampost archive object 1")), generation: generation}
}

func mac(key [32]byte, text []byte) (sum [32]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

// name is that of an object of a kind.
func (s *Store) name(kind string, parts ...string) domain.BlobID {
	text := appendText(nil, kind)
	for _, p := range parts {
		text = appendText(text, p)
	}
	return mac(s.nameKey, text)
}

func (s *Store) keyName(record string) domain.BlobID { return s.name("key", record) }

func (s *Store) segmentName(generation string, id domain.AccountID, first domain.Tx) domain.BlobID {
	return s.name("segment", generation, string(id), string(binary.AppendUvarint(nil, uint64(first))))
}

func (s *Store) cursorName(generation, stream string) domain.BlobID {
	return s.name("cursor", generation, stream)
}

// What the first octet of an opened object says it is.
const (
	isKey     byte = 'k'
	isSegment byte = 's'
	isCursor  byte = 'c'
)

// An object begins with magic and a salt, which gives it a key of its own.
const (
	magic    = "SPA\x01"
	saltSize = 32
)

// put seals and stores an object.
func (s *Store) put(ctx context.Context, bucket blob.Bucket, name domain.BlobID, kind byte, body []byte) error {
	upload, err := bucket.Create(ctx)
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	defer upload.Abort()
	prelude := append([]byte(magic), make([]byte, saltSize)...)
	_, _ = rand.Read(prelude[len(magic):]) // never fails, see crypto/rand
	var sealed bytes.Buffer
	sealed.Grow(len(prelude) + len(body) + len(body)/1000 + 128)
	sealed.Write(prelude)
	w, err := blob.Seal(&sealed, mac(s.sealKey, prelude))
	if err != nil {
		return err
	}
	_, err = w.Write([]byte{kind})
	if err == nil {
		_, err = w.Write(body)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return domain.Wrap(domain.Internal, err, "seal an object of the archive")
	}
	if _, err = upload.Write(sealed.Bytes()); err == nil {
		err = upload.Commit(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("write to the archive: %w", err)
	}
	return nil
}

// maxReplaced bounds how often an object may be replaced while one reads it.
const maxReplaced = 5

// get opens an object and reads it, or its first limit octets and perhaps some more, and tells how many octets the whole of it has as it is stored.
// Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (s *Store) get(ctx context.Context, bucket blob.Bucket, name domain.BlobID, limit int64) (kind byte, body []byte, stored int64, err error) {
	for attempt := 0; ; attempt++ {
		object, err := bucket.Open(ctx, name)
		if err != nil {
			return 0, nil, 0, err
		}
		kind, body, err = s.read(object, limit)
		stored = object.Size()
		_ = object.Close()
		if !errors.Is(err, blob.ErrReplaced) || attempt == maxReplaced {
			return kind, body, stored, failed(ctx, err)
		}
	}
}

func (s *Store) read(object blob.Object, limit int64) (kind byte, body []byte, err error) {
	var prelude [len(magic) + saltSize]byte
	if n, err := object.ReadAt(prelude[:], 0); n < len(prelude) && (err == nil || errors.Is(err, io.EOF)) || !bytes.HasPrefix(prelude[:], []byte(magic)) && err == nil {
		return 0, nil, errMalformed
	} else if n < len(prelude) {
		return 0, nil, err
	}
	size := int64(len(prelude))
	plain, err := blob.Unseal(io.NewSectionReader(object, size, object.Size()-size), mac(s.sealKey, prelude[:]))
	if err != nil {
		return 0, nil, err
	}
	if limit > 0 {
		plain = io.LimitReader(plain, limit)
	}
	body, err = io.ReadAll(plain)
	if err != nil {
		return 0, nil, err
	}
	if len(body) == 0 {
		return 0, nil, errMalformed
	}
	return body[0], body[1:], nil
}

// failed tells damage from a bucket that cannot be read.
func failed(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || domain.Is(err, domain.Unavailable) {
		return err
	}
	return damaged(err)
}

func damaged(err error) error {
	return &domain.Error{
		Kind: domain.Corrupt, Msg: "an object of the archive is damaged", Err: err,
		Hint: "log verify --archive tells which; as long as the log has what was in it, log verify --archive --mend writes it anew",
	}
}

// segment reads the segment of an account that begins with a transaction. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (s *Store) segment(ctx context.Context, generation string, id domain.AccountID, first domain.Tx) (*Segment, error) {
	return s.segmentNamed(ctx, s.segmentName(generation, id, first))
}

func (s *Store) segmentNamed(ctx context.Context, name domain.BlobID) (*Segment, error) {
	kind, body, _, err := s.get(ctx, s.buckets.Segments, name, 0)
	if err != nil {
		return nil, err
	}
	if kind != isSegment {
		return nil, damaged(errMalformed)
	}
	segment, err := decode(body)
	if err == nil && s.segmentName(segment.Generation, segment.Account, segment.First) != name {
		err = errors.New("it lies under the name of another")
	}
	if err != nil {
		return nil, damaged(err)
	}
	return segment, nil
}

// header reads what an object says of itself, if it is a segment; ok is false when it is something else. It does not tell when the object was written.
func (s *Store) header(ctx context.Context, name domain.BlobID) (f found, ok bool, err error) {
	kind, body, stored, err := s.get(ctx, s.buckets.Segments, name, headerLimit)
	if err != nil || kind != isSegment {
		return f, false, err
	}
	h, _, err := decodeHeader(body)
	if err == nil && s.segmentName(h.Generation, h.Account, h.First) != name {
		err = errors.New("it lies under the name of another")
	}
	if err != nil {
		return f, false, damaged(err)
	}
	return found{Header: h, name: name, octets: stored}, true, nil
}

func (s *Store) putSegment(ctx context.Context, segment *Segment) error {
	return s.put(ctx, s.buckets.Segments, s.segmentName(segment.Generation, segment.Account, segment.First), isSegment, segment.encode())
}

func (s *Store) deleteSegment(ctx context.Context, generation string, id domain.AccountID, first domain.Tx) error {
	_, err := s.buckets.Segments.Delete(ctx, s.segmentName(generation, id, first), time.Time{})
	return err
}

// cursor is up to where a stream is in segments; 0 when nothing is.
func (s *Store) cursor(ctx context.Context, generation, stream string) (domain.Seq, error) {
	at, _, err := s.cursorAt(ctx, generation, stream)
	return at, err
}

// cursorAt also tells the hash of the entry there; it is zero where nobody noted it.
func (s *Store) cursorAt(ctx context.Context, generation, stream string) (at domain.Seq, hash streams.Hash, err error) {
	kind, body, _, err := s.get(ctx, s.buckets.Segments, s.cursorName(generation, stream), 0)
	if domain.Is(err, domain.NotFound) {
		return 0, hash, nil
	}
	if err != nil {
		return 0, hash, err
	}
	r := &reader{b: body}
	at = domain.Seq(r.uvarint())
	if len(r.b) > 0 {
		copy(hash[:], r.octets(len(hash)))
	}
	if kind != isCursor || r.bad || len(r.b) > 0 {
		return 0, streams.Hash{}, damaged(errMalformed)
	}
	return at, hash, nil
}

func (s *Store) putCursor(ctx context.Context, stream string, seq domain.Seq, hash streams.Hash) error {
	return s.put(ctx, s.buckets.Segments, s.cursorName(s.generation, stream), isCursor, append(binary.AppendUvarint(nil, uint64(seq)), hash[:]...))
}

// putKey stores a record of KEYS in the place of an older one of its name. A destroyed key stays destroyed: the note of that is never replaced by a key that
// somebody has read before.
func (s *Store) putKey(ctx context.Context, r *streams.KeyRecord) error {
	if !r.Erased {
		has, err := s.key(ctx, r.Name)
		if err == nil && has.Erased {
			return nil
		}
		if err != nil && !domain.Is(err, domain.NotFound) && !(domain.Is(err, domain.Corrupt) && ctx.Err() == nil) {
			return err
		}
	}
	body := appendText(nil, r.Name)
	body = binary.AppendUvarint(body, uint64(r.Seq))
	return s.put(ctx, s.buckets.Keys, s.keyName(r.Name), isKey, append(body, r.Data...))
}

// key reads the record of a name. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
func (s *Store) key(ctx context.Context, name string) (*streams.KeyRecord, error) {
	r, ok, err := s.keyNamed(ctx, s.keyName(name))
	if err == nil && (!ok || r.Name != name) {
		err = damaged(errMalformed)
	}
	return r, err
}

// keyNamed reads an object of Keys, if it is a key.
func (s *Store) keyNamed(ctx context.Context, name domain.BlobID) (*streams.KeyRecord, bool, error) {
	kind, body, _, err := s.get(ctx, s.buckets.Keys, name, 0)
	if err != nil || kind != isKey {
		return nil, false, err
	}
	r := &reader{b: body}
	text, seq := r.text(), domain.Seq(r.uvarint())
	if r.bad || s.keyName(text) != name {
		return nil, false, damaged(errMalformed)
	}
	record, err := streams.NewKeyRecord(text, seq, r.b)
	if err != nil {
		return nil, false, damaged(err)
	}
	return &record, true, nil
}
