package snapshots

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams/blob"
)

// Keys are the secrets that the log of record keeps; *streams.Log has them.
type Keys interface {
	Secret(ctx context.Context, purpose string) ([32]byte, error)
	// AccountSecret goes with the account's key. Errors: domain.Erased, domain.NotFound.
	AccountSecret(ctx context.Context, id domain.AccountID, purpose string) ([32]byte, error)
}

// purpose is what the secrets are for.
const purpose = "snapshots"

// Store seals snapshots above a Bucket, one for each account. It is safe for concurrent use.
type Store struct {
	bucket  blob.Bucket
	keys    Keys
	nameKey [32]byte
}

var _ projections.Snapshots = (*Store)(nil)

// New makes a Store. The bucket must hold nothing else.
func New(ctx context.Context, bucket blob.Bucket, keys Keys) (*Store, error) {
	secret, err := keys.Secret(ctx, purpose)
	if err != nil {
		return nil, err
	}
	return &Store{bucket: bucket, keys: keys, nameKey: mac(secret, []byte("streampost snapshot name 1"))}, nil
}

func mac(key [32]byte, text []byte) (sum [32]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

func (s *Store) name(id domain.AccountID) domain.BlobID { return mac(s.nameKey, []byte(id)) }

const (
	magic    = "SPS"
	format   = 2
	saltSize = 32
	idLimit  = 255
)

// newPrelude begins a file. The salt gives every file a key of its own.
func newPrelude(id domain.AccountID) []byte {
	b := append([]byte(magic), format)
	b = append(b, make([]byte, saltSize)...)
	_, _ = rand.Read(b[len(b)-saltSize:]) // never fails, see crypto/rand
	return append(append(b, byte(len(id))), id...)
}

// readPrelude reads what a file begins with and the account whose it says it is.
func readPrelude(o blob.Object) ([]byte, domain.AccountID, error) {
	const fixed = len(magic) + 1 + saltSize + 1
	var b [fixed + idLimit]byte
	n, err := o.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if n < fixed || !bytes.HasPrefix(b[:], []byte(magic)) || n < fixed+int(b[fixed-1]) {
		return nil, "", damaged("", errMalformed)
	}
	end := fixed + int(b[fixed-1])
	id, err := domain.ParseAccountID(string(b[fixed:end]))
	if err != nil {
		return nil, "", damaged("", errMalformed)
	}
	return b[:end], id, nil
}

// key makes the key of a file. Errors: domain.Erased, domain.NotFound.
func (s *Store) key(ctx context.Context, id domain.AccountID, prelude []byte) ([32]byte, error) {
	secret, err := s.keys.AccountSecret(ctx, id, purpose)
	return mac(secret, prelude), err
}

// errFormat is the error for files of other builds.
var errFormat = &domain.Error{
	Kind: domain.Corrupt, Msg: "the snapshot was made by another version of Streampost, in another format", Hint: "nothing is lost: another is made in time, or by snapshot make",
}

func damaged(id domain.AccountID, err error) error {
	e := domain.Wrap(domain.Corrupt, err, fmt.Sprintf("the snapshot of account %s is damaged", id))
	if id == "" {
		e.Msg = "a file is no snapshot"
	}
	e.Hint = "nothing is lost: snapshot rm removes it, snapshot make makes another"
	return e
}

// failed tells damage from a bucket that cannot be read.
func failed(id domain.AccountID, err error) error {
	if err == nil || domain.Is(err, domain.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return damaged(id, err)
}

// Remove removes an account's snapshot, if there is one, also of an account that was erased.
func (s *Store) Remove(ctx context.Context, id domain.AccountID) error {
	_, err := s.bucket.Delete(ctx, s.name(id), time.Time{})
	return err
}

// Header reads what an account's snapshot says of itself. Errors as of Open.
func (s *Store) Header(ctx context.Context, id domain.AccountID) (*Header, error) {
	opened, err := s.open(ctx, s.name(id), id)
	if err != nil {
		return nil, err
	}
	return opened.header, opened.Close()
}

// Each calls f with what every snapshot that can be opened holds, in no order.
func (s *Store) Each(ctx context.Context, f func(projections.Taken) error) error {
	return s.List(ctx, func(l Listed) error {
		if l.Err != nil {
			return nil
		}
		return f(l.Taken())
	})
}

// Listed is a stored snapshot, or what is in the place of one.
type Listed struct {
	Header
	Err error // why it cannot be opened; then only Octets, Made and perhaps Account are known
}

// List calls f for every file of the bucket, in no order. Files of erased accounts are removed instead: a crash may have left them.
func (s *Store) List(ctx context.Context, f func(Listed) error) error {
	return s.bucket.List(ctx, func(name domain.BlobID, size int64, modified time.Time) error {
		opened, err := s.open(ctx, name, "")
		switch {
		case err == nil:
			return errors.Join(f(Listed{Header: *opened.header}), opened.Close())
		case domain.Is(err, domain.Erased):
			_, err := s.bucket.Delete(ctx, name, time.Time{})
			return err
		case domain.Is(err, domain.NotFound) && opened == nil:
			return nil // removed meanwhile
		case domain.Is(err, domain.Unavailable), ctx.Err() != nil:
			return err
		}
		l := Listed{Header: Header{Made: modified, Octets: size}, Err: err}
		if opened != nil {
			l.Account = opened.id
		}
		return f(l)
	})
}
