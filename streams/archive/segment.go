package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Header says what a segment holds: a range of one account's transactions, which are dense.
type Header struct {
	Generation string
	Account    domain.AccountID
	Stream     string
	First      domain.Tx
	Last       domain.Tx
	FirstSeq   domain.Seq
	LastSeq    domain.Seq
	Begin      time.Time    // when the first was written
	End        time.Time    // when the last was
	Prev       streams.Hash // of the transaction before the first; zero for transaction 1
	Hash       streams.Hash // of the last
}

// Segment is what is stored: the header, then for each transaction its sequence and time, as differences to the one before, its length and its octets.
// Numbers are varints.
type Segment struct {
	Header
	Entries []streams.Sealed
}

// headerLimit is more than a header ever takes, in octets.
const headerLimit = 1 << 10

var errMalformed = errors.New("it is malformed")

// newSegment makes a segment of entries of one account, which must follow each other.
func newSegment(generation string, entries []streams.Sealed) (*Segment, error) {
	first, last := &entries[0], &entries[len(entries)-1]
	s := &Segment{Entries: entries, Header: Header{
		Generation: generation, Account: first.Account, Stream: first.Stream, First: first.Tx, Last: last.Tx, FirstSeq: first.Seq, LastSeq: last.Seq,
		Begin: first.Written, End: last.Written, Prev: first.Prev, Hash: last.Hash,
	}}
	return s, s.check()
}

// check proves that the entries are those of the header and chained.
func (s *Segment) check() error {
	if len(s.Entries) == 0 || uint64(len(s.Entries)) != uint64(s.Last-s.First)+1 {
		return fmt.Errorf("it has %d transactions and says that it has %d to %d", len(s.Entries), s.First, s.Last)
	}
	prev, seq := s.Prev, domain.Seq(0)
	for i := range s.Entries {
		switch e, want := &s.Entries[i], s.First+domain.Tx(i); {
		case e.Account != s.Account || e.Stream != s.Stream:
			return fmt.Errorf("transaction %d is of account %s in %s", want, e.Account, e.Stream)
		case e.Tx != want:
			return fmt.Errorf("transaction %d is where %d should be", e.Tx, want)
		case e.Prev != prev:
			return fmt.Errorf("transaction %d does not follow the one before it: their hashes differ", want)
		case e.Seq <= seq:
			return fmt.Errorf("transaction %d stood at sequence %d, not after %d", want, e.Seq, seq)
		default:
			prev, seq = e.Hash, e.Seq
		}
	}
	if first := s.Entries[0]; prev != s.Hash || first.Seq != s.FirstSeq || seq != s.LastSeq || (s.First == 1) != (s.Prev == streams.Hash{}) {
		return errors.New("its transactions are not those that it says it has")
	}
	return nil
}

// encode writes the stored form.
func (s *Segment) encode() []byte {
	size := headerLimit
	for i := range s.Entries {
		size += len(s.Entries[i].Data) + 3*binary.MaxVarintLen64
	}
	b := make([]byte, 0, size)
	b = appendText(b, s.Generation)
	b = appendText(b, string(s.Account))
	b = appendText(b, s.Stream)
	b = binary.AppendUvarint(b, uint64(s.First))
	b = binary.AppendUvarint(b, uint64(s.Last))
	b = binary.AppendUvarint(b, uint64(s.FirstSeq))
	b = binary.AppendUvarint(b, uint64(s.LastSeq))
	b = binary.AppendVarint(b, s.Begin.UnixNano())
	b = binary.AppendVarint(b, s.End.UnixNano())
	b = append(append(b, s.Prev[:]...), s.Hash[:]...)
	seq, written := s.FirstSeq, s.Begin.UnixNano()
	for i := range s.Entries {
		e := &s.Entries[i]
		b = binary.AppendUvarint(b, uint64(e.Seq-seq))
		b = binary.AppendVarint(b, e.Written.UnixNano()-written)
		b = binary.AppendUvarint(b, uint64(len(e.Data)))
		b = append(b, e.Data...)
		seq, written = e.Seq, e.Written.UnixNano()
	}
	return b
}

// decodeHeader reads the header and gives what follows it.
func decodeHeader(b []byte) (h Header, rest []byte, err error) {
	r := &reader{b: b}
	h.Generation, h.Account, h.Stream = r.text(), domain.AccountID(r.text()), r.text()
	h.First, h.Last = domain.Tx(r.uvarint()), domain.Tx(r.uvarint())
	h.FirstSeq, h.LastSeq = domain.Seq(r.uvarint()), domain.Seq(r.uvarint())
	h.Begin, h.End = time.Unix(0, r.varint()), time.Unix(0, r.varint())
	copy(h.Prev[:], r.octets(len(h.Prev)))
	copy(h.Hash[:], r.octets(len(h.Hash)))
	if r.bad || h.First == 0 || h.Last < h.First {
		return h, nil, errMalformed
	}
	return h, r.b, nil
}

// decode reads the stored form and proves the chain.
func decode(b []byte) (*Segment, error) {
	h, rest, err := decodeHeader(b)
	if err != nil {
		return nil, err
	}
	s := &Segment{Header: h}
	r := &reader{b: rest}
	seq, written := h.FirstSeq, h.Begin.UnixNano()
	for len(r.b) > 0 && !r.bad {
		seq += domain.Seq(r.uvarint())
		written += r.varint()
		data := r.octets(int(min(r.uvarint(), 1<<30)))
		if r.bad {
			break
		}
		e, err := streams.NewSealed(h.Account, h.Stream, seq, time.Unix(0, written), data)
		if err != nil {
			return nil, err
		}
		s.Entries = append(s.Entries, e)
	}
	if r.bad {
		return nil, errMalformed
	}
	return s, s.check()
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes a text apart. It remembers that something was wrong, and then gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) octets(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) text() string { return string(r.octets(int(min(r.uvarint(), headerLimit)))) }
