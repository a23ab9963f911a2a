package streams

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/streampost/streampost/domain"
	"golang.org/x/crypto/chacha20poly1305"
)

// The sealed form of a transaction: a clear header, from which density and chain can be proved without any key, then the ciphertext.
//
//	offset  octets
//	     0       1  version, 1
//	     1       8  id of the account's key
//	     9       8  Tx, big-endian
//	    17      32  SHA-256 of the sealed form of the account's transaction before this one; zeros for the first
//	    49      24  nonce
//	    73       n  XChaCha20-Poly1305 of the encoded transaction; associated data: octets 0 to 72, then the account's id
const (
	sealVersion = 1
	headerSize  = 1 + 8 + 8 + 32 + chacha20poly1305.NonceSizeX
	sealedMin   = headerSize + chacha20poly1305.Overhead
)

// keyID names an account key without telling anything of it.
type keyID [8]byte

// accountKey opens and seals the transactions of one account.
type accountKey struct {
	id     keyID
	secret [32]byte
	aead   cipher.AEAD
	erased bool // the key was destroyed; the rest is empty
}

func newAccountKey(id keyID, secret [32]byte) *accountKey {
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		panic(err) // the length is right by type
	}
	return &accountKey{id: id, secret: secret, aead: aead}
}

// header is the clear part of a sealed transaction.
type header struct {
	key   keyID
	tx    domain.Tx
	prev  Hash
	nonce []byte
}

func parseHeader(sealed []byte) (header, error) {
	if len(sealed) < sealedMin {
		return header{}, fmt.Errorf("it is truncated to %d octets", len(sealed))
	}
	if sealed[0] != sealVersion {
		return header{}, fmt.Errorf("it has the unknown version %d", sealed[0])
	}
	h := header{tx: domain.Tx(binary.BigEndian.Uint64(sealed[9:])), nonce: sealed[49:headerSize]}
	copy(h.key[:], sealed[1:])
	copy(h.prev[:], sealed[17:])
	return h, nil
}

// seal encrypts an encoded transaction as the one that follows prev.
func seal(key *accountKey, account domain.AccountID, tx domain.Tx, prev Hash, plain []byte) []byte {
	b := make([]byte, headerSize, sealedMin+len(plain))
	b[0] = sealVersion
	copy(b[1:], key.id[:])
	binary.BigEndian.PutUint64(b[9:], uint64(tx))
	copy(b[17:], prev[:])
	_, _ = rand.Read(b[49:]) // never fails, see crypto/rand
	return key.aead.Seal(b, b[49:headerSize], plain, associated(b, account))
}

// unseal decrypts what seal made. It fails if a bit was changed or the entry belongs to another account or place.
func unseal(key *accountKey, account domain.AccountID, h *header, sealed []byte) ([]byte, error) {
	if h.key != key.id {
		return nil, fmt.Errorf("it is sealed with key %x, but the account's is %x", h.key, key.id)
	}
	plain, err := key.aead.Open(nil, h.nonce, sealed[headerSize:], associated(sealed, account))
	if err != nil {
		return nil, fmt.Errorf("it does not open: the bytes are not what was sealed for this account and place")
	}
	return plain, nil
}

func associated(sealed []byte, account domain.AccountID) []byte {
	var scratch [headerSize + 24]byte
	return append(append(scratch[:0], sealed[:headerSize]...), account...)
}

func hashOf(sealed []byte) Hash { return sha256.Sum256(sealed) }
