package blobfs

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/streampost/streampost/domain"
)

// A record of a segment: a header, the octets of the blob, and zeros up to a multiple of alignment.
//
//	at  size
//	 0     4  "SPR" 1
//	 4     1  'L' while the record stands, 'D' once it is deleted or replaced: the only octet that ever changes
//	 5     3  zero
//	 8     4  number of octets of the blob
//	12     4  their CRC-32C
//	16     8  when they were stored, nanoseconds since 1970
//	24    32  the blob's id
//	56     4  number of the segment
//	60     4  CRC-32C of the header without the octet at 4 and without this field
//
// Numbers are little-endian. The checksums find what a crash left half written; damage by others is found by the seal of the octets.
const (
	recordMagic = "SPR\x01"
	stateAt     = 4
	headerSize  = 64
	alignment   = 8

	live byte = 'L'
	dead byte = 'D'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header says what a record holds.
type header struct {
	segment uint32
	size    uint32
	sum     uint32
	stored  int64 // nanoseconds since 1970
	id      domain.BlobID
	dead    bool
}

// encode writes the header into p[:headerSize].
func (h *header) encode(p []byte) {
	clear(p[:headerSize])
	copy(p, recordMagic)
	p[stateAt] = live
	if h.dead {
		p[stateAt] = dead
	}
	binary.LittleEndian.PutUint32(p[8:], h.size)
	binary.LittleEndian.PutUint32(p[12:], h.sum)
	binary.LittleEndian.PutUint64(p[16:], uint64(h.stored))
	copy(p[24:], h.id[:])
	binary.LittleEndian.PutUint32(p[56:], h.segment)
	binary.LittleEndian.PutUint32(p[60:], headerSum(p))
}

// decode reads a header; ok is false when p does not begin with one.
func decode(p []byte) (h header, ok bool) {
	if len(p) < headerSize || string(p[:len(recordMagic)]) != recordMagic || binary.LittleEndian.Uint32(p[60:]) != headerSum(p) {
		return header{}, false
	}
	return header{
		segment: binary.LittleEndian.Uint32(p[56:]),
		size:    binary.LittleEndian.Uint32(p[8:]),
		sum:     binary.LittleEndian.Uint32(p[12:]),
		stored:  int64(binary.LittleEndian.Uint64(p[16:])),
		id:      domain.BlobID(p[24:56]),
		dead:    p[stateAt] == dead,
	}, true
}

func headerSum(p []byte) uint32 {
	return crc32.Update(crc32.Checksum(p[:stateAt], castagnoli), castagnoli, p[8:60])
}

// span is the room that a blob of size octets takes in a segment.
func span(size uint32) int64 {
	return (headerSize + int64(size) + alignment - 1) / alignment * alignment
}

// place is where a blob's record begins. The zero place is that of a blob that was deleted.
type place struct {
	segment uint32 // from 1 on
	offset  uint32
	size    uint32 // octets of the blob
	stored  int64  // nanoseconds since 1970
}

const placeSize = 20

func (p place) gone() bool { return p.segment == 0 }

func (p place) time() time.Time { return time.Unix(0, p.stored) }

func (p place) encode() []byte {
	b := make([]byte, 0, placeSize)
	b = binary.BigEndian.AppendUint32(b, p.segment)
	b = binary.BigEndian.AppendUint32(b, p.offset)
	b = binary.BigEndian.AppendUint32(b, p.size)
	return binary.BigEndian.AppendUint64(b, uint64(p.stored))
}

// decodePlace reads a place; anything else is the zero place.
func decodePlace(b []byte) place {
	if len(b) != placeSize {
		return place{}
	}
	return place{
		binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), int64(binary.BigEndian.Uint64(b[12:])),
	}
}
