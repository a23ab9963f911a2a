package blob

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"github.com/streampost/streampost/domain"
)

// The trailer's layout.
const (
	trailerMagic = "SPB\x01"
	nonceAt      = 4 + 8
	wrappedAt    = nonceAt + 12
	trailerSize  = wrappedAt + 32 + 16
)

// storedSize is the size of the object that holds a message of size octets.
func storedSize(size int64) int64 {
	return size + (size+packageSize-1)/packageSize*overhead + trailerSize
}

// wrap makes a blob's trailer. The clear part and the blob's id are authenticated with the key.
func wrap(ref domain.BlobRef, streamKey [32]byte) (t [trailerSize]byte, err error) {
	copy(t[:], trailerMagic)
	binary.BigEndian.PutUint64(t[len(trailerMagic):], uint64(ref.Size))
	if _, err := rand.Read(t[nonceAt:wrappedAt]); err != nil {
		return t, domain.Wrap(domain.Internal, err, "draw a random nonce")
	}
	aead, err := newAEAD(ref.Key)
	if err != nil {
		return t, err
	}
	aead.Seal(t[:wrappedAt], t[nonceAt:wrappedAt], streamKey[:], associated(t[:nonceAt], ref.ID))
	return t, nil
}

// unwrap gives the key of the encryption before a trailer. Error: domain.Corrupt.
func unwrap(ref domain.BlobRef, t []byte) (key []byte, err error) {
	if len(t) != trailerSize || string(t[:len(trailerMagic)]) != trailerMagic ||
		binary.BigEndian.Uint64(t[len(trailerMagic):nonceAt]) != uint64(ref.Size) {
		return nil, damaged(ref, nil)
	}
	aead, err := newAEAD(ref.Key)
	if err != nil {
		return nil, err
	}
	key, err = aead.Open(nil, t[nonceAt:wrappedAt], t[wrappedAt:], associated(t[:nonceAt], ref.ID))
	if err != nil {
		return nil, damaged(ref, err)
	}
	return key, nil
}

func associated(clear []byte, id domain.BlobID) []byte {
	return append(append(make([]byte, 0, len(clear)+len(id)), clear...), id[:]...)
}

func newAEAD(key domain.BlobKey) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "use a blob's key")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "use a blob's key")
	}
	return aead, nil
}

// damaged says that a blob is not what was stored.
func damaged(ref domain.BlobRef, err error) error {
	return &domain.Error{
		Kind: domain.Corrupt,
		Msg:  "the stored message is damaged",
		Hint: "restore blob " + ref.ID.String() + " from a backup; storing the same message again also heals it",
		Err:  err,
	}
}
