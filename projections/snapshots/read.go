package snapshots

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams/blob"
)

// Limits of what a reader believes.
const (
	headerLimit = 1 << 20  // octets of a header
	chunkLimit  = 64 << 20 // octets of a chunk; one row may be large
	window      = 1 << 20  // octets that compression looks back
)

// opened is a snapshot that is open for reading. It implements projections.Snapshot.
type opened struct {
	id     domain.AccountID // as the prelude says
	header *Header
	object blob.Object
	plain  *bufio.Reader // after the header
}

// Open opens an account's snapshot. Errors: domain.NotFound, domain.Erased, domain.Corrupt, domain.Unavailable.
func (s *Store) Open(ctx context.Context, id domain.AccountID) (projections.Snapshot, error) {
	o, err := s.open(ctx, s.name(id), id)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// open opens a file, which must be that of an account unless id is empty. With an error comes what is known of it, if anything is.
func (s *Store) open(ctx context.Context, name domain.BlobID, id domain.AccountID) (*opened, error) {
	object, err := s.bucket.Open(ctx, name)
	if domain.Is(err, domain.NotFound) {
		return nil, domain.Errorf(domain.NotFound, "account %s has no snapshot", id)
	}
	if err != nil {
		return nil, err
	}
	o := &opened{object: object}
	if err := s.begin(ctx, o, name, id); err != nil {
		_ = object.Close()
		return o, err
	}
	return o, nil
}

// begin reads prelude and header.
func (s *Store) begin(ctx context.Context, o *opened, name domain.BlobID, id domain.AccountID) error {
	prelude, found, err := readPrelude(o.object)
	if err != nil {
		return failed(id, err)
	}
	o.id = found
	if s.name(found) != name || id != "" && id != found {
		return damaged(id, fmt.Errorf("it is that of account %s", found))
	}
	key, err := s.key(ctx, found, prelude)
	if domain.Is(err, domain.NotFound) {
		return damaged(found, err) // an account without a key never had one
	}
	if err != nil {
		return err
	}
	if prelude[len(magic)] != format {
		return errFormat
	}
	body := io.NewSectionReader(o.object, int64(len(prelude)), o.object.Size()-int64(len(prelude)))
	plain, err := blob.Unseal(body, key)
	if err != nil {
		return err
	}
	o.plain = bufio.NewReaderSize(plain, 64<<10)
	size, err := binary.ReadUvarint(o.plain)
	if err == nil && size > headerLimit {
		err = errMalformed
	}
	if err != nil {
		return failed(found, err)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(o.plain, text); err != nil {
		return failed(found, err)
	}
	if o.header, err = parseHeader(text); err != nil {
		return damaged(found, err)
	}
	if o.header.Account != found {
		return damaged(found, errMalformed)
	}
	o.header.Octets = o.object.Size()
	return nil
}

// Taken says what the snapshot holds.
func (o *opened) Taken() projections.Taken { return o.header.Taken() }

// Close ends reading.
func (o *opened) Close() error { return o.object.Close() }

// Chunks reads the rows, once.
func (o *opened) Chunks(ctx context.Context, want func(projection string) bool) iter.Seq2[projections.Chunk, error] {
	return func(yield func(projections.Chunk, error) bool) {
		if err := o.chunks(ctx, want, func(c projections.Chunk) bool { return yield(c, nil) }); err != nil && !errors.Is(err, errStop) {
			yield(projections.Chunk{}, failed(o.id, err))
		}
	}
}

// texts are those of chunks that are done with.
var texts = sync.Pool{New: func() any { return new([]byte) }}

var errStop = errors.New("the reader has enough")

func (o *opened) chunks(ctx context.Context, want func(string) bool, f func(projections.Chunk) bool) error {
	unpacked, err := zstd.NewReader(o.plain, zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return err
	}
	defer unpacked.Close()
	r := bufio.NewReaderSize(unpacked, 64<<10)
	places := o.header.places()
	wanted, columns, rows := make([]bool, len(places)), make([][]string, len(places)), make([]uint64, len(places))
	for i, p := range places {
		wanted[i] = want(p.section.Projection)
		columns[i] = append([]string{"account"}, p.table.columns...)
	}
	account := any(string(o.id))
	for ctx.Err() == nil {
		number, err := binary.ReadUvarint(r)
		switch {
		case err != nil:
			return unexpected(err)
		case number == 0:
			return o.finish(r, rows)
		case number > uint64(len(places)):
			return errMalformed
		}
		at := number - 1
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return unexpected(err)
		}
		size, err := binary.ReadUvarint(r)
		if err != nil {
			return unexpected(err)
		}
		if n > size || size > chunkLimit {
			return errMalformed
		}
		rows[at] += n
		if !wanted[at] {
			if _, err := r.Discard(int(size)); err != nil {
				return unexpected(err)
			}
			continue
		}
		held := texts.Get().(*[]byte)
		*held = slices.Grow((*held)[:0], int(size))[:size]
		text := *held
		if _, err := io.ReadFull(r, text); err != nil {
			return unexpected(err)
		}
		chunk := projections.Chunk{
			Projection: places[at].section.Projection, Table: places[at].table.name, Columns: columns[at],
			Rows: func(room *projections.Room) ([][]any, error) {
				return (&reader{b: text}).rows(room, account, int(n), len(columns[at])-1)
			},
			Done: func() {
				if size <= 2*chunkOctets {
					texts.Put(held)
				}
			},
		}
		if !f(chunk) {
			return errStop
		}
	}
	return ctx.Err()
}

// finish checks that all rows were there and that nothing follows. Reading to the very end is what proves the last package.
func (o *opened) finish(r *bufio.Reader, rows []uint64) error {
	for _, n := range rows {
		want, err := binary.ReadUvarint(r)
		if err != nil {
			return unexpected(err)
		}
		if want != n {
			return errMalformed
		}
	}
	for _, rest := range []io.Reader{r, o.plain} {
		var one [1]byte
		if n, err := io.ReadFull(rest, one[:]); n != 0 {
			return errMalformed
		} else if !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// unexpected tells that an end came too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
