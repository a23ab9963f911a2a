package blobcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams/blob"
)

// A copy is a file:
//
//	the blob's octets
//	the CRC-32C of each block of them (4 octets each)
//	"SPC" 1 | CRC-32C of the sums (4 octets) | size of the blob (8)
const (
	// blockSize is that of a package of the encryption, in which blobs are read.
	blockSize  = 64<<10 + 32
	footerSize = 16
	magic      = "SPC\x01"
	temporary  = "copy-"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("a block is not what was written")
)

// copying is a copy that is being written. Its methods may be called on nil, which is a copy that is given up.
type copying struct {
	cache *Cache
	file  *os.File // nil before the first block is full
	block []byte   // that is not full yet
	sums  []byte
	size  int64
}

// newCopy begins a copy; nil when there is no room for one.
func (c *Cache) newCopy() *copying {
	if c.room() != nil {
		return nil
	}
	return &copying{cache: c}
}

// write adds octets, and gives nil when the copy had to be given up.
func (w *copying) write(p []byte) *copying {
	if w == nil {
		return nil
	}
	if w.size += int64(len(p)); w.size > w.cache.limits.Entry {
		return w.drop()
	}
	for len(p) > 0 {
		n := min(len(p), blockSize-len(w.block))
		w.block, p = append(w.block, p[:n]...), p[n:]
		if len(w.block) < blockSize {
			continue
		}
		if err := w.flush(); err != nil {
			w.cache.complain(err)
			return w.drop()
		}
	}
	return w
}

// flush writes a block.
func (w *copying) flush() (err error) {
	if w.file == nil {
		if err := os.MkdirAll(w.cache.dir, 0o700); err != nil { // somebody may have removed it to free room
			return err
		}
		if w.file, err = os.CreateTemp(w.cache.dir, temporary); err != nil {
			return err
		}
	}
	if len(w.block) > 0 {
		w.sums = binary.BigEndian.AppendUint32(w.sums, crc32.Checksum(w.block, castagnoli))
	}
	_, err = w.file.Write(w.block)
	w.block = w.block[:0]
	return err
}

// finish writes what is left, and gives the size of the blob.
func (w *copying) finish() (int64, error) {
	if err := w.flush(); err != nil {
		return w.size, err
	}
	end := binary.BigEndian.AppendUint32(append(w.sums, magic...), crc32.Checksum(w.sums, castagnoli))
	_, err := w.file.Write(binary.BigEndian.AppendUint64(end, uint64(w.size)))
	return w.size, err
}

// drop gives a copy up.
func (w *copying) drop() *copying {
	if w != nil && w.file != nil {
		_ = w.file.Close()
		_ = os.Remove(w.file.Name()) // what stays is removed at the next start
	}
	return nil
}

// object is a copy that is read. When a block turns out to be damaged the copy is dropped, and reading fails with blob.ErrReplaced: the bucket has the blob,
// perhaps as another version.
type object struct {
	file    *os.File // nil when all is in small
	small   []byte
	size    int64
	sums    []byte
	damaged func(error)
}

// openCopy opens a copy. One that fits into a block is read at once.
func openCopy(path string) (*object, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	o, err := readCopy(f)
	if err != nil || o.file == nil {
		_ = f.Close()
	}
	return o, err
}

func readCopy(f *os.File) (*object, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var end [footerSize]byte
	if _, err := f.ReadAt(end[:], max(info.Size()-footerSize, 0)); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint64(end[8:]))
	blocks := (size + blockSize - 1) / blockSize
	if string(end[:4]) != magic || size < 0 || info.Size() != size+blocks*4+footerSize {
		return nil, errors.New("it does not end as it should")
	}
	o := &object{file: f, size: size, sums: make([]byte, 4*blocks)}
	if _, err := f.ReadAt(o.sums, size); err != nil && err != io.EOF {
		return nil, err
	}
	if binary.BigEndian.Uint32(end[4:8]) != crc32.Checksum(o.sums, castagnoli) {
		return nil, errDamaged
	}
	if blocks <= 1 {
		o.small, err = o.block(0)
		o.file = nil
	}
	return o, err
}

// block reads and checks a block.
func (o *object) block(n int64) ([]byte, error) {
	b := make([]byte, min(blockSize, o.size-n*blockSize))
	if len(b) == 0 {
		return nil, nil
	}
	if _, err := o.file.ReadAt(b, n*blockSize); err != nil && err != io.EOF {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != binary.BigEndian.Uint32(o.sums[4*n:]) {
		return nil, errDamaged
	}
	return b, nil
}

func (o *object) Size() int64 { return o.size }

func (o *object) Close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	if o.file == nil {
		return bytes.NewReader(o.small).ReadAt(p, off)
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= o.size {
			return n, io.EOF
		}
		b, err := o.block(at / blockSize)
		if err != nil {
			o.damaged(err)
			return n, domain.Wrap(domain.Unavailable, errors.Join(blob.ErrReplaced, err), "read a stored message")
		}
		n += copy(p[n:], b[at%blockSize:])
	}
	return n, nil
}

// load takes over the copies that are there, the ones that were read last in front, and removes what a crash left half done.
func (c *Cache) load() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	var found []*entry
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasPrefix(d.Name(), temporary) {
			return os.Remove(path)
		}
		info, err := d.Info()
		id, foreign := domain.ParseBlobID(d.Name())
		if err != nil || foreign != nil || c.path(id) != path {
			return err
		}
		found = append(found, &entry{id: id, cost: cost(info.Size() - footerSize), touched: info.ModTime()})
		return nil
	})
	slices.SortFunc(found, func(a, b *entry) int { return a.touched.Compare(b.touched) })
	for _, e := range found {
		c.insert(e)
	}
	c.stats.Evicted = 0
	return err
}
