package smtp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/streampost/streampost/domain"
)

// spool holds a message from its first octet until it is known what fields it gets in front. A small one is in memory; a larger one lies in a file that has no name, enciphered
// with a key that is nowhere but here (nothing that is sealed elsewhere is readable on this disk), and is gone with the process. It need not be durable: nobody was told 250.
type spool struct {
	dir    string
	most   int64 // octets in memory
	memory bytes.Buffer
	file   *os.File
	out    io.Writer // into file
	block  cipher.Block
	size   int64
}

func newSpool(dir string, most int64) *spool { return &spool{dir: dir, most: most} }

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.size+int64(len(p)) > s.most {
		if err := s.spill(); err != nil {
			return 0, domain.Wrap(domain.Unavailable, err, "keep the message while it is verified")
		}
	}
	s.size += int64(len(p))
	if s.file == nil {
		return s.memory.Write(p)
	}
	n, err := s.out.Write(p)
	if err != nil {
		err = domain.Wrap(domain.Unavailable, err, "keep the message while it is verified")
	}
	return n, err
}

// spill goes on in a file.
func (s *spool) spill() error {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	if s.dir != "" {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(s.dir, spooled+"*")
	if err != nil {
		return err
	}
	s.file, s.block = f, block
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.out = cipher.StreamWriter{S: s.stream(), W: f}
	_, err = s.out.Write(s.memory.Bytes())
	s.memory = bytes.Buffer{}
	return err
}

// spooled begins the names of such files for the moment in which they have one.
const spooled = "message-"

// sweep removes what a process has left that died in that moment.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, spooled+"*"))
	for _, name := range left {
		_ = os.Remove(name)
	}
}

// stream is the key stream from the first octet on. One key enciphers one message.
func (s *spool) stream() cipher.Stream { return cipher.NewCTR(s.block, make([]byte, aes.BlockSize)) }

// open reads from an offset on. Several readers may be open at a time.
func (s *spool) open(off int64) (io.ReadCloser, error) {
	if s.file == nil {
		return io.NopCloser(bytes.NewReader(s.memory.Bytes()[off:])), nil
	}
	r := cipher.StreamReader{S: s.stream(), R: io.NewSectionReader(s.file, 0, s.size)}
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return nil, err
	}
	return io.NopCloser(r), nil
}

// header gives the first octets of the message: delivery.Reader, which bounds it, says how many are its header.
func (s *spool) header(size int64) ([]byte, error) {
	r, err := s.open(0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head := make([]byte, size)
	_, err = io.ReadFull(r, head)
	return head, err
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
