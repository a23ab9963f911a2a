package archive

import (
	"context"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// SegmentName is where a segment lies, for tests that damage it.
func (s *Store) SegmentName(id domain.AccountID, first domain.Tx) domain.BlobID {
	return s.segmentName(s.generation, id, first)
}

// KeyName is where a key lies.
func (s *Store) KeyName(record string) domain.BlobID { return s.keyName(record) }

// CursorName is where a stream's cursor lies.
func (s *Store) CursorName(stream string) domain.BlobID { return s.cursorName(s.generation, stream) }

// Chain gives the ranges of an account's segments.
func (s *Store) Chain(ctx context.Context, id domain.AccountID) (ranges [][2]domain.Tx, err error) {
	headers, err := s.walk(ctx, s.generation, id)
	for _, h := range headers {
		ranges = append(ranges, [2]domain.Tx{h.First, h.Last})
	}
	return ranges, err
}

// PutKey stores a key.
func (s *Store) PutKey(ctx context.Context, r *streams.KeyRecord) error { return s.putKey(ctx, r) }

// Encode and Decode are the stored form of a segment.
func (s *Segment) Encode() []byte { return s.encode() }

var (
	NewSegment = newSegment
	Decode     = decode
	DecodeRoot = decodeRoot
)

// RootName is where the root lies.
var RootName = rootName
