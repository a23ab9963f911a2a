package snapshots

import (
	"encoding/binary"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Header says what a snapshot holds.
type Header struct {
	Account  domain.AccountID
	Seq      domain.Seq       // of the stream, at which all projections stood
	At       streams.Position // of the account's log there
	Made     time.Time
	Sections []Section
	Octets   int64 // of the stored file
}

// Section is the part of one projection.
type Section struct {
	Projection string
	Version    int
	Digest     account.Digest // that the view kept of the rows

	tables []table
}

// table is one whose rows are held, without the column account, which is the first.
type table struct {
	name    string
	columns []string
}

// Taken is the header as the runner wants it.
func (h *Header) Taken() projections.Taken {
	taken := projections.Taken{Account: h.Account, Seq: h.Seq, At: h.At, Versions: map[string]int{}, Digests: map[string]account.Digest{}}
	for _, s := range h.Sections {
		taken.Versions[s.Projection], taken.Digests[s.Projection] = s.Version, s.Digest
	}
	return taken
}

func (h *Header) append(b []byte) []byte {
	b = appendText(b, string(h.Account))
	b = binary.AppendUvarint(b, uint64(h.Seq))
	b = binary.AppendUvarint(b, uint64(h.At.Seq))
	b = binary.AppendUvarint(b, uint64(h.At.Tx))
	b = append(b, h.At.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(h.Made.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(len(h.Sections)))
	for _, s := range h.Sections {
		b = appendText(b, s.Projection)
		b = binary.AppendUvarint(b, uint64(s.Version))
		b = binary.AppendUvarint(b, uint64(s.Digest))
		b = binary.AppendUvarint(b, uint64(len(s.tables)))
		for _, t := range s.tables {
			b = appendText(b, t.name)
			b = binary.AppendUvarint(b, uint64(len(t.columns)))
			for _, c := range t.columns {
				b = appendText(b, c)
			}
		}
	}
	return b
}

func parseHeader(b []byte) (*Header, error) {
	r := &reader{b: b}
	h := &Header{Account: domain.AccountID(r.text()), Seq: domain.Seq(r.uvarint())}
	h.At.Seq, h.At.Tx = domain.Seq(r.uvarint()), domain.Tx(r.uvarint())
	if len(r.b) < len(h.At.Hash) {
		return nil, errMalformed
	}
	copy(h.At.Hash[:], r.b)
	r.b = r.b[len(h.At.Hash):]
	h.Made = time.UnixMilli(int64(r.uvarint()))
	for range r.count() {
		s := Section{Projection: r.text(), Version: int(r.uvarint()), Digest: account.Digest(r.uvarint())}
		for range r.count() {
			t := table{name: r.text()}
			for range r.count() {
				t.columns = append(t.columns, r.text())
				r.bad = r.bad || !column(t.columns[len(t.columns)-1])
			}
			s.tables = append(s.tables, t)
			r.bad = r.bad || !column(t.name) || len(t.columns) == 0
		}
		h.Sections = append(h.Sections, s)
	}
	if r.bad || len(r.b) > 0 {
		return nil, errMalformed
	}
	return h, nil
}

// place is a table's, in the order in which chunks count them.
type place struct {
	section *Section
	table   *table
}

func (h *Header) places() (all []place) {
	for i := range h.Sections {
		for j := range h.Sections[i].tables {
			all = append(all, place{&h.Sections[i], &h.Sections[i].tables[j]})
		}
	}
	return all
}
