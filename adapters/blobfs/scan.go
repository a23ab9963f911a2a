package blobfs

import (
	"bytes"
	"hash/crc32"
	"io"
)

// scanned is one record that scan has found, and the octets without a record before it.
type scanned struct {
	header header
	place  place
	gap    int64 // octets between the record before and this one that are no record
	whole  bool  // its octets have their checksum; true unasked when scan does not verify
}

// scan calls f for each record of a segment from an offset on, and gives the end of the last one. With verify it reads all octets, else the
// headers. What is no record is skipped: a crash can leave the second of two records and not the first, and damage shall not hide what follows.
func scan(r io.ReaderAt, segment uint32, from, size int64, verify bool, f func(scanned) error) (end int64, err error) {
	var head [headerSize]byte
	body := make([]byte, 0, 64<<10)
	at, end := from, from
	for at+headerSize <= size {
		if err := readFull(r, head[:], at); err != nil {
			return end, err
		}
		h, ok := decode(head[:])
		if !ok || h.segment != segment || at+headerSize+int64(h.size) > size {
			if at, err = nextMagic(r, at+alignment, size); err != nil {
				return end, err
			}
			continue
		}
		s := scanned{header: h, place: place{segment, uint32(at), h.size, h.stored}, gap: at - end, whole: true}
		if verify {
			body = append(body[:0], make([]byte, h.size)...)
			if err := readFull(r, body, at+headerSize); err != nil {
				return end, err
			}
			s.whole = crc32.Checksum(body, castagnoli) == h.sum
		}
		if err := f(s); err != nil {
			return end, err
		}
		at += span(h.size)
		end = at
	}
	return end, nil
}

// nextMagic finds where a record may begin, from at on; size if nowhere.
func nextMagic(r io.ReaderAt, at, size int64) (int64, error) {
	const window = 64 << 10
	buffer := make([]byte, window)
	for at+headerSize <= size {
		p := buffer[:min(window, size-at)]
		if err := readFull(r, p, at); err != nil {
			return size, err
		}
		for off := 0; ; {
			i := bytes.Index(p[off:], []byte(recordMagic))
			if i < 0 {
				break
			}
			if off += i; off%alignment == 0 {
				return at + int64(off), nil
			}
			off++
		}
		at += int64(len(p)) / alignment * alignment
	}
	return size, nil
}

// readFull fills p.
func readFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
