package blob

import (
	"errors"
	"io"

	"github.com/minio/sio"
	"github.com/streampost/streampost/domain"
)

// Seal encrypts a stream of any length, in the packages that blobs have, for what is kept in a bucket and is no message. A key is for one stream only.
// Close ends the stream, and leaves w open.
func Seal(w io.Writer, key [32]byte) (io.WriteCloser, error) {
	sealed, err := sio.EncryptWriter(struct{ io.Writer }{w}, config(key[:]))
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "begin to seal")
	}
	return sealed, nil
}

// Unseal reads what Seal wrote. Whoever has read up to io.EOF has all of it. Errors met while reading: domain.Corrupt for octets that were changed, moved, added
// or left out; those of r as they are.
func Unseal(r io.Reader, key [32]byte) (io.Reader, error) {
	plain, err := sio.DecryptReader(r, config(key[:]))
	if err != nil {
		return nil, domain.Wrap(domain.Internal, err, "begin to unseal")
	}
	return unsealing{plain}, nil
}

type unsealing struct{ plain io.Reader }

func (u unsealing) Read(p []byte) (int, error) {
	n, err := u.plain.Read(p)
	var broken sio.Error
	if errors.As(err, &broken) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = domain.Wrap(domain.Corrupt, err, "what was sealed is not what is there")
	}
	return n, err
}
