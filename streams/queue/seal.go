package queue

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// The sealed form of a message: a version, a nonce, the ciphertext.
const (
	sealVersion = 1
	sealHeader  = 1 + chacha20poly1305.NonceSizeX
)

// Sealer seals what lies in a stream that holds no account's data: under a secret of the installation, for one stream.
type Sealer struct {
	aead cipher.AEAD
	name []byte // of the stream
}

// NewSealer makes a Sealer for a stream of a name.
func NewSealer(secret [32]byte, name string) Sealer {
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	return Sealer{aead, []byte(name)}
}

// Seal seals octets.
func (s Sealer) Seal(plain []byte) []byte {
	b := make([]byte, sealHeader, sealHeader+len(plain)+s.aead.Overhead())
	b[0] = sealVersion
	_, _ = rand.Read(b[1:]) // never fails, see crypto/rand
	return s.aead.Seal(b, b[1:sealHeader], plain, s.name)
}

var (
	errTruncated = errors.New("it is truncated")
	errVersion   = errors.New("it has an unknown version")
	errBits      = errors.New("it does not open: the bytes are not what was sealed for this stream")
)

// Open gives what was sealed, or says why it does not open.
func (s Sealer) Open(sealed []byte) ([]byte, error) {
	switch {
	case len(sealed) < sealHeader+s.aead.Overhead():
		return nil, errTruncated
	case sealed[0] != sealVersion:
		return nil, errVersion
	}
	plain, err := s.aead.Open(nil, sealed[1:sealHeader], sealed[sealHeader:], s.name)
	if err != nil {
		return nil, errBits
	}
	return plain, nil
}
