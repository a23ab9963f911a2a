package snapshots

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams/blob"
)

// A chunk ends with the row that reaches one of these.
const (
	chunkRows   = 1000
	chunkOctets = 512 << 10
)

// put seals what write writes as the snapshot of an account, in place of the one before.
func (s *Store) put(ctx context.Context, id domain.AccountID, write func(io.Writer) error) (err error) {
	prelude := newPrelude(id)
	key, err := s.key(ctx, id, prelude)
	if err != nil {
		return err
	}
	upload, err := s.bucket.Create(ctx)
	if err != nil {
		return err
	}
	defer upload.Abort()
	out := bufio.NewWriterSize(upload, 256<<10)
	if _, err := out.Write(prelude); err != nil {
		return err
	}
	sealed, err := blob.Seal(out, key)
	if err != nil {
		return err
	}
	err = write(sealed)
	if closed := sealed.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return err
	}
	return upload.Commit(ctx, s.name(id))
}

// writer writes the rows of a frozen account.
type writer struct {
	ctx     context.Context
	account domain.AccountID
	out     io.Writer // compressed
	counts  []uint64  // rows of each table
	rest    func(took time.Duration) error
	chunk   []byte
	head    []byte
}

// columns finds the columns of a table without the account.
func columns(ctx context.Context, r projections.Reader, t projections.Table) ([]string, error) {
	rows, err := r.Query(ctx, "select * from "+t.Name+" limit 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var others []string
	for _, name := range all {
		if name != "account" {
			others = append(others, name)
		}
		if !column(name) {
			return nil, fmt.Errorf("column %q cannot be kept", name)
		}
	}
	return others, rows.Err()
}

// write writes header and rows.
func write(ctx context.Context, out io.Writer, h *Header, frozen []projections.Frozen, rest func(time.Duration) error) error {
	text := h.append(nil)
	if _, err := out.Write(append(binary.AppendUvarint(nil, uint64(len(text))), text...)); err != nil {
		return err
	}
	packed, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return err
	}
	w := &writer{ctx: ctx, account: h.Account, out: packed, counts: make([]uint64, len(h.places())), rest: rest}
	if err = w.sections(h, frozen); err == nil {
		end := []byte{0}
		for _, n := range w.counts {
			end = binary.AppendUvarint(end, n)
		}
		_, err = packed.Write(end)
	}
	if closed := packed.Close(); err == nil {
		err = closed
	}
	return err
}

// cursor walks the tables of one section.
type cursor struct {
	section *Section
	frozen  projections.Frozen
	first   int    // place of its first table
	at      int    // table
	all     uint64 // rows of its tables
	done    uint64 // of them
	rows    *sql.Rows
	values  []any
	dest    []any
}

// sections lets the sections take turns, a chunk each time, so that all come to their end together: whoever reads writes them side by side.
func (w *writer) sections(h *Header, frozen []projections.Frozen) error {
	var walking []*cursor
	first := 0
	for i := range h.Sections {
		walking = append(walking, &cursor{section: &h.Sections[i], frozen: frozen[i], first: first})
		first += len(h.Sections[i].tables)
	}
	defer func() {
		for _, c := range walking {
			c.close()
		}
	}()
	for _, c := range walking {
		if err := c.count(w.ctx, w.account); err != nil {
			return err
		}
	}
	for len(walking) > 0 {
		began := time.Now()
		c := slices.MinFunc(walking, func(a, b *cursor) int { return cmp.Compare(a.done*b.all, b.done*a.all) })
		more, err := w.step(c)
		if err != nil {
			return err
		}
		if !more {
			walking = slices.DeleteFunc(walking, func(o *cursor) bool { return o == c })
		}
		if err := w.rest(time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

// count finds out how much there is to walk.
func (c *cursor) count(ctx context.Context, id domain.AccountID) error {
	for _, t := range c.section.tables {
		rows, err := c.frozen.Rows.Query(ctx, "select count(*) from "+t.name+" where account = $1", string(id))
		if err != nil {
			return err
		}
		var n uint64
		for rows.Next() {
			err = rows.Scan(&n)
		}
		if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return err
		}
		c.all += n
	}
	return nil
}

func (c *cursor) close() {
	if c.rows != nil {
		_ = c.rows.Close()
		c.rows = nil
	}
}

// open begins the next table.
func (c *cursor) open(ctx context.Context, id domain.AccountID) (err error) {
	t, key := c.section.tables[c.at], c.frozen.Projection.Tables()[c.at].Key
	c.rows, err = c.frozen.Rows.Query(ctx, "select "+strings.Join(t.columns, ", ")+" from "+t.name+" where account = $1 order by "+strings.Join(key, ", "), string(id))
	c.values, c.dest = make([]any, len(t.columns)), make([]any, len(t.columns))
	for i := range c.values {
		c.dest[i] = &c.values[i]
	}
	return err
}

// step writes one chunk. It tells whether there may be more.
func (w *writer) step(c *cursor) (more bool, err error) {
	if c.at == len(c.section.tables) {
		return false, nil
	}
	if c.rows == nil {
		if err := c.open(w.ctx, w.account); err != nil {
			return false, err
		}
	}
	place, n := c.first+c.at, 0
	w.chunk = w.chunk[:0]
	for n < chunkRows && len(w.chunk) < chunkOctets && c.rows.Next() {
		if err := c.rows.Scan(c.dest...); err != nil {
			return false, err
		}
		for _, v := range c.values {
			if w.chunk, err = appendValue(w.chunk, v); err != nil {
				return false, err
			}
		}
		n++
	}
	if n < chunkRows && len(w.chunk) < chunkOctets {
		if err := c.rows.Err(); err != nil {
			return false, err
		}
		c.close()
		c.at++
	}
	if n == 0 {
		return c.at < len(c.section.tables), nil
	}
	w.counts[place] += uint64(n)
	c.done += uint64(n)
	w.head = binary.AppendUvarint(w.head[:0], uint64(place+1))
	w.head = binary.AppendUvarint(w.head, uint64(n))
	w.head = binary.AppendUvarint(w.head, uint64(len(w.chunk)))
	if _, err := w.out.Write(w.head); err != nil {
		return false, err
	}
	_, err = w.out.Write(w.chunk)
	return c.at < len(c.section.tables), err
}
